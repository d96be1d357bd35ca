//! The child process: runs groups of cells in sessions and tells the parent, a line each, what it is at and what it found.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write as _},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use rhapsode_script::{Diagnostic, InterruptHandle, Kind, Recorder, Session, SessionOptions};

use crate::{
    GROUP, Task,
    cells::{Dice, Generator},
    surface::{self, Callable},
};

/// One value of every kind that cells can hold.
const PRELUDE: &str = include_str!("prelude.rhai");

/// Runs the groups from `first` on. Findings are lines, not errors.
pub(crate) fn run(task: Task, first: u64) -> Result<bool, String> {
    let folder = env::temp_dir().join(format!("rhapsode-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder)
        .and_then(|()| env::set_current_dir(&folder))
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut session = Session::new(SessionOptions::default());
    prepare(&mut session)?;
    let surface = surface::of(&session);
    let variables: Vec<(String, String)> = session
        .variables()
        .into_iter()
        .map(|v| (v.name, v.kind))
        .collect();
    every_kind_is_there(&session, &variables)?;
    let end = task
        .group
        .map_or(task.cells.div_ceil(GROUP), |group| group + 1);
    let (timer, _stop) = timer(session.interrupt_handle());
    for group in first..end {
        tell("group", &group.to_string())?;
        session.reset();
        prepare(&mut session)?;
        run_group(&mut session, task, group, &surface, &variables, &timer)?;
    }
    let _ = fs::remove_dir_all(&folder);
    Ok(true)
}

/// Every documented type has a variable, so that its methods are called on it.
fn every_kind_is_there(session: &Session, variables: &[(String, String)]) -> Result<(), String> {
    let topics = session.topics();
    let owners: BTreeSet<&str> = topics
        .iter()
        .filter_map(|topic| topic.split_once('.').map(|(owner, _)| owner))
        .collect();
    let missing: Vec<&str> = owners
        .into_iter()
        .filter(|owner| !variables.iter().any(|(_, kind)| kind == owner))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!("the prelude has no variable of type {missing}"));
    }
    Ok(())
}

fn prepare(session: &mut Session) -> Result<(), String> {
    // What `%%capture` keeps comes from a cell of its own.
    let cells = [PRELUDE, "%%capture captured\nprint(1);"];
    cells
        .iter()
        .try_for_each(|cell| session.execute(cell, &mut Recorder::default()).map(drop))
        .map_err(|error| format!("the prelude fails:\n{}", error.render(false)))
}

fn run_group(
    session: &mut Session,
    task: Task,
    group: u64,
    surface: &[Callable],
    variables: &[(String, String)],
    timer: &mpsc::Sender<Option<Duration>>,
) -> Result<(), String> {
    let mut generator = Generator {
        dice: Dice::new(task.seed, group),
        surface,
        variables,
    };
    for _ in 0..GROUP {
        let code = generator.cell();
        let patience = 5 + 10 * generator.dice.below(12) as u64;
        let cut = generator.dice.below(code.len());
        tell("cell", &format!("{code:?}"))?;
        if task.group.is_some() {
            tell("show", &format!("// %%\n{code}").replace('\n', "\nshow "))?;
        }
        timer
            .send(Some(Duration::from_millis(patience)))
            .map_err(|e| e.to_string())?;
        let result = session.execute(&code, &mut Recorder::default());
        timer.send(None).map_err(|e| e.to_string())?;
        tell("end", outcome(&result))?;
        if let Err(error) = result
            && let Some(complaint) = complaint(&error)
        {
            let text = format!("{complaint}: {:?} in {code:?}", error.message);
            tell("finding", &text)?;
        }
        type_part_of(session, &code, cut);
    }
    let sum = session.execute("1 + 1", &mut Recorder::default());
    if !matches!(&sum, Ok(Some(display)) if display.plain() == "2") {
        tell("finding", &format!("after the group 1 + 1 is {sum:?}"))?;
    }
    Ok(())
}

fn outcome<T>(result: &Result<T, Diagnostic>) -> &'static str {
    match result {
        Ok(_) => "values",
        Err(error) if error.kind == Kind::Interrupted => "interrupts",
        Err(_) => "errors",
    }
}

/// What is wrong with a diagnostic, if something is.
fn complaint(error: &Diagnostic) -> Option<&'static str> {
    let message = error.message.trim_end();
    let rendered = error.render(true);
    if error.kind == Kind::Internal {
        Some("an internal error")
    } else if message.is_empty() || rendered.is_empty() {
        Some("an empty message")
    } else if ["rhai::", "candle_core", "Dynamic", "called `"]
        .iter()
        .any(|word| message.contains(word))
    {
        Some("a message with inner names")
    } else {
        None
    }
}

/// What a front end asks while somebody types.
fn type_part_of(session: &Session, code: &str, mut cut: usize) {
    while !code.is_char_boundary(cut) {
        cut -= 1;
    }
    let part = &code[..cut];
    session.is_complete(part);
    session.highlight(part);
    session.complete(code, cut);
    session.inspect(code, cut);
}

/// A thread that interrupts a cell when its time is over: `Some` begins a time, `None` ends it.
fn timer(handle: InterruptHandle) -> (mpsc::Sender<Option<Duration>>, thread::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let wait = move |receiver: Receiver<Option<Duration>>| {
        while let Ok(message) = receiver.recv() {
            let Some(patience) = message else { continue };
            if let Err(RecvTimeoutError::Timeout) = receiver.recv_timeout(patience) {
                handle.interrupt();
            }
        }
    };
    (sender, thread::spawn(move || wait(receiver)))
}

/// A line to the parent.
fn tell(what: &str, text: &str) -> Result<(), String> {
    writeln!(io::stdout().lock(), "{what} {text}").map_err(|e| e.to_string())
}
