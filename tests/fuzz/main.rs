//! Fuzzing of the language: random cells made from the real surface, in sessions that must survive them.
//!
//! Every function, method, property and option key that the session documents is called with arguments of the right types
//! and of wrong ones: NaN, infinities, empty tensors, huge sizes, closures that fail, and each cell is interrupted after a
//! random time. A cell may give a value or a diagnostic. It may not panic, abort the process, hang, or give a message that
//! no user could read. Unfinished pieces of the same cells go to completion, hover and highlighting.
//!
//! ```text
//! cargo fuzz-cells                          the part that every test run does
//! cargo fuzz-cells --cells 100000 --seed 7  as long as you like
//! cargo fuzz-cells --group 12 --seed 7      one group of cells again, printed
//! ```
//!
//! The cells run in a child process, so that an abort or a hang is a finding like any other: the parent names the group of
//! cells in which it happened. Cells depend on the seed alone (the time of the interrupt does not). What was found and
//! mended is kept as sections of the language suite.

mod cells;
mod surface;
mod worker;

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

/// Cells of a test run.
const CELLS: u64 = 3000;
/// Cells that share a session.
pub(crate) const GROUP: u64 = 40;
/// A cell was interrupted long before; one that still runs hangs.
const HANG: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// Number of cells.
    cells: u64,
    /// What decides them.
    seed: u64,
    /// The only group to run, printed.
    group: Option<u64>,
    /// First group, in a child process.
    worker: Option<u64>,
}

fn main() -> ExitCode {
    match arguments().and_then(|task| match task.worker {
        Some(first) => worker::run(task, first),
        None => parent(task),
    }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report(&format!("{error}\n"));
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Task, String> {
    let mut task = Task {
        cells: CELLS,
        seed: 0,
        group: None,
        worker: None,
    };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or(format!("{name}: expected a number after it"))?;
        let value: u64 = value
            .parse()
            .map_err(|_| format!("{name}: expected a number, got `{value}`"))?;
        match name.as_str() {
            "--cells" => task.cells = value,
            "--seed" => task.seed = value,
            "--group" => task.group = Some(value),
            "--worker" => task.worker = Some(value),
            _ => {
                return Err(format!(
                    "unknown option `{name}`: expected --cells, --seed or --group"
                ));
            }
        }
    }
    Ok(task)
}

/// Runs workers until all groups are done; one that dies or hangs is replaced, after the group that it was in.
fn parent(task: Task) -> Result<bool, String> {
    let groups = task.cells.div_ceil(GROUP);
    let (mut first, end) = match task.group {
        Some(group) => (group, group + 1),
        None => (0, groups),
    };
    let (mut findings, mut ends) = (Vec::new(), BTreeMap::new());
    while first < end {
        let (reached, death) = watch(spawn(task, first)?, &mut findings, &mut ends)?;
        let Some(reached) = reached else {
            // It would not begin the next time either.
            return Err(death.unwrap_or_else(|| "the worker has begun no group".into()));
        };
        if let Some(death) = death {
            findings.push(format!("group {reached}: {death}"));
        }
        first = reached + 1;
    }
    for finding in &findings {
        report(&format!("{finding}\n"));
    }
    let repeat = if findings.is_empty() {
        String::new()
    } else {
        format!(
            "; one group again: cargo fuzz-cells --seed {} --group N",
            task.seed
        )
    };
    let ends: Vec<String> = ends.iter().map(|(how, n)| format!("{n} {how}")).collect();
    report(&format!(
        "{} findings in {}{repeat}\n",
        findings.len(),
        ends.join(", ")
    ));
    Ok(findings.is_empty())
}

fn spawn(task: Task, first: u64) -> Result<Child, String> {
    let program = env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    let numbers = [
        ("--seed", task.seed),
        ("--cells", task.cells),
        ("--worker", first),
    ];
    for (name, value) in numbers {
        command.args([name, &value.to_string()]);
    }
    if let Some(group) = task.group {
        command.args(["--group", &group.to_string()]);
    }
    command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())
}

/// Listens to a worker; gives the last group that it began, if any, and how it died if it did.
fn watch(
    mut child: Child,
    findings: &mut Vec<String>,
    ends: &mut BTreeMap<String, u64>,
) -> Result<(Option<u64>, Option<String>), String> {
    let stdout = child.stdout.take().ok_or("the worker has no output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut begun, mut group, mut cell) = (false, 0, String::new());
    loop {
        match lines.recv_timeout(HANG) {
            Ok(line) => match line.split_once(' ') {
                Some(("group", number)) => {
                    (begun, group) = (true, number.parse().unwrap_or(group));
                }
                Some(("cell", code)) => cell = code.to_string(),
                Some(("finding", text)) => findings.push(format!("group {group}: {text}")),
                Some(("end", how)) => *ends.entry(how.to_string()).or_default() += 1,
                Some(("show", text)) => report(&format!("{text}\n")),
                _ => {}
            },
            Err(RecvTimeoutError::Timeout) => {
                child.kill().map_err(|e| e.to_string())?;
                child.wait().map_err(|e| e.to_string())?;
                return Ok((begun.then_some(group), Some(format!("a hang in {cell}"))));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().map_err(|e| e.to_string())?;
                let death =
                    (!status.success()).then(|| format!("the process died ({status}) in {cell}"));
                return Ok((begun.then_some(group), death));
            }
        }
    }
}

/// Writes to the terminal, where it is still there.
fn report(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
