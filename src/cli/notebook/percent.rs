//! Notebooks as scripts, and back: `// %%` begins a cell, `// %% [markdown]` one of text, whose lines are comments.
//!
//! What a script does not show stands as JSON behind the mark: `// %% [raw] {"id": "..", "metadata": {..}}`, and that of the
//! notebook in its first line, `// %%% {..}`. Magics, which no script has, become comments that begin with `//> `, and so
//! do lines that would be read as marks; a line that begins like one gets one more `>`. Outputs are left out.

use rhapsode_script::MagicLines;
use serde_json::{Map, Value, json};

use super::document::{Cell, Kind, Notebook, default_id};

/// Begins a cell.
const MARK: &str = "// %%";
/// Begins the line of what belongs to the notebook.
const HEAD: &str = "// %%%";
/// Begins a line that is no code.
const ASIDE: &str = "//>";

/// The notebook as a script.
pub fn script(notebook: &Notebook) -> String {
    let mut text = String::new();
    let mut fields = notebook.fields.clone();
    let own = Notebook::new();
    // What every notebook of this language has need not be said.
    fields.retain(|key, value| own.fields.get(key) != Some(value));
    if !fields.is_empty() {
        text.push_str(&format!("{HEAD} {}\n", Value::Object(fields)));
    }
    for (i, cell) in notebook.cells.iter().enumerate() {
        text.push_str(&mark(cell, i));
        text.push('\n');
        text.push_str(&body(cell));
    }
    text
}

/// The line that begins a cell.
fn mark(cell: &Cell, place: usize) -> String {
    let mut fields = cell.fields.clone();
    fields.remove("outputs");
    fields.remove("execution_count");
    let kind = cell.kind();
    if fields.get("cell_type") == Some(&kind.name().into()) {
        fields.remove("cell_type");
    }
    if fields.get("id") == Some(&default_id(place).into()) {
        fields.remove("id");
    }
    if fields.get("metadata") == Some(&json!({})) {
        fields.remove("metadata");
    }
    let mut line = MARK.to_string();
    if kind != Kind::Code {
        line.push_str(&format!(" [{}]", kind.name()));
    }
    if !fields.is_empty() {
        line.push_str(&format!(" {}", Value::Object(fields)));
    }
    line
}

/// The lines of a cell, each with its end.
fn body(cell: &Cell) -> String {
    if cell.source.is_empty() {
        return String::new();
    }
    let magics = MagicLines::of(&cell.source);
    let lines = cell
        .source
        .split('\n')
        .enumerate()
        .map(|(i, line)| match cell.kind() {
            Kind::Code if magics.contains(i) || is_mark(line) => prefixed(ASIDE, line),
            Kind::Code => match line.strip_prefix(ASIDE) {
                Some(rest) => format!("{ASIDE}>{rest}"),
                None => line.to_string(),
            },
            Kind::Markdown | Kind::Raw => match prefixed("//", line) {
                mark if is_mark(&mark) => prefixed(ASIDE, line),
                comment => comment,
            },
        });
    lines.map(|line| line + "\n").collect()
}

fn prefixed(prefix: &str, line: &str) -> String {
    match line.is_empty() {
        true => prefix.to_string(),
        false => format!("{prefix} {line}"),
    }
}

