//! What the line editor knows about the language: colours, completion, hints, where a cell ends.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rhapsode_script::{Completeness, Completion, Session, Token, TokenKind};
use rustyline::{
    Cmd, ConditionalEventHandler, Context, Event, EventContext, Helper, Movement, RepeatCount,
    completion::{Completer, FilenameCompleter, Pair},
    config::CompletionType,
    highlight::{CmdKind, Highlighter},
    hint::{Hint, Hinter},
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::commands;

/// With more completions than this, names stand alone, in columns.
const MOST_DESCRIBED: usize = 16;
/// Spaces that Tab inserts where there is nothing to complete.
const INDENT: &str = "    ";

/// The session, which the editor asks while it edits and the REPL runs cells in; never both at once.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Session>>);

impl Shared {
    /// Shares a session.
    pub fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    /// The session. A panic while it was held has ended in a diagnostic; the session can go on.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line asks of the REPL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// `:name arguments`.
    Command(&'a str, &'a str),
    /// `?name` or `name?`.
    Help(&'a str),
    /// A cell.
    Code(&'a str),
}

impl<'a> Input<'a> {
    /// Reads a line or cell.
    pub fn parse(text: &'a str) -> Self {
        let trimmed = text.trim();
        if let Some(command) = trimmed
            .strip_prefix(':')
            .filter(|rest| !rest.starts_with(':'))
        {
            let (name, arguments) = command
                .split_once(char::is_whitespace)
                .unwrap_or((command, ""));
            return Input::Command(name, arguments.trim());
        }
        if let Some(name) = trimmed.strip_prefix('?') {
            return Input::Help(name.trim());
        }
        match trimmed.strip_suffix('?') {
            Some(name) if is_path(name) => Input::Help(name),
            _ => Input::Code(text),
        }
    }

    /// The part that is code.
    fn code(self) -> Option<&'a str> {
        match self {
            Input::Code(code) | Input::Command("time", code) => Some(code),
            Input::Command(..) | Input::Help(_) => None,
        }
    }
}

/// Whether a text is a name such as `flow::rectified` or `model.fit`.
fn is_path(text: &str) -> bool {
    let is_name = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    text.replace("::", ".").split('.').all(is_name)
}

/// How much to indent the next line, if the text is not complete. Two empty lines end any cell.
fn missing(session: &Session, text: &str) -> Option<usize> {
    let code = Input::parse(text).code()?;
    let given_up = text
        .lines()
        .rev()
        .take(2)
        .filter(|line| line.trim().is_empty())
        .count()
        == 2;
    match session.is_complete(code) {
        Completeness::Incomplete(indent) if !given_up => Some(indent),
        _ => None,
    }
}

/// Whether a text is a cell, command or question as it stands.
pub fn is_whole(session: &Session, text: &str) -> bool {
    missing(session, text).is_none()
}

/// The editor's knowledge of the language.
pub struct Language {
    /// Answers all questions about code.
    pub shared: Shared,
    /// Completes the file of `:load` and `:save`.
    pub files: FilenameCompleter,
    /// Whether to colour.
    pub colours: bool,
}

/// A hint to the right of the cursor that is only shown.
pub struct Signature(String);

impl Hint for Signature {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Helper for Language {}

impl Completer for Language {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..pos).unwrap_or(line);
        // Tab indents here; only `}` comes to complete.
        if let Some(start) = closing_brace(typed) {
            return Ok((
                start,
                vec![Pair {
                    display: "}".into(),
                    replacement: "}".into(),
                }],
            ));
        }
        if let Some(command) = typed.strip_prefix(':') {
            return match command.split_once(' ') {
                None => Ok((0, commands::complete(command))),
                Some(("load" | "save" | "save!", _)) => self.files.complete(line, pos, ctx),
                Some(("time" | "help", code)) => {
                    Ok(self.complete_code(line, pos, typed.len() - code.len()))
                }
                Some(_) => Ok((pos, Vec::new())),
            };
        }
        let start = usize::from(typed.starts_with('?'));
        Ok(self.complete_code(line, pos, start))
    }
}

impl Language {
    /// Completes the code of a line from byte `start` on.
    fn complete_code(&self, line: &str, pos: usize, start: usize) -> (usize, Vec<Pair>) {
        let Some(code) = line.get(start..) else {
            return (pos, Vec::new());
        };
        let cursor = code_points(code, pos - start);
        let found = self.shared.session().complete(code, cursor);
        (start + byte_of(code, found.start), candidates(found.items))
    }
}

/// Completions as the editor lists them: with their descriptions in a line each, unless there are many.
fn candidates(items: Vec<Completion>) -> Vec<Pair> {
    let described = items.len() <= MOST_DESCRIBED;
    let widest = items
        .iter()
        .map(|item| console::measure_text_width(&item.text))
        .max()
        .unwrap_or(0);
    let columns = usize::from(console::Term::stdout().size().1).saturating_sub(2);
    let display = |item: &Completion| match described && !item.detail.is_empty() {
        true => console::truncate_str(
            &format!("{:widest$}  {}", item.text, item.detail),
            columns,
            "…",
        )
        .into_owned(),
        false => item.text.clone(),
    };
    items
        .into_iter()
        .map(|item| Pair {
            display: display(&item),
            replacement: item.text,
        })
        .collect()
}

impl Hinter for Language {
    type Hint = Signature;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Signature> {
        // The signature of a call whose arguments are being begun: `flow::rectified(`.
        let call = line
            .get(..pos)
            .filter(|_| pos == line.len())?
            .trim_end()
            .strip_suffix('(')?;
        let code = Input::parse(call).code()?;
        let help = self.shared.session().inspect(code, code.chars().count())?;
        let headline = help.text.lines().next()?;
        let (_, arguments) = headline.split_once('(')?;
        Some(Signature(arguments.to_string()))
    }
}

impl Highlighter for Language {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let code = match Input::parse(line) {
            Input::Code(code) | Input::Command("time", code) => code,
            Input::Command(..) | Input::Help(_) => "",
        };
        let head = line.len() - code.len();
        let tokens = self.shared.session().highlight(code);
        let (head, code) = (
            line.get(..head).unwrap_or(""),
            line.get(head..).unwrap_or(line),
        );
        Cow::Owned(format!("{}{}", paint_head(head), paint(code, &tokens)))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        default: bool,
    ) -> Cow<'b, str> {
        if default {
            Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        if !self.colours {
            return Cow::Borrowed(candidate);
        }
        // The description, after the name.
        match candidate.split_once(' ') {
            Some((name, rest)) => Cow::Owned(format!("{name} \x1b[90m{rest}\x1b[0m")),
            None => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        // A character may change the colour of all that follows, e.g. a quotation mark.
        kind != CmdKind::MoveCursor
    }
}

impl Validator for Language {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        // What is wrong is submitted, too: the session explains it better than the editor could.
        Ok(match is_whole(&self.shared.session(), ctx.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

/// Enter in an unfinished cell begins an indented line.
pub struct Enter(pub Shared);

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        let at_end = ctx
            .line()
            .get(ctx.pos()..)
            .is_some_and(|rest| rest.trim().is_empty());
        let indent = missing(&self.0.session(), ctx.line()).filter(|_| at_end)?;
        Some(Cmd::Insert(1, format!("\n{}", " ".repeat(indent))))
    }
}

/// Tab at the start of a line of a cell indents it.
pub struct Tab;

impl ConditionalEventHandler for Tab {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        let (_, line) = ctx.line().get(..ctx.pos())?.rsplit_once('\n')?;
        line.trim()
            .is_empty()
            .then(|| Cmd::Insert(1, INDENT.to_string()))
    }
}

/// A closing brace at the start of an indented line goes back by one indentation. No command of the
/// editor both deletes and leaves the cursor behind what it inserts, except completion: see [`Language`].
pub struct CloseBrace;

impl ConditionalEventHandler for CloseBrace {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        closing_brace(ctx.line().get(..ctx.pos())?).map(|_| Cmd::Complete)
    }
}

