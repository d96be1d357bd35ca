//! One fork-join pool for all kernels: a closure is run once for every part, parts are cut
//! statically, so that results do not depend on timing.
//!
//! Workers spin for a moment, then park (a spinning worker on a busy machine is ruinous: candle's
//! own pool took 183 ms for what one thread does in 2 ms). A call from inside a part, or while
//! another thread uses the pool, runs its parts one after the other in place.

use std::{
    cell::UnsafeCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
};

use crate::{Result, interrupt};

/// Polls before a waiting thread parks; about 20 microseconds.
const SPIN: usize = 20_000;

type Job = *const (dyn Fn(usize) + Sync);

struct Worker {
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

struct Shared {
    epoch: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    pending: AtomicUsize,
    panicked: AtomicBool,
    workers: Vec<Worker>,
}

// SAFETY: `job` is written only by the thread that holds `Pool::busy`, before it raises `epoch`
// (release), and read by workers only after they saw the new epoch (acquire).
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is valid until `pending` is back at zero.
unsafe impl Send for Shared {}

/// The pool.
pub struct Pool {
    parts: usize,
    shared: Arc<Shared>,
    busy: AtomicBool,
}

impl Pool {
    fn new(parts: usize) -> Self {
        let workers = (1..parts)
            .map(|_| Worker {
                parked: AtomicBool::new(false),
                thread: OnceLock::new(),
            })
            .collect();
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            pending: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            workers,
        });
        let mut started = 1;
        for part in 1..parts {
            let theirs = shared.clone();
            let spawned = std::thread::Builder::new()
                .name(format!("rhapsode-{part}"))
                .spawn(move || work(&theirs, part));
            let Ok(handle) = spawned else { break };
            // The slot was empty: each worker's is set once, here.
            let _ = shared.workers[part - 1].thread.set(handle.thread().clone());
            started += 1;
        }
        Self {
            parts: started,
            shared,
            busy: AtomicBool::new(false),
        }
    }

    /// How many parts run side by side.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Calls `f(0)`, ..., `f(parts - 1)` side by side and returns when all are done.
    pub fn run<F: Fn(usize) + Sync>(&self, f: F) {
        if self.parts == 1 || self.busy.swap(true, Ordering::Acquire) {
            (0..self.parts).for_each(&f);
            return;
        }
        let job: &(dyn Fn(usize) + Sync) = &f;
        // SAFETY: the lifetime is erased, but `run` does not return, nor unwind, before every
        // worker is done with the closure (`Join` waits in its drop).
        let job: Job = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job)
        };
        // SAFETY: `busy` is ours and no worker is in a job: nobody else touches the cell.
        unsafe { *self.shared.job.get() = Some(job) };
        let others = self.parts - 1;
        self.shared.pending.store(others, Ordering::Relaxed);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in &self.shared.workers[..others] {
            if worker.parked.load(Ordering::SeqCst)
                && let Some(thread) = worker.thread.get()
            {
                thread.unpark();
            }
        }
        let join = Join(self);
        f(0);
        drop(join);
        if self.shared.panicked.swap(false, Ordering::SeqCst) {
            panic!("a parallel kernel panicked");
        }
    }
}

/// Waits for the workers and gives the pool back, also when the caller's own part unwinds.
struct Join<'a>(&'a Pool);

impl Drop for Join<'_> {
    fn drop(&mut self) {
        let mut polls = 0;
        while self.0.shared.pending.load(Ordering::Acquire) != 0 {
            polls += 1;
            if polls < SPIN {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
        }
        self.0.busy.store(false, Ordering::Release);
    }
}

fn work(shared: &Shared, part: usize) {
    let slot = &shared.workers[part - 1];
    let mut seen = 0;
    loop {
        let mut polls = 0;
        while shared.epoch.load(Ordering::Acquire) == seen {
            polls += 1;
            if polls < SPIN {
                std::hint::spin_loop();
                continue;
            }
            slot.parked.store(true, Ordering::SeqCst);
            if shared.epoch.load(Ordering::SeqCst) == seen {
                std::thread::park();
            }
            slot.parked.store(false, Ordering::SeqCst);
        }
        seen = shared.epoch.load(Ordering::Acquire);
        // SAFETY: the epoch was raised after the job was written, and the job lives until
        // `pending` reaches zero, to which this worker contributes below.
        let job = unsafe { *shared.job.get() };
        if let Some(job) = job {
            // SAFETY: as above.
            let call = std::panic::AssertUnwindSafe(|| unsafe { (*job)(part) });
            if std::panic::catch_unwind(call).is_err() {
                shared.panicked.store(true, Ordering::SeqCst);
            }
        }
        shared.pending.fetch_sub(1, Ordering::Release);
    }
}

