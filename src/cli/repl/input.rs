//! What a line asks of the REPL: a command, help or code, and whether it is all there.

use rhapsode_script::{Completeness, Session};

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
    pub fn code(self) -> Option<&'a str> {
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
pub fn missing(session: &Session, text: &str) -> Option<usize> {
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
}
