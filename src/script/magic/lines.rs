//! The magics of a cell for those who do not run it: whether it is all there, what can be checked, which lines are no code.

use std::ops::Range;

use rhai::Engine;

use super::scan::{Found, Head, Part, Room, code_ranges, is_open, only, parts};
use crate::{Completeness, cell::Machine, complete::completeness_of_code as of_code};

/// Columns of one level.
const INDENT: usize = 4;

/// Which lines of a cell belong to magics, so that they are no code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MagicLines(Vec<bool>);

impl MagicLines {
    /// Of a cell; names of variables of other cells are not known: `!ready` on a line of its own is a command.
    pub fn of(code: &str) -> Self {
        let found = parts(code, &|_| false).unwrap_or_default();
        let magics: Vec<Range<usize>> = found.iter().filter_map(|part| range(code, part)).collect();
        let mut at = 0;
        let lines = code.split('\n').map(|line| {
            let (start, end) = (at, at + line.len() + 1);
            at = end;
            magics
                .iter()
                .any(|range| range.start < end && start < range.end)
        });
        Self(lines.collect())
    }

    /// Whether a line (from 0) belongs to a magic.
    pub fn contains(&self, line: usize) -> bool {
        self.0.get(line).copied().unwrap_or(false)
    }
}

/// From the sign of a magic to the end of what it is given; the cell that it takes is included unless that is code.
fn range(code: &str, part: &Part) -> Option<Range<usize>> {
    let Part::Magic(found) = part else {
        return None;
    };
    let start = found.sign.start.min(found.name.start);
    let end = found.arguments.end.max(found.sign.end);
    match found.head == Head::Cell && found.code(code).is_none() {
        true => Some(start..end.max(found.body.end)),
        false => Some(start..end),
    }
}

/// Whether a cell can be run as it stands. A cell that a magic takes ends with an empty line.
pub(crate) fn completeness(engine: &Engine, code: &str) -> Option<Completeness> {
    let found = parts(code, &|_| false)?;
    Some(match found.last()? {
        Part::Code(range) => of(engine, code, range),
        Part::Magic(found) => match found.head {
            Head::Cell => of_cell(engine, code, found),
            Head::Line => of_line(engine, code, found),
            Head::Shell if code.trim_end().ends_with('\\') => Completeness::Incomplete(0),
            Head::Shell | Head::Help => Completeness::Complete,
        },
    })
}

fn of(engine: &Engine, code: &str, range: &Range<usize>) -> Completeness {
    let code = only(code, std::slice::from_ref(range), Room::Columns);
    of_code(engine, &code)
}

fn of_cell(engine: &Engine, code: &str, found: &Found) -> Completeness {
    let last = code.rsplit('\n').next().unwrap_or("");
    if found.body.is_empty() || !last.trim().is_empty() {
        return Completeness::Incomplete(0);
    }
    match found.code(code) {
        Some(body) => {
            let body = only(code, std::slice::from_ref(&body), Room::Columns);
            completeness(engine, &body).unwrap_or_else(|| of_code(engine, &body))
        }
        None => Completeness::Complete,
    }
}

fn of_line(engine: &Engine, code: &str, found: &Found) -> Completeness {
    match found.code(code) {
        Some(range) if is_open(code.get(range.clone()).unwrap_or("")) => {
            Completeness::Incomplete(INDENT)
        }
        Some(range) if !range.is_empty() => of(engine, code, &range),
        _ => Completeness::Complete,
    }
}

/// The code of a cell for one who only reads it: each piece ends with `;`, magics are blank, lines and columns stay.
pub(crate) fn checked(machine: &Machine, code: &str) -> Option<String> {
    closed(code, &|name| super::is_known(machine, name))
}

fn closed(code: &str, is_known: &dyn Fn(&str) -> bool) -> Option<String> {
    let found = parts(code, is_known)?;
    let kept = code_ranges(code, &found);
    // Before a magic a statement may lack its `;`, and what it was given may lack one, too.
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for part in &found {
        if let Part::Magic(found) = part {
            begins.push(found.sign.start.min(found.name.start));
            let given = found.code(code).filter(|_| found.head == Head::Line);
            ends.extend(given.map(|range| range.end));
        }
    }
    let mut text = String::with_capacity(code.len());
    for (at, c) in code.char_indices() {
        if ends.contains(&at) {
            text.push(';');
        }
        match kept.iter().any(|range| range.contains(&at)) || matches!(c, '\n' | '\r') {
            true => text.push(c),
            false => text.push(if begins.contains(&at) { ';' } else { ' ' }),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_magics() {
        let of = |code: &str| -> Vec<bool> {
            let lines = MagicLines::of(code);
            (0..code.split('\n').count())
                .map(|i| lines.contains(i))
                .collect()
        };
        assert_eq!(
            of("1\n%time f(\n 2)\n  !ls\nx"),
            [false, true, true, true, false]
        );
        assert_eq!(of("%%bash\nls\n"), [true, true, false]);
        assert_eq!(of("%%time\nf()"), [true, false]);
        assert_eq!(of("let x = 1;"), [false]);
    }

    #[test]
    fn pieces_are_closed() {
        let text = closed("let x = 1\n%time f(x)\n!ls", &|_| false).unwrap();
        assert_eq!(text, "let x = 1\n;     f(x);\n;  ");
    }
}
