//! The schema of an options struct, as `schemars` derives it: what help, completion and the
//! reading of option maps know about names, types, defaults and allowed values.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use schemars::JsonSchema;
use serde_json::Value;

use crate::context::lock;

/// A schema with its definitions.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Value,
}

/// One option, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key.
    pub name: String,
    /// Its type: `int`, `float`, `"a" | "b"`, `array of int`.
    pub kind: String,
    /// Its default, as one would type it, where the schema tells.
    pub default: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// The doc comment.
    pub text: String,
}

impl Field {
    /// The type, and the default or that there is none.
    pub fn detail(&self) -> String {
        match (&self.default, self.required) {
            (_, true) => format!("{} (required)", self.kind),
            (Some(value), _) => format!("{} = {value}", self.kind),
            (None, false) => self.kind.clone(),
        }
    }
}

impl Schema {
    /// The schema of a struct; derived once.
    pub fn of<T: JsonSchema + 'static>() -> Arc<Self> {
        static KNOWN: OnceLock<Mutex<HashMap<TypeId, Arc<Schema>>>> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        if let Some(schema) = lock(known).get(&TypeId::of::<T>()) {
            return Arc::clone(schema);
        }
        let schema = Arc::new(Self {
            root: schemars::schema_for!(T).to_value(),
        });
        lock(known).insert(TypeId::of::<T>(), Arc::clone(&schema));
        schema
    }

    /// A schema that was put together.
    pub fn of_value(root: Value) -> Arc<Self> {
        Arc::new(Self { root })
    }

    /// The schema as it stands.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Follows a reference to a definition.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // A chain of references is finite; the bound keeps a hand-made loop from hanging.
        for _ in 0..32 {
            let Some(path) = schema.get("$ref").and_then(Value::as_str) else {
                break;
            };
            match self.root.pointer(path.trim_start_matches('#')) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// The alternatives of a schema that allows several; else the schema itself.
    pub fn alternatives<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array)
        {
            Some(list) => list.iter().flat_map(|one| self.alternatives(one)).collect(),
            None => vec![schema],
        }
    }

    /// The properties of an object.
    pub fn properties<'a>(
        &'a self,
        schema: &'a Value,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let objects = self
            .alternatives(schema)
            .into_iter()
            .filter_map(|one| one.get("properties")?.as_object());
        objects
            .flatten()
            .map(|(name, schema)| (name.as_str(), schema))
    }

    /// The schema under a path of keys.
    pub fn at<'a>(&'a self, path: &[String]) -> Option<&'a Value> {
        let mut schema = &self.root;
        for key in path {
            schema = self.properties(schema).find(|(name, _)| name == key)?.1;
        }
        Some(schema)
    }

    /// The strings that a schema allows, if it lists them.
    pub fn strings<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let mut strings = Vec::new();
        for one in self.alternatives(schema) {
            strings.extend(one.get("const").and_then(Value::as_str));
            strings.extend(
                one.get("enum")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str),
            );
        }
        strings
    }

    /// All options in words.
    pub fn fields(&self) -> Vec<Field> {
        self.fields_of(&self.root)
    }

    /// The options of a nested map in words.
    pub fn fields_of(&self, schema: &Value) -> Vec<Field> {
        let required: Vec<&str> = self
            .alternatives(schema)
            .into_iter()
            .filter_map(|one| one.get("required")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let field = |(name, schema): (&str, &Value)| Field {
            name: name.to_string(),
            kind: self.words(schema),
            default: schema.get("default").map(literal),
            required: required.contains(&name),
            text: match schema.get("default") {
                Some(default) if !default.is_null() => without_default(&self.text_of(schema)),
                _ => self.text_of(schema),
            },
        };
        self.properties(schema).map(field).collect()
    }

    fn text_of(&self, schema: &Value) -> String {
        let text = |schema: &Value| {
            schema
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_string)
        };
        text(schema)
            .or_else(|| text(self.resolve(schema)))
            .unwrap_or_default()
    }

    /// A type in words.
    pub fn words(&self, schema: &Value) -> String {
        let mut words: Vec<String> = Vec::new();
        for one in self.alternatives(schema) {
            for word in self.words_of(one) {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        words.join(" | ")
    }

    fn words_of(&self, schema: &Value) -> Vec<String> {
        if let Some(word) = native_type(schema) {
            return vec![word.to_string()];
        }
        let strings = self.strings(schema);
        if !strings.is_empty() {
            return strings.iter().map(|text| format!("{text:?}")).collect();
        }
        types_of(schema)
            .into_iter()
            .map(|kind| match kind {
                "integer" => "int".to_string(),
                "number" => "float".to_string(),
                "boolean" => "bool".to_string(),
                "null" => "()".to_string(),
                "object" => "map".to_string(),
                "array" => match schema.get("items") {
                    Some(items) if items.is_object() => format!("array of {}", self.words(items)),
                    _ => "array".to_string(),
                },
                other => other.to_string(),
            })
            .collect()
    }
}

/// A text without its `(default 2)` or `; default 2)`: the default itself stands beside it.
fn without_default(text: &str) -> String {
    let Some((at, mark)) = [" (default ", "; default ", ", default "]
        .iter()
        .find_map(|mark| Some((text.find(mark)?, *mark)))
    else {
        return text.to_string();
    };
    let (before, rest) = text.split_at(at);
    let mut depth = 1usize;
    let end = rest.char_indices().skip(mark.len()).find(|(_, c)| {
        depth = match c {
            '(' => depth + 1,
            ')' => depth - 1,
            _ => depth,
        };
        depth == 0
    });
    let Some((end, _)) = end else {
        return text.to_string();
    };
    let close = if mark == " (default " { end + 1 } else { end };
    format!("{before}{}", rest.get(close..).unwrap_or(""))
}

/// The type of an option that is a value of the program and no data: a tensor, an optimizer.
pub(crate) fn native_type(schema: &Value) -> Option<&str> {
    schema.get(rhapsode_models::native::TYPE)?.as_str()
}

/// The JSON types that a schema allows.
pub(crate) fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A JSON value as a Rhai literal.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "()".to_string(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(literal).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", literal(value)))
                .collect();
            format!("#{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_default;

    #[test]
    fn a_default_is_told_once() {
        assert_eq!(without_default("Steps (default 3)."), "Steps.");
        assert_eq!(without_default("Rate (> 0; default f(1))."), "Rate (> 0).");
        assert_eq!(
            without_default("Size (at least 1, default [8, 8]) of all."),
            "Size (at least 1) of all."
        );
        assert_eq!(
            without_default("By default nothing."),
            "By default nothing."
        );
        assert_eq!(without_default("Open (default 3"), "Open (default 3");
    }
}