/// Where a closing brace belongs that is typed behind this text, if that is an indented empty line.
fn closing_brace(typed: &str) -> Option<usize> {
    let (_, line) = typed.rsplit_once('\n')?;
    let outer = line
        .strip_suffix(INDENT)
        .filter(|_| line.trim().is_empty())?;
    Some(typed.len() - line.len() + outer.len())
}

/// A command or question mark before the code.
fn paint_head(head: &str) -> String {
    if head.is_empty() {
        String::new()
    } else {
        format!("\x1b[36m{head}\x1b[0m")
    }
}

/// Code in colours; the 16 of the terminal, so that its theme fits.
pub fn paint(code: &str, tokens: &[Token]) -> String {
    let mut out = String::with_capacity(code.len() * 2);
    let mut done = 0;
    for token in tokens {
        let (Some(before), Some(text)) = (
            code.get(done..token.start),
            code.get(token.start..token.end),
        ) else {
            continue;
        };
        out.push_str(before);
        match colour(token.kind) {
            Some(colour) => out.push_str(&format!("\x1b[{colour}m{text}\x1b[0m")),
            None => out.push_str(text),
        }
        done = token.end;
    }
    out.push_str(code.get(done..).unwrap_or(""));
    out
}

/// The SGR parameters of a kind of token.
fn colour(kind: TokenKind) -> Option<&'static str> {
    match kind {
        TokenKind::Keyword => Some("35"),
        TokenKind::Function => Some("34"),
        TokenKind::Module => Some("36"),
        TokenKind::Key => Some("33"),
        TokenKind::Number => Some("93"),
        TokenKind::String => Some("32"),
        TokenKind::Comment => Some("90"),
        TokenKind::Error => Some("31"),
        TokenKind::Name | TokenKind::Operator => None,
    }
}

