//! Calls of functions: whether they are there, and whether they take what they are given.

use std::any::TypeId;

use rhai::{FnCallExpr, Map, Position};

use super::{Checker, Value};
use crate::{
    Kind,
    fault::Fault,
    help::{Entry, EntryKind, Overload},
};

/// Calls that Rhai treats apart; their arguments are its own affair.
const KEYWORDS: [&str; 12] = [
    "print",
    "debug",
    "type_of",
    "Fn",
    "call",
    "curry",
    "is_def_var",
    "is_def_fn",
    "is_shared",
    // Functions without parameters stand in no list of Rhai's that can be told from ours.
    "PI",
    "E",
    "timestamp",
];

impl<'a> Checker<'a> {
    /// Reads the arguments of a call.
    pub(super) fn arguments(&mut self, call: &FnCallExpr) -> Vec<Value> {
        call.args.iter().map(|arg| self.expression(arg)).collect()
    }

    /// `f(..)`, `module::f(..)` and operators.
    pub(super) fn call(&mut self, call: &FnCallExpr, position: Position) -> Value {
        if call.op_token.is_some() {
            return self.operator(call);
        }
        let arguments = self.arguments(call);
        let kinds: Vec<Option<String>> = arguments.into_iter().map(|value| value.kind).collect();
        let name = call.name.as_str();
        if call.namespace.is_empty() {
            return self.plain(call, name, &kinds, position);
        }
        let module = call.namespace.to_string();
        if module == "global" {
            return Value::unknown();
        }
        if let Some(members) = self.imports.get(&module) {
            let missing = members
                .as_ref()
                .filter(|m| !m.iter().any(|member| member == name));
            if let Some(members) = missing {
                let message = format!("module `{module}` has no function `{name}`");
                let fault = Fault::new(Kind::Name, message)
                    .nearest(name, members.iter().map(String::as_str));
                self.error(fault.diagnostic(), position);
            }
            return Value::unknown();
        }
        if !self.reference.modules().contains(&module.as_str()) {
            let fault = match crate::search::hint(&format!("{module}::{name}")) {
                Some(ours) => {
                    Fault::new(Kind::Name, format!("unknown module `{module}`")).hint(ours)
                }
                None => self.unknown_module(&module),
            };
            self.error(fault.diagnostic(), position);
            return Value::unknown();
        }
        self.documented(call, &format!("{module}::{name}"), &kinds, position)
            .unwrap_or_else(|| {
                let members = self.reference.owned_by(&module).map(Entry::short);
                let message = format!("module `{module}` has no function `{name}`");
                let fault = Fault::new(Kind::Name, message);
                let fault = match crate::search::activation(&module, name) {
                    Some(hint) => fault.hint(hint),
                    None => fault.meant(name, members),
                };
                self.error(fault.diagnostic(), position);
                Value::unknown()
            })
    }

    /// A call without a module: a function of the script comes before a documented one.
    fn plain(
        &mut self,
        call: &FnCallExpr,
        name: &str,
        kinds: &[Option<String>],
        position: Position,
    ) -> Value {
        if name == "curry" {
            return Value::of("closure").free();
        }
        if let Some(arities) = self.functions.get(name) {
            let others = self.reference.has_function(name)
                || self.machine.built_in().iter().any(|f| f.name == name);
            if !arities.contains(&kinds.len()) && !others {
                let message = counted(name, arities.clone(), kinds.len());
                self.error(Fault::new(Kind::Type, message).diagnostic(), position);
            }
            return Value::unknown();
        }
        if let Some(value) = self.documented(call, name, kinds, position) {
            return value;
        }
        if KEYWORDS.contains(&name) || self.machine.built_in().iter().any(|f| f.name == name) {
            return Value::unknown();
        }
        let methods: Vec<&Entry> = self.methods(name);
        if !methods.is_empty() {
            let given = self.answer(&methods, kinds, false, position, |names| {
                format!("{name} does not take ({names})")
            });
            self.options_of(&methods, call);
            return Value {
                kind: given,
                free: false,
            };
        }
        let fault = self.unknown_function(name);
        self.error(fault.diagnostic(), position);
        Value::unknown()
    }

