//! Colours code while it is being typed.

use std::collections::HashSet;

use rhai::Token as RhaiToken;

use crate::{
    Token, TokenKind,
    cell::Machine,
    lexer::{Lexed, lex},
};

/// Colours for code that may be unfinished; everything but white space is covered.
pub(crate) fn highlight(machine: &Machine, code: &str) -> Vec<Token> {
    let Some((code, mut tokens)) = crate::magic::highlight(code) else {
        return of_code(machine, code);
    };
    tokens.extend(of_code(machine, &code));
    tokens.sort_by_key(|token| token.start);
    tokens
}

fn of_code(machine: &Machine, code: &str) -> Vec<Token> {
    let lexed = lex(code);
    let functions = known_functions(machine, &lexed);
    let maps = map_braces(&lexed);
    let mut tokens = Vec::with_capacity(lexed.lexemes.len());
    for (i, lexeme) in lexed.lexemes.iter().enumerate() {
        let kind = kind(&lexed, i, &functions, &maps);
        let end = lexeme.start
            + code
                .get(lexeme.start..lexeme.end)
                .map_or(0, |text| text.trim_end().len());
        tokens.push(Token {
            start: lexeme.start,
            end: end.max(lexeme.start + 1).min(lexeme.end),
            kind,
        });
    }
    tokens
}

/// Functions that can be called: of the script, of the code itself, documented, built in.
fn known_functions<'a>(machine: &'a Machine, lexed: &'a Lexed) -> HashSet<&'a str> {
    let mut known: HashSet<&str> = machine
        .built_in()
        .iter()
        .map(|function| function.name.as_str())
        .collect();
    known.extend(
        machine
            .functions
            .iter_functions()
            .map(|function| function.name),
    );
    known.extend(
        machine
            .context
            .reference()
            .iter()
            .flat_map(|reference| reference.entries())
            .map(|entry| entry.short()),
    );
    known.extend([
        "print",
        "debug",
        "type_of",
        "call",
        "curry",
        "Fn",
        "is_def_var",
        "is_def_fn",
        "is_shared",
    ]);
    for pair in lexed.lexemes.windows(2) {
        if let [before, here] = pair
            && let (RhaiToken::Fn, RhaiToken::Identifier(name)) = (&before.token, &here.token)
        {
            known.insert(name);
        }
    }
    known
}

/// For every token whether the innermost open bracket is that of a map literal.
fn map_braces(lexed: &Lexed) -> Vec<bool> {
    let mut open: Vec<bool> = Vec::new();
    let mut inside = Vec::with_capacity(lexed.lexemes.len());
    for lexeme in &lexed.lexemes {
        inside.push(open.last().copied().unwrap_or(false));
        match lexeme.token {
            RhaiToken::MapStart => open.push(true),
            RhaiToken::LeftBrace
            | RhaiToken::LeftParen
            | RhaiToken::LeftBracket
            | RhaiToken::QuestionBracket => open.push(false),
            RhaiToken::RightBrace | RhaiToken::RightParen | RhaiToken::RightBracket => {
                open.pop();
            }
            _ => {}
        }
    }
    inside
}

fn kind(lexed: &Lexed, index: usize, functions: &HashSet<&str>, maps: &[bool]) -> TokenKind {
    let Some(lexeme) = lexed.lexemes.get(index) else {
        return TokenKind::Error;
    };
    let before = index
        .checked_sub(1)
        .and_then(|i| lexed.lexemes.get(i))
        .map(|lexeme| &lexeme.token);
    let after = lexed.lexemes.get(index + 1).map(|lexeme| &lexeme.token);
    match &lexeme.token {
        RhaiToken::Comment(_) => TokenKind::Comment,
        RhaiToken::StringConstant(_)
        | RhaiToken::InterpolatedString(_)
        | RhaiToken::CharConstant(_) => TokenKind::String,
        RhaiToken::IntegerConstant(_) | RhaiToken::FloatConstant(_) => TokenKind::Number,
        RhaiToken::LexError(error) if matches!(**error, rhai::LexError::UnterminatedString) => {
            TokenKind::String
        }
        RhaiToken::LexError(_) => TokenKind::Error,
        RhaiToken::Identifier(name) => name_kind(
            name,
            before,
            after,
            functions,
            maps.get(index).copied().unwrap_or(false),
        ),
        RhaiToken::Reserved(name) => match name.as_str() {
            "this" | "global" => TokenKind::Keyword,
            "@" => TokenKind::Operator,
            name if is_open(after) && functions.contains(name) => TokenKind::Function,
            _ => TokenKind::Error,
        },
        RhaiToken::Custom(_) => TokenKind::Operator,
        token if token.is_standard_keyword() => TokenKind::Keyword,
        _ => TokenKind::Operator,
    }
}

fn name_kind(
    name: &str,
    before: Option<&RhaiToken>,
    after: Option<&RhaiToken>,
    functions: &HashSet<&str>,
    in_map: bool,
) -> TokenKind {
    let called = is_open(after);
    match (before, after) {
        (_, Some(RhaiToken::DoubleColon)) => TokenKind::Module,
        (Some(RhaiToken::Fn), _) => TokenKind::Function,
        _ if called && functions.contains(name) => TokenKind::Function,
        (Some(RhaiToken::Period | RhaiToken::Elvis), _) if !called => TokenKind::Key,
        (Some(RhaiToken::MapStart | RhaiToken::Comma), Some(RhaiToken::Colon)) if in_map => {
            TokenKind::Key
        }
        _ => TokenKind::Name,
    }
}

/// `f(` and `f()`, which is a token of its own.
fn is_open(token: Option<&RhaiToken>) -> bool {
    matches!(token, Some(RhaiToken::LeftParen | RhaiToken::Unit))
}
