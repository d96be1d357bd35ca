//! Optimizers: a file each with its options, the names of its states and one step. Clipping,
//! schedules, moving averages and state on disk are shared parts here.

mod adam;
mod schedule;

pub use adam::{AdamOptions, AdamWOptions};
pub use schedule::Schedule;

use std::sync::Arc;

use rhapsode_tensor::{DType, Real, Tensor, params, simd::kernels};
use schemars::Schema;

use crate::{Error, Result, reference::Reference};

/// Everything that one step of a rule sees, as flat slices of one length.
pub struct StepInput<'a, T> {
    /// The parameters, updated in place.
    pub p: &'a mut [T],
    /// Their gradient, not yet scaled.
    pub g: &'a [T],
    /// The states, in the order of their names.
    pub states: &'a mut [Vec<T>],
    /// The moving average of the parameters to bring up to date in the same pass, and its decay.
    pub average: Option<(&'a mut [T], f64)>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Factor on the gradient, for clipping.
    pub scale: f64,
    /// Which step this is, from 1.
    pub step: u64,
}

/// The step of an optimizer in one element type.
pub trait RuleOn<T> {
    /// One step.
    fn step(&self, input: StepInput<T>);
}

/// An optimizer's rule: its numbers, its states, its step.
pub trait Rule: RuleOn<f32> + RuleOn<f64> + Send + Sync + std::fmt::Debug {
    /// Its name in scripts, e.g. `adamw`.
    fn name(&self) -> &'static str;
    /// Names of its states.
    fn states(&self) -> &'static [&'static str];
    /// Its learning rate before any schedule.
    fn lr(&self) -> f64;
    /// Its options as data, for checkpoints and manifests.
    fn options(&self) -> serde_json::Value;
}

/// One optimizer of the list.
pub struct Kind {
    /// Name in scripts.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub reference: Reference,
    /// Schema of its options.
    pub schema: fn() -> Schema,
    /// Makes it from options as data.
    pub build: fn(serde_json::Value) -> Result<Arc<dyn Rule>>,
}

/// Every optimizer. To be in the list is to be tested.
pub const ALL: &[Kind] = &[adam::ADAM, adam::ADAMW];

/// Makes a rule from its options as data.
pub fn build<O: serde::de::DeserializeOwned + Rule + 'static>(
    options: serde_json::Value,
    validate: fn(&O) -> Result<()>,
) -> Result<Arc<dyn Rule>> {
    let options: O = serde_json::from_value(options).map_err(|error| Error::Value {
        what: "optimizer options",
        message: error.to_string(),
    })?;
    validate(&options)?;
    Ok(Arc::new(options))
}

/// A rule at work on some tensors: it keeps their states and counts steps.
pub struct Optimizer {
    rule: Arc<dyn Rule>,
    targets: Vec<Tensor>,
    states: States,
    steps: u64,
    /// Largest norm of the gradient; it is scaled down to it. `None`: any.
    pub clip: Option<f64>,
    /// Factor on the rule's learning rate, for schedules.
    pub factor: f64,
    lr: f64,
}

/// States of every target, in their dtype.
enum States {
    F32(Vec<Vec<Vec<f32>>>),
    F64(Vec<Vec<Vec<f64>>>),
}

impl Optimizer {
    /// An optimizer over tensors of one float dtype, which it changes in place.
    pub fn new(rule: Arc<dyn Rule>, targets: Vec<Tensor>) -> Result<Self> {
        let Some(first) = targets.first() else {
            return Err(Error::Value {
                what: "parameters",
                message: "expected at least one tensor, got none".into(),
            });
        };
        let dtype = first.dtype();
        if let Some(other) = targets.iter().find(|t| t.dtype() != dtype) {
            let message = format!(
                "dtypes {} and {} are mixed",
                dtype.as_str(),
                other.dtype().as_str()
            );
            return Err(Error::Value {
                what: "parameters",
                message,
            });
        }
        let names = rule.states().len();
        let states = match dtype {
            // bf16 is stepped in f32 and rounded once.
            DType::F32 | DType::BF16 => States::F32(
                targets
                    .iter()
                    .map(|t| vec![vec![0.0; t.len()]; names])
                    .collect(),
            ),
            DType::F64 => States::F64(
                targets
                    .iter()
                    .map(|t| vec![vec![0.0; t.len()]; names])
                    .collect(),
            ),
            other => {
                let message = format!("expected floats, got {}", other.as_str());
                return Err(Error::Value {
                    what: "parameters",
                    message,
                });
            }
        };
        let lr = rule.lr();
        Ok(Self {
            rule,
            targets,
            states,
            steps: 0,
            clip: None,
            factor: 1.0,
            lr,
        })
    }

