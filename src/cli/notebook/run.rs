//! `rhapsode run NOTEBOOK`: all cells of code in one session, their outputs written into the notebook.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use rhapsode_script::{
    Diagnostic, Display, Event, Frontend, Kind, ProgressState, Session, SessionOptions, Severity,
    nearest,
};

use super::{
    document::{self, Notebook},
    outputs::Outputs,
    parameters,
};
use crate::{args::RunArgs, error::Error, run::wrong_device, screen::Screen, signals};

/// The tag of a cell whose error is expected, as nbclient has it.
pub const MAY_FAIL: &str = "raises-exception";
/// The tag of a cell that is left as it is.
const SKIPPED: &str = "skip-execution";

/// Runs a notebook; the exit code is 0, 1 after an error, 130 after Ctrl-C. What there is of it is written in any case.
pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let blocked = signals::block(signals::Policy::Script);
    if !args.log.is_empty() {
        return Err(Error::NoLogs);
    }
    let mut notebook = Notebook::read(&args.file)?;
    notebook.complete();
    let target = target(args)?;
    let mut session = Session::new(SessionOptions {
        seed: args.seed,
        device: args.device.clone(),
        args: args.settings.iter().cloned().collect(),
        folder: args.file.parent().map(Path::to_path_buf),
        ..SessionOptions::default()
    });
    let stop = session.interrupt_handle();
    let last_signal = blocked.watch(move || stop.interrupt());
    let mut screen = Screen::new(session.interrupt_handle(), args.quiet);
    if let Some(error) = wrong_device(&mut session, &args.device) {
        screen.complain(&error);
        return Ok(ExitCode::FAILURE);
    }
    let defaults = parameters::inject(&mut notebook, &args.settings, &session);
    // What cannot be written is told before anything is computed.
    notebook.write(&target)?;

    let error = run_cells(&mut notebook, &mut session, &mut screen);
    if error.is_none() {
        warn_of_unread(&session, defaults.as_deref(), &mut screen);
    }
    notebook.write(&target)?;
    screen.lines(&format!("outputs in {}", target.display()));
    let code = match error {
        None => ExitCode::SUCCESS,
        Some(error) if error.kind == Kind::Interrupted => ExitCode::from(last_signal.exit_code()),
        Some(_) => ExitCode::FAILURE,
    };
    Ok(screen.close()?.unwrap_or(code))
}

/// Where the notebook is written: over itself, to a file, or into a folder.
fn target(args: &RunArgs) -> Result<PathBuf, Error> {
    let Some(out) = &args.out else {
        return Ok(args.file.clone());
    };
    if super::is_notebook(out) {
        return Ok(out.clone());
    }
    std::fs::create_dir_all(out).map_err(|source| Error::Write {
        path: out.clone(),
        source,
    })?;
    Ok(out.join(args.file.file_name().unwrap_or_default()))
}

/// Runs the cells until one fails; gives what went wrong.
fn run_cells(
    notebook: &mut Notebook,
    session: &mut Session,
    screen: &mut Screen,
) -> Option<Diagnostic> {
    let is_code =
        |cell: &&mut document::Cell| cell.kind() == document::Kind::Code && !cell.has_tag(SKIPPED);
    let mut failed = None;
    let mut count = 0;
    for cell in notebook.cells.iter_mut().filter(is_code) {
        if failed.is_some() || cell.source.trim().is_empty() {
            // Outputs of an earlier run would look like those of this one.
            cell.set_outputs(None, Vec::new());
            continue;
        }
        count += 1;
        let may_fail = cell.has_tag(MAY_FAIL);
        let (outputs, error) = run_cell(session, &cell.source, count, screen, may_fail);
        cell.set_outputs(Some(count), outputs);
        failed = error.filter(|error| !may_fail || error.kind == Kind::Interrupted);
    }
    failed
}

/// Runs one cell; gives its outputs, and what went wrong.
fn run_cell(
    session: &mut Session,
    source: &str,
    count: u64,
    screen: &mut Screen,
    may_fail: bool,
) -> (Vec<serde_json::Value>, Option<Diagnostic>) {
    if let Some((columns, rows)) = screen.size() {
        session.set_terminal(columns, rows);
    }
    let mut keeper = Keeper {
        outputs: Outputs::new(),
        screen,
    };
    let outcome = session.execute(source, &mut keeper);
    let Keeper {
        mut outputs,
        screen,
    } = keeper;
    let (state, error) = match outcome {
        Ok(display) => {
            if let Some(display) = &display {
                show(screen, display);
                outputs.result(display, count);
            }
            (ProgressState::Finished, None)
        }
        Err(error) => {
            let state = match error.kind {
                Kind::Interrupted => ProgressState::Interrupted,
                _ => ProgressState::Failed,
            };
            outputs.close_bars(state);
            outputs.error(&error);
            (state, Some(error))
        }
    };
    screen.end_cell(state);
    if let Some(error) = error
        .as_ref()
        .filter(|_| !screen.reader_left() && !may_fail)
    {
        screen.complain(error);
    }
    (outputs.end(state), error)
}

/// Keeps what a cell does, and shows it in the terminal.
struct Keeper<'a> {
    outputs: Outputs,
    screen: &'a mut Screen,
}

impl Frontend for Keeper<'_> {
    fn event(&mut self, event: Event) {
        self.outputs.event(&event);
        match event {
            Event::Stdout(text) | Event::NextInput(text) => self.screen.stdout(&text),
            Event::Stderr(text) => self.screen.stderr(&text),
            Event::Display(display) => show(self.screen, &display),
            Event::UpdateDisplay(display) => self.screen.update(display),
            Event::Clear { wait } => self.screen.clear(wait),
            Event::Progress(progress) => self.screen.progress(progress),
            Event::Record(_) => {}
            Event::Input { reply, .. } => {
                // Nobody sits before a notebook that is run as a whole. The asking cell may have been stopped.
                let _ = reply.send(None);
            }
        }
    }
}

/// Shows a value; a picture only where somebody wants drawings.
fn show(screen: &mut Screen, display: &Display) {
    match display.get("image/png") {
        Some(_) => screen.draw(display),
        None => screen.display(display),
    }
}

/// A value given with `--set` that nothing reads is probably a misspelt name.
fn warn_of_unread(session: &Session, defaults: Option<&[String]>, screen: &mut Screen) {
    let defaults = defaults.unwrap_or_default();
    for name in session.unread_args() {
        if defaults.contains(&name) {
            continue;
        }
        let hint = match nearest(&name, defaults.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `--set {near}=...`?"),
            None => format!(
                "it reads a value with `arg({name:?}, default)`, or declares it in a cell with the tag `parameters`"
            ),
        };
        screen.complain(&Diagnostic {
            severity: Severity::Warning,
            hints: vec![hint],
            ..Diagnostic::new(
                Kind::Option,
                format!("`--set {name}=...`: the notebook never asked for `{name}`"),
            )
        });
    }
}
