//! Finds the magics of a cell: which lines are code, which ask for something else.
//!
//! A magic stands at the beginning of a line, outside of brackets, texts and comments. Code keeps its lines and
//! columns: what does not belong to a piece of it becomes spaces.

use std::ops::Range;

use rhai::Token;

use super::{Takes, find};
use crate::{
    explain::parse::open_brackets,
    lexer::{Lexed, lex},
};

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// `%name arguments`.
    Line,
    /// `%%name arguments`, with the rest of the cell.
    Cell,
    /// `!command`.
    Shell,
    /// `?name` or `name?`.
    Help,
}

/// A magic of a cell; all positions are bytes of the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub head: Head,
    /// From its sign to the end of its name; of `name?` the question mark.
    pub sign: Range<usize>,
    /// The name without signs; of `!command` empty.
    pub name: Range<usize>,
    /// What stands behind the name, without white space around it.
    pub arguments: Range<usize>,
    /// The lines below, for a magic that takes the whole cell.
    pub body: Range<usize>,
}

/// A piece of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Statements.
    Code(Range<usize>),
    /// A magic.
    Magic(Found),
}

/// The pieces of a cell in order; nothing when all of it is code. `is_known` tells the names of variables and functions:
/// `!ready` is a value then, and no command.
pub(crate) fn parts(code: &str, is_known: &dyn Fn(&str) -> bool) -> Option<Vec<Part>> {
    // Most cells have no line that begins or ends like a magic.
    if !code.lines().any(|line| looks(line).is_some()) {
        return None;
    }
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < code.len() {
        let end = line_end(code, at);
        let line = code.get(at..end).unwrap_or("");
        let before = code.get(start..at).unwrap_or("");
        let head = looks(line).filter(|head| {
            stands_alone(before, *head) && !is_value(line, *head, code.get(..at), is_known)
        });
        let Some(head) = head else {
            at = end + 1;
            continue;
        };
        let first = parts.is_empty() && before.trim().is_empty();
        push_code(&mut parts, code, start..at);
        let found = read(code, at..end, head, first);
        at = found.arguments.end.max(found.sign.end).max(found.body.end);
        at = line_end(code, at) + 1;
        start = at;
        parts.push(Part::Magic(found));
    }
    push_code(&mut parts, code, start..code.len());
    let has_magic = |part: &Part| matches!(part, Part::Magic(_));
    parts.iter().any(has_magic).then_some(parts)
}

fn push_code(parts: &mut Vec<Part>, code: &str, range: Range<usize>) {
    if !code.get(range.clone()).unwrap_or("").trim().is_empty() {
        parts.push(Part::Code(range));
    }
}

/// The end of the line that holds a byte, without its line feed.
fn line_end(code: &str, at: usize) -> usize {
    let rest = code.get(at..).unwrap_or("");
    rest.find('\n').map_or(code.len(), |n| at + n)
}

/// What a line would ask for if it stood alone.
pub(crate) fn looks(line: &str) -> Option<Head> {
    let line = line.trim();
    let begins = |text: &str| text.chars().next().is_some_and(|c| c.is_alphabetic());
    if let Some(rest) = line.strip_prefix("%%") {
        return begins(rest).then_some(Head::Cell);
    }
    if let Some(rest) = line.strip_prefix('%') {
        return begins(rest).then_some(Head::Line);
    }
    if let Some(rest) = line.strip_prefix('!') {
        let is_code = rest.is_empty() || rest.starts_with(['=', '(', '!', '"', '`', '\'']);
        return (!is_code).then_some(Head::Shell);
    }
    if let Some(rest) = line.strip_prefix('?') {
        // `?? 3` goes on with the line above.
        let topic = rest.strip_prefix('?').unwrap_or_else(|| rest.trim_start());
        let is_topic = topic.starts_with(|c: char| c.is_alphabetic() || "_%!".contains(c));
        return (rest.is_empty() || is_topic).then_some(Head::Help);
    }
    let name = line.strip_suffix('?')?;
    is_path(name.strip_suffix('?').unwrap_or(name)).then_some(Head::Help)
}

/// Whether a text is a name such as `flow::rectified`, `model.fit` or `%time`.
fn is_path(text: &str) -> bool {
    let is_name = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    let text = text.trim_start_matches('%');
    text.replace("::", ".").split('.').all(is_name)
}

