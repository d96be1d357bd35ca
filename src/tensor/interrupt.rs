//! The user's wish to stop, polled by every long native loop.
//!
//! A session installs its flag on the thread that runs a cell; operations, backward passes and
//! solvers ask [`check`] now and then. Where no flag is installed nothing is ever interrupted.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, Result};

thread_local! {
    static FLAG: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `f` with `flag` as this thread's interrupt flag; the former one is back afterwards.
pub fn with_flag<R>(flag: Arc<AtomicBool>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FLAG.with(|slot| *slot.borrow_mut() = self.0.take());
        }
    }
    let _restore = Restore(FLAG.with(|slot| slot.borrow_mut().replace(flag)));
    f()
}

/// Whether the user wants the work on this thread to stop.
pub fn requested() -> bool {
    FLAG.with(|slot| {
        slot.borrow()
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    })
}

/// This thread's interrupt flag, to be asked on other threads that work for it.
#[derive(Clone)]
pub struct Poll(Option<Arc<AtomicBool>>);

impl Poll {
    /// Whether the user wants the work to stop.
    pub fn requested(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The flag of this thread, for the parts of a parallel kernel.
pub fn poll() -> Poll {
    Poll(FLAG.with(|slot| slot.borrow().clone()))
}

/// [`Error::Interrupted`] when the user wants to stop.
pub fn check() -> Result<()> {
    if requested() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
