//! What goes wrong outside of a cell: files, folders, the command itself.

use std::{io, path::PathBuf};

use thiserror::Error;

/// What goes wrong outside of a cell.
#[derive(Debug, Error)]
pub enum Error {
    /// The file to read is not there.
    #[error("there is no file `{}`", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
        /// A file that may have been meant.
        nearest: Option<PathBuf>,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`: {}", path.display(), reason(source))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A script is not text.
    #[error("`{}` is not a text file in UTF-8", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// A file or folder cannot be written.
    #[error("cannot write `{}`: {}", path.display(), reason(source))]
    Write {
        /// Which.
        path: PathBuf,
        /// Why, e.g. that the disk is full.
        source: io::Error,
    },
    /// A file is there and would be lost.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file would be lost by a conversion.
    #[error("`{}` exists already", path.display())]
    Occupied {
        /// Which.
        path: PathBuf,
    },
    /// A notebook that is none.
    #[error("`{}` is no notebook: {reason}", path.display())]
    Notebook {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that cannot be converted.
    #[error("cannot convert `{}`: {reason}", path.display())]
    Convert {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Metric logs of a notebook.
    #[error("`--log` is for scripts: a notebook keeps its outputs in its own file")]
    NoLogs,
    /// A forecast for a notebook.
    #[error("`--cost` is for scripts")]
    NoForecast,
    /// An operation that cannot be measured.
    #[error("cannot measure: {0}")]
    Measure(String),
    /// Standard input or output does not work.
    #[error("cannot {what}: {}", reason(source))]
    Stream {
        /// Which: `read standard input`, `write to standard output`.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A command of the REPL that is none.
    #[error("there is no command `:{name}`")]
    Command {
        /// What was typed.
        name: String,
        /// The command that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A command of the REPL without what it needs.
    #[error("`:{command}` needs {what}")]
    Argument {
        /// The command.
        command: &'static str,
        /// What it needs, e.g. `a file name`.
        what: &'static str,
    },
    /// The kernel does not start, or is not installed.
    #[error(transparent)]
    Kernel(#[from] rhapsode_kernel::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Missing {
                nearest: Some(path),
                ..
            } => Some(format!("did you mean `{}`?", path.display())),
            Error::Command {
                nearest: Some(name),
                ..
            } => Some(format!("did you mean `:{name}`?")),
            Error::Command { .. } => Some("`:help` lists the commands".into()),
            Error::Occupied { .. } => Some("`--force` replaces it".into()),
            Error::NoLogs => Some("`log_to(path)` in a cell writes metrics".into()),
            Error::NoForecast => Some("`rhapsode convert` makes a script of a notebook".into()),
            Error::Exists { .. } => Some("`:save! FILE` replaces it".into()),
            _ => None,
        }
    }

    /// As a person reads it.
    pub fn render(&self, colour: bool) -> String {
        let label =
            |text, style: console::Style| style.force_styling(colour).apply_to(text).to_string();
        let mut text = format!(
            "{}: {self}\n",
            label("error", console::Style::new().red().bold())
        );
        if let Some(hint) = self.hint() {
            text += &format!("{}: {hint}\n", label("hint", console::Style::new().cyan()));
        }
        text
    }
}

/// The system's words without its number: `permission denied`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_and_why_and_what_to_do() {
        let denied = io::Error::from_raw_os_error(13);
        let error = Error::Write {
            path: "out/metrics.jsonl".into(),
            source: denied,
        };
        assert_eq!(
            error.render(false),
            "error: cannot write `out/metrics.jsonl`: permission denied\n"
        );
        let error = Error::Command {
            name: "qit".into(),
            nearest: Some("quit"),
        };
        assert_eq!(
            error.render(false),
            "error: there is no command `:qit`\nhint: did you mean `:quit`?\n"
        );
    }
}
