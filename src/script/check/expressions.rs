//! Expressions: what they are, and the names in them.

use rhai::{Expr, FnCallExpr, FnPtr, Position};

use super::{Checker, Value};
use crate::{Kind, fault::Fault, names::nearest};

impl Checker<'_> {
    /// Reads an expression; what is known of its value.
    pub(super) fn expression(&mut self, expression: &Expr) -> Value {
        match expression {
            Expr::BoolConstant(..) => Value::of("bool").free(),
            Expr::IntegerConstant(..) => Value::of("int").free(),
            Expr::FloatConstant(..) => Value::of("float").free(),
            Expr::CharConstant(..) => Value::of("char").free(),
            Expr::StringConstant(..) => Value::of("string").free(),
            Expr::DynamicConstant(value, _) => {
                if let Some(closure) = value.read_lock::<FnPtr>() {
                    self.function(closure.fn_name());
                    return Value::of("closure").free();
                }
                Value::unknown()
            }
            Expr::InterpolatedString(parts, _) => {
                self.all(parts.iter());
                Value::of("string")
            }
            Expr::Array(items, _) => {
                let free = self.all(items.iter());
                let value = Value::of("array");
                if free { value.free() } else { value }
            }
            Expr::Map(entries, _) => {
                let free = self.all(entries.0.iter().map(|(_, value)| value));
                let value = Value::of("map");
                if free { value.free() } else { value }
            }
            Expr::And(parts, _) | Expr::Or(parts, _) => {
                self.all(parts.iter());
                Value::of("bool")
            }
            Expr::Coalesce(parts, _) => {
                self.all(parts.iter());
                Value::unknown()
            }
            Expr::Variable(variable, _, position) => match variable.2.is_empty() {
                true => self.variable(&variable.1, *position),
                false => self.member_of_module(&variable.2.to_string(), &variable.1, *position),
            },
            Expr::Stmt(block) => self.block(block),
            Expr::FnCall(call, position) | Expr::MethodCall(call, position) => {
                self.call(call, *position)
            }
            Expr::Dot(parts, flags, _) => self.chain(&parts.lhs, &parts.rhs, false, *flags),
            Expr::Index(parts, flags, _) => self.chain(&parts.lhs, &parts.rhs, true, *flags),
            _ => Value::unknown(),
        }
    }

    /// Reads several expressions; whether computing them changes nothing.
    fn all<'e>(&mut self, expressions: impl Iterator<Item = &'e Expr>) -> bool {
        // Every one of them is read, also behind one with an effect.
        let mut free = true;
        for one in expressions {
            free &= self.expression(one).free;
        }
        free
    }

    fn variable(&mut self, name: &str, position: Position) -> Value {
        if let Some(kind) = self.variables.read(name) {
            return Value { kind, free: true };
        }
        if let Some(value) = self.machine.context.global(name) {
            let kind = self.reference.types.name(&value);
            let certain = !self.assigned.contains(name) && !value.is_unit();
            return Value {
                kind: certain.then_some(kind),
                free: true,
            };
        }
        let is_function = self.functions.contains_key(name) || self.reference.has_function(name);
        if !is_function {
            let fault = self.unknown_variable(name);
            self.error(fault.diagnostic(), position);
        }
        Value::unknown()
    }

    /// What the runtime would say of an unknown variable, with the names that this code declares.
    pub(super) fn unknown_variable(&self, name: &str) -> Fault {
        let fault = Fault::new(Kind::Name, format!("unknown variable `{name}`"));
        let modules = self.reference.modules();
        if modules.contains(&name) || self.imports.contains_key(name) {
            return fault.hint(format!(
                "`{name}` is a module: its members are written `{name}::member`"
            ));
        }
        if let Some(ours) = crate::search::hint(name) {
            return fault.hint(ours);
        }
        let globals = self.machine.context.globals();
        let variables = self
            .variables
            .names()
            .chain(globals.iter().map(|(name, _)| name.as_str()));
        if let Some(near) = nearest(name, variables) {
            return fault.hint(format!("did you mean `{near}`?"));
        }
        let functions = self.functions.keys().map(String::as_str);
        let functions = functions.filter(|name| !name.starts_with("anon$"));
        let documented = self.reference.functions().map(|entry| entry.name.as_str());
        fault.nearest(name, functions.chain(documented).chain(modules))
    }

    /// `module::name` that is not called.
    fn member_of_module(&mut self, module: &str, name: &str, position: Position) -> Value {
        if module == "global" {
            self.variables.read(name);
            return Value::unknown();
        }
        if let Some(members) = self.imports.get(module) {
            let unknown = members
                .as_ref()
                .filter(|m| !m.iter().any(|member| member == name));
            if let Some(members) = unknown {
                let fault = Fault::new(Kind::Name, format!("module `{module}` has no `{name}`"))
                    .nearest(name, members.iter().map(String::as_str));
                self.error(fault.diagnostic(), position);
            }
            return Value::unknown();
        }
        if !self.reference.modules().contains(&module) {
            let fault = self.unknown_module(module);
            self.error(fault.diagnostic(), position);
        } else if !self.reference.has_function(&format!("{module}::{name}")) {
            let members = self.reference.owned_by(module).map(|entry| entry.short());
            let fault = Fault::new(Kind::Name, format!("module `{module}` has no `{name}`"))
                .nearest(name, members);
            self.error(fault.diagnostic(), position);
        }
        Value::unknown()
    }

    /// A module that nobody knows.
    pub(super) fn unknown_module(&self, name: &str) -> Fault {
        let fault = Fault::new(Kind::Name, format!("unknown module `{name}`"));
        let modules = self.reference.modules();
        let known = modules
            .iter()
            .copied()
            .chain(self.imports.keys().map(String::as_str));
        match nearest(name, known) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint(format!("there are {}", crate::names::listed(modules))),
        }
    }

    /// An operator between values.
    pub(super) fn operator(&mut self, call: &FnCallExpr) -> Value {
        let values: Vec<Value> = call.args.iter().map(|arg| self.expression(arg)).collect();
        let kinds: Vec<Option<&str>> = values.iter().map(|v| v.kind.as_deref()).collect();
        let kind = operator_gives(call.name.as_str(), &kinds)
            .map(str::to_string)
            .or_else(|| self.bound_operator(call.name.as_str(), &kinds));
        Value {
            kind,
            free: values.iter().all(|value| value.free),
        }
    }

    /// What a bound operator gives.
    fn bound_operator(&self, name: &str, kinds: &[Option<&str>]) -> Option<String> {
        let kinds: Option<Vec<&str>> = kinds.iter().copied().collect();
        let kinds = kinds?;
        let types = &self.reference.types;
        let overloads = self.reference.get(name).flat_map(|entry| &entry.overloads);
        let mut fitting = overloads.filter(|overload| {
            overload.takes.len() == kinds.len()
                && overload
                    .takes
                    .iter()
                    .zip(&kinds)
                    .all(|(id, kind)| types.word(*id).is_none_or(|word| word == *kind))
        });
        let word = types.word(fitting.next()?.gives)?;
        Some(word.to_string())
    }
}

/// What Rhai's own operators give between its own types.
fn operator_gives(name: &str, kinds: &[Option<&str>]) -> Option<&'static str> {
    let number = |kind: &Option<&str>| matches!(kind, Some("int" | "float"));
    match (name, kinds) {
        ("..", _) => Some("range"),
        ("..=", _) => Some("range="),
        ("==" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "!in", [Some(a), Some(b)])
            if *a != "Tensor" && *b != "Tensor" =>
        {
            Some("bool")
        }
        ("+" | "-" | "*" | "/" | "%" | "**", [a, b]) if number(a) && number(b) => {
            if *a == Some("int") && *b == Some("int") {
                Some("int")
            } else {
                Some("float")
            }
        }
        ("+", [Some("string"), Some(_)]) => Some("string"),
        ("-" | "+", [Some("int")]) => Some("int"),
        ("-" | "+", [Some("float")]) => Some("float"),
        ("!", [Some("bool")]) => Some("bool"),
        _ => None,
    }
}
