//! A script's question to the user: a line, or a password that is not shown.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use rustyline::{
    ColorMode, Config, Editor, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    history::DefaultHistory,
    validate::Validator,
};

/// How a question was answered.
pub enum Answer {
    /// With a line.
    Line(String),
    /// The input ended.
    End,
    /// With Ctrl-C.
    Interrupted,
}

/// Asks; without a terminal the next line of standard input is the answer.
pub fn ask(prompt: &str, password: bool) -> Answer {
    if !io::stdin().is_terminal() {
        return read_line(prompt);
    }
    let colours = if password {
        ColorMode::Forced
    } else {
        ColorMode::Enabled
    };
    let config = Config::builder()
        .color_mode(colours)
        .auto_add_history(false)
        .build();
    let editor = Editor::<Mask, DefaultHistory>::with_config(config);
    let Ok(mut editor) = editor else {
        return read_line(prompt);
    };
    editor.set_helper(Some(Mask { on: password }));
    match editor.readline(prompt) {
        Ok(line) => Answer::Line(line),
        Err(ReadlineError::Interrupted) => Answer::Interrupted,
        Err(_) => Answer::End,
    }
}

/// The next line of standard input, when it is no terminal.
fn read_line(prompt: &str) -> Answer {
    let mut stdout = io::stdout().lock();
    // Whoever does not read the prompt may still answer.
    let _ = stdout
        .write_all(prompt.as_bytes())
        .and_then(|()| stdout.flush());
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(count) if count > 0 => Answer::Line(line.trim_end_matches(['\n', '\r']).to_string()),
        _ => Answer::End,
    }
}

/// Shows stars in place of what is typed.
struct Mask {
    /// Whether to hide anything.
    on: bool,
}

impl Highlighter for Mask {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.on {
            Cow::Owned("*".repeat(console::measure_text_width(line)))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.on && kind != CmdKind::MoveCursor
    }
}

impl Completer for Mask {
    type Candidate = String;
}

impl Hinter for Mask {
    type Hint = String;
}

impl Validator for Mask {}

impl Helper for Mask {}
