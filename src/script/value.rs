//! Values in the users' words: what a type is called, what a variable holds, how a value is shown.

use std::{any::TypeId, collections::HashMap};

use rhai::{Array, Dynamic, FnPtr, Map};

use crate::Display;

/// A type of ours that scripts hold: a tensor, a model, a figure, a run.
pub(crate) trait Object: Clone + Send + Sync + 'static {
    /// What the type is called, e.g. `Tensor`.
    const NAME: &'static str;
    /// Whether its methods are short. Else other shells go on with a clone, which is one and the same object, while one
    /// of them runs; of what is short no clone is kept, it would hold memory.
    const BRIEF: bool = false;
    /// What `print` writes.
    fn text(&self) -> String;
    /// A few words for lists of variables, e.g. `[20000, 2] f32`.
    fn summary(&self) -> String;
    /// Bytes held, when known.
    fn bytes(&self) -> Option<u64>;
    /// Its rich form.
    fn display(&self) -> Display;
}

/// What is known of one type of ours.
struct Kind {
    name: &'static str,
    summary: fn(&Dynamic) -> Option<String>,
    bytes: fn(&Dynamic) -> Option<u64>,
    text: fn(&Dynamic) -> Option<String>,
    display: fn(&Dynamic) -> Option<Display>,
    handle: fn(&Dynamic) -> Option<Dynamic>,
}

/// All types of ours.
#[derive(Default)]
pub(crate) struct Types(HashMap<TypeId, Kind>);

impl Types {
    /// Makes a type known.
    pub fn insert<T: Object>(&mut self) {
        let kind = Kind {
            name: T::NAME,
            summary: |value| Some(value.read_lock::<T>()?.summary()),
            bytes: |value| value.read_lock::<T>()?.bytes(),
            text: |value| Some(value.read_lock::<T>()?.text()),
            display: |value| Some(value.read_lock::<T>()?.display()),
            handle: |value| {
                let object = value.read_lock::<T>().filter(|_| !T::BRIEF)?;
                Some(Dynamic::from(object.clone()))
            },
        };
        self.0.insert(TypeId::of::<T>(), kind);
    }

    /// The names of all types of ours.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.values().map(|kind| kind.name)
    }

    fn of(&self, value: &Dynamic) -> Option<&Kind> {
        self.0.get(&value.type_id())
    }

    /// The users' word for a type of Rust; nothing where a value of any type may stand.
    pub fn word(&self, id: TypeId) -> Option<&'static str> {
        let known = [
            (TypeId::of::<i64>(), "int"),
            (TypeId::of::<f64>(), "float"),
            (TypeId::of::<bool>(), "bool"),
            (TypeId::of::<char>(), "char"),
            (TypeId::of::<()>(), "()"),
            (TypeId::of::<rhai::ImmutableString>(), "string"),
            (TypeId::of::<String>(), "string"),
            (TypeId::of::<Array>(), "array"),
            (TypeId::of::<Map>(), "map"),
            (TypeId::of::<FnPtr>(), "closure"),
            (TypeId::of::<std::ops::Range<i64>>(), "range"),
            (TypeId::of::<std::ops::RangeInclusive<i64>>(), "range="),
        ];
        let of_rhai = known.iter().find(|(known, _)| *known == id);
        of_rhai
            .map(|(_, word)| *word)
            .or_else(|| self.0.get(&id).map(|kind| kind.name))
    }

    /// Whether a type of that name is ours.
    pub fn is_ours(&self, name: &str) -> bool {
        self.0.values().any(|kind| kind.name == name)
    }

    /// What the type of a value is called.
    pub fn name(&self, value: &Dynamic) -> String {
        self.of(value).map_or_else(
            || type_word(value.type_name()).to_string(),
            |kind| kind.name.to_string(),
        )
    }

    /// A few words on a value.
    pub fn summary(&self, value: &Dynamic) -> String {
        if let Some(summary) = self.of(value).and_then(|kind| (kind.summary)(value)) {
            return summary;
        }
        if let Some(array) = value.read_lock::<Array>() {
            return match array.len() {
                0 => "empty".into(),
                n => {
                    let first = array
                        .first()
                        .map_or(String::new(), |first| self.name(first));
                    let alike = array.iter().all(|item| self.name(item) == first);
                    format!("{n} x {}", if alike { first.as_str() } else { "any" })
                }
            };
        }
        if let Some(map) = value.read_lock::<Map>() {
            return map
                .keys()
                .map(|key| key.as_str())
                .collect::<Vec<_>>()
                .join(", ");
        }
        shorten(&self.repr(value), 60)
    }

    /// The bytes that a value holds, when known.
    pub fn bytes(&self, value: &Dynamic) -> Option<u64> {
        if let Some(kind) = self.of(value) {
            return (kind.bytes)(value);
        }
        let size = size_of::<Dynamic>() as u64;
        if let Some(array) = value.read_lock::<Array>() {
            return Some(
                array
                    .iter()
                    .map(|item| size + self.bytes(item).unwrap_or(0))
                    .sum(),
            );
        }
        if let Some(map) = value.read_lock::<Map>() {
            return Some(
                map.values()
                    .map(|item| size + self.bytes(item).unwrap_or(0))
                    .sum(),
            );
        }
        value
            .read_lock::<rhai::ImmutableString>()
            .map(|text| text.len() as u64)
    }

    /// The same object apart from its variable, when its methods may take long.
    pub fn handle(&self, value: &Dynamic) -> Option<Dynamic> {
        (self.of(value)?.handle)(value)
    }

    /// The rich form of a value; nothing for `()`.
    pub fn display(&self, value: &Dynamic) -> Option<Display> {
        if value.is_unit() {
            return None;
        }
        let rich = self.of(value).and_then(|kind| (kind.display)(value));
        let display = rich.unwrap_or_else(|| Display::text(self.repr(value)));
        Some(display.within_budget())
    }

    /// A value as one would type it, long lists cut.
    pub fn repr(&self, value: &Dynamic) -> String {
        let mut text = String::new();
        self.write(value, &mut text, 0);
        text
    }

    fn write(&self, value: &Dynamic, out: &mut String, depth: usize) {
        const MOST: usize = 100;
        // The deeper a list lies, the less of it tells what it is: of the trace of a search all would be a page of numbers.
        const MOST_INSIDE: [usize; 4] = [MOST, 20, 8, 4];
        const DEEPEST: usize = 20;
        if let Some(text) = self.of(value).and_then(|kind| (kind.text)(value)) {
            out.push_str(&text);
        } else if depth > DEEPEST {
            out.push('…');
        } else if let Some(array) = value.read_lock::<Array>() {
            let most = MOST_INSIDE[depth.min(3)];
            let cut = (array.len() > most).then(|| format!("… {} in all", array.len()));
            self.write_list(
                out,
                "[",
                "]",
                array.iter().take(most).map(|item| ("", item)),
                cut,
                depth,
            );
        } else if let Some(map) = value.read_lock::<Map>() {
            let cut = (map.len() > MOST).then(|| format!("… {} in all", map.len()));
            self.write_list(
                out,
                "#{",
                "}",
                map.iter()
                    .take(MOST)
                    .map(|(key, item)| (key.as_str(), item)),
                cut,
                depth,
            );
        } else if let Some(function) = value.read_lock::<FnPtr>() {
            out.push_str(&function_name(&function));
        } else if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
            out.push_str(&format!("{:?}", text.as_str()));
        } else if value.is_unit() {
            out.push_str("()");
        } else if let Ok(character) = value.as_char() {
            out.push_str(&format!("{character:?}"));
        } else if let Some(inner) = value.read_lock::<Dynamic>() {
            // Of a variable, which is shared, Rhai would say so.
            out.push_str(&inner.to_string());
        }
    }

    fn write_list<'a>(
        &self,
        out: &mut String,
        open: &str,
        close: &str,
        items: impl Iterator<Item = (&'a str, &'a Dynamic)>,
        cut: Option<String>,
        depth: usize,
    ) {
        out.push_str(open);
        for (i, (key, item)) in items.enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            if !key.is_empty() {
                out.push_str(key);
                out.push_str(": ");
            }
            self.write(item, out, depth + 1);
        }
        if let Some(cut) = cut {
            out.push_str(", ");
            out.push_str(&cut);
        }
        out.push_str(close);
    }
}