/// Whether a line that follows this code begins something new.
fn stands_alone(before: &str, head: Head) -> bool {
    let lexed = lex(before);
    if lexed.open || !open_brackets(&lexed).is_empty() {
        return false;
    }
    let last = lexed.code().next_back().map(|lexeme| &lexeme.token);
    // `let ok =` and `!done` below it are one statement.
    head != Head::Shell || matches!(last, None | Some(Token::SemiColon | Token::RightBrace))
}

/// Whether `!name` is the opposite of a value.
fn is_value(line: &str, head: Head, before: Option<&str>, is_known: &dyn Fn(&str) -> bool) -> bool {
    let Some(rest) = line.trim_start().strip_prefix('!') else {
        return false;
    };
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    let word = rest.split(|c| !is_letter(c)).next().unwrap_or("");
    if head != Head::Shell || word.is_empty() {
        return false;
    }
    matches!(word, "true" | "false") || is_known(word) || declares(before.unwrap_or(""), word)
}

/// Whether code declares a name.
fn declares(code: &str, name: &str) -> bool {
    let lexed = lex(code);
    let pairs = lexed.lexemes.windows(2);
    pairs.into_iter().any(|pair| match pair {
        [before, here] => {
            matches!(before.token, Token::Let | Token::Const | Token::Fn)
                && matches!(&here.token, Token::Identifier(found) if found.as_str() == name)
        }
        _ => false,
    })
}

/// Takes a magic apart that begins on a line.
fn read(code: &str, line: Range<usize>, head: Head, first: bool) -> Found {
    let text = code.get(line.clone()).unwrap_or("");
    let start = line.start + (text.len() - text.trim_start().len());
    let text = text.trim();
    let (sign, name, rest) = match head {
        Head::Line | Head::Cell => {
            let signs = if head == Head::Cell { 2 } else { 1 };
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = text.get(signs..).unwrap_or("");
            let length = name.find(|c| !is_name(c)).unwrap_or(name.len());
            let end = start + signs + length;
            (start..end, start + signs..end, end)
        }
        Head::Shell => (start..start + 1, start..start, start + 1),
        Head::Help if text.starts_with('?') => {
            let signs = text.len() - text.trim_start_matches('?').len();
            let name = start + signs..start + text.len();
            let spaces = code
                .get(name.clone())
                .map_or(0, |t| t.len() - t.trim_start().len());
            (
                start..start + signs,
                name.start + spaces..name.end,
                name.end,
            )
        }
        Head::Help => {
            let name = text.trim_end_matches('?').len();
            let end = start + text.len();
            (start + name..end, start..start + name, end)
        }
    };
    let named = code.get(name.clone()).unwrap_or("");
    let is_code = find(named).is_some_and(|magic| magic.takes == Takes::Code);
    let end = match head {
        Head::Line if is_code => statement_end(code, rest, line.end),
        Head::Shell => command_end(code, line.end),
        _ => line.end,
    };
    let below = (end + 1).min(code.len());
    let body = match head {
        Head::Cell if first => below..code.len(),
        _ => end..end,
    };
    let arguments = trimmed(code, rest..end);
    Found {
        head,
        sign,
        name,
        arguments,
        body,
    }
}

/// A range without the white space at its ends.
fn trimmed(code: &str, range: Range<usize>) -> Range<usize> {
    let text = code.get(range.clone()).unwrap_or("");
    let start = range.start + (text.len() - text.trim_start().len());
    let length = text.trim().len();
    start..start + length
}

/// Code behind a magic goes on until its brackets are closed.
fn statement_end(code: &str, start: usize, line_end_: usize) -> usize {
    let mut end = line_end_;
    loop {
        let lexed = lex(code.get(start..end).unwrap_or(""));
        let goes_on = lexed.open || !open_brackets(&lexed).is_empty();
        if !goes_on || end >= code.len() {
            return end;
        }
        end = line_end(code, end + 1);
    }
}

/// A command goes on behind a backslash at the end of a line.
fn command_end(code: &str, line_end_: usize) -> usize {
    let mut end = line_end_;
    while code.get(..end).is_some_and(|text| text.ends_with('\\')) && end < code.len() {
        end = line_end(code, end + 1);
    }
    end
}

/// How much room what is left out takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// A space for every character: columns stay.
    Columns,
    /// A space for every byte: positions in bytes stay.
    Bytes,
}

