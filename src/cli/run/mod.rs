//! `rhapsode run`: a script from start to end, its results in a folder.

mod folder;
mod machine;
mod manifest;
mod outputs;

use std::{
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use rhapsode_script::{
    Diagnostic, Display, Event, Frontend, Kind, ProgressState, Recorder, Session, SessionOptions,
    Severity, nearest,
};

use crate::{args::RunArgs, error::Error, files, screen::Screen, signals};
use manifest::Status;
use outputs::Outputs;

/// Runs a script; the exit code is 0, 1 after an error, 130 after Ctrl-C.
pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let blocked = signals::block(signals::Policy::Script);
    let from_stdin = args.file == Path::new("-");
    let source = if from_stdin {
        read_stdin()?
    } else {
        files::read_script(&args.file)?
    };
    let mut session = Session::new(SessionOptions {
        seed: args.seed,
        device: args.device.clone(),
        args: args.settings.iter().cloned().collect(),
        ..SessionOptions::default()
    });
    let cell = session.interrupt_handle();
    let last_signal = blocked.watch(move || cell.interrupt());
    let mut screen = Screen::new(session.interrupt_handle(), args.quiet);
    if let Some(error) = wrong_device(&mut session, &args.device) {
        screen.complain(&error);
        return Ok(ExitCode::FAILURE);
    }
    if let Some((columns, rows)) = screen.size() {
        session.set_terminal(columns, rows);
    }
    let outputs = Outputs::new(args, &source)?;
    let mut runner = Runner {
        screen,
        outputs,
        quiet: args.quiet,
        failed: None,
    };

    let result = match from_stdin {
        true => session.execute(&source, &mut runner),
        false => session.execute_file(&args.file, &mut runner),
    };
    match &result {
        Ok(_) => warn_of_unread(&session, &source, &mut runner.screen),
        Err(_) => runner.save_models(&session),
    }
    runner.finish(result, last_signal)
}

/// A value given with `--set` that the script never asked for is probably a misspelt name.
fn warn_of_unread(session: &Session, source: &str, screen: &mut Screen) {
    let known = session.script_args(source).1;
    for name in session.unread_args() {
        let names = known.iter().map(|arg| arg.name.as_str());
        let hint = match nearest(&name, names) {
            Some(near) => format!("did you mean `--set {near}=...`?"),
            None => format!("it reads a value with `arg({name:?}, default)`"),
        };
        screen.complain(&Diagnostic {
            severity: Severity::Warning,
            hints: vec![hint],
            ..Diagnostic::new(
                Kind::Option,
                format!("`--set {name}=...`: the script never asked for `{name}`"),
            )
        });
    }
}

/// What the language says about a device that is not there, before anything is done on it.
pub fn wrong_device(session: &mut Session, device: &str) -> Option<Diagnostic> {
    if device == "cpu" {
        return None;
    }
    let choose = format!("device({device:?});");
    let chosen = session.execute(&choose, &mut Recorder::default());
    // Its place is in a line that the user has not written.
    chosen.err().map(|error| Diagnostic {
        place: None,
        ..error
    })
}

/// The whole of standard input as a script.
pub fn read_stdin() -> Result<String, Error> {
    let mut source = String::new();
    let read = io::stdin().read_to_string(&mut source);
    read.map_err(|source| Error::Stream {
        what: "read standard input",
        source,
    })?;
    Ok(source)
}

/// The front end of a script: the terminal and the folder.
struct Runner {
    screen: Screen,
    outputs: Outputs,
    quiet: bool,
    /// The first result that could not be written. The script goes on: what it computes is not lost yet.
    failed: Option<Error>,
}

impl Frontend for Runner {
    fn event(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.screen.stdout(&text),
            Event::Stderr(text) => self.screen.stderr(&text),
            Event::Display(display) => self.show(&display),
            Event::UpdateDisplay(display) => {
                if !outputs::is_figure(&display) {
                    self.screen.update(display.clone());
                }
                self.outputs.update(display);
            }
            Event::Clear { wait } => self.screen.clear(wait),
            Event::Progress(progress) => self.screen.progress(progress),
            Event::Record(record) => {
                let written = self.outputs.record(&record);
                self.note(written);
            }
            // A script has no next cell: only cells have magics.
            Event::NextInput(_) => {}
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

impl Runner {
    /// Shows a value; a figure is written, and its path shown.
    fn show(&mut self, display: &Display) {
        if let Some(json) = display.get(rhapsode_script::REPORT) {
            let written = self.outputs.report(json);
            self.note(written);
        }
        if !outputs::is_figure(display) {
            return self.screen.display(display);
        }
        self.screen.draw(display);
        let written = self.outputs.figure(display);
        if let Some(Some(path)) = self.note(written)
            && !self.quiet
        {
            self.screen.lines(&path.display().to_string());
        }
    }

    /// Gives what was written, or tells once what could not be.
    fn note<T>(&mut self, written: Result<T, Error>) -> Option<T> {
        match written {
            Ok(value) => Some(value),
            Err(error) => {
                if self.failed.is_none() {
                    let text = error.render(self.screen.colours_stderr());
                    self.screen.stderr(&text);
                    self.failed = Some(error);
                }
                None
            }
        }
    }

    /// Saves the models of a script that did not come to its end: what was learned is not lost.
    fn save_models(&mut self, session: &Session) {
        for name in session.models() {
            let path = self.outputs.model(&name);
            if let Some(Err(error)) = self.note(path).map(|path| session.save(&name, &path)) {
                self.screen.complain(&error);
            }
        }
    }

    /// Shows the last value or the error, completes the folder, gives the exit code.
    fn finish(
        mut self,
        result: Result<Option<Display>, Diagnostic>,
        signal: signals::Last,
    ) -> Result<ExitCode, Error> {
        let (status, bars, error) = match result {
            Ok(display) => {
                if let Some(display) = display {
                    self.show(&display);
                }
                (Status::Finished, ProgressState::Finished, None)
            }
            Err(error) if error.kind == Kind::Interrupted => {
                (Status::Interrupted, ProgressState::Interrupted, Some(error))
            }
            Err(error) => (Status::Failed, ProgressState::Failed, Some(error)),
        };
        self.screen.end_cell(bars);
        if let Some(error) = error.as_ref().filter(|_| !self.screen.reader_left()) {
            self.screen.complain(error);
        }
        let folder = self.outputs.end(status, error.as_ref())?;
        if let Some(folder) = folder {
            self.screen
                .lines(&format!("results in {}", folder.display()));
        }
        if let Some(reader_left) = self.screen.close()? {
            return Ok(reader_left);
        }
        Ok(match (status, self.failed) {
            (Status::Interrupted, _) => ExitCode::from(signal.exit_code()),
            (Status::Finished, None) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
