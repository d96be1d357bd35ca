//! A notebook as a document (nbformat 4): cells and everything else that its file holds, known here or not.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{error::Error, files};

/// A notebook.
#[derive(Clone, Debug, PartialEq)]
pub struct Notebook {
    /// All of the file but its cells.
    pub fields: Map<String, Value>,
    /// The cells in order.
    pub cells: Vec<Cell>,
}

/// A cell: its fields as they are in the file, but for its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// All but the source.
    pub fields: Map<String, Value>,
    /// Its text.
    pub source: String,
}

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Code.
    Code,
    /// Markdown.
    Markdown,
    /// Neither: shown as it is.
    Raw,
}

impl Kind {
    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Code => "code",
            Kind::Markdown => "markdown",
            Kind::Raw => "raw",
        }
    }

    /// By the name that the file has.
    pub fn named(name: &str) -> Option<Self> {
        [Kind::Code, Kind::Markdown, Kind::Raw]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl Cell {
    /// A cell with an id and no more than must be.
    pub fn new(kind: Kind, id: &str, source: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("cell_type".into(), kind.name().into());
        fields.insert("id".into(), id.into());
        fields.insert("metadata".into(), Value::Object(Map::new()));
        if kind == Kind::Code {
            fields.insert("execution_count".into(), Value::Null);
            fields.insert("outputs".into(), Value::Array(Vec::new()));
        }
        Self {
            fields,
            source: source.to_string(),
        }
    }

    /// What it is; a kind that is not known is shown as it is.
    pub fn kind(&self) -> Kind {
        let name = self.fields.get("cell_type").and_then(Value::as_str);
        name.and_then(Kind::named).unwrap_or(Kind::Raw)
    }

    /// Its tags.
    pub fn tags(&self) -> Vec<&str> {
        let tags = self.fields.get("metadata").and_then(|m| m.get("tags"));
        let tags = tags.and_then(Value::as_array).into_iter().flatten();
        tags.filter_map(Value::as_str).collect()
    }

    /// Whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().contains(&tag)
    }

    /// Gives it a tag.
    pub fn add_tag(&mut self, tag: &str) {
        let metadata = self.fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            let tags = metadata.entry("tags").or_insert_with(|| json!([]));
            if let Some(tags) = tags.as_array_mut() {
                tags.push(tag.into());
            }
        }
    }

    /// What a run of it has brought.
    pub fn set_outputs(&mut self, count: Option<u64>, outputs: Vec<Value>) {
        self.fields.insert("execution_count".into(), json!(count));
        self.fields.insert("outputs".into(), Value::Array(outputs));
    }
}

impl Notebook {
    /// A notebook without cells, for this language.
    pub fn new() -> Self {
        let mut notebook = Self {
            fields: Map::new(),
            cells: Vec::new(),
        };
        notebook.complete();
        notebook
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = files::read_script(path)?;
        Self::parse(&text).map_err(|reason| Error::Notebook {
            path: path.to_path_buf(),
            reason,
        })
    }

    /// Reads the text of a file; the reason when it is no notebook.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| format!("it is not JSON: {error}"))?;
        let Value::Object(mut fields) = value else {
            return Err("it is JSON, but no notebook".into());
        };
        match fields.get("nbformat").and_then(Value::as_u64) {
            Some(4) => {}
            Some(other) => {
                return Err(format!("format 4 is needed, and this is format {other}"));
            }
            None => return Err("it has no `nbformat`".into()),
        }
        let Some(Value::Array(cells)) = fields.remove("cells") else {
            return Err("it has no list of cells".into());
        };
        let cells = cells.into_iter().enumerate().map(|(i, cell)| match cell {
            Value::Object(mut fields) => {
                let source = joined(fields.remove("source").unwrap_or_default());
                Ok(Cell { fields, source })
            }
            _ => Err(format!("cell {} is no object", i + 1)),
        });
        let cells = cells.collect::<Result<_, String>>()?;
        Ok(Self { fields, cells })
    }

    /// Fills in what format 4.5 asks for: ids of cells, and what the language is.
    pub fn complete(&mut self) {
        self.fields.entry("nbformat").or_insert(json!(4));
        let minor = self.fields.get("nbformat_minor").and_then(Value::as_u64);
        if minor.is_none_or(|minor| minor < 5) {
            self.fields.insert("nbformat_minor".into(), json!(5));
        }
        let metadata = self.fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            let kernel =
                json!({ "display_name": "Rhapsode", "language": "rhai", "name": "rhapsode" });
            metadata.entry("kernelspec").or_insert(kernel);
            let language = json!({
                "codemirror_mode": "javascript",
                "file_extension": ".rhai",
                "mimetype": "text/x-rhai",
                "name": "rhai",
                "pygments_lexer": "rhai",
            });
            metadata.entry("language_info").or_insert(language);
        }
        let mut taken: Vec<String> = self.cells.iter().filter_map(Cell::id).collect();
        for (i, cell) in self.cells.iter_mut().enumerate() {
            if cell.id().is_none() {
                let id = free_id(i, &taken);
                cell.fields.insert("id".into(), id.clone().into());
                taken.push(id);
            }
        }
    }

    /// As the text of a file, laid out as Jupyter does: keys sorted, a space of indentation, texts as lists of lines.
    pub fn text(&self) -> String {
        let mut fields = self.fields.clone();
        let cells = self.cells.iter().map(|cell| {
            let mut fields = cell.fields.clone();
            fields.insert("source".into(), lines(&cell.source));
            if let Some(Value::Array(outputs)) = fields.get_mut("outputs") {
                outputs.iter_mut().for_each(split);
            }
            Value::Object(fields)
        });
        fields.insert("cells".into(), Value::Array(cells.collect()));
        let value = sorted(Value::Object(fields));
        let mut text = Vec::new();
        let layout = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, layout);
        // A value with string keys cannot fail to be JSON, and memory takes all that is written.
        let _ = serde::Serialize::serialize(&value, &mut writer);
        text.push(b'\n');
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        files::write(path, self.text().as_bytes())
    }
}