/// What a function value is called: closures have no name of their own.
fn function_name(function: &FnPtr) -> String {
    if function.is_anonymous() {
        "closure".into()
    } else {
        format!("fn {}", function.fn_name())
    }
}

/// The users' word for a type of Rhai or Rust.
pub(crate) fn type_word(name: &str) -> &str {
    match name.trim() {
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "&str"
        | "ImmutableString"
        | "alloc::string::String"
        | "String"
        | "&str | ImmutableString | String" => "string",
        "Array" | "alloc::vec::Vec<rhai::types::dynamic::Dynamic>" | "&mut Array" => "array",
        "Map" | "&mut Map" => "map",
        "Fn" | "FnPtr" | "rhai::types::fn_ptr::FnPtr" => "closure",
        "Dynamic" | "&mut Dynamic" | "?" | "rhai::types::dynamic::Dynamic" => "any",
        "core::ops::range::Range<i64>"
        | "range"
        | "Range<i64>"
        | "ExclusiveRange"
        | "Range<INT>" => "range",
        "core::ops::range::RangeInclusive<i64>"
        | "range="
        | "RangeInclusive<i64>"
        | "InclusiveRange"
        | "RangeInclusive<INT>" => "range=",
        "Blob" | "&mut Blob" => "blob",
        "Instant" => "timestamp",
        other => other.rsplit("::").next().unwrap_or(other),
    }
}

/// At most `most` characters of a text.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() <= most && line.len() == text.len() {
        return line.to_string();
    }
    let mut short: String = line.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_one_would_type_them() {
        let types = Types::default();
        let engine = rhai::Engine::new();
        let show = |code: &str| types.repr(&engine.eval::<Dynamic>(code).unwrap());
        assert_eq!(
            show(r#"[1, 2.5, "a\"b", 'c', true, ()]"#),
            r#"[1, 2.5, "a\"b", 'c', true, ()]"#
        );
        assert_eq!(show("#{b: 1, a: [2.0]}"), "#{a: [2.0], b: 1}");
        assert_eq!(show("|x| x"), "closure");
        let inner = "1, 1, 1, 1, 1, 1, 1, 1, … 9 in all";
        assert_eq!(
            show("let a = []; for i in 0..9 { a.push(1) } #{x: [a], y: a}"),
            format!("#{{x: [[{inner}]], y: [1, 1, 1, 1, 1, 1, 1, 1, 1]}}")
        );
    }
}
