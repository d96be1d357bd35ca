//! A session of cells: all that a front end needs.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread,
};

use crate::{
    Diagnostic, Display, Event, Frontend, Kind,
    cell::Machine,
    context::{Context, Settings, lock},
    fault::Fault,
    glance::Glance,
    library::Library,
    panics,
    running::{self, Running},
};

/// The stack of the thread that runs a cell: deep recursion in a script, or in the drop of what a
/// script has built, must not end the process. Only what is used is really taken.
const STACK: usize = 512 << 20;
/// A stack for machines that refuse to reserve so much.
const SMALL_STACK: usize = 64 << 20;
/// Events that may wait for the front end; then the cell waits.
const EVENTS: usize = 1024;
/// Text of consecutive `print`s that goes to the front end in one piece.
const PIECE: usize = 64 << 10;

/// What a session starts with.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The seed of all random streams (default 0).
    pub seed: u64,
    /// `cpu`, `cuda`, `cuda:1` or `auto`; empty means `cpu`.
    pub device: String,
    /// Values for `arg(name, default)`, from `--set name=value`.
    pub args: BTreeMap<String, String>,
    /// Relative paths of the script are meant from here (default: the working directory).
    pub folder: Option<PathBuf>,
    /// Trainings and loops of `progress` stop after three steps: [`Session::trials`] tells their times.
    pub trial: bool,
}

/// Whether code can be run as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It can be run.
    Complete,
    /// More must come; the next line may be indented so many spaces.
    Incomplete(usize),
    /// It cannot be mended by typing on.
    Invalid,
}

/// One way to go on typing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What replaces the range.
    pub text: String,
    /// `function`, `variable`, `module`, `option`, `value`, `method`, `property`, `keyword`, `path`.
    pub kind: &'static str,
    /// Signature or type, one line.
    pub detail: String,
}

/// All ways to go on typing, and what they replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// First code point that is replaced.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Best first.
    pub items: Vec<Completion>,
}

/// What there is to know about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// The full name, e.g. `flow::rectified`.
    pub name: String,
    /// Plain text for a terminal.
    pub text: String,
    /// The same as Markdown.
    pub markdown: String,
}

/// A variable of the session, for `:vars` and `vars()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Type as the user knows it, e.g. `Tensor`, `int`, `Figure`.
    pub kind: String,
    /// Shape and dtype, or the value when short.
    pub summary: String,
    /// Bytes held, when known.
    pub bytes: Option<u64>,
}

/// What a piece of code is, for colouring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `let`, `if`, `fn`, ...
    Keyword,
    /// A known function or method name before `(`.
    Function,
    /// The `flow` of `flow::rectified`.
    Module,
    /// Any other name.
    Name,
    /// A key of a map literal or a property.
    Key,
    /// Numbers.
    Number,
    /// Strings and characters.
    String,
    /// Comments.
    Comment,
    /// Operators and brackets.
    Operator,
    /// What the lexer refuses.
    Error,
}

/// A coloured stretch of code, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What it is.
    pub kind: TokenKind,
}

/// Stops the running cell from any thread.
#[derive(Clone, Debug, Default)]
pub struct InterruptHandle(pub(crate) Arc<AtomicBool>);

impl InterruptHandle {
    /// Asks the running cell to stop; it does so within 100 ms. Without a running cell nothing happens.
    pub fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A session of cells.
pub struct Session {
    // `None` only while a thread with a large stack runs or drops it.
    machine: Option<Box<Machine>>,
    // Made by the first cell.
    worker: Option<Worker>,
    context: Arc<Context>,
    // The cell that runs, or none.
    running: Arc<Running>,
    // Why nothing can run: the device that was asked for is not there.
    refused: Option<Diagnostic>,
    // Columns and rows of a drawing in characters.
    room: [usize; 2],
}

impl Session {
    /// A fresh session.
    pub fn new(options: SessionOptions) -> Self {
        Self::with(options, crate::bind::all)
    }

    /// A session in which something else is bound: for tests.
    pub(crate) fn with(options: SessionOptions, bind: fn(&mut Library)) -> Self {
        let wanted = Some(options.device.as_str()).filter(|name| !name.is_empty());
        let device = crate::bind::session::device_named(wanted.unwrap_or("cpu"));
        let refused = device.as_ref().err().map(Fault::diagnostic);
        let settings = Settings {
            seed: options.seed,
            device: device.unwrap_or("cpu").into(),
            dtype: "f32".into(),
        };
        let folder = options.folder.unwrap_or_default();
        let context = Arc::new(Context::new(settings, options.args, folder, options.trial));
        let machine = Some(Box::new(Machine::new(Arc::clone(&context), bind)));
        Self {
            machine,
            worker: None,
            running: Arc::clone(&context.main),
            context,
            refused,
            room: crate::room::DEFAULT,
        }
    }

