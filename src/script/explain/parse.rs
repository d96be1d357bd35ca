//! The messages of code that cannot be parsed.

use rhai::{LexError, ParseError, ParseErrorType, Position, Token};

use super::Names;
use crate::{
    Diagnostic, Kind, Place,
    lexer::{Lexed, lex},
    names::nearest,
    sources::{byte_at, line_column, span_place},
};

/// Explains why a cell or file cannot be parsed.
pub(crate) fn explain(error: &ParseError, source: &str, text: &str, names: &Names) -> Diagnostic {
    let lexed = lex(text);
    let at = byte_of(text, error.position());
    let (message, hints) = words(error.err_type(), text, &lexed, at, names);
    let kind = match error.err_type() {
        ParseErrorType::ExprTooDeep
        | ParseErrorType::LiteralTooLarge(..)
        | ParseErrorType::TooManyFunctions => Kind::Limit,
        ParseErrorType::MismatchedType(..) => Kind::Type,
        _ => Kind::Syntax,
    };
    let mut diagnostic = Diagnostic::new(kind, message);
    diagnostic.place = Some(place(error.err_type(), source, text, &lexed, at));
    diagnostic.hints = hints;
    diagnostic
}

/// A comment that is never closed.
pub(crate) fn open_comment(source: &str, text: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(Kind::Syntax, "the comment is not closed");
    let start = lex(text).lexemes.last().map_or(0, |lexeme| lexeme.start);
    diagnostic.place = Some(span_place(source, text, start, start + 2));
    diagnostic
        .hints
        .push("a comment that begins with `/*` ends with `*/`; they may be nested".to_string());
    diagnostic
}

/// The byte of a position; without one the end of the text.
fn byte_of(text: &str, position: Position) -> usize {
    match position.line() {
        Some(line) => byte_at(text, line, position.position().unwrap_or(1)),
        None => text.len(),
    }
}

/// A missing `;` is missed right behind the last token; everything else stands at its token.
fn place(kind: &ParseErrorType, source: &str, text: &str, lexed: &Lexed, at: usize) -> Place {
    let before = lexed.code().rfind(|lexeme| lexeme.end <= at);
    let is_missing = matches!(kind, ParseErrorType::MissingToken(token, _) if token == ";");
    let is_stray = is_closing(lexed, at);
    if let Some(before) = before
        && ((is_missing && !is_stray) || at >= text.trim_end().len())
    {
        return span_place(source, text, before.end, before.end + 1);
    }
    let end = lexed.at(at).map_or(at + 1, |(_, lexeme)| lexeme.end);
    span_place(source, text, at, end)
}

/// A message and hints.
type Words = (String, Vec<String>);

fn words(kind: &ParseErrorType, text: &str, lexed: &Lexed, at: usize, names: &Names) -> Words {
    use ParseErrorType::*;
    let token = lexed.at(at).map(|(_, lexeme)| lexeme.start..lexeme.end);
    let found = token.and_then(|range| text.get(range)).unwrap_or("");
    let is_end = lexed.code().all(|lexeme| lexeme.end <= at);
    let (message, mut hints) = match kind {
        _ if is_end && is_incomplete(kind) => without_hint("the code ends too early"),
        MissingToken(token, _) if token == ";" && is_closing(lexed, at) => {
            without_hint(format!("`{found}` closes nothing"))
        }
        MissingToken(token, purpose) if token == ";" => {
            missing_semicolon(purpose, found, text, lexed, at, names)
        }
        _ => expected_words(kind, found).unwrap_or_else(|| forbidden_words(kind)),
    };
    let may_be_open = is_end || matches!(kind, MissingToken(..));
    hints.extend(unclosed(text, lexed).filter(|_| may_be_open));
    (message, hints)
}

fn without_hint(message: impl Into<String>) -> Words {
    (message.into(), Vec::new())
}

fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Words {
    (message.into(), vec![hint.into()])
}