/// How many code points stand before a byte.
fn code_points(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count()
}

/// The byte at which a code point begins.
fn byte_of(text: &str, code_point: usize) -> usize {
    text.char_indices()
        .nth(code_point)
        .map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_questions_or_code() {
        assert_eq!(Input::parse(":time f(1)"), Input::Command("time", "f(1)"));
        assert_eq!(Input::parse("  :quit "), Input::Command("quit", ""));
        assert_eq!(
            Input::parse("?flow::rectified"),
            Input::Help("flow::rectified")
        );
        assert_eq!(Input::parse("model.fit?"), Input::Help("model.fit"));
        assert_eq!(Input::parse("?"), Input::Help(""));
        assert_eq!(Input::parse("let x = 1;"), Input::Code("let x = 1;"));
        assert_eq!(Input::parse("1 + 1 ?"), Input::Code("1 + 1 ?"));
        assert_eq!(Input::parse("\"why?"), Input::Code("\"why?"));
    }

    #[test]
    fn positions_are_code_points_outside_and_bytes_inside() {
        let text = "let ψ̂ = \"😀\"; x";
        assert_eq!(code_points(text, text.len()), text.chars().count());
        for (n, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(code_points(text, byte), n);
            assert_eq!(byte_of(text, n), byte);
        }
        assert_eq!(byte_of(text, 1_000), text.len());
    }

    #[test]
    fn painting_keeps_every_character() {
        let code = "let x = 1; // one";
        let token = |start, end, kind| Token { start, end, kind };
        let tokens = [
            token(0, 3, TokenKind::Keyword),
            token(4, 5, TokenKind::Name),
            token(11, 17, TokenKind::Comment),
        ];
        let painted = paint(code, &tokens);
        assert_eq!(painted, "\x1b[35mlet\x1b[0m x = 1; \x1b[90m// one\x1b[0m");
        assert_eq!(console::strip_ansi_codes(&painted), code);
        // Tokens that do not fit the text leave it as it is.
        assert_eq!(paint("é", &[token(0, 1, TokenKind::Name)]), "é");
    }
}
