//! Option maps that are written out: their keys, and the values that are literals.

use rhai::{Expr, FnCallExpr, Position};

use super::Checker;
use crate::{Kind, fault::Fault, help::Entry, names::listed, options::check_value, schema::Schema};

impl Checker<'_> {
    /// Checks the option map of a call, when its last argument is one.
    pub(super) fn options_of(&mut self, entries: &[&Entry], call: &FnCallExpr) {
        let Some(Expr::Map(map, position)) = call.args.last() else {
            return;
        };
        let Some(entry) = entries.iter().find(|entry| entry.options.is_some()) else {
            return;
        };
        let Some(schema) = entry.options.as_ref().map(|options| options.schema()) else {
            return;
        };
        self.map(entry, &schema, &map.0, &mut Vec::new(), *position);
    }

    fn map(
        &mut self,
        entry: &Entry,
        schema: &Schema,
        map: &[(rhai::Ident, Expr)],
        path: &mut Vec<String>,
        position: Position,
    ) {
        let Some(at) = schema.at(path) else { return };
        let fields = schema.fields_of(at);
        for (key, value) in map {
            let name = key.as_str();
            path.push(name.to_string());
            if fields.iter().any(|field| field.name == name) {
                self.value(entry, schema, value, path);
            } else if path.len() > 1 || !takes_besides(entry, name) {
                let mut names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
                if path.len() == 1 {
                    names.extend(entry.besides.iter().map(|field| field.name.as_str()));
                }
                let fault =
                    Fault::new(Kind::Option, format!("unknown option `{}`", path.join(".")))
                        .nearest(name, names.iter().copied())
                        .hint(match names.is_empty() {
                            true => "there are no options here".to_string(),
                            false => format!("allowed: {}", listed(names)),
                        });
                self.error(fault.diagnostic(), key.pos);
            }
            path.pop();
        }
        for field in fields.iter().filter(|field| field.required) {
            if !map.iter().any(|(key, _)| key.as_str() == field.name) {
                path.push(field.name.clone());
                let message = format!("option `{}` must be given", path.join("."));
                path.pop();
                self.error(Fault::new(Kind::Option, message).diagnostic(), position);
            }
        }
    }

    /// A literal is held against the schema as the bindings do it.
    fn value(&mut self, entry: &Entry, schema: &Schema, value: &Expr, path: &mut Vec<String>) {
        if let Expr::Map(map, position) = value {
            let is_map = schema
                .at(path)
                .is_some_and(|at| schema.properties(at).next().is_some());
            if is_map {
                self.map(entry, schema, &map.0, path, *position);
                return;
            }
        }
        let Some(literal) = value
            .get_literal_value(None)
            .filter(|value| !value.is_fnptr())
        else {
            return;
        };
        if let Some(fault) = check_value(schema, path, &literal) {
            let finding = fault.diagnostic();
            let place = self.whole(value.start_position());
            self.findings.push(crate::Diagnostic { place, ..finding });
        }
    }
}

/// Whether an option that is in no schema is taken all the same: declared as such, or named as code
/// in the text.
fn takes_besides(entry: &Entry, name: &str) -> bool {
    entry.besides.iter().any(|field| field.name == name)
        || entry.text.contains(&format!("`{name}`"))
}
