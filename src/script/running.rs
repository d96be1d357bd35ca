//! What belongs to one running cell and not to the session: where its events go, and whether it must stop.
//! Cells of several shells run at the same time over the same variables, each on a thread of its own; what a
//! binding does finds its cell by the thread that it is called on.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::Instant,
};

use crate::{Event, context::lock, magic::Captured};

/// How long a script may go on after long work returned early because of an interrupt: enough to
/// assign its result, too short to start anything else. In nanoseconds.
const GRACE: u64 = 30_000_000;

thread_local! {
    // The cell that runs on this thread.
    static CURRENT: RefCell<Option<Arc<Running>>> = const { RefCell::new(None) };
}

/// The cell of one shell: the running one, or none.
pub(crate) struct Running {
    port: Mutex<Option<SyncSender<Event>>>,
    // What cells with `%%capture` keep to themselves, the innermost last.
    captures: Mutex<Vec<Captured>>,
    /// The flag that stops it.
    pub interrupt: Arc<AtomicBool>,
    // When long work returned early because of an interrupt, in nanoseconds since `started`; 0 for never. Read at
    // every operation of a script, hence no lock.
    yielded: AtomicU64,
    // Whether the front end has cleared the flag already: an interrupt since then is meant for the next cell.
    prepared: AtomicBool,
    /// Whether it is a cell of another shell than the main one.
    pub is_beside: bool,
    started: Instant,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            port: Mutex::default(),
            captures: Mutex::default(),
            interrupt: Arc::default(),
            yielded: AtomicU64::new(0),
            prepared: AtomicBool::new(false),
            is_beside: false,
            started: Instant::now(),
        }
    }
}

impl Running {
    /// The cell of a shell beside the main one.
    pub fn beside() -> Self {
        Self {
            is_beside: true,
            ..Self::default()
        }
    }

    /// An interrupt from here on is meant for the next cell.
    pub fn prepare(&self) {
        self.interrupt.store(false, Ordering::SeqCst);
        self.prepared.store(true, Ordering::SeqCst);
    }

    /// A cell begins; its events go to `port`.
    pub fn begin(&self, port: SyncSender<Event>) {
        if !self.prepared.swap(false, Ordering::SeqCst) {
            self.interrupt.store(false, Ordering::SeqCst);
        }
        self.yielded.store(0, Ordering::SeqCst);
        // A panic may have ended a cell that was keeping its output.
        lock(&self.captures).clear();
        *lock(&self.port) = Some(port);
    }

    /// The cell is over; who listens to the port sees its end.
    pub fn end(&self) {
        *lock(&self.port) = None;
    }

    /// Tells the front end something. When it is gone, the cell has nobody to work for and stops.
    pub fn send(&self, event: Event) {
        let event = match lock(&self.captures).last_mut() {
            Some(captured) => captured.take(event),
            None => Some(event),
        };
        let port = lock(&self.port).clone();
        if let Some(port) = port
            && let Some(event) = event
            && port.send(event).is_err()
        {
            self.interrupt.store(true, Ordering::SeqCst);
        }
    }

    /// Keeps what is printed and shown from here on, until [`release`](Self::release).
    pub fn capture(&self) {
        lock(&self.captures).push(Captured::default());
    }

    /// What was kept since [`capture`](Self::capture).
    pub fn release(&self) -> Captured {
        lock(&self.captures).pop().unwrap_or_default()
    }

    /// Whether the user wants the running work to stop.
    pub fn interrupt_requested(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Long work has seen the interrupt and returns what it has: its statement may end, so that
    /// the result is assigned, and nothing after it runs.
    pub fn yield_to_interrupt(&self) {
        self.yielded
            .store(self.nanoseconds().max(1), Ordering::SeqCst);
        self.interrupt.store(false, Ordering::SeqCst);
    }

    /// Whether long work returned early in this cell.
    pub fn has_yielded(&self) -> bool {
        self.yielded.load(Ordering::Relaxed) != 0
    }

    /// Whether a script operation must not begin any more.
    pub fn must_stop(&self) -> bool {
        let yielded = self.yielded.load(Ordering::Relaxed);
        self.interrupt_requested()
            || (yielded != 0 && self.nanoseconds().saturating_sub(yielded) > GRACE)
    }

    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Runs `work` as what the cell of a shell does on this thread.
pub(crate) fn on_this_thread<R>(cell: &Arc<Running>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Running>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let former = self.0.take();
            CURRENT.with_borrow_mut(|current| *current = former);
        }
    }
    let cell = Some(Arc::clone(cell));
    let _restore = Restore(CURRENT.with_borrow_mut(|current| std::mem::replace(current, cell)));
    work()
}

/// Asks the cell that runs on this thread, or `other` where none does.
pub(crate) fn ask<R>(other: &Running, question: impl FnOnce(&Running) -> R) -> R {
    CURRENT.with_borrow(|current| question(current.as_deref().unwrap_or(other)))
}

/// The cell that runs on this thread, or `other` where none does.
pub(crate) fn here(other: &Arc<Running>) -> Arc<Running> {
    CURRENT.with_borrow(|current| Arc::clone(current.as_ref().unwrap_or(other)))
}
