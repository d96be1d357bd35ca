//! Checks a whole notebook: its cells are read as one piece of code, and findings say cell and line.

use std::{collections::HashSet, ops::Range};

use rhai::Token;

use super::{Unit, check, statements::start};
use crate::{
    Diagnostic, Kind, Place,
    cell::Machine,
    lexer::{Lexed, lex},
};

/// Between two cells: what the one leaves open in a statement, the other does not go on with.
const BETWEEN: &str = "\n;\n";

/// Where a cell begins in the code of all.
struct Joined {
    /// Its first line, from 1, and how many it has.
    lines: Range<usize>,
    /// The line and column at which its output begins, if its last value is shown.
    output: Option<(usize, usize)>,
}

/// Checks cells that would be run one after the other; `name` stands before `cell 3` in places.
pub(crate) fn cells(machine: &Machine, name: &str, cells: &[String]) -> Vec<Diagnostic> {
    let mut text = String::new();
    let mut joined = Vec::new();
    for cell in cells {
        let code = crate::magic::checked(machine, cell).unwrap_or_else(|| cell.clone());
        let first = text.matches('\n').count() + 1;
        let output = output(machine, &code).map(|(line, column)| (first + line - 1, column));
        joined.push(Joined {
            lines: first..first + code.split('\n').count(),
            output,
        });
        text.push_str(&code);
        text.push_str(BETWEEN);
    }
    let text = without_redefined(text);
    let findings = check(machine, name, &text, Unit::Cell);
    let shown: HashSet<(usize, usize)> = joined.iter().filter_map(|cell| cell.output).collect();
    let is_output = |finding: &Diagnostic| {
        let place = finding
            .place
            .as_ref()
            .map(|place| (place.line, place.column));
        finding.kind == Kind::Value
            && finding.message == super::statements::UNUSED
            && place
                .is_some_and(|place| shown.contains(&place) || is_magic(&joined, cells, place.0))
    };
    let findings = findings.into_iter().filter(|finding| !is_output(finding));
    let place = |place: &mut Place| {
        let number = joined
            .iter()
            .position(|cell| cell.lines.contains(&place.line));
        if let Some((number, cell)) = number.and_then(|i| Some((i, joined.get(i)?))) {
            place.line -= cell.lines.start - 1;
            place.source = format!("{name}, cell {}", number + 1);
            let own = cells
                .get(number)
                .and_then(|cell| cell.split('\n').nth(place.line - 1));
            place.text = own.unwrap_or("").trim_end_matches('\r').to_string();
        }
    };
    let moved = |mut finding: Diagnostic| {
        let own = |found: &&mut Place| found.source == name;
        let traced = finding
            .trace
            .iter_mut()
            .filter_map(|frame| frame.place.as_mut());
        finding
            .place
            .iter_mut()
            .chain(traced)
            .filter(own)
            .for_each(place);
        finding
    };
    findings.map(moved).collect()
}

/// Whether a line of the joined code is a magic's, which shows the value of its code itself.
fn is_magic(joined: &[Joined], cells: &[String], line: usize) -> bool {
    joined.iter().zip(cells).any(|(at, cell)| {
        at.lines.contains(&line) && crate::MagicLines::of(cell).contains(line - at.lines.start)
    })
}

/// Where the last value of a cell begins, when it is shown.
fn output(machine: &Machine, code: &str) -> Option<(usize, usize)> {
    if lex(code).ends_with_semicolon() {
        return None;
    }
    let ast = machine
        .engine
        .compile_with_scope(&machine.scope, code)
        .ok()?;
    let position = start(ast.statements().last()?);
    Some((position.line()?, position.position()?))
}

/// The code without functions that a later cell defines anew: in one piece of code that would be an error.
fn without_redefined(mut text: String) -> String {
    let lexed = lex(&text);
    let functions = functions(&lexed);
    let mut known = HashSet::new();
    let mut gone: Vec<Range<usize>> = Vec::new();
    for (name, parameters, range) in functions.into_iter().rev() {
        if !known.insert((name, parameters)) {
            gone.push(range);
        }
    }
    for range in gone {
        let blank: Vec<u8> = text.as_bytes().get(range.clone()).unwrap_or(&[]).to_vec();
        let is_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let blank = blank
            .iter()
            .map(|b| if is_line(b) { char::from(*b) } else { ' ' });
        text.replace_range(range, &blank.collect::<String>());
    }
    text
}

/// The functions that code defines: name, number of commas between the parameters, and all of it.
fn functions(lexed: &Lexed) -> Vec<(String, usize, Range<usize>)> {
    let code: Vec<_> = lexed.code().collect();
    let mut found = Vec::new();
    for (i, pair) in code.windows(2).enumerate() {
        let [word, name] = pair else { continue };
        let (Token::Fn, Token::Identifier(name)) = (&word.token, &name.token) else {
            continue;
        };
        let (mut depth, mut commas) = (0usize, 0);
        let rest = code.get(i + 2..).unwrap_or(&[]);
        let parameters = rest
            .iter()
            .take_while(|lexeme| !matches!(lexeme.token, Token::LeftBrace));
        for lexeme in parameters {
            match lexeme.token {
                Token::Comma => commas += 1,
                Token::Identifier(_) if commas == 0 => commas = 1,
                _ => {}
            }
        }
        for lexeme in rest {
            match lexeme.token {
                Token::LeftBrace | Token::MapStart => depth += 1,
                Token::RightBrace => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        found.push((name.to_string(), commas, word.start..lexeme.end));
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{Session, SessionOptions};

    fn found(cells: &[&str]) -> Vec<String> {
        let session = Session::new(SessionOptions::default());
        let cells: Vec<String> = cells.iter().map(|cell| cell.to_string()).collect();
        let findings = session.check_cells("a.ipynb", &cells);
        let told = |finding: &crate::Diagnostic| {
            let place = finding.place.as_ref().unwrap();
            format!(
                "{} {}:{} {}",
                place.source, place.line, place.column, finding.message
            )
        };
        findings.iter().map(told).collect()
    }

    #[test]
    fn a_mistake_is_placed_in_its_cell() {
        let cells = [
            "let x = 1;\nx",
            "%time x + 1\n!ls",
            "let y = x;\nprint(why);",
        ];
        assert_eq!(
            found(&cells),
            ["a.ipynb, cell 3 2:7 unknown variable `why`"]
        );
        assert_eq!(
            found(&["fn f(a) { a }", "f(1)", "fn f(a) { a + 1 }\nf(2)"]),
            [""; 0]
        );
        assert_eq!(found(&["%%bash\necho it's", "let a = \"ä\";\na"]), [""; 0]);
    }

    #[test]
    fn code_that_cannot_be_read_is_placed_too() {
        let found = found(&["let a = 1;", "let b = (;"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.ipynb, cell 2 1:10"), "{found:?}");
    }
}
