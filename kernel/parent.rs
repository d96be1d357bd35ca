//! The process that started the kernel: when it is gone, a kernel that belongs to it leaves as well.
//!
//! Jupyter names it in `JPY_PARENT_PID` and does not always live to say goodbye. Asked once a second; the
//! system's own signal for a parent's death is no help, it comes when the *thread* ends that started us.

use std::{
    cell::Cell,
    os::unix::process::parent_id,
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_secs(1);

/// The process that started the kernel.
pub struct ParentProcess {
    // `None` when the kernel lives on its own.
    id: Option<u32>,
    asked: Cell<Instant>,
}

impl ParentProcess {
    /// Looks whether there is one to watch.
    pub fn watched() -> Self {
        let named = std::env::var_os("JPY_PARENT_PID").is_some_and(|pid| !pid.is_empty());
        Self {
            // Where the parent is the system's first process there is nothing to outlive.
            id: named.then(parent_id).filter(|&id| id > 1),
            asked: Cell::new(Instant::now()),
        }
    }

    /// How long a poll may wait.
    pub fn patience(&self) -> Option<Duration> {
        self.id
            .map(|_| PERIOD.saturating_sub(self.asked.get().elapsed()))
    }

    /// Whether it is gone; looks at most once a second.
    pub fn is_gone(&self) -> bool {
        if self.id.is_none() || self.asked.get().elapsed() < PERIOD {
            return false;
        }
        self.asked.set(Instant::now());
        self.id.is_some_and(|id| id != parent_id())
    }
}