    /// The methods of all types by that name: `sum(x)` is `x.sum()`.
    fn methods(&self, name: &str) -> Vec<&'a Entry> {
        let is = |entry: &&Entry| entry.kind == EntryKind::Method && entry.short() == name;
        self.reference.entries().iter().filter(is).collect()
    }

    /// A call of a documented function; nothing when there is none.
    fn documented(
        &mut self,
        call: &FnCallExpr,
        full: &str,
        kinds: &[Option<String>],
        position: Position,
    ) -> Option<Value> {
        let reference = self.reference;
        let mut entries: Vec<&Entry> = reference
            .get(full)
            .filter(|entry| entry.kind == EntryKind::Function)
            .collect();
        if entries.is_empty() {
            return None;
        }
        self.options_of(&entries, call);
        let is_plain = call.namespace.is_empty();
        if is_plain {
            let is = |entry: &&Entry| entry.kind == EntryKind::Method && entry.short() == full;
            entries.extend(reference.entries().iter().filter(is));
        }
        // Rhai has functions of the same name for its own types: `abs(-1)`.
        let others = is_plain
            && (self.machine.built_in().iter().any(|f| f.name == full) || KEYWORDS.contains(&full));
        let kind = self.answer(&entries, kinds, others, position, |names| {
            format!("{full} does not take ({names})")
        });
        let free = is_plain && kind.as_deref() == Some("Tensor") && full != "param";
        Some(Value { kind, free })
    }

    /// What a call gives; an error when no overload takes the arguments. `others` says that
    /// there may be overloads which are not known here.
    pub(super) fn answer(
        &mut self,
        entries: &[&Entry],
        kinds: &[Option<String>],
        others: bool,
        position: Position,
        message: impl FnOnce(&str) -> String,
    ) -> Option<String> {
        let types = &self.reference.types;
        let all = || entries.iter().flat_map(|entry| &entry.overloads);
        let takes = |overload: &&Overload| {
            overload.takes.len() == kinds.len()
                && overload.takes.iter().zip(kinds).all(|(id, kind)| {
                    let word = types.word(*id);
                    word.is_none() || kind.is_none() || word == kind.as_deref()
                })
        };
        let mut fitting = all().filter(takes).peekable();
        if fitting.peek().is_none() {
            if others || all().next().is_none() {
                return None;
            }
            let words: Vec<&str> = kinds.iter().map(|k| k.as_deref().unwrap_or("?")).collect();
            let is_method = entries.iter().all(|entry| entry.kind == EntryKind::Method);
            let shown = words.get(usize::from(is_method)..).unwrap_or(&[]);
            let arities: Vec<usize> = all().map(|overload| overload.takes.len()).collect();
            let fault = if arities.contains(&kinds.len()) {
                Fault::new(Kind::Type, message(&shown.join(", ")))
            } else {
                let less = usize::from(is_method);
                let arities = arities.iter().map(|n| n - less.min(*n)).collect();
                let name = entries.first().map_or("", |entry| entry.name.as_str());
                Fault::new(
                    Kind::Type,
                    counted(name, arities, kinds.len() - less.min(kinds.len())),
                )
            };
            let fault = entries.iter().take(4).fold(fault, |fault, entry| {
                fault.hint(format!("there is {}", entry.headline()))
            });
            self.error(fault.diagnostic(), position);
            return None;
        }
        let gives = |overload: &Overload| {
            // What an option map may change, the signature's type does not tell.
            let has_map = overload.takes.last() == Some(&TypeId::of::<Map>());
            let of_entry = || match entries {
                [entry] if !has_map => entry.gives(),
                _ => None,
            };
            types.word(overload.gives).or_else(of_entry)
        };
        let first = gives(fitting.next()?)?;
        fitting
            .all(|overload| gives(overload) == Some(first))
            .then(|| first.to_string())
            .filter(|_| !others)
    }

    fn unknown_function(&self, name: &str) -> Fault {
        let fault = Fault::new(Kind::Name, format!("unknown function `{name}`"));
        if self.variables.holds(name) || self.machine.context.global(name).is_some() {
            return fault.hint(format!(
                "`{name}` is a variable: if it holds a closure, write `{name}.call(...)`"
            ));
        }
        let scripted = self.functions.keys().map(String::as_str);
        let scripted = scripted.filter(|name| !name.starts_with("anon$"));
        let globals = self.reference.functions().map(|entry| entry.name.as_str());
        let standard = self.machine.built_in().iter().map(|f| f.name.as_str());
        let fault = fault.meant(name, scripted.chain(globals).chain(standard));
        if !fault.hints.is_empty() {
            return fault;
        }
        let elsewhere = self.reference.entries().iter().find(|entry| {
            entry.kind == EntryKind::Function && entry.owner().is_some() && entry.short() == name
        });
        match elsewhere {
            Some(entry) => fault.hint(format!("there is `{}`", entry.name)),
            None => fault,
        }
    }
}

/// `f takes 1 or 2 arguments, got 3`.
fn counted(name: &str, mut arities: Vec<usize>, got: usize) -> String {
    arities.sort_unstable();
    arities.dedup();
    let words: Vec<String> = arities.iter().map(usize::to_string).collect();
    let plural = if arities == [1] { "" } else { "s" };
    format!(
        "{name} takes {} argument{plural}, got {got}",
        words.join(" or ")
    )
}
