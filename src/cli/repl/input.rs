//! What a line asks of the REPL: a command or a cell, and whether it is all there.

use rhapsode_script::{Completeness, Session};

use super::commands;

/// What a line asks of the REPL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// `:name arguments`.
    Command(&'a str, &'a str),
    /// A cell, which may ask for help (`?name`) or for other magics.
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
        Input::Code(text)
    }

    /// The part that is code: `:time f(x)` is another spelling of `%time f(x)`.
    pub fn code(self) -> Option<&'a str> {
        match self {
            Input::Code(code) => Some(code),
            Input::Command(name, code) => (commands::takes_code(name)).then_some(code),
        }
    }
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
    // A line that was read has its end, which an editor's last line has not.
    let code = code.strip_suffix('\n').unwrap_or(code);
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
    fn lines_are_commands_or_cells() {
        assert_eq!(Input::parse(":time f(1)"), Input::Command("time", "f(1)"));
        assert_eq!(Input::parse("  :quit "), Input::Command("quit", ""));
        assert_eq!(Input::parse("let x = 1;"), Input::Code("let x = 1;"));
        assert_eq!(Input::parse("1 + 1 ?"), Input::Code("1 + 1 ?"));
        assert_eq!(Input::parse("?plot"), Input::Code("?plot"));
        assert_eq!(Input::parse(":time f(").code(), Some("f("));
        assert_eq!(Input::parse(":save f(").code(), None);
    }
}
