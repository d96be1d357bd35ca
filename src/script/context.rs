//! What the bindings of a session share: the port to the front end, the interrupt, the session's
//! defaults, the notebook's variables.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rhai::{Dynamic, Engine, EvalAltResult, Module, NativeCallContext, Shared};
use rhapsode_models::log::{Entry, Log};

use crate::{
    Event,
    bind::run::Training,
    fault::{Fault, interrupted},
    help::Reference,
    magic::Captured,
    modules::Modules,
    running::{self, Running},
    sources::Sources,
    trial::Trial,
};

/// The session's defaults that scripts change with `seed`, `device`, `dtype`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The seed of all random streams.
    pub seed: u64,
    /// Where tensors are made.
    pub device: String,
    /// What floats are kept in.
    pub dtype: String,
}

/// A variable of the notebook, shared between the scope and the functions that see it.
struct Global {
    order: usize,
    value: Dynamic,
    // A model, as it was after the last statement: its variable is locked while one of its methods runs, for hours
    // when that is `fit`, and other shells go on with this one. Clones of a model are the same model.
    handle: Option<Dynamic>,
}

/// What the bindings of a session share.
pub(crate) struct Context {
    /// The cell of the main shell.
    pub main: Arc<Running>,
    // Grows with every cell that may have changed variables, functions or imports: shells take over what others did.
    version: AtomicU64,
    cells: AtomicU64,
    /// The texts that errors quote.
    pub sources: Sources,
    imports: Mutex<Vec<(String, Shared<Module>)>>,
    trainings: Mutex<Vec<Training>>,
    settings: Mutex<Settings>,
    globals: Mutex<HashMap<String, Global>>,
    next: AtomicU64,
    // How many random tensors were drawn since the seed was set.
    draws: AtomicU64,
    logged: Mutex<Logged>,
    // Where records go besides the front end.
    logs: Mutex<Vec<Attached>>,
    args: BTreeMap<String, String>,
    read_args: Mutex<HashSet<String>>,
    // Where relative paths begin: `%cd` changes it.
    folder: Mutex<PathBuf>,
    // What `%env` has set for commands.
    environment: Mutex<BTreeMap<String, String>>,
    started: Instant,
    reference: OnceLock<Arc<Reference>>,
    // What a closure needs that library code calls after the call that it was given to. Weak:
    // the engine holds this context.
    engine: OnceLock<Weak<Engine>>,
    functions: Mutex<Option<Shared<Module>>>,
    modules: Mutex<Modules>,
    // What a trial has seen; nothing when the session is none.
    trials: Option<Mutex<Vec<Trial>>>,
}

/// What `log` has been told.
#[derive(Default)]
pub(crate) struct Logged {
    /// How many records so far.
    pub step: u64,
    /// The newest value of every metric.
    pub newest: Vec<(String, f64)>,
}

/// A log that a script has opened.
struct Attached {
    id: u64,
    log: Log,
}

