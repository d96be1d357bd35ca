//! The REPL: cells typed in a terminal, or piped in.

mod commands;
mod helper;
mod input;
mod keys;
mod log;
mod paint;

use std::{
    io::{self, BufRead, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use rhapsode_script::{
    Diagnostic, Display, Event, Frontend, Kind, ProgressState, Session, SessionOptions,
};
use rustyline::{
    CompletionType, Config, Editor, EventHandler, KeyCode, KeyEvent, Modifiers,
    completion::FilenameCompleter, error::ReadlineError, history::FileHistory,
};

use crate::{error::Error, files, screen::Screen, signals};
use commands::Flow;
use helper::{Language, Shared};
use input::Input;
use log::Log;

/// Entries that the history keeps.
const HISTORY: usize = 10_000;

/// Runs the REPL until its user leaves. Piped input is read the same way, without prompts; then the
/// exit code says whether all of it worked.
pub fn run() -> Result<ExitCode, Error> {
    let blocked = signals::block(signals::Policy::Cell);
    let session = Session::new(SessionOptions::default());
    let cell = session.interrupt_handle();
    blocked.watch(move || cell.interrupt());
    let screen = Screen::new(session.interrupt_handle(), false);
    let mut repl = Repl {
        shared: Shared::new(session),
        screen,
        log: Log::default(),
        cells: 0,
        failed: false,
    };
    if io::stdin().is_terminal() {
        repl.interact()?
    } else {
        repl.read_all(io::stdin().lock())?
    }
    repl.end()
}

/// The state of a REPL.
pub struct Repl {
    shared: Shared,
    screen: Screen,
    /// The cells that worked.
    log: Log,
    /// Cells that were run.
    cells: usize,
    /// Whether anything went wrong.
    failed: bool,
}

/// Prints what a cell does.
struct Printer<'a>(&'a mut Screen);

impl Frontend for Printer<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.0.stdout(&text),
            Event::Stderr(text) => self.0.stderr(&text),
            Event::Display(display) => self.0.display(&display),
            Event::UpdateDisplay(display) => self.0.update(display),
            Event::Clear { wait } => self.0.clear(wait),
            Event::Progress(progress) => self.0.progress(progress),
            // The progress line shows the newest metrics; a file of them is the runner's.
            Event::Record(_) => {}
            Event::Input {
                prompt,
                password,
                reply,
            } => {
                // The asking cell may have been stopped; then nobody waits for the answer.
                let _ = reply.send(self.0.ask(&prompt, password));
            }
        }
    }
}