/// Something else was expected than what was found.
fn expected_words(kind: &ParseErrorType, found: &str) -> Option<Words> {
    use ParseErrorType::*;
    let message = match kind {
        MissingToken(token, _) if [")", "]", "}"].contains(&token.as_str()) => {
            format!("expected `{token}`, found `{found}`")
        }
        MissingToken(token, purpose) => {
            let purpose = lower_first(purpose);
            format!("expected `{token}` {purpose}, found `{found}`").replace("  ", " ")
        }
        MismatchedType(expected, got) => format!("expected {expected}, got {got}"),
        VariableExpected if is_word(found) => {
            format!("`{found}` is a keyword and cannot be a name")
        }
        VariableExpected if found == "[" || found == "#{" || found == "(" => {
            "a `let` and a `for` take one name: `let r = f(); let a = r[0]; let b = r[1];`".into()
        }
        VariableExpected => format!("expected a name, found `{found}`"),
        // PyTorch's way to evaluation mode; the word is Rhai's.
        PropertyExpected if found == "eval" => {
            "`eval` is a reserved word: a network goes to evaluation mode by `.train(false)`".into()
        }
        PropertyExpected => {
            format!("expected the name of a key, property or method, found `{found}`")
        }
        ExprExpected(what) if what.is_empty() => format!("expected an expression, found `{found}`"),
        _ => return None,
    };
    Some(without_hint(message))
}

/// What stands there cannot stand there.
fn forbidden_words(kind: &ParseErrorType) -> Words {
    use ParseErrorType::*;
    match kind {
        BadInput(error) => bad_input(error),
        Reserved(word) => reserved(word),
        UnknownOperator(operator) => (
            format!("there is no operator `{operator}`"),
            operator_hint(operator),
        ),
        DuplicatedProperty(key) => without_hint(format!("key `{key}` is given twice")),
        FnDuplicatedDefinition(name, count) => {
            let plural = if *count == 1 { "" } else { "s" };
            let what = format!("function `{name}` with {count} parameter{plural}");
            with_hint(
                format!("{what} is defined twice in one cell"),
                "a later cell may define it anew",
            )
        }
        WrongFnDefinition => with_hint(
            "functions are defined at the top of a cell, not inside a block or another function",
            "a closure can stand anywhere: `let f = |x| x + 1;`",
        ),
        AssignmentToConstant(name) if !name.is_empty() => with_hint(
            format!("`{name}` is a constant and cannot be changed"),
            format!("declare it with `let {name} = ...`"),
        ),
        AssignmentToConstant(_) | AssignmentToInvalidLHS(_) => {
            with_hint("this cannot be assigned to", "to compare, write `==`")
        }
        ExprTooDeep => with_hint(
            "the expression is nested too deeply",
            "give its parts names with `let`",
        ),
        LoopBreak => without_hint("`break` and `continue` must stand in a loop"),
        other => without_hint(lower_first(&other.to_string())),
    }
}

/// Whether more text could mend an error at the end.
pub(crate) fn is_incomplete(kind: &ParseErrorType) -> bool {
    use ParseErrorType::*;
    matches!(
        kind,
        UnexpectedEOF
            | MissingToken(..)
            | ExprExpected(_)
            | VariableExpected
            | PropertyExpected
            | MissingSymbol(_)
            | FnMissingName
            | FnMissingParams(_)
            | FnMissingBody(_)
            | MalformedIndexExpr(_)
            | MalformedCapture(_)
            | BadInput(LexError::UnterminatedString)
    )
}

fn bad_input(error: &LexError) -> Words {
    match error {
        LexError::UnterminatedString => (
            "the string is not closed".to_string(),
            vec![
                "a string in `\"` ends on its line; one in back-ticks may have several".to_string(),
            ],
        ),
        LexError::UnexpectedInput(what) => (format!("`{what}` means nothing here"), Vec::new()),
        LexError::MalformedEscapeSequence(what) => (
            format!("`{what}` is no escape sequence"),
            vec!["write `\\\\` for a backslash".to_string()],
        ),
        LexError::MalformedNumber(what) => (format!("`{what}` is no number"), Vec::new()),
        LexError::MalformedChar(what) => (
            format!("`'{what}'` is not one character"),
            vec!["strings stand in `\"`".to_string()],
        ),
        LexError::MalformedIdentifier(what) => (format!("`{what}` cannot be a name"), Vec::new()),
        LexError::ImproperSymbol(symbol, _) => (
            format!("there is no operator `{symbol}`"),
            operator_hint(symbol),
        ),
        other => (lower_first(&other.to_string()), Vec::new()),
    }
}