    /// A second shell over the variables, functions and modules of a session: its cells run while the session's do. A
    /// cell sees the variables as they are when it begins; what it makes is there for all. It ends with the session.
    pub(crate) fn beside(context: &Arc<Context>) -> Self {
        let engine = context.engine();
        let machine = engine.map(|engine| Box::new(Machine::over(context, engine, true)));
        let gone = || Diagnostic::new(Kind::Internal, "the session is gone");
        Self {
            refused: machine.is_none().then(gone),
            machine,
            worker: None,
            running: Arc::new(Running::beside()),
            context: Arc::clone(context),
            room: crate::room::DEFAULT,
        }
    }

    /// What answers about code and variables at any time, from any thread.
    pub fn glance(&self) -> Glance {
        Glance::new(&self.context)
    }

    /// Runs one cell. Its last expression, when not closed by `;`, is its output.
    pub fn execute(
        &mut self,
        code: &str,
        io: &mut dyn Frontend,
    ) -> Result<Option<Display>, Diagnostic> {
        if code.trim().is_empty() {
            return Ok(None);
        }
        let source = format!("cell {}", self.context.next_cell());
        self.run(&source, code, crate::Unit::Cell, io)
    }

    /// Like `execute` with a name for the cell, which errors tell: a notebook numbers its cells itself.
    pub fn execute_as(
        &mut self,
        name: &str,
        code: &str,
        io: &mut dyn Frontend,
    ) -> Result<Option<Display>, Diagnostic> {
        match code.trim().is_empty() {
            true => Ok(None),
            false => self.run(name, code, crate::Unit::Cell, io),
        }
    }

    /// An interrupt from here on is meant for the next cell: for a front end that tells of a cell before it runs. An
    /// interrupt before that, when nothing ran, is forgotten.
    pub fn prepare(&self) {
        self.running.prepare();
    }

    /// Like `execute` for a whole file: errors name `path`, and it is run as one cell.
    pub fn execute_file(
        &mut self,
        path: &Path,
        io: &mut dyn Frontend,
    ) -> Result<Option<Display>, Diagnostic> {
        let name = path.display().to_string();
        let cannot = |error: std::io::Error| {
            Diagnostic::new(
                Kind::Io,
                format!("cannot read `{name}`: {}", crate::bind::io_words(&error)),
            )
        };
        let bytes = std::fs::read(path).map_err(cannot)?;
        let code = String::from_utf8(bytes).map_err(|_| {
            Diagnostic::new(Kind::Io, format!("`{name}` is not a text file in UTF-8"))
        })?;
        let code = code.trim_start_matches('\u{feff}');
        self.run(&name, code, crate::Unit::File, io)
    }