impl Repl {
    /// Reads cells in the terminal.
    fn interact(&mut self) -> Result<(), Error> {
        let mut editor = self.editor()?;
        let history = files::data_folder().map(|folder| folder.join("history"));
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        self.screen.prose(&format!(
            "Rhapsode {}  ·  :help lists commands, ?NAME explains a name, Tab completes, Ctrl-D leaves",
            env!("CARGO_PKG_VERSION")
        ));
        loop {
            match editor.readline(&format!("[{}]> ", self.cells + 1)) {
                Ok(text) => {
                    self.remember(&mut editor, history.as_ref(), &text);
                    if self.take(&text) == Flow::Quit {
                        return Ok(());
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(ReadlineError::Io(source)) => {
                    return Err(Error::Stream {
                        what: "read the terminal",
                        source,
                    });
                }
                Err(error) => return Err(terminal_error(error)),
            }
        }
    }

    /// The line editor with everything that it knows about the language.
    fn editor(&self) -> Result<Editor<Language, FileHistory>, Error> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .max_history_size(HISTORY)
            .and_then(|builder| builder.history_ignore_dups(true))
            .map_err(terminal_error)?
            .build();
        let mut editor = Editor::with_config(config).map_err(terminal_error)?;
        let colours = self.screen.colours_stdout();
        editor.set_helper(Some(Language {
            shared: self.shared.clone(),
            files: FilenameCompleter::new(),
            colours,
        }));
        let key = |code| KeyEvent(code, Modifiers::NONE);
        let enter = keys::Enter(self.shared.clone());
        editor.bind_sequence(
            key(KeyCode::Enter),
            EventHandler::Conditional(Box::new(enter)),
        );
        editor.bind_sequence(
            key(KeyCode::Tab),
            EventHandler::Conditional(Box::new(keys::Tab)),
        );
        editor.bind_sequence(
            key(KeyCode::Char('}')),
            EventHandler::Conditional(Box::new(keys::CloseBrace)),
        );
        Ok(editor)
    }

    /// Adds to the history and its file.
    fn remember(
        &mut self,
        editor: &mut Editor<Language, FileHistory>,
        path: Option<&PathBuf>,
        text: &str,
    ) {
        if text.trim().is_empty() || !editor.add_history_entry(text.trim_end()).unwrap_or(false) {
            return;
        }
        // A history that cannot be kept (a read-only home) must not disturb the work.
        let Some(path) = path else { return };
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = editor.append_history(path);
    }

    /// Reads cells from a stream, each as soon as it is complete.
    fn read_all(&mut self, input: impl BufRead) -> Result<(), Error> {
        let mut text = String::new();
        for line in input.lines() {
            text += &line.map_err(|source| Error::Stream {
                what: "read standard input",
                source,
            })?;
            text.push('\n');
            if input::is_whole(&self.shared.session(), &text)
                && self.take(&std::mem::take(&mut text)) == Flow::Quit
            {
                return Ok(());
            }
        }
        self.take(&text);
        Ok(())
    }

    /// Does what a line asks for.
    fn take(&mut self, text: &str) -> Flow {
        match Input::parse(text) {
            Input::Code(code) if code.trim().is_empty() => {}
            Input::Code(code) => {
                self.execute(code.trim_end());
            }
            Input::Help("") => return self.command("help", ""),
            Input::Help(name) => self.help(name),
            Input::Command(name, arguments) => return self.command(name, arguments),
        }
        Flow::Continue
    }

    /// Runs a command.
    fn command(&mut self, name: &str, arguments: &str) -> Flow {
        commands::run(self, name, arguments).unwrap_or_else(|error| {
            self.failed = true;
            let text = error.render(self.screen.colours_stderr());
            self.screen.stderr(&text);
            Flow::Continue
        })
    }

    /// Runs a cell and shows its output; gives the time that it took.
    fn execute(&mut self, code: &str) -> Duration {
        self.cells += 1;
        let shared = self.shared.clone();
        let started = Instant::now();
        let mut session = shared.session();
        // The window may have been made larger since the last cell.
        if let Some((columns, rows)) = self.screen.size() {
            session.set_terminal(columns, rows);
        }
        let result = session.execute(code, &mut Printer(&mut self.screen));
        drop(session);
        let took = started.elapsed();
        if let Some(shown) = self.finish(result) {
            self.log.add(&shared.session(), code, shown);
        }
        took
    }

    /// Runs a script in the session.
    fn load(&mut self, path: &Path) -> Result<(), Error> {
        let source = files::read_script(path)?;
        let shared = self.shared.clone();
        let result = shared
            .session()
            .execute_file(path, &mut Printer(&mut self.screen));
        if let Some(shown) = self.finish(result) {
            self.log.add_file(
                &shared.session(),
                &path.display().to_string(),
                &source,
                shown,
            );
        }
        Ok(())
    }

    /// Shows the output or the error of a cell; gives whether there was an output, or nothing after an error.
    fn finish(&mut self, result: Result<Option<Display>, Diagnostic>) -> Option<bool> {
        match result {
            Ok(display) => {
                if let Some(display) = &display {
                    self.screen.display(display);
                }
                self.screen.end_cell(ProgressState::Finished);
                Some(display.is_some())
            }
            Err(error) => {
                let interrupted = error.kind == Kind::Interrupted;
                self.screen.end_cell(if interrupted {
                    ProgressState::Interrupted
                } else {
                    ProgressState::Failed
                });
                self.complain(&error);
                None
            }
        }
    }

    /// Shows help on a name; `model.fit` is looked up by what the variable `model` holds.
    fn help(&mut self, name: &str) {
        let session = self.shared.session();
        // A question in words is no code.
        let of_code = (!name.contains(' ')).then(|| session.inspect(name, name.chars().count()));
        let help = match of_code.flatten() {
            Some(help) => Ok(help),
            None => session.help(name),
        };
        drop(session);
        match help {
            Ok(help) => self.screen.prose(&help.text),
            Err(error) => self.complain(&error),
        }
    }

    /// Shows what went wrong.
    fn complain(&mut self, error: &Diagnostic) {
        self.failed = true;
        self.screen.complain(error);
    }

    /// The exit code: in a terminal the user has seen every error.
    fn end(self) -> Result<ExitCode, Error> {
        let failed = self.failed && !io::stdin().is_terminal();
        let reader_left = self.screen.close()?;
        Ok(reader_left.unwrap_or(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }))
    }
}

/// What the line editor reports about the terminal.
fn terminal_error(error: ReadlineError) -> Error {
    Error::Stream {
        what: "use the terminal",
        source: io::Error::other(error),
    }
}
