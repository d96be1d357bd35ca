//! What a session writes to. The REPL, the script runner and the kernel each implement
//! [`Frontend`] once; nothing else draws, prints or asks.
//!
//! The cell runs on a thread of its own and sends [`Event`]s; the thread that called
//! `Session::execute` receives them and calls the front end, which therefore need not be `Send`
//! and never slows a training down by drawing.

use std::sync::mpsc::Sender;

use crate::display::Display;

/// The state of one piece of long work: a training, a search, a loop over `progress(..)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Tells the bars of one cell apart; new for each piece of work.
    pub id: u64,
    /// What is going on, e.g. `fit rectified flow`.
    pub label: String,
    /// Steps done.
    pub step: u64,
    /// Steps in all, when known.
    pub total: Option<u64>,
    /// The newest metrics, in the order in which they should be shown, e.g. `("loss", 0.31)`.
    pub metrics: Vec<(String, f64)>,
    /// How it stands.
    pub state: ProgressState,
}

/// Whether the work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// More is to come.
    Running,
    /// All steps done.
    Finished,
    /// The user stopped it; what was learned is kept.
    Interrupted,
    /// It ended in an error.
    Failed,
}

/// A record of metrics: the step and named values, one line of a metrics file.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which work it belongs to, e.g. `fit` or `log`.
    pub source: String,
    /// The step, counted from 1.
    pub step: u64,
    /// Named values in order.
    pub values: Vec<(String, f64)>,
}

/// What a running cell tells its front end.
#[derive(Debug)]
pub enum Event {
    /// Text for standard output, with its line ends.
    Stdout(String),
    /// Text for standard error, with its line ends.
    Stderr(String),
    /// Something rich in the middle of a cell (`show`).
    Display(Display),
    /// A new state of a display that has an id.
    UpdateDisplay(Display),
    /// Forget what was shown; with `wait` only when something new comes.
    Clear {
        /// Wait for the next output before clearing, so that nothing flickers.
        wait: bool,
    },
    /// Progress of long work.
    Progress(Progress),
    /// A line for the metrics file.
    Record(Record),
    /// Text for the next cell (`%load`), to be edited and run: it stands in place of the running one, or behind it.
    NextInput(String),
    /// A question; the answer (or `None` where nobody can answer) goes to `reply`.
    Input {
        /// What to print before the cursor.
        prompt: String,
        /// Do not echo what is typed.
        password: bool,
        /// Where the answer goes.
        reply: Sender<Option<String>>,
    },
}

/// What a session writes to. Called on the thread that called `Session::execute`, in order.
pub trait Frontend {
    /// Takes one event.
    fn event(&mut self, event: Event);
}

/// A front end that keeps what it is given: for tests, and for callers who want the events as data.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Everything written to standard output.
    pub stdout: String,
    /// Everything written to standard error.
    pub stderr: String,
    /// All displays in order.
    pub displays: Vec<Display>,
    /// The last state of every progress bar.
    pub progress: Vec<Progress>,
    /// All metric records.
    pub records: Vec<Record>,
    /// What was put into the next cell.
    pub next_input: Option<String>,
}

impl Frontend for Recorder {
    fn event(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.stdout.push_str(&text),
            Event::Stderr(text) => self.stderr.push_str(&text),
            Event::Display(display) | Event::UpdateDisplay(display) => self.displays.push(display),
            Event::Clear { .. } => {}
            Event::Progress(progress) => {
                match self.progress.iter_mut().find(|p| p.id == progress.id) {
                    Some(slot) => *slot = progress,
                    None => self.progress.push(progress),
                }
            }
            Event::Record(record) => self.records.push(record),
            Event::NextInput(text) => self.next_input = Some(text),
            Event::Input { reply, .. } => {
                // The asking side may be gone; then nobody waits for the answer.
                let _ = reply.send(None);
            }
        }
    }
}