    fn run(
        &mut self,
        source: &str,
        code: &str,
        unit: crate::Unit,
        io: &mut dyn Frontend,
    ) -> Result<Option<Display>, Diagnostic> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let context = Arc::clone(&self.context);
        let worker = match self.worker.take().map_or_else(Worker::start, Ok) {
            Ok(worker) => worker,
            Err(error) => {
                return Err(Diagnostic::new(
                    Kind::Limit,
                    format!("the system gives no thread for the cell: {error}"),
                ));
            }
        };
        let Some(mut machine) = self.machine.take() else {
            return Ok(None);
        };
        let (port, events) = sync_channel(EVENTS);
        let running = Arc::clone(&self.running);
        running.begin(port);
        let room = self.room;
        let (back, result) = sync_channel(1);
        let (source, code) = (source.to_string(), code.to_string());
        worker.run(move || {
            let outcome = {
                let _end = EndOfCell(&context, &running);
                let flag = Arc::clone(&running.interrupt);
                running::on_this_thread(&running, || {
                    rhapsode_tensor::interrupt::with_flag(flag, || {
                        crate::room::with(room, || guarded(&mut machine, &source, &code, unit))
                    })
                })
            };
            // Nobody waits only where the front end panicked beyond catching.
            let _ = back.send((machine, outcome));
        });
        // The machine comes back also when the front end panics.
        let delivered = catch_unwind(AssertUnwindSafe(|| deliver(events, io)));
        let returned = result.recv();
        self.worker = Some(worker);
        let outcome = match returned {
            Ok((machine, outcome)) => {
                self.machine = Some(machine);
                outcome
            }
            Err(_) => Err(Diagnostic::new(
                Kind::Internal,
                "the thread of the session is gone",
            )),
        };
        match delivered {
            Ok(()) => outcome,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Whether the code can be run as it stands.
    pub fn is_complete(&self, code: &str) -> Completeness {
        self.machine
            .as_ref()
            .and_then(|machine| {
                on_large_stack(|| crate::complete::completeness(&machine.engine, code))
            })
            .unwrap_or(Completeness::Invalid)
    }

    /// What is wrong with code, found without running it: errors that are certain, and warnings, in the
    /// order of the code. `source` is the cell's name or the file's path; imports are found beside it.
    pub fn check(&self, source: &str, code: &str, unit: crate::Unit) -> Vec<Diagnostic> {
        let found = self.machine.as_ref().and_then(|machine| {
            on_large_stack(|| crate::check::check(machine, source, code, unit))
        });
        found.unwrap_or_default()
    }

    /// The same of the cells of a notebook, which see what those before them declare. Places say `NAME, cell 3`.
    pub fn check_cells(&self, name: &str, cells: &[String]) -> Vec<Diagnostic> {
        let machine = self.machine.as_ref();
        let found = machine
            .and_then(|machine| on_large_stack(|| crate::check::cells(machine, name, cells)));
        found.unwrap_or_default()
    }

    /// Ways to go on typing at the cursor (in code points).
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        self.machine
            .as_ref()
            .map_or_else(Completions::default, |machine| {
                crate::complete::complete(machine, code, cursor)
            })
    }

    /// Help on the name under the cursor (in code points).
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<Help> {
        crate::complete::inspect(self.machine.as_ref()?, code, cursor)
    }

    /// Help on a name such as `flow::rectified`; with an unknown name a diagnostic that suggests the nearest.
    pub fn help(&self, name: &str) -> Result<Help, Diagnostic> {
        match &self.machine {
            Some(machine) => machine.help(name),
            None => Err(Diagnostic::new(Kind::Name, format!("no help on `{name}`"))),
        }
    }

    /// Everything that is documented, in the order of the reference, part by part.
    pub fn reference(&self) -> Vec<crate::Topic> {
        let reference = self.context.reference();
        reference.map_or_else(Vec::new, |reference| reference.topics())
    }

    /// The reference as static pages of HTML.
    pub fn pages(&self) -> Vec<crate::Page> {
        let reference = self.context.reference();
        reference.map_or_else(Vec::new, |reference| crate::html::pages(reference))
    }

    /// The comment at the top of a script, and what `--set` can tell it, without running it.
    pub fn script_args(&self, code: &str) -> (String, Vec<crate::ScriptArg>) {
        let found = self
            .machine
            .as_ref()
            .and_then(|machine| on_large_stack(|| crate::args::of_script(machine, code)));
        found.unwrap_or_default()
    }

    /// What a trial has seen: a line for every training and loop.
    pub fn trials(&self) -> Vec<crate::Trial> {
        self.context
            .trials()
            .map_or_else(Vec::new, |trials| trials.clone())
    }

    /// Every documented name, in the order of the reference: modules, functions, types with their
    /// methods and properties. [`Session::help`] tells about each.
    pub fn topics(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for entry in self
            .context
            .reference()
            .iter()
            .flat_map(|reference| reference.entries())
        {
            if !names.contains(&entry.name) {
                names.push(entry.name.clone());
            }
        }
        names
    }

    /// The names given with `--set` that no `arg(name, default)` has read so far: misspelt, most likely.
    pub fn unread_args(&self) -> Vec<String> {
        self.context.unread_args()
    }

    /// Colours for a piece of code that may be unfinished: covers what is not white space, in order.
    pub fn highlight(&self, code: &str) -> Vec<Token> {
        self.machine.as_ref().map_or_else(Vec::new, |machine| {
            crate::highlight::highlight(machine, code)
        })
    }

    /// The variables, in order of their making.
    pub fn variables(&self) -> Vec<Variable> {
        crate::bind::variables(&self.context)
    }

    /// The names of the variables that hold a model.
    pub fn models(&self) -> Vec<String> {
        crate::bind::io::models(&self.context)
    }