/// A lock that a panic elsewhere does not take away.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// A context for a fresh session.
    pub fn new(
        settings: Settings,
        args: BTreeMap<String, String>,
        folder: PathBuf,
        trial: bool,
    ) -> Self {
        Self {
            main: Arc::default(),
            version: AtomicU64::new(0),
            cells: AtomicU64::new(0),
            sources: Sources::default(),
            imports: Mutex::default(),
            trainings: Mutex::default(),
            settings: Mutex::new(settings),
            globals: Mutex::default(),
            next: AtomicU64::new(1),
            draws: AtomicU64::new(0),
            logged: Mutex::default(),
            logs: Mutex::default(),
            args,
            read_args: Mutex::default(),
            folder: Mutex::new(folder),
            environment: Mutex::default(),
            started: Instant::now(),
            reference: OnceLock::new(),
            engine: OnceLock::new(),
            functions: Mutex::default(),
            modules: Mutex::default(),
            trials: trial.then(Mutex::default),
        }
    }

    /// A cell is over.
    pub fn end(&self) {
        self.with_logs(Log::flush);
    }

    /// Tells the front end something. When it is gone, the cell has nobody to work for and stops.
    pub fn send(&self, event: Event) {
        if let Event::Record(record) = &event {
            let entry = Entry {
                source: &record.source,
                step: record.step,
                elapsed: self.started.elapsed(),
                values: &record.values,
            };
            self.with_logs(|log| log.write(&entry));
        }
        // Not inside of the look-up: the front end may take its time.
        let cell = running::here(&self.main);
        cell.send(event);
    }

    /// Sends records to a log as well, until [`detach`](Self::detach) with the number that it gives.
    pub fn attach(&self, log: Log) -> u64 {
        let id = self.fresh_id();
        lock(&self.logs).push(Attached { id, log });
        id
    }

    /// Closes a log; what could not be written is an error. Nothing happens when it is closed already.
    pub fn detach(&self, id: u64) -> Result<(), rhapsode_models::Error> {
        let mut logs = lock(&self.logs);
        match logs.iter().position(|attached| attached.id == id) {
            Some(at) => logs.remove(at).log.flush(),
            None => Ok(()),
        }
    }

    /// Does something with every open log; one that fails is closed, and the user is told once.
    fn with_logs(&self, mut f: impl FnMut(&mut Log) -> Result<(), rhapsode_models::Error>) {
        let mut failures = Vec::new();
        lock(&self.logs).retain_mut(|attached| match f(&mut attached.log) {
            Ok(()) => true,
            Err(error) => {
                failures.push(format!("the log is closed: {error}\n"));
                false
            }
        });
        for text in failures {
            self.send(Event::Stderr(text));
        }
    }

    /// Asks the user; `None` where nobody can answer.
    pub fn ask(&self, prompt: &str, password: bool) -> Result<Option<String>, Box<EvalAltResult>> {
        let (reply, answer) = mpsc::channel();
        self.send(Event::Input {
            prompt: prompt.to_string(),
            password,
            reply,
        });
        loop {
            match answer.recv_timeout(Duration::from_millis(20)) {
                // Ctrl-C at the question stops the cell; that is no missing answer.
                Ok(None) if self.must_stop() => return Err(interrupted()),
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if self.must_stop() => return Err(interrupted()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Whether the user wants the running work to stop.
    pub fn interrupt_requested(&self) -> bool {
        running::ask(&self.main, Running::interrupt_requested)
    }

    /// Long work has seen the interrupt and returns what it has: its statement may end, so that
    /// the result is assigned, and nothing after it runs.
    pub fn yield_to_interrupt(&self) {
        running::ask(&self.main, Running::yield_to_interrupt);
    }

    /// Whether long work returned early in this cell.
    pub fn has_yielded(&self) -> bool {
        running::ask(&self.main, Running::has_yielded)
    }

    /// Whether a script operation must not begin any more.
    pub fn must_stop(&self) -> bool {
        running::ask(&self.main, Running::must_stop)
    }

    /// The number of the next cell, over all shells.
    pub fn next_cell(&self) -> u64 {
        self.cells.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many cells there were that may have changed variables, functions or imports.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Another such cell is over; gives how many there were before it.
    pub fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst)
    }

    /// The user's modules by the names of their imports, oldest first.
    pub fn imports(&self) -> Vec<(String, Shared<Module>)> {
        lock(&self.imports).clone()
    }

    /// Makes the imports of a shell known.
    pub fn add_imports(&self, imports: impl Iterator<Item = (String, Shared<Module>)>) {
        let mut known = lock(&self.imports);
        for (name, module) in imports {
            match known.iter_mut().find(|(known, _)| *known == name) {
                Some((_, slot)) => *slot = module,
                None => known.push((name, module)),
            }
        }
    }

    /// The trainings in progress, oldest first.
    pub fn trainings(&self) -> MutexGuard<'_, Vec<Training>> {
        lock(&self.trainings)
    }

    /// The session's defaults.
    pub fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// Changes the session's defaults.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
    }

    /// A number that was not given out before.
    pub fn fresh_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next random draw since the seed was set.
    pub fn next_draw(&self) -> u64 {
        self.draws.fetch_add(1, Ordering::Relaxed)
    }

    /// Draws repeat from here on as after the last `seed`.
    pub fn restart_draws(&self) {
        self.draws.store(0, Ordering::Relaxed);
    }

    /// The value given for `arg(name, ..)` with `--set`.
    pub fn arg(&self, name: &str) -> Option<&str> {
        lock(&self.read_args).insert(name.to_string());
        self.args.get(name).map(String::as_str)
    }

    /// The names given with `--set` that nobody has asked for.
    pub fn unread_args(&self) -> Vec<String> {
        let read = lock(&self.read_args);
        self.args
            .keys()
            .filter(|name| !read.contains(*name))
            .cloned()
            .collect()
    }

    /// A path of the script, relative to its folder.
    pub fn path(&self, path: &str) -> PathBuf {
        lock(&self.folder).join(Path::new(path))
    }

    /// Where relative paths begin.
    pub fn folder(&self) -> PathBuf {
        let folder = lock(&self.folder).clone();
        match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder,
        }
    }

    /// Relative paths begin in another folder from here on.
    pub fn set_folder(&self, folder: PathBuf) {
        *lock(&self.folder) = folder;
    }

    /// What the session has set in the environment of the commands that it runs.
    pub fn environment(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        lock(&self.environment)
    }

    /// Keeps what is printed and shown from here on, until [`release`](Self::release).
    pub fn capture(&self) {
        running::ask(&self.main, |cell| cell.capture());
    }

    /// What was kept since [`capture`](Self::capture).
    pub fn release(&self) -> Captured {
        running::ask(&self.main, |cell| cell.release())
    }

    /// When the session began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What `log` has been told.
    pub fn logged(&self) -> MutexGuard<'_, Logged> {
        lock(&self.logged)
    }

    /// A variable of the notebook.
    pub fn global(&self, name: &str) -> Option<Dynamic> {
        lock(&self.globals)
            .get(name)
            .map(|global| global.value.clone())
    }

    /// A variable as a function of the cell on this thread sees it.
    pub fn seen(&self, name: &str) -> Option<Dynamic> {
        let globals = lock(&self.globals);
        let global = globals.get(name)?;
        let handle = global.handle.as_ref();
        let handle = handle.filter(|_| running::ask(&self.main, |cell| cell.is_beside));
        Some(handle.unwrap_or(&global.value).clone())
    }

    /// A variable as others than the main shell read it: without waiting for a method that runs on it. Nothing
    /// where it is in use and no model; the lock is asked for 50 ms at most.
    pub fn peek(&self, name: &str) -> Option<Dynamic> {
        let (value, handle) = lock(&self.globals)
            .get(name)
            .map(|global| (global.value.clone(), global.handle.clone()))?;
        handle.or_else(|| (!value.is_locked()).then_some(value))
    }

    /// Makes a variable visible to functions, with the model that it holds.
    pub fn set_global(&self, name: &str, value: Dynamic, handle: Option<Dynamic>) {
        // What it held is dropped after the lock is given back: a drop may be long.
        let _former = {
            let mut globals = lock(&self.globals);
            match globals.get_mut(name) {
                Some(global) => Some((
                    std::mem::replace(&mut global.value, value),
                    std::mem::replace(&mut global.handle, handle),
                )),
                None => {
                    let order = self.next.fetch_add(1, Ordering::Relaxed) as usize;
                    let global = Global {
                        order,
                        value,
                        handle,
                    };
                    globals.insert(name.to_string(), global);
                    None
                }
            }
        };
    }

    /// A variable that is known keeps its place, whatever it holds now.
    pub fn keep_global(&self, name: &str, value: &Dynamic, handle: Option<Dynamic>) {
        let mut globals = lock(&self.globals);
        let Some(global) = globals.get_mut(name) else {
            drop(globals);
            return self.set_global(name, value.clone(), handle);
        };
        let former = std::mem::replace(&mut global.handle, handle);
        drop(globals);
        drop(former);
    }

    /// All variables in the order of their making.
    pub fn globals(&self) -> Vec<(String, Dynamic)> {
        let all = self.all_globals().into_iter();
        all.map(|(name, value, _)| (name, value)).collect()
    }

    /// All variables in the order of their making, with the model that each holds.
    pub fn all_globals(&self) -> Vec<(String, Dynamic, Option<Dynamic>)> {
        let globals = lock(&self.globals);
        let mut list: Vec<_> = globals
            .iter()
            .map(|(name, global)| {
                let Global {
                    order,
                    value,
                    handle,
                } = global;
                (*order, name.clone(), value.clone(), handle.clone())
            })
            .collect();
        drop(globals);
        list.sort_by_key(|(order, ..)| *order);
        list.into_iter()
            .map(|(_, name, value, handle)| (name, value, handle))
            .collect()
    }

    /// Forgets all variables and logged metrics.
    pub fn clear(&self) {
        // The values are dropped after the lock is given back: a drop may be long.
        let globals = std::mem::take(&mut *lock(&self.globals));
        drop(globals);
        lock(&self.imports).clear();
        *lock(&self.logged) = Logged::default();
    }

    /// The engine of the session, while it lives.
    pub fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get()?.upgrade()
    }

    /// Fills in the engine, once, when it is built.
    pub fn set_engine(&self, engine: &Arc<Engine>) {
        // A second call would be a second engine for one context, which does not happen.
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// The functions of all cells so far, the newest of a name.
    pub fn functions(&self) -> Option<Shared<Module>> {
        lock(&self.functions).clone()
    }

    /// Another cell has brought functions.
    pub fn set_functions(&self, functions: Shared<Module>) {
        *lock(&self.functions) = Some(functions);
    }

    /// What a trial has seen so far; nothing when the session is no trial.
    pub fn trials(&self) -> Option<MutexGuard<'_, Vec<Trial>>> {
        self.trials.as_ref().map(lock)
    }

    /// The user's modules that were imported.
    pub fn modules(&self) -> MutexGuard<'_, Modules> {
        lock(&self.modules)
    }

    /// The documentation of everything that is bound.
    pub fn reference(&self) -> Option<&Arc<Reference>> {
        self.reference.get()
    }

    /// Fills in the documentation, once, when the engine is built.
    pub fn set_reference(&self, reference: Arc<Reference>) {
        // A second call would be a second engine for one context, which does not happen.
        let _ = self.reference.set(reference);
    }
}

/// The context of the session in which a native function was called.
pub(crate) fn of_call(call: &NativeCallContext) -> Result<Arc<Context>, Box<EvalAltResult>> {
    call.tag()
        .and_then(|tag| {
            tag.read_lock::<Arc<Context>>()
                .map(|context| Arc::clone(&context))
        })
        .ok_or_else(|| Fault::new(crate::Kind::Internal, "the call has no session").into())
}