/// The text with spaces for all that is in none of the ranges; lines stay lines.
pub(crate) fn only(code: &str, ranges: &[Range<usize>], room: Room) -> String {
    let mut text = String::with_capacity(code.len());
    for (at, c) in code.char_indices() {
        let kept = ranges.iter().any(|range| range.contains(&at));
        match (kept || matches!(c, '\n' | '\r'), room) {
            (true, _) => text.push(c),
            (false, Room::Columns) => text.push(' '),
            (false, Room::Bytes) => text.extend(std::iter::repeat_n(' ', c.len_utf8())),
        }
    }
    text
}

/// The ranges of a cell that are code: its statements and what `%time` and its like are given.
pub(crate) fn code_ranges(code: &str, parts: &[Part]) -> Vec<Range<usize>> {
    let of = |part: &Part| match part {
        Part::Code(range) => Some(range.clone()),
        Part::Magic(found) => found.code(code),
    };
    parts.iter().filter_map(of).collect()
}

impl Found {
    /// The code that it is given, if it takes code.
    pub fn code(&self, code: &str) -> Option<Range<usize>> {
        let named = code.get(self.name.clone()).unwrap_or("");
        let magic = find(named).filter(|_| matches!(self.head, Head::Line | Head::Cell))?;
        match self.head {
            Head::Cell => magic.body_is_code().then(|| self.body.clone()),
            _ => (magic.takes == Takes::Code).then(|| self.arguments.clone()),
        }
    }
}

/// Whether the tokens of a text leave something open.
pub(crate) fn is_open(text: &str) -> bool {
    let lexed: Lexed = lex(text);
    lexed.open || !open_brackets(&lexed).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(code: &str) -> Vec<(Option<Head>, &str)> {
        let parts = parts(code, &|name| name == "ready").unwrap_or_default();
        parts
            .iter()
            .map(|part| match part {
                Part::Code(range) => (None, code[range.clone()].trim_end()),
                Part::Magic(found) => {
                    let end = found.arguments.end.max(found.sign.end).max(found.name.end);
                    let start = found.sign.start.min(found.name.start);
                    (Some(found.head), &code[start..end])
                }
            })
            .collect()
    }

    #[test]
    fn magics_stand_at_the_beginning_of_lines() {
        let cell = "let x = 1;\n%time x + 1\n!ls -l\nx?\nx";
        assert_eq!(
            pieces(cell),
            [
                (None, "let x = 1;"),
                (Some(Head::Line), "%time x + 1"),
                (Some(Head::Shell), "!ls -l"),
                (Some(Head::Help), "x?"),
                (None, "x"),
            ]
        );
    }

    #[test]
    fn what_only_looks_like_one_is_code() {
        for cell in [
            "let x = 7\n    % 4;",
            "f(\n!a,\n b)",
            "`text\n%time\n!ls`",
            "/* a\n%time\n*/ 1",
            "!ready && true",
            "let done = false;\n!done",
            "let a =\n!b;",
            "!(1 > 2)",
            "x ?? 3",
            "let y = x\n?? 3",
            "let m = #{\n a: 1,\n}; m\n?.a",
        ] {
            assert_eq!(pieces(cell), [], "{cell}");
        }
    }

    #[test]
    fn code_of_a_magic_goes_on_until_its_brackets_close() {
        let cell = "%time f(#{\n  a: 1,\n})\n2";
        assert_eq!(
            pieces(cell),
            [(Some(Head::Line), "%time f(#{\n  a: 1,\n})"), (None, "2")]
        );
        let cell = "!echo a \\\n  b\n1";
        assert_eq!(pieces(cell)[0].1, "!echo a \\\n  b");
    }

    #[test]
    fn a_cell_magic_takes_the_rest() {
        let cell = "\n%%bash\necho %time\n!x";
        let parts = parts(cell, &|_| false).unwrap();
        let [Part::Magic(found)] = parts.as_slice() else {
            panic!("{parts:?}");
        };
        assert_eq!(found.head, Head::Cell);
        assert_eq!(&cell[found.body.clone()], "echo %time\n!x");
    }

    #[test]
    #[expect(
        clippy::single_range_in_vec_init,
        reason = "a list of one range is meant"
    )]
    fn spaces_keep_lines_and_columns() {
        let text = only("%tä x\ny", &[5..6], Room::Columns);
        assert_eq!(text, "    x\n ");
        let text = only("%tä x\ny", &[5..6], Room::Bytes);
        assert_eq!(text, "     x\n ");
    }
}
