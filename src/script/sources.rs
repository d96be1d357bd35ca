//! The cells and files that a session has read: errors quote them, also long after.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use rhai::{Position, Token};

use crate::{
    Place,
    context::lock,
    lexer::{Lexed, lex},
};

/// Where a function was defined.
struct Definition {
    parameters: usize,
    source: String,
}

/// All sources by name, and which function came from which; clones are of the same ones.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    texts: HashMap<String, Arc<str>>,
    functions: HashMap<String, Vec<Definition>>,
    modules: HashSet<String>,
}

impl Sources {
    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }

    /// Remembers a cell or file.
    pub fn insert(&mut self, name: &str, text: &str) {
        self.known().texts.insert(name.to_string(), text.into());
    }

    /// Remembers the file of an imported module.
    pub fn insert_module(&mut self, name: &str, text: &Arc<str>) {
        let mut known = self.known();
        known.texts.insert(name.to_string(), Arc::clone(text));
        known.modules.insert(name.to_string());
    }

    /// Whether a source is the file of an imported module.
    pub fn is_module(&self, name: &str) -> bool {
        self.known().modules.contains(name)
    }

    /// Remembers that a function (or closure, by its made-up name) stands in a source.
    pub fn define(&mut self, function: &str, parameters: usize, source: &str) {
        let mut known = self.known();
        let definitions = known.functions.entry(function.to_string()).or_default();
        definitions.retain(|definition| definition.parameters != parameters);
        definitions.push(Definition {
            parameters,
            source: source.to_string(),
        });
    }

    /// The source of a function; of several with one name that of the newest.
    pub fn of_function(&self, function: &str) -> Option<String> {
        let known = self.known();
        Some(known.functions.get(function)?.last()?.source.clone())
    }

    /// The text of a source.
    pub fn text(&self, name: &str) -> Option<Arc<str>> {
        self.known().texts.get(name).cloned()
    }

    /// Forgets which functions there are, but not the texts: an error may still quote them.
    pub fn forget_functions(&mut self) {
        self.known().functions.clear();
    }

    /// The place of the token at a position.
    pub fn place(&self, source: &str, position: Position) -> Option<Place> {
        let text = self.text(source)?;
        let line = position.line()?;
        let column = position.position().unwrap_or(1);
        Some(token_place(source, &text, line, column))
    }
}

/// The byte at which a line (from 1) begins.
pub(crate) fn line_start(text: &str, line: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text.get(start..).and_then(|rest| rest.find('\n')) {
            Some(at) => start += at + 1,
            None => return text.len(),
        }
    }
    start
}

/// The byte of a line and column (both from 1, columns in code points).
pub(crate) fn byte_at(text: &str, line: usize, column: usize) -> usize {
    let start = line_start(text, line);
    let rest = text
        .get(start..)
        .unwrap_or("")
        .split('\n')
        .next()
        .unwrap_or("");
    let within = rest
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(rest.len(), |(at, _)| at);
    start + within
}

/// The line and column (both from 1, columns in code points) of a byte.
pub(crate) fn line_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The place of the bytes `start..end`; what lies behind the end of the first line is cut off.
pub(crate) fn span_place(source: &str, text: &str, start: usize, end: usize) -> Place {
    let (line, column) = line_column(text, start);
    let rest = text
        .get(start..end.max(start))
        .unwrap_or("")
        .split('\n')
        .next()
        .unwrap_or("");
    let width = rest.trim_end().chars().count().max(1);
    let line_text = text.get(line_start(text, line)..).unwrap_or("");
    let line_text = line_text.split('\n').next().unwrap_or("");
    let line_text = line_text.trim_end_matches('\r');
    Place {
        source: source.to_string(),
        line,
        column,
        end: column + width,
        text: line_text.to_string(),
    }
}

/// The place of the token that stands at a line and column.
fn token_place(source: &str, text: &str, line: usize, column: usize) -> Place {
    let byte = byte_at(text, line, column);
    let lexed = lex(text);
    let Some((index, lexeme)) = lexed.at(byte) else {
        return span_place(source, text, byte, byte + 1);
    };
    let start = qualified_start(&lexed, index).unwrap_or(lexeme.start);
    let end = index_end(&lexed, index).unwrap_or(lexeme.end);
    span_place(source, text, start, end)
}

/// Where `[0, 1..2]` ends when the token is its `[`: Rhai places the error of an indexer there.
fn index_end(lexed: &Lexed, index: usize) -> Option<usize> {
    let mut depth = 0usize;
    for lexeme in lexed.lexemes.get(index..)? {
        match lexeme.token {
            Token::LeftBracket => depth += 1,
            Token::RightBracket => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(lexeme.end);
        }
    }
    None
}

/// Where `flow::rectified` begins when the token is its `rectified`.
fn qualified_start(lexed: &Lexed, index: usize) -> Option<usize> {
    let mut start = None;
    let mut index = index;
    while index >= 2 {
        let (colons, root) = (lexed.lexemes.get(index - 1)?, lexed.lexemes.get(index - 2)?);
        if !matches!(
            (&colons.token, &root.token),
            (Token::DoubleColon, Token::Identifier(_))
        ) {
            break;
        }
        start = Some(root.start);
        index -= 2;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_covers_the_token_in_code_points() {
        let mut sources = Sources::default();
        sources.insert("cell 1", "let ä = 1;\nlet b = flow::rectified(ä);\n");
        let place = sources.place("cell 1", Position::new(2, 15)).unwrap();
        assert_eq!((place.line, place.column, place.end), (2, 9, 24));
        assert_eq!(place.text, "let b = flow::rectified(ä);");
        let place = sources.place("cell 1", Position::new(1, 7)).unwrap();
        assert_eq!((place.column, place.end), (7, 8));
        assert!(sources.place("cell 2", Position::new(1, 1)).is_none());
    }

    #[test]
    fn a_position_past_the_end_stays_inside() {
        let mut sources = Sources::default();
        sources.insert("cell 1", "let x =");
        let place = sources.place("cell 1", Position::new(1, 9)).unwrap();
        assert_eq!(
            (place.column, place.end, place.text.as_str()),
            (8, 9, "let x =")
        );
    }
}
