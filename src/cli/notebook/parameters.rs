//! Parameters of a notebook, as papermill has them: behind the cell with the tag `parameters`, which declares the defaults,
//! a cell with the tag `injected-parameters` sets what `--set` says.

use rhapsode_script::{Completeness, Session};

use super::document::{Cell, Kind, Notebook};

/// The tag of the defaults.
const DEFAULTS: &str = "parameters";
/// The tag of what was set.
const INJECTED: &str = "injected-parameters";

/// Puts the settings into the notebook; one of an earlier run gives way. Without a cell of defaults nothing is changed:
/// `arg(name, default)` reads the settings. Gives the names of the defaults, if there is such a cell.
pub fn inject(
    notebook: &mut Notebook,
    settings: &[(String, String)],
    session: &Session,
) -> Option<Vec<String>> {
    let defaults = notebook
        .cells
        .iter()
        .position(|cell| cell.has_tag(DEFAULTS))?;
    let known = notebook
        .cells
        .get(defaults)
        .map(|cell| declared(&cell.source));
    if settings.is_empty() {
        return known;
    }
    let lines = settings
        .iter()
        .map(|(name, value)| format!("let {name} = {};", literal(value, session)));
    let lines: Vec<String> = lines.collect();
    let source = format!("// Parameters\n{}", lines.join("\n"));
    match notebook
        .cells
        .iter_mut()
        .find(|cell| cell.has_tag(INJECTED))
    {
        Some(cell) => cell.source = source,
        None => {
            let taken = |id: &String| {
                notebook
                    .cells
                    .iter()
                    .any(|cell| cell.id().as_ref() == Some(id))
            };
            let ids = (1..).map(|n| match n {
                1 => INJECTED.to_string(),
                n => format!("{INJECTED}-{n}"),
            });
            let id = ids.into_iter().find(|id| !taken(id)).unwrap_or_default();
            let mut cell = Cell::new(Kind::Code, &id, &source);
            cell.add_tag(INJECTED);
            notebook.cells.insert(defaults + 1, cell);
        }
    }
    known
}

/// The names that a cell of defaults declares, a line each.
fn declared(source: &str) -> Vec<String> {
    let of = |line: &str| {
        let line = line.trim_start();
        let rest = line
            .strip_prefix("let ")
            .or_else(|| line.strip_prefix("const "))?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        Some(
            rest.trim_start()
                .chars()
                .take_while(|c| is_name(*c))
                .collect(),
        )
    };
    source.lines().filter_map(of).collect()
}

/// A value as it was typed: a number, `true`, `()`, an array or a map of the language, else a text.
fn literal(value: &str, session: &Session) -> String {
    let typed = value.trim();
    let plain = typed.replace('_', "");
    let is_number = plain.parse::<f64>().is_ok_and(|number| number.is_finite());
    let begins = |signs: &[char]| typed.starts_with(signs);
    let is_code = matches!(typed, "true" | "false" | "()")
        || (begins(&['[']) || typed.starts_with("#{"))
            && session.is_complete(&format!("let x = {typed};")) == Completeness::Complete;
    match (
        is_number && begins(&['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
        is_code,
    ) {
        (true, _) => number(typed),
        (_, true) => typed.to_string(),
        _ => quoted(value),
    }
}

/// A number as the language reads it: `1e-3` and `1.` have digits around a point.
fn number(typed: &str) -> String {
    let plain = typed.replace('_', "");
    if plain.parse::<i64>().is_ok() {
        return plain;
    }
    match plain.parse::<f64>() {
        Ok(value) => format!("{value:?}"),
        Err(_) => quoted(typed),
    }
}

/// A text of the language.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use rhapsode_script::SessionOptions;

    use super::*;

    fn settings(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect()
    }

    #[test]
    fn values_are_what_they_look_like() {
        let session = Session::new(SessionOptions::default());
        let of = |text: &str| literal(text, &session);
        let typed = [
            "3",
            "1e-3",
            "-0.5",
            "1_000",
            "true",
            "[1, 2]",
            "#{ a: 1 }",
            "()",
        ];
        let expected = [
            "3",
            "0.001",
            "-0.5",
            "1000",
            "true",
            "[1, 2]",
            "#{ a: 1 }",
            "()",
        ];
        assert_eq!(typed.map(of), expected);
        assert_eq!(of("adam"), "\"adam\"");
        assert_eq!(of("inf"), "\"inf\"");
        assert_eq!(of("[1, "), "\"[1, \"");
        assert_eq!(of("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
    }

    #[test]
    fn settings_stand_behind_the_defaults_once() {
        let session = Session::new(SessionOptions::default());
        let mut notebook = Notebook::new();
        notebook.cells = vec![Cell::new(Kind::Code, "a", "let lr = 0.1;")];
        assert_eq!(
            inject(&mut notebook, &settings(&[("lr", "1")]), &session),
            None
        );
        assert_eq!(notebook.cells.len(), 1);
        notebook.cells[0].add_tag(DEFAULTS);
        for value in ["1", "2"] {
            let known = inject(&mut notebook, &settings(&[("lr", value)]), &session);
            assert_eq!(known.unwrap(), ["lr"]);
            assert_eq!(notebook.cells.len(), 2);
            let expected = format!("// Parameters\nlet lr = {value};");
            assert_eq!(notebook.cells[1].source, expected);
        }
        assert_eq!(notebook.cells[1].tags(), [INJECTED]);
    }
}
