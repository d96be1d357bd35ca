//! What a running cell shows in the terminal: text, figures, progress bars, questions.
//!
//! The REPL and the script runner both write through a [`Screen`]. Text goes to standard output and
//! standard error as it is; live progress lines step aside for it. When standard output is closed by its
//! reader (`| head`), the cell is stopped and nothing more is written.

mod ask;
mod extent;
mod image;
mod inline;
mod query;
mod sixel;
mod wrap;

use std::{
    cell::OnceCell,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use rhapsode_script::{Diagnostic, Display, InterruptHandle, Progress, ProgressState};

use crate::{
    error::Error,
    progress::{self, Bars},
    signals::{Unmarked, unmarked},
};
use extent::Extent;
use inline::Protocol;

/// As the shell counts a program that was ended by SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// The terminal, or what stands in its place.
pub struct Screen {
    /// Whether a person reads standard output.
    terminal: bool,
    /// Whether figures are drawn in it.
    drawings: bool,
    /// How pictures are shown; found out when the first one is.
    protocol: OnceCell<Protocol>,
    /// Progress of the cell.
    bars: Bars,
    /// How much of the terminal the cell has written.
    extent: Extent,
    /// Clear before the next output.
    clear_next: bool,
    /// Displays that were updated since they were drawn; drawn once more when the cell ends.
    updated: Vec<Display>,
    /// Stops the cell when nobody reads any more.
    stop: InterruptHandle,
    /// The first failure of writing to standard output.
    failure: Option<io::Error>,
    /// While there are live bars, Ctrl-C leaves no mark in them.
    _unmarked: Option<Unmarked>,
}

impl Screen {
    /// The screen of this process; with `quiet` without live bars and drawings.
    pub fn new(stop: InterruptHandle, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let mut screen = Self {
            terminal,
            drawings: terminal && !quiet,
            protocol: OnceCell::new(),
            bars: Bars::new(io::stderr().is_terminal() && !quiet),
            extent: Extent::default(),
            clear_next: false,
            updated: Vec::new(),
            stop,
            failure: None,
            _unmarked: (io::stderr().is_terminal() && !quiet).then(unmarked),
        };
        if let Some(choice) = inline::unknown_choice().filter(|_| screen.drawings) {
            let known = "kitty, iterm2, sixel or characters";
            screen.stderr(&format!(
                "{} is `{choice}`: expected {known}\n",
                inline::VARIABLE
            ));
        }
        screen
    }

    /// Columns and rows of the terminal, if standard output is one.
    pub fn size(&self) -> Option<(usize, usize)> {
        let (rows, columns) = console::Term::stdout().size();
        self.terminal.then_some((columns.into(), rows.into()))
    }

    /// Whether colours belong on standard output.
    pub fn colours_stdout(&self) -> bool {
        console::colors_enabled()
    }

    /// Whether colours belong on standard error.
    pub fn colours_stderr(&self) -> bool {
        console::colors_enabled_stderr()
    }

    /// Writes text to standard output as it is.
    pub fn stdout(&mut self, text: &str) {
        self.clear_if_asked();
        self.write(text);
    }

    /// Writes text to standard error as it is.
    pub fn stderr(&mut self, text: &str) {
        self.clear_if_asked();
        // Whoever closed standard error does not want to hear of it.
        let _ = self
            .bars
            .suspend(|| io::stderr().write_all(text.as_bytes()));
        if self.terminal {
            self.extent.add(text);
        }
    }

    /// Shows what went wrong.
    pub fn complain(&mut self, error: &Diagnostic) {
        let text = error.render(self.colours_stderr());
        self.stderr(&format!("{}\n", text.trim_end()));
    }

    /// Writes whole lines to standard output, below what stands there.
    pub fn lines(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.clear_if_asked();
        let start = if self.extent.at_line_start() {
            ""
        } else {
            "\n"
        };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(&format!("{start}{text}{end}"));
    }

    /// Writes prose: in a terminal broken between words.
    pub fn prose(&mut self, text: &str) {
        if self.terminal {
            let (_, columns) = console::Term::stdout().size();
            self.lines(&wrap::wrap(text, columns.into()));
        } else {
            self.lines(text);
        }
    }

    /// Shows a value: its picture where the terminal can, else its text.
    pub fn display(&mut self, display: &Display) {
        match self.picture(display) {
            Some(picture) => {
                self.lines(&picture);
                self.extent.forget();
            }
            None if display.get("text/markdown").is_some() => self.prose(display.plain()),
            None => {
                let coloured = display.get("text/x-ansi");
                let coloured = coloured.filter(|_| self.terminal && self.colours_stdout());
                self.lines(coloured.unwrap_or_else(|| display.plain()));
            }
        }
    }

    /// Draws a figure if a person looks at the terminal and wants drawings.
    pub fn draw(&mut self, figure: &Display) {
        if self.drawings {
            self.display(figure);
        }
    }

    /// Keeps the newest state of a display until the cell ends: a terminal cannot draw over pictures.
    pub fn update(&mut self, display: Display) {
        match self.updated.iter_mut().find(|old| old.id == display.id) {
            Some(old) => *old = display,
            None => self.updated.push(display),
        }
    }

    /// Takes away what the cell has written so far, as far as the terminal can.
    pub fn clear(&mut self, wait: bool) {
        self.clear_next = true;
        if !wait {
            self.clear_if_asked();
        }
    }

    /// Takes a state of long work.
    pub fn progress(&mut self, progress: Progress) {
        if let Some(line) = self.bars.update(progress) {
            self.closing_lines(&[line]);
        }
    }

    /// Asks the user; nothing when nobody answers. Ctrl-C at the question stops the cell.
    pub fn ask(&mut self, prompt: &str, password: bool) -> Option<String> {
        self.clear_if_asked();
        let answer = self.bars.suspend(|| ask::ask(prompt, password));
        self.extent.forget();
        match answer {
            ask::Answer::Line(line) => Some(line),
            ask::Answer::End => None,
            ask::Answer::Interrupted => {
                self.stop.interrupt();
                None
            }
        }
    }

    /// Ends the cell: bars that still run are closed as `state`, updated displays drawn, the line ended.
    pub fn end_cell(&mut self, state: ProgressState) {
        let lines = self.bars.close_all(state);
        self.closing_lines(&lines);
        for display in std::mem::take(&mut self.updated) {
            if self.terminal {
                self.display(&display);
            }
        }
        if !self.extent.at_line_start() {
            self.write("\n");
        }
        self.extent = Extent::default();
        self.clear_next = false;
    }

    /// Whether standard output's reader is gone.
    pub fn reader_left(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| failure.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Ends all output: the exit code of a program whose reader left, if it did, or the error of a full disk.
    pub fn close(self) -> Result<Option<ExitCode>, Error> {
        match self.failure {
            Some(failure) if failure.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Some(ExitCode::from(BROKEN_PIPE)))
            }
            Some(source) => Err(Error::Stream {
                what: "write to standard output",
                source,
            }),
            None => Ok(None),
        }
    }

    /// The sequence that shows a display's picture in this terminal.
    fn picture(&self, display: &Display) -> Option<String> {
        let png = display.get("image/png").filter(|_| self.drawings)?;
        let (_, columns) = console::Term::stdout().size();
        self.protocol
            .get_or_init(inline::detect)
            .draw(png, columns.into())
    }

    /// Writes what stays of ended work to standard error.
    fn closing_lines(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if !self.extent.at_line_start() {
            self.write("\n");
        }
        // Whoever closed standard error does not want to hear of it.
        let _ = self.bars.suspend(|| progress::write_lines(lines));
        lines
            .iter()
            .for_each(|line| self.extent.add(&format!("{line}\n")));
    }

    /// Does a clear that was asked for.
    fn clear_if_asked(&mut self) {
        if std::mem::take(&mut self.clear_next) && self.terminal {
            let (rows, columns) = console::Term::stdout().size();
            let clear = self.extent.clear_sequence(rows.into(), columns.into());
            self.write(&clear);
            self.extent = Extent::default();
        }
    }

    /// Writes to standard output; after the first failure nothing more.
    fn write(&mut self, text: &str) {
        if self.failure.is_some() {
            return;
        }
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush())
        });
        if let Err(error) = written {
            self.failure = Some(error);
            self.stop.interrupt();
        }
        self.extent.add(text);
    }
}