/// Whether a line of a script begins a cell or a notebook.
fn is_mark(line: &str) -> bool {
    let line = line.trim_end_matches('\r');
    [MARK, HEAD].iter().any(|mark| {
        line.strip_prefix(mark)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// A script as a notebook; the reason, with the line, when what stands behind a mark cannot be read. What stands before the
/// first mark is a cell of code; a script without any mark is one cell.
pub fn notebook(text: &str) -> Result<Notebook, (usize, String)> {
    let text = text.trim_start_matches('\u{feff}');
    let mut notebook = Notebook::new();
    let mut cells: Vec<(Cell, Vec<&str>)> = Vec::new();
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines = body.split('\n').enumerate();
    for (i, line) in lines.filter(|_| !text.is_empty()) {
        let wrong = |reason: String| (i + 1, reason);
        if cells.is_empty() && is_mark(line) && line.starts_with(HEAD) {
            let rest = line.get(HEAD.len()..).unwrap_or("");
            notebook.fields.extend(fields(rest).map_err(wrong)?);
        } else if is_mark(line) && !line.starts_with(HEAD) {
            let rest = line.get(MARK.len()..).unwrap_or("");
            let cell = marked(rest, cells.len()).map_err(wrong)?;
            cells.push((cell, Vec::new()));
        } else {
            if cells.is_empty() {
                cells.push((Cell::new(Kind::Code, &default_id(0), ""), Vec::new()));
            }
            if let Some((_, lines)) = cells.last_mut() {
                lines.push(line);
            }
        }
    }
    notebook.cells = cells
        .into_iter()
        .map(|(cell, lines)| filled(cell, &lines))
        .collect();
    Ok(notebook)
}

/// A cell with the source that its lines stand for.
fn filled(cell: Cell, lines: &[&str]) -> Cell {
    let kind = cell.kind();
    let of = |line: &&str| match kind {
        Kind::Code => match line.strip_prefix(ASIDE) {
            Some(rest) if rest.starts_with('>') => format!("//{rest}"),
            Some("") => String::new(),
            Some(rest) => rest
                .strip_prefix(' ')
                .map_or(line.to_string(), str::to_string),
            None => line.to_string(),
        },
        Kind::Markdown | Kind::Raw if line.starts_with("//> ") => line.replacen("//> ", "", 1),
        Kind::Markdown | Kind::Raw => match line.strip_prefix("//") {
            Some(rest) => rest.strip_prefix(' ').unwrap_or(rest).to_string(),
            // Written by hand without its sign.
            None => line.to_string(),
        },
    };
    let source = lines.iter().map(of).collect::<Vec<_>>().join("\n");
    Cell { source, ..cell }
}

/// The cell that a mark begins: `[markdown] {..}`.
fn marked(rest: &str, place: usize) -> Result<Cell, String> {
    let rest = rest.trim();
    let (kind, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => {
            let unknown = || format!("expected [markdown] or [raw], got [{name}]");
            (Kind::named(name).ok_or_else(unknown)?, rest.trim())
        }
        None => (Kind::Code, rest),
    };
    let mut cell = Cell::new(kind, &default_id(place), "");
    match rest.starts_with('{') || rest.is_empty() {
        true => cell.fields.extend(fields(rest)?),
        // Elsewhere a title may stand there.
        false => {
            cell.fields
                .insert("metadata".into(), json!({ "title": rest }));
        }
    }
    Ok(cell)
}

/// What stands as JSON behind a mark.
fn fields(text: &str) -> Result<Map<String, Value>, String> {
    match text.trim() {
        "" => Ok(Map::new()),
        text => serde_json::from_str(text)
            .map_err(|error| format!("what stands behind the mark is no JSON object: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines that mean something to the format, and any others.
    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~äψ😀]{0,12}",
            "(// )?(// )?%%? ?[a-z]{0,6}( [a-z]*)?",
            "//>{0,3} ?[a-z]{0,3}",
            "(// )?[!?][a-z ]{0,5}\\??",
            Just("%%bash".to_string()),
            Just("%time f(#{".to_string()),
            Just("})".to_string()),
            Just("`".to_string()),
            Just("/*".to_string()),
            Just("let x = 1;".to_string()),
            Just("//".to_string()),
            Just("\r".to_string()),
        ]
    }

    fn source() -> impl Strategy<Value = String> {
        prop::collection::vec(line(), 0..6).prop_map(|lines| lines.join("\n"))
    }

    fn cell() -> impl Strategy<Value = Cell> {
        let kind = prop_oneof![Just(Kind::Code), Just(Kind::Markdown), Just(Kind::Raw)];
        let tags = prop::collection::vec("[a-z\"\\\\%]{1,5}", 0..3);
        let id = prop_oneof![Just("cell-1".to_string()), "[a-z0-9-]{1,8}"];
        (kind, id, source(), tags, any::<bool>()).prop_map(|(kind, id, source, tags, extra)| {
            let mut cell = Cell::new(kind, &id, &source);
            for tag in tags {
                cell.add_tag(&tag);
            }
            if extra {
                cell.fields
                    .insert("attachments".into(), json!({ "a.png": { "x": "y\n" } }));
            }
            cell
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn a_notebook_survives_as_a_script(cells in prop::collection::vec(cell(), 0..5), extra in any::<bool>()) {
            let mut before = Notebook::new();
            before.cells = cells;
            if extra {
                before.fields.insert("metadata".into(), json!({ "kernelspec": { "name": "x" }, "title": "// %%" }));
            }
            prop_assert_eq!(notebook(&script(&before)).unwrap(), before);
        }

        #[test]
        fn a_script_survives_as_a_notebook(lines in prop::collection::vec(line(), 0..8)) {
            let text = lines.join("\n") + "\n";
            if let Ok(once) = notebook(&text) {
                prop_assert_eq!(notebook(&script(&once)).unwrap(), once);
            }
        }

        #[test]
        fn a_script_of_marks_and_plain_code_is_the_same_to_the_byte(
            cells in prop::collection::vec(prop::collection::vec("[a-z(){};= ]{1,9}", 1..4), 1..4),
        ) {
            let text: String = cells.iter().map(|lines| format!("// %%\n{}\n", lines.join("\n"))).collect();
            prop_assert_eq!(script(&notebook(&text).unwrap()), text);
        }
    }

    #[test]
    fn it_reads_like_a_script() {
        let mut notebook = Notebook::new();
        notebook.cells = vec![
            Cell::new(Kind::Markdown, "cell-1", "# Title\n\ntext"),
            Cell::new(Kind::Code, "cell-2", "%time f(\n  1)\nlet x = 1;\n!ls"),
            Cell::new(Kind::Code, "abc", "x"),
        ];
        notebook.cells[2].add_tag("parameters");
        assert_eq!(
            script(&notebook),
            "// %% [markdown]\n// # Title\n//\n// text\n// %%\n//> %time f(\n//>   1)\nlet x = 1;\n//> !ls\n\
             // %% {\"metadata\":{\"tags\":[\"parameters\"]},\"id\":\"abc\"}\nx\n"
        );
    }

    #[test]
    fn a_script_without_marks_is_one_cell() {
        let found = notebook("// about\nlet x = 1;\nx\n").unwrap();
        assert_eq!(found.cells.len(), 1);
        assert_eq!(found.cells[0].source, "// about\nlet x = 1;\nx");
        assert_eq!(notebook("// %% [rust]\n").unwrap_err().0, 1);
        assert!(
            notebook("\n// %% {\n")
                .unwrap_err()
                .1
                .contains("no JSON object")
        );
    }
}
