//! A trial of a script: trainings and loops of `progress` stop after a few steps, which are timed, so that
//! the time of the whole can be told before it is spent.

use std::time::{Duration, Instant};

/// Steps that a training or loop takes in a trial.
pub(crate) const STEPS: u64 = 3;

/// A training or loop, as a trial has seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What is going on, e.g. `fit rectified flow`.
    pub label: String,
    /// Steps that it would take in all, when known.
    pub steps: Option<u64>,
    /// The time of a step: the shortest of those timed, since the first ones warm up.
    pub step: Duration,
    /// Numbers that are learned, where it is a training.
    pub parameters: Option<u64>,
    /// Bytes of parameters, their moving average, gradients and the optimizer's state.
    pub state_bytes: Option<u64>,
    /// Bytes by which the program has grown over the steps: activations and what stays cached.
    pub grown_bytes: Option<u64>,
}

impl Trial {
    /// The time of all steps.
    pub fn forecast(&self) -> Option<Duration> {
        let steps = u32::try_from(self.steps?).ok()?;
        self.step.checked_mul(steps)
    }
}

/// Times steps.
pub(crate) struct Stopwatch {
    before: Option<u64>,
    last: Instant,
    done: u64,
    shortest: Option<Duration>,
}

impl Stopwatch {
    /// Begins.
    pub fn start() -> Self {
        Self {
            before: resident(),
            last: Instant::now(),
            done: 0,
            shortest: None,
        }
    }

    /// A step is done: whether enough are.
    pub fn step(&mut self) -> bool {
        let took = self.last.elapsed();
        self.last = Instant::now();
        self.done += 1;
        self.shortest = Some(self.shortest.map_or(took, |known| known.min(took)));
        self.done >= STEPS
    }

    /// What was seen, when there was a step.
    pub fn trial(&self, label: &str, steps: Option<u64>) -> Option<Trial> {
        let grown = resident().zip(self.before);
        Some(Trial {
            label: label.to_string(),
            steps,
            step: self.shortest?,
            parameters: None,
            state_bytes: None,
            grown_bytes: grown.map(|(now, before)| now.saturating_sub(before)),
        })
    }
}

/// The memory that the program holds, where the system tells.
fn resident() -> Option<u64> {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}
