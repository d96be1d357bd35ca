//! Long work reports through one trait, and asks it whether to go on.
//!
//! Progress bars, live loss plots, metric files and interrupts are observers; no method knows
//! them. Whatever may take longer than 50 ms takes one.

use std::ops::ControlFlow;

use crate::live::Live;

/// One step of long work.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// What is going on, e.g. `fit rectified flow`.
    pub label: &'a str,
    /// Steps done, counted from 1.
    pub step: u64,
    /// Steps in all, when known.
    pub total: Option<u64>,
    /// The newest metrics, most important first.
    pub metrics: &'a [(&'a str, f64)],
}

/// Watches long work.
pub trait Observer {
    /// One step done. `Break` means the user interrupted: stop, leave everything consistent.
    fn step(&mut self, step: &Step) -> ControlFlow<()>;

    /// The work goes on, but hardly does what was meant.
    fn warn(&mut self, _: &str) {}

    /// A training begins to take steps: whoever wants to look at it, or change it, from elsewhere keeps this.
    fn training(&mut self, _: &Live) {}
}

/// Watches nothing and never interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Step) -> ControlFlow<()>> Observer for F {
    fn step(&mut self, step: &Step) -> ControlFlow<()> {
        self(step)
    }
}