/// Two expressions in a row: a `;` is missing, or something else that is told apart here.
fn missing_semicolon(
    purpose: &str,
    found: &str,
    text: &str,
    lexed: &Lexed,
    at: usize,
    names: &Names,
) -> Words {
    let before = lexed.code().rfind(|lexeme| lexeme.end <= at);
    if !purpose.contains("terminate") {
        return (
            format!("expected `;` {purpose}, found `{found}`"),
            Vec::new(),
        );
    }
    let message = if found.is_empty() {
        "a `;` is missing".to_string()
    } else {
        format!("a `;` is missing before `{found}`")
    };
    let mut hints = Vec::new();
    if let Some(Token::Identifier(word)) = before.map(|lexeme| &lexeme.token) {
        let known = |name: &str| names.variables.iter().any(|(variable, _)| variable == name);
        let python = matches!(
            word.as_str(),
            "def"
                | "import"
                | "from"
                | "print"
                | "del"
                | "class"
                | "lambda"
                | "elif"
                | "not"
                | "and"
                | "or"
        );
        if python {
            hints.push(format!("`{word}` is Python; see help(\"language\")"));
        } else if !known(word)
            && let Some(near) = nearest(word, KEYWORDS)
        {
            hints.push(format!("did you mean `{near}`?"));
        }
    }
    let same_line =
        before.is_some_and(|lexeme| line_column(text, lexeme.end).0 == line_column(text, at).0);
    if hints.is_empty() && !same_line {
        hints.push("a statement ends with `;`, only the last of a cell may go without".to_string());
    }
    (message, hints)
}

/// The words that begin something.
pub(crate) const KEYWORDS: [&str; 21] = [
    "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "fn",
    "return", "throw", "try", "catch", "break", "continue", "private", "import", "export",
];

fn reserved(word: &str) -> Words {
    if !is_word(word) {
        return (
            format!("there is no operator `{word}`"),
            operator_hint(word),
        );
    }
    let instead = match word {
        "var" => "the variance of a tensor is `x.variance()`; a variable is declared with `let`",
        "module" => "a module of one's own is `nn::custom`",
        "match" | "case" | "default" => "write `switch x { 1 => ..., _ => ... }`",
        "null" | "nil" | "void" => "nothing is written `()`",
        "new" => "objects are made by calling a function, e.g. `nn::linear(2, 3)`",
        "use" | "package" => "a file of one's own is imported with `import \"helpers\" as h;`",
        "async" | "await" | "yield" | "spawn" | "thread" | "go" | "sync" => {
            "there are no threads in scripts; long work runs in parallel by itself"
        }
        "is" => "equality is `==`",
        _ => "choose another name",
    };
    (
        format!("`{word}` is a reserved word"),
        vec![instead.to_string()],
    )
}

fn operator_hint(operator: &str) -> Vec<String> {
    let hint = match operator {
        "++" => "write `x += 1`",
        "--" => "write `x -= 1`",
        "===" => "write `==`",
        "!==" => "write `!=`",
        "->" | "<-" | ":=" => "assignment is `=`, a closure is `|x| ...`",
        ":;" | "::<" => "members of a module are written `module::name`",
        "..." => "a range is `a..b` or `a..=b`",
        "#" | "# {" => "a map is written `#{ key: value }`; a comment begins with `//`",
        "?" => "a choice is written `if a { b } else { c }`",
        "|>" | "<|" => "calls are chained with `.`",
        "~" => "negation is `!`",
        _ => return Vec::new(),
    };
    vec![hint.to_string()]
}

/// The innermost bracket that is never closed.
fn unclosed(text: &str, lexed: &Lexed) -> Option<String> {
    let open = open_brackets(lexed);
    let (line, column) = line_column(text, *open.last()?);
    let bracket = text
        .get(*open.last()?..)?
        .split(|c: char| !"#([{".contains(c))
        .next()?;
    let bracket = if bracket.starts_with('#') {
        "#{"
    } else {
        bracket.get(..1)?
    };
    Some(format!(
        "`{bracket}` in line {line}, column {column} is not closed"
    ))
}

/// The first bytes of all brackets that are not closed, outermost first.
pub(crate) fn open_brackets(lexed: &Lexed) -> Vec<usize> {
    let mut open = Vec::new();
    for lexeme in lexed.code() {
        match lexeme.token {
            Token::LeftBrace
            | Token::LeftParen
            | Token::LeftBracket
            | Token::MapStart
            | Token::QuestionBracket => open.push(lexeme.start),
            Token::RightBrace | Token::RightParen | Token::RightBracket => {
                open.pop();
            }
            _ => {}
        }
    }
    open
}

/// Whether the token at a byte closes a bracket.
fn is_closing(lexed: &Lexed, at: usize) -> bool {
    lexed.at(at).is_some_and(|(_, lexeme)| {
        matches!(
            lexeme.token,
            Token::RightBrace | Token::RightParen | Token::RightBracket
        )
    })
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// A message as part of a sentence.
pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
