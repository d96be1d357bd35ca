//! Chains: `x.name`, `x.f(..)`, `x[i]`.

use rhai::{ASTFlags, Expr, FnCallExpr, Position};

use super::{Checker, Value};
use crate::{
    Kind,
    fault::Fault,
    help::{Entry, EntryKind},
    names::nearest,
};

impl Checker<'_> {
    /// `lhs.rhs` or `lhs[rhs]`; Rhai nests chains to the right until a link is marked as the last.
    pub(super) fn chain(&mut self, lhs: &Expr, rhs: &Expr, index: bool, flags: ASTFlags) -> Value {
        let object = self.expression(lhs);
        self.links(object, rhs, index, flags)
    }

    fn links(&mut self, object: Value, rhs: &Expr, index: bool, flags: ASTFlags) -> Value {
        if flags.intersects(ASTFlags::BREAK) {
            return self.link(object, rhs, index);
        }
        match rhs {
            Expr::Dot(parts, flags, _) => {
                let next = self.link(object, &parts.lhs, index);
                self.links(next, &parts.rhs, false, *flags)
            }
            Expr::Index(parts, flags, _) => {
                let next = self.link(object, &parts.lhs, index);
                self.links(next, &parts.rhs, true, *flags)
            }
            last => self.link(object, last, index),
        }
    }

    fn link(&mut self, object: Value, link: &Expr, index: bool) -> Value {
        if index {
            let free = self.expression(link).free && object.free;
            let kind = object
                .kind
                .and_then(|kind| self.reference.get(&format!("{kind}[]")).next()?.gives());
            return Value {
                kind: kind.map(str::to_string),
                free,
            };
        }
        match link {
            Expr::Property(property, position) => self.property(object, &property.2, *position),
            Expr::MethodCall(call, position) | Expr::FnCall(call, position) => {
                self.method(object, call, *position)
            }
            other => self.expression(other),
        }
    }

    /// The left side of an assignment that is no plain variable.
    pub(super) fn target(&mut self, expression: &Expr) -> Value {
        match expression {
            Expr::Dot(parts, flags, _) => {
                let object = self.target(&parts.lhs);
                // Which properties can be set is the type's affair; maps take any key.
                match (&parts.rhs, flags.intersects(ASTFlags::BREAK)) {
                    (Expr::Property(..), _) => Value::unknown(),
                    _ => self.links(object, &parts.rhs, false, *flags),
                }
            }
            other => self.expression(other),
        }
    }

    fn property(&mut self, object: Value, name: &str, position: Position) -> Value {
        let Some(kind) = object
            .kind
            .filter(|kind| self.reference.types.is_ours(kind))
        else {
            return Value {
                kind: None,
                free: object.free,
            };
        };
        let full = format!("{kind}.{name}");
        let entry = self.reference.get(&full).next();
        match entry.map(|entry| entry.kind) {
            Some(EntryKind::Property) => {
                let gives = entry.and_then(|entry| self.gives(entry));
                return Value {
                    kind: gives,
                    free: object.free,
                };
            }
            Some(_) => {
                let fault = Fault::new(Kind::Name, format!("{kind} has no property `{name}`"))
                    .hint(format!("`{name}` is a method: write `.{name}()`"));
                self.error(fault.diagnostic(), position);
            }
            None => {
                let members = self.reference.owned_by(&kind).map(Entry::short);
                let fault = Fault::new(Kind::Name, format!("{kind} has no property `{name}`"))
                    .meant(name, members);
                self.error(fault.diagnostic(), position);
            }
        }
        Value::unknown()
    }

    /// What a property or an entry of one overload gives.
    fn gives(&self, entry: &Entry) -> Option<String> {
        let bound = entry.overloads.first().map(|overload| overload.gives);
        bound
            .and_then(|id| self.reference.types.word(id))
            .or_else(|| entry.gives())
            .map(str::to_string)
    }

    fn method(&mut self, object: Value, call: &FnCallExpr, position: Position) -> Value {
        let arguments = self.arguments(call);
        let name = call.name.as_str();
        // A function of the script may be called as a method, with its first argument as `this`.
        if self.functions.contains_key(name) {
            return Value::unknown();
        }
        let Some(kind) = object.kind else {
            self.method_of_unknown(name, position);
            return Value::unknown();
        };
        let is_ours = self.reference.types.is_ours(&kind);
        let full = format!("{kind}.{name}");
        let mut entries: Vec<&Entry> = self
            .reference
            .get(&full)
            .filter(|entry| entry.kind == EntryKind::Method)
            .collect();
        if entries.is_empty() {
            entries.extend(self.reference.get(name).filter(|entry| {
                entry.kind == EntryKind::Function && self.takes_first(entry, &kind)
            }));
        }
        let built_in = self
            .machine
            .built_in()
            .iter()
            .any(|function| function.name == name && (!is_ours || function.takes(&kind)));
        if entries.is_empty() {
            if !built_in && !self.is_call_of_value(&kind, name) {
                let fault = self.unknown_method(&kind, name);
                self.error(fault.diagnostic(), position);
            }
            return Value::unknown();
        }
        self.options_of(&entries, call);
        let mut kinds = vec![Some(kind.clone())];
        kinds.extend(arguments.iter().map(|value| value.kind.clone()));
        let given = self.answer(&entries, &kinds, built_in, position, |names| {
            format!("{kind}.{name} does not take ({names})")
        });
        let free = kind == "Tensor"
            && object.free
            && given.as_deref() == Some("Tensor")
            && arguments.iter().all(|value| value.free);
        Value { kind: given, free }
    }

    /// Whether a function takes a value of that type first.
    fn takes_first(&self, entry: &Entry, kind: &str) -> bool {
        entry.overloads.iter().any(|overload| {
            let first = overload.takes.first();
            first.is_some_and(|id| self.reference.types.word(*id).is_none_or(|w| w == kind))
        })
    }

    /// A closure in a map, a function pointer, what Rhai treats as a keyword.
    fn is_call_of_value(&self, kind: &str, name: &str) -> bool {
        kind == "map"
            || kind == "closure"
            || matches!(
                name,
                "call" | "curry" | "type_of" | "is_shared" | "to_string" | "to_debug"
            )
    }

    fn unknown_method(&self, kind: &str, name: &str) -> Fault {
        let fault = Fault::new(Kind::Name, format!("{kind} has no method `{name}`"));
        let property = self.reference.get(&format!("{kind}.{name}")).next();
        if property.is_some_and(|entry| entry.kind == EntryKind::Property) {
            return fault.hint(format!(
                "`{name}` is a property: write it without parentheses"
            ));
        }
        let members = self.reference.owned_by(kind).map(Entry::short);
        let built_in = self.machine.built_in();
        let of_rhai = built_in
            .iter()
            .filter(|function| function.types.first().is_some_and(|first| first == kind));
        fault.meant(name, members.chain(of_rhai.map(|f| f.name.as_str())))
    }

    /// A method of an object of unknown type: told only when nothing at all has that name and
    /// something has nearly that name.
    fn method_of_unknown(&mut self, name: &str, position: Position) {
        let is_method = |entry: &&Entry| {
            matches!(
                entry.kind,
                EntryKind::Method | EntryKind::Property | EntryKind::Function
            )
        };
        let ours = || {
            self.reference
                .entries()
                .iter()
                .filter(is_method)
                .map(Entry::short)
        };
        let of_rhai = || self.machine.built_in().iter().map(|f| f.name.as_str());
        let known = ours().chain(of_rhai()).any(|known| known == name)
            || self.is_call_of_value("", name)
            || self.keys.contains(name);
        if known {
            return;
        }
        let Some(near) = nearest(name, ours().chain(of_rhai())) else {
            return;
        };
        let fault = Fault::new(Kind::Name, format!("nothing has a method `{name}`"))
            .hint(format!("did you mean `{near}`?"));
        self.warn(fault.diagnostic(), position);
    }
}
