//! What others may see and change of a training while it goes on: the run itself is lent to its loop until that
//! ends. A progress bar, a second shell of a notebook, a dashboard hold a [`Live`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Result, checks};

/// A view of a training; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Live(Arc<Mutex<State>>);

/// How a training stands.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What is going on, e.g. `fit rectified flow`.
    pub label: String,
    /// Steps taken.
    pub steps: u64,
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// What was measured on the way beside the loss, such as the validation loss: after which step, what, the value.
    pub measured: Vec<(u64, &'static str, f64)>,
    /// The learning rate of the next step, before the schedule.
    pub lr: f64,
    /// Whether it takes steps now.
    pub is_running: bool,
    /// Whether the user stopped it before its end.
    pub interrupted: bool,
    /// The learning rates that were set, each with the step from which it holds.
    pub changes: Vec<(u64, f64)>,
    /// How many of them an observer was told.
    told: usize,
    /// What the next step is to begin with.
    wanted: Option<f64>,
}

impl State {
    /// The newest value of everything that was measured, in the order in which it was measured last.
    pub fn newest(&self) -> Vec<(&'static str, f64)> {
        let last = self.measured.last().map(|(step, ..)| *step);
        let newest = self
            .measured
            .iter()
            .filter(|(step, ..)| Some(*step) == last);
        newest.map(|(_, name, value)| (*name, *value)).collect()
    }
}

impl Live {
    /// The view of a training that has not begun.
    pub(crate) fn new(label: &str, lr: f64) -> Self {
        let state = State {
            label: label.into(),
            lr,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Whether both are views of one training.
    pub fn is(&self, other: &Live) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How it stands now. Hold it only for a moment: the training waits.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another learning rate from the next step on.
    pub fn set_lr(&self, lr: f64) -> Result<()> {
        checks::not_negative("lr", lr)?;
        self.state().wanted = Some(lr);
        Ok(())
    }

    /// The learning rate that the next step is to begin with, if another is wanted.
    pub(crate) fn take_lr(&self) -> Option<f64> {
        let mut state = self.state();
        let lr = state.wanted.take()?;
        state.lr = lr;
        let step = state.steps + 1;
        state.changes.push((step, lr));
        Some(lr)
    }

    /// The changes that nobody was told yet.
    pub fn take_changes(&self) -> Vec<(u64, f64)> {
        let mut state = self.state();
        let untold = state.changes.get(state.told..).unwrap_or(&[]).to_vec();
        state.told = state.changes.len();
        untold
    }
}