    /// The tensors it changes.
    pub fn targets(&self) -> &[Tensor] {
        &self.targets
    }

    /// The rule.
    pub fn rule(&self) -> &Arc<dyn Rule> {
        &self.rule
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Learning rate before the schedule's factor.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Changes the learning rate from the next step on.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        check_lr(lr)?;
        self.lr = lr;
        Ok(())
    }

    /// Bytes that the states take.
    pub fn state_bytes(&self) -> usize {
        let size = if matches!(self.states, States::F32(_)) {
            4
        } else {
            8
        };
        self.targets
            .iter()
            .map(|t| t.len() * size * self.rule.states().len())
            .sum()
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm(grads: &[Option<Tensor>]) -> Result<f64> {
        let mut total = 0.0;
        for grad in grads.iter().flatten() {
            total += match grad.dtype() {
                DType::F64 => grad.with_slice::<f64, _>("norm", kernels::sum_squares)?,
                _ => grad.with_slice::<f32, _>("norm", kernels::sum_squares)?,
            };
        }
        Ok(total.sqrt())
    }

    /// One step by gradients, one a target (`None`: this target rests). `average` is brought up to date too.
    /// A gradient with NaN or infinity is an error that changes nothing. Returns the norm before clipping.
    pub fn step(
        &mut self,
        grads: &[Option<Tensor>],
        average: Option<(&Tensor, f64)>,
    ) -> Result<f64> {
        let norm = Self::norm(grads)?;
        if !norm.is_finite() {
            let value = if norm.is_nan() { "NaN" } else { "inf" };
            let step = self.steps + 1;
            return Err(Error::Numeric {
                step,
                what: "the gradient",
                value,
                op: "unknown".into(),
            });
        }
        let scale = self
            .clip
            .map_or(1.0, |clip| if norm > clip { clip / norm } else { 1.0 });
        let numbers = Numbers {
            lr: self.lr * self.factor,
            scale,
            step: self.steps + 1,
        };
        match &mut self.states {
            States::F32(states) => {
                step_all(&*self.rule, &self.targets, states, grads, average, numbers)?
            }
            States::F64(states) => {
                step_all(&*self.rule, &self.targets, states, grads, average, numbers)?
            }
        }
        self.steps += 1;
        Ok(norm)
    }
}

#[derive(Clone, Copy)]
struct Numbers {
    lr: f64,
    scale: f64,
    step: u64,
}

fn step_all<T: Real>(
    rule: &(impl RuleOn<T> + ?Sized),
    targets: &[Tensor],
    states: &mut [Vec<Vec<T>>],
    grads: &[Option<Tensor>],
    average: Option<(&Tensor, f64)>,
    Numbers { lr, scale, step }: Numbers,
) -> Result<()> {
    for ((target, states), grad) in targets.iter().zip(states).zip(grads) {
        let Some(grad) = grad else { continue };
        grad.with_slice::<T, _>("optimizer", |g| {
            let Some((average, decay)) = average else {
                return params::update_tensor::<T>(target, |p| {
                    rule.step(StepInput {
                        p,
                        g,
                        states,
                        average: None,
                        lr,
                        scale,
                        step,
                    });
                });
            };
            let mut inner = Ok(());
            params::update_tensor::<T>(target, |p| {
                inner = params::update_tensor::<T>(average, |e| {
                    rule.step(StepInput {
                        p,
                        g,
                        states,
                        average: Some((e, decay)),
                        lr,
                        scale,
                        step,
                    });
                });
            })?;
            inner
        })??;
    }
    Ok(())
}

/// Refuses learning rates that cannot be meant.
pub(crate) fn check_lr(lr: f64) -> Result<()> {
    if lr.is_finite() && lr >= 0.0 {
        Ok(())
    } else {
        Err(Error::option(
            "lr",
            format!("must be a finite number >= 0, got {lr}"),
        ))
    }
}