/// The pool of the process: as many parts as there are cores, or `RHAPSODE_THREADS`.
pub fn global() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let asked = std::env::var("RHAPSODE_THREADS")
            .ok()
            .and_then(|s| s.parse().ok())
            .filter(|&n: &usize| n > 0);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Pool::new(asked.unwrap_or(cores).min(256))
    })
}

/// The range of part `part` of `parts` when `n` items are cut at multiples of `quantum`.
pub fn range(n: usize, quantum: usize, part: usize, parts: usize) -> std::ops::Range<usize> {
    let blocks = n.div_ceil(quantum.max(1));
    let low = (blocks * part / parts * quantum).min(n);
    let high = (blocks * (part + 1) / parts * quantum).min(n);
    low..high
}

/// Work below this many elements is not worth waking a second thread for.
const SERIAL_BELOW: usize = 1 << 15;

/// Cuts `out` at multiples of `quantum` and calls `f(start, piece)` on each piece, in parallel when
/// it is large. `start` is the piece's first index in `out`.
pub fn for_each_piece<T: Send + Sync, F: Fn(usize, &mut [T]) + Sync>(
    out: &mut [T],
    quantum: usize,
    f: F,
) {
    for_each_costly_piece(out, quantum, 1, f);
}

/// [`for_each_piece`] where an element of `out` takes the work of `cost` elements, e.g. a row that is summed.
pub fn for_each_costly_piece<T: Send + Sync, F: Fn(usize, &mut [T]) + Sync>(
    out: &mut [T],
    quantum: usize,
    cost: usize,
    f: F,
) {
    let pool = global();
    if out.len().saturating_mul(cost) < SERIAL_BELOW || pool.parts() == 1 {
        f(0, out);
        return;
    }
    let (n, base) = (out.len(), Ptr(out.as_mut_ptr()));
    pool.run(|part| {
        let range = range(n, quantum, part, pool.parts());
        if !range.is_empty() {
            // SAFETY: the ranges of different parts do not overlap and lie within `out`.
            let piece =
                unsafe { std::slice::from_raw_parts_mut(base.at(range.start), range.len()) };
            f(range.start, piece);
        }
    });
}

/// Calls `f(task, scratch)` for every task, in parallel unless the whole is `small`; each thread makes one scratch. An
/// interrupt ends it between two tasks, and is an error.
pub(crate) fn for_each_task<S>(
    tasks: usize,
    small: bool,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(usize, &mut S) + Sync,
) -> Result<()> {
    let (pool, stop) = (global(), interrupt::poll());
    let run = |tasks: std::ops::Range<usize>| {
        if tasks.is_empty() {
            return;
        }
        let mut scratch = scratch();
        for task in tasks {
            if stop.requested() {
                return;
            }
            f(task, &mut scratch);
        }
    };
    if tasks < 2 || small {
        run(0..tasks);
    } else {
        pool.run(|part| run(range(tasks, 1, part, pool.parts())));
    }
    interrupt::check()
}

/// A pointer that may cross threads; whoever uses it answers for disjointness.
pub(crate) struct Ptr<T>(pub *mut T);

// Not derived: that would ask `T: Copy`.
impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ptr<T> {}

// SAFETY: only an address; every dereference is unsafe and argued for at its place.
unsafe impl<T: Send> Send for Ptr<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Ptr<T> {}

impl<T> Ptr<T> {
    /// The address of element `i`.
    pub(crate) fn at(self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }

    /// `len` elements from `start`.
    ///
    /// # Safety
    /// The range must lie in one allocation and no other reference to it may exist.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.at(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once_also_nested() {
        let pool = Pool::new(3);
        for _ in 0..200 {
            let hits: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
            let inner = AtomicUsize::new(0);
            pool.run(|part| {
                hits[part].fetch_add(1, Ordering::Relaxed);
                pool.run(|_| {
                    inner.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
            assert_eq!(inner.load(Ordering::Relaxed), 9);
        }
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for bad in 0..2 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(|part| assert_ne!(part, bad, "meant"));
            }));
            assert!(result.is_err());
            let count = AtomicUsize::new(0);
            pool.run(|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn ranges_cover_everything_once() {
        for n in [0, 1, 15, 16, 17, 1000] {
            let mut next = 0;
            for part in 0..3 {
                let r = range(n, 16, part, 3);
                assert!(r.is_empty() || r.start == next);
                next = next.max(r.end);
            }
            assert_eq!(next, n);
        }
    }
}