impl Cell {
    /// Its id, if it has one.
    pub fn id(&self) -> Option<String> {
        self.fields
            .get("id")
            .and_then(Value::as_str)
            .map(str::to_string)
    }
}

/// The id of a cell that has none: by its place, so that it is the same each time.
fn free_id(place: usize, taken: &[String]) -> String {
    let first = default_id(place);
    let more = (2..).map(|n| format!("{first}-{n}"));
    let mut ids = std::iter::once(first.clone()).chain(more);
    ids.find(|id| !taken.contains(id)).unwrap_or(first)
}

/// The id of a cell that came without one.
pub fn default_id(place: usize) -> String {
    format!("cell-{}", place + 1)
}

/// A text of the file: one string, or a list of lines.
fn joined(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// A text as a list of lines with their ends.
fn lines(text: &str) -> Value {
    Value::Array(text.split_inclusive('\n').map(Value::from).collect())
}

/// Texts of an output as lists of lines, so that a change of one is seen as such.
fn split(output: &mut Value) {
    if let Some(text @ Value::String(_)) = output.get_mut("text") {
        *text = lines(text.as_str().unwrap_or(""));
    }
    let data = output.get_mut("data").and_then(Value::as_object_mut);
    for (mime, content) in data.into_iter().flatten() {
        if (mime.starts_with("text/") || mime == "image/svg+xml")
            && let Value::String(text) = content
        {
            *content = lines(text);
        }
    }
}

/// The value with the keys of all maps in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_stays() {
        let text = r#"{"nbformat": 4, "nbformat_minor": 5, "extra": [1], "metadata": {"z": 1, "a": {"y": 2}},
            "cells": [{"cell_type": "code", "id": "x", "metadata": {}, "source": ["a\n", "b"], "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "one\ntwo\n"}],
                "execution_count": 3, "attachments": {"p": 1}}]}"#;
        let notebook = Notebook::parse(text).unwrap();
        assert_eq!(notebook.cells[0].source, "a\nb");
        let written = notebook.text();
        assert!(
            written.starts_with("{\n \"cells\": [\n  {\n   \"attachments\""),
            "{written}"
        );
        assert!(
            written.contains("\"one\\n\",\n      \"two\\n\""),
            "{written}"
        );
        assert!(
            written.contains("\"extra\"") && written.ends_with("}\n"),
            "{written}"
        );
        let again = Notebook::parse(&written).unwrap();
        assert_eq!(again.text(), written);
        assert_eq!(again.fields["metadata"], json!({"a": {"y": 2}, "z": 1}));
    }

    #[test]
    fn ids_are_filled_in_and_differ() {
        let text = r#"{"nbformat": 4, "metadata": {}, "cells": [
            {"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "id": "cell-1", "source": ""}]}"#;
        let mut notebook = Notebook::parse(text).unwrap();
        notebook.complete();
        assert_eq!(notebook.cells[0].id().unwrap(), "cell-1-2");
        assert_eq!(notebook.cells[1].id().unwrap(), "cell-1");
        assert_eq!(notebook.fields["nbformat_minor"], 5);
        assert_eq!(
            notebook.fields["metadata"]["kernelspec"]["name"],
            "rhapsode"
        );
    }

    #[test]
    fn what_is_no_notebook_says_why() {
        let reason = |text: &str| Notebook::parse(text).unwrap_err();
        assert!(reason("{").starts_with("it is not JSON"));
        assert_eq!(reason("[]"), "it is JSON, but no notebook");
        assert_eq!(reason("{}"), "it has no `nbformat`");
        assert_eq!(
            reason(r#"{"nbformat": 3}"#),
            "format 4 is needed, and this is format 3"
        );
        assert_eq!(reason(r#"{"nbformat": 4}"#), "it has no list of cells");
    }
}