    /// Saves a variable, as `save(name, path)` in a cell does.
    pub fn save(&self, name: &str, path: &Path) -> Result<(), Diagnostic> {
        crate::bind::io::save_variable(&self.context, name, path).map_err(|fault| Diagnostic {
            severity: crate::Severity::Error,
            kind: fault.kind,
            message: fault.message,
            place: None,
            trace: Vec::new(),
            hints: fault.hints,
        })
    }

    /// Forgets all variables and functions.
    pub fn reset(&mut self) {
        if let Some(machine) = &mut self.machine {
            on_large_stack(|| machine.reset());
        }
    }

    /// Tells how large the terminal is, so that drawings in characters are as wide as it; 80 columns until then.
    pub fn set_terminal(&mut self, columns: usize, rows: usize) {
        self.room = crate::room::of_terminal(columns, rows);
    }

    /// Stops the running cell from any thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle(Arc::clone(&self.running.interrupt))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let machine = self.machine.take();
        let context = Arc::clone(&self.context);
        let owns = !self.running.is_beside;
        // A variable may hold a closure, and a closure the context that holds the variables.
        on_large_stack(move || {
            drop(machine);
            if owns {
                context.clear();
            }
        });
    }
}

/// The thread on which a session runs its cells, one after the other. A new thread for every cell, with a
/// stack so large, costs 70 to 90 us; a message to this one costs 6 to 9.
struct Worker(Sender<Box<dyn FnOnce() + Send>>);

impl Worker {
    fn start() -> std::io::Result<Self> {
        let with = |stack: usize| {
            let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
            thread::Builder::new()
                .name("cell".into())
                .stack_size(stack)
                // It ends when the session lets go of its sender.
                .spawn(move || queue.into_iter().for_each(|job| job()))
                .map(|_| Self(jobs))
        };
        with(STACK).or_else(|_| with(SMALL_STACK))
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        // A job that is not taken is dropped, and who waits for its answer learns that.
        let _ = self.0.send(Box::new(job));
    }
}

/// Tells the listening front end that a cell is over, also when it panicked.
struct EndOfCell<'a>(&'a Context, &'a Running);

impl Drop for EndOfCell<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.1.end();
    }
}

/// Runs a cell and makes a diagnostic of a panic.
fn guarded(
    machine: &mut Machine,
    source: &str,
    code: &str,
    unit: crate::Unit,
) -> Result<Option<Display>, Diagnostic> {
    panics::quietly(|| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let value = crate::magic::run(machine, source, code, unit)?;
            Ok(value.and_then(|value| machine.display(&value)))
        }));
        outcome.unwrap_or_else(|payload| {
            machine.recover();
            Err(internal(&*payload))
        })
    })
}

fn internal(payload: &(dyn std::any::Any + Send)) -> Diagnostic {
    Fault::from(panics::message(payload)).diagnostic()
}

/// Hands the events of a cell to the front end until the cell ends; consecutive text in one piece.
/// Owns the receiver: should the front end panic, the cell finds nobody listening and stops.
fn deliver(events: Receiver<Event>, io: &mut dyn Frontend) {
    let mut next = events.recv().ok();
    while let Some(event) = next.take() {
        match event {
            Event::Stdout(mut text) => {
                while text.len() < PIECE {
                    match events.try_recv() {
                        Ok(Event::Stdout(more)) => text.push_str(&more),
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                io.event(Event::Stdout(text));
            }
            other => io.event(other),
        }
        if next.is_none() {
            next = events.recv().ok();
        }
    }
}

/// A thread with a large stack, or with a smaller one where the system refuses.
fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: &'scope (impl Fn() -> R + Sync),
) -> std::io::Result<thread::ScopedJoinHandle<'scope, R>> {
    let with = |stack: usize| {
        thread::Builder::new()
            .name("cell".into())
            .stack_size(stack)
            .spawn_scoped(scope, work)
    };
    with(STACK).or_else(|_| with(SMALL_STACK))
}

/// Runs `work` on a thread with a large stack; on this one where the system gives none.
pub(crate) fn on_large_stack<R: Send>(work: impl FnOnce() -> R + Send) -> Option<R> {
    let slot = Mutex::new(Some(work));
    let run = || {
        let work = lock(&slot).take();
        work.map(|work| work())
    };
    thread::scope(|scope| match spawn(scope, &run) {
        Ok(handle) => handle.join().unwrap_or(None),
        Err(_) => run(),
    })
}
