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
        next: None,
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
    /// What `%load` has put into the next cell.
    next: Option<String>,
    /// Cells that were run.
    cells: usize,
    /// Whether anything went wrong.
    failed: bool,
}

/// Prints what a cell does.
struct Printer<'a> {
    screen: &'a mut Screen,
    /// Where the text of the next cell goes.
    next: &'a mut Option<String>,
}

impl<'a> Printer<'a> {
    fn of(screen: &'a mut Screen, next: &'a mut Option<String>) -> Self {
        Self { screen, next }
    }
}

impl Frontend for Printer<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.screen.stdout(&text),
            Event::Stderr(text) => self.screen.stderr(&text),
            Event::Display(display) => self.screen.display(&display),
            Event::UpdateDisplay(display) => self.screen.update(display),
            Event::Clear { wait } => self.screen.clear(wait),
            Event::Progress(progress) => self.screen.progress(progress),
            // The progress line shows the newest metrics; a file of them is the runner's.
            Event::Record(_) => {}
            Event::NextInput(text) => *self.next = Some(text),
            Event::Input {
                prompt,
                password,
                reply,
            } => {
                // The asking cell may have been stopped; then nobody waits for the answer.
                let _ = reply.send(self.screen.ask(&prompt, password));
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
            "Rhapsode {}  ·  :help lists commands, %lsmagic magics, ?NAME explains a name, Tab completes, Ctrl-D leaves",
            env!("CARGO_PKG_VERSION")
        ));
        loop {
            let prompt = format!("[{}]> ", self.cells + 1);
            let line = match self.next.take() {
                Some(text) => editor.readline_with_initial(&prompt, (text.trim_end(), "")),
                None => editor.readline(&prompt),
            };
            match line {
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
            if let Some(loaded) = self.next.take() {
                // Nobody can edit it here.
                self.screen.lines(&loaded);
            }
        }
        self.take(&text);
        Ok(())
    }

    /// Does what a line asks for.
    fn take(&mut self, text: &str) -> Flow {
        match Input::parse(text) {
            Input::Code(code) if code.trim().is_empty() => {}
            Input::Code(code) => self.execute(code.trim_end()),
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

    /// Runs a cell and shows its output.
    fn execute(&mut self, code: &str) {
        self.cells += 1;
        let shared = self.shared.clone();
        let mut session = shared.session();
        // The window may have been made larger since the last cell.
        if let Some((columns, rows)) = self.screen.size() {
            session.set_terminal(columns, rows);
        }
        let result = session.execute(code, &mut Printer::of(&mut self.screen, &mut self.next));
        drop(session);
        if let Some(shown) = self.finish(result) {
            self.log.add(&shared.session(), code, shown);
        }
        if code.trim_start().starts_with("%reset") {
            self.log.clear();
        }
    }

    /// Runs a script in the session.
    fn load(&mut self, path: &Path) -> Result<(), Error> {
        let source = files::read_script(path)?;
        let shared = self.shared.clone();
        let result = shared
            .session()
            .execute_file(path, &mut Printer::of(&mut self.screen, &mut self.next));
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
