//! What the line editor knows about the language: completion, hints, colours, where a cell ends.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rhapsode_script::{Completion, Session};
use rustyline::{
    Context, Helper,
    completion::{Completer, FilenameCompleter, Pair},
    config::CompletionType,
    highlight::{CmdKind, Highlighter},
    hint::{Hint, Hinter},
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::{
    commands,
    input::{Input, is_whole},
    keys::closing_brace,
    paint::{paint, paint_head},
};

/// With more completions than this, names stand alone, in columns.
const MOST_DESCRIBED: usize = 16;

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
                Some((name, code)) if name == "help" || commands::takes_code(name) => {
                    Ok(self.complete_code(line, pos, typed.len() - code.len()))
                }
                Some(_) => Ok((pos, Vec::new())),
            };
        }
        Ok(self.complete_code(line, pos, 0))
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
        let code = Input::parse(line).code().unwrap_or("");
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
    fn positions_are_code_points_outside_and_bytes_inside() {
        let text = "let ψ̂ = \"😀\"; x";
        assert_eq!(code_points(text, text.len()), text.chars().count());
        for (n, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(code_points(text, byte), n);
            assert_eq!(byte_of(text, n), byte);
        }
        assert_eq!(byte_of(text, 1_000), text.len());
    }
}
