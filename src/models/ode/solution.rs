//! What a solver gives.

use rhapsode_tensor::{Tensor, memory};

use crate::Result;

/// The solution of an initial value problem.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Times of the kept states.
    pub t: Vec<f64>,
    /// The kept states, each of the shape of `x0`.
    pub x: Vec<Tensor>,
    /// Time and state at which it ended: `to`, an event, or where the user stopped it.
    pub end: (f64, Tensor),
    /// How often `f` was evaluated.
    pub evaluations: usize,
    /// Steps accepted.
    pub accepted: usize,
    /// Steps tried again with a smaller size.
    pub rejected: usize,
    /// The time of the event that ended it.
    pub event: Option<f64>,
    /// Whether the user stopped it before its end; what was reached is there.
    pub interrupted: bool,
    // Bytes kept since memory was last asked for.
    unasked: usize,
}

impl Solution {
    pub(super) fn start(t: f64, x: &Tensor) -> Self {
        Self {
            t: Vec::new(),
            x: Vec::new(),
            end: (t, x.clone()),
            evaluations: 0,
            accepted: 0,
            rejected: 0,
            event: None,
            interrupted: false,
            unasked: 0,
        }
    }

    /// The state at the end.
    pub fn last(&self) -> &Tensor {
        &self.end.1
    }

    /// The kept states as one tensor `[times, ..]`.
    pub fn stacked(&self) -> Result<Tensor> {
        if self.x.is_empty() {
            let x = self.last();
            let shape: Vec<usize> = [0].into_iter().chain(x.dims().iter().copied()).collect();
            return Ok(Tensor::zeros(&shape, x.dtype())?);
        }
        Ok(Tensor::stack(&self.x.iter().collect::<Vec<_>>(), 0)?)
    }

    /// Keeps a state. Many small states are as much memory as one large one: every 64 MiB are asked for.
    pub(super) fn keep(&mut self, t: f64, x: Tensor) -> Result<()> {
        self.unasked += x.len() * x.dtype().size_in_bytes();
        if self.unasked >= 64 << 20 {
            memory::ensure(self.unasked, 1)?;
            self.unasked = 0;
        }
        self.t.push(t);
        self.x.push(x);
        Ok(())
    }
}
