//! What a front end asks while code is being typed: can it run, how can it go on, what is this.

use rhai::{Engine, LexError, ParseErrorType, Token};

use crate::{
    Completeness,
    explain::parse::{is_incomplete, open_brackets},
    lexer::{Lexed, lex},
    sources::{byte_at, line_column},
};

mod items;
mod scene;

pub(crate) use items::{complete, complete_code, files, inspect, inspect_code};

/// Columns of one level.
const INDENT: usize = 4;

/// Whether a cell can be run as it stands.
pub(crate) fn completeness(engine: &Engine, code: &str) -> Completeness {
    let of_magics = crate::magic::completeness(engine, code);
    of_magics.unwrap_or_else(|| completeness_of_code(engine, code))
}

/// The same, of a cell without magics.
pub(crate) fn completeness_of_code(engine: &Engine, code: &str) -> Completeness {
    let lexed = lex(code);
    if lexed.open {
        return Completeness::Incomplete(0);
    }
    let error = match engine.compile(code) {
        Ok(_) => return Completeness::Complete,
        Err(error) => error,
    };
    let position = error.position();
    let at = position.line().map_or(code.len(), |line| {
        byte_at(code, line, position.position().unwrap_or(1))
    });
    if matches!(
        error.err_type(),
        ParseErrorType::BadInput(LexError::UnterminatedString)
    ) {
        // A `"` must be closed on its line; only a backslash at the end lets it go on.
        let goes_on = code.trim_end_matches(['\n', '\r']).ends_with('\\');
        return if goes_on {
            Completeness::Incomplete(0)
        } else {
            Completeness::Invalid
        };
    }
    let end = lexed.code().next_back().map_or(0, |lexeme| lexeme.end);
    if at >= end && is_incomplete(error.err_type()) {
        Completeness::Incomplete(indent(code, &lexed))
    } else {
        Completeness::Invalid
    }
}

/// One level for every line on which a bracket is still open; one for an open statement.
fn indent(code: &str, lexed: &Lexed) -> usize {
    let mut lines: Vec<usize> = open_brackets(lexed)
        .iter()
        .map(|&at| line_column(code, at).0)
        .collect();
    lines.dedup();
    INDENT * lines.len().max(1)
}

/// Whether a token opens a bracket.
fn opens(token: &Token) -> bool {
    matches!(
        token,
        Token::LeftBrace
            | Token::LeftParen
            | Token::LeftBracket
            | Token::MapStart
            | Token::QuestionBracket
    )
}

/// Whether a token closes a bracket.
fn closes(token: &Token) -> bool {
    matches!(
        token,
        Token::RightBrace | Token::RightParen | Token::RightBracket
    )
}
