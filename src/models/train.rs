//! The one training loop.
//!
//! An [`Objective`] says what the loss of a step is; a [`Run`] takes the steps. Everything random in
//! a step is a function of the step's number, so that a run that was stopped goes on bit for bit
//! as if it had never stopped, and the step whose loss became NaN can be taken again under watch
//! to find the operation.

use std::{iter, sync::Arc};

use rhapsode_tensor::{Tensor, grad_or_zero, interrupt, params::Params, tape};

use crate::{
    Error, Result,
    checks::{at_least_one, decay, positive},
    live::Live,
    observe::{Observer, Step},
    optim::{AdamOptions, Choice, Optimizer, Schedule, ramp},
};

/// What is learned: parameters, and the loss of a step.
pub trait Objective: Send {
    /// What is going on, for progress bars, e.g. `fit rectified flow`.
    fn label(&self) -> &str;
    /// The parameters that change.
    fn params(&self) -> &Arc<Params>;
    /// Their moving average, where one is kept.
    fn average(&self) -> Option<&Arc<Params>>;
    /// The loss of a step (from 1), a scalar: a function of the step and the parameters alone.
    /// (`&mut`: it may keep caches.)
    fn loss(&mut self, step: u64) -> Result<Tensor>;
    /// What is to be measured after that step beside the loss: names and values.
    fn measure(&mut self, _step: u64) -> Result<Vec<(&'static str, f64)>> {
        Ok(Vec::new())
    }
}

/// How steps are taken.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The optimizer.
    pub optimizer: Choice,
    /// Steps of the plan, for the schedule.
    pub steps: u64,
    /// How the learning rate changes. `None`: as the optimizer says, else a cosine.
    pub schedule: Option<Schedule>,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Largest norm of the gradient. `None`: as the optimizer says.
    pub clip: Option<f64>,
    /// Decay of the moving average.
    pub ema: f64,
    /// Losses whose mean gradient makes a step; a loss of its own number each.
    pub accumulate: u64,
}

impl Plan {
    /// Refuses what no training can be.
    pub fn validate(&self) -> Result<()> {
        at_least_one("steps", self.steps as usize)?;
        at_least_one("accumulate", self.accumulate as usize)?;
        decay("ema", self.ema)?;
        self.clip.map_or(Ok(()), |clip| positive("clip", clip))
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            optimizer: AdamOptions::default().into(),
            steps: 1000,
            schedule: None,
            warmup: 0,
            clip: None,
            ema: 0.999,
            accumulate: 1,
        }
    }
}

/// A training: what was learned so far is in the objective's parameters at any time.
pub struct Run {
    objective: Box<dyn Objective>,
    optimizer: Optimizer,
    ema: f64,
    accumulate: u64,
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// Whether the user stopped it before its end.
    pub interrupted: bool,
    live: Live,
}

impl Run {
    /// A run that has not taken a step yet.
    pub fn new(objective: Box<dyn Objective>, plan: Plan) -> Result<Self> {
        plan.validate()?;
        let mut choice = plan.optimizer;
        let schedule = plan.schedule.or(choice.common.schedule).unwrap_or_default();
        schedule.validate("schedule")?;
        choice.common.schedule = Some(schedule.planned(plan.steps, plan.warmup)?);
        choice.common.clip = plan.clip.or(choice.common.clip);
        let optimizer = Optimizer::flat(choice, objective.params())?;
        Ok(Self {
            live: Live::new(objective.label(), optimizer.lr()),
            optimizer,
            objective,
            ema: plan.ema,
            accumulate: plan.accumulate,
            losses: Vec::new(),
            interrupted: false,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Numbers that are learned.
    pub fn parameters(&self) -> u64 {
        self.objective.params().len() as u64
    }

    /// Bytes of the parameters, their gradient, their moving average and the optimizer's state.
    pub fn state_bytes(&self) -> u64 {
        let params = self.objective.params();
        let copies = 2 + usize::from(self.objective.average().is_some());
        let own = copies * params.len() * params.dtype().size_in_bytes();
        (own + self.optimizer.state_bytes()) as u64
    }

    /// What is going on.
    pub fn label(&self) -> &str {
        self.objective.label()
    }

    /// The learning rate of the next step before the schedule.
    pub fn lr(&self) -> f64 {
        self.optimizer.lr()
    }

    /// What others see and change while it goes on.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Another learning rate from the next step on.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.live.set_lr(lr)?;
        self.adopt()
    }

    /// Takes over what was wanted of the next step.
    fn adopt(&mut self) -> Result<()> {
        match self.live.take_lr() {
            Some(lr) => self.optimizer.set_lr(lr, None),
            None => Ok(()),
        }
    }

    /// Takes `steps` more steps. An interrupt ends it after a whole step and is no error: the run is
    /// marked and can go on. NaN or infinity is an error, and the parameters are as after the last
    /// good step.
    pub fn more(&mut self, steps: u64, observer: &mut dyn Observer) -> Result<()> {
        self.live.state().is_running = true;
        observer.training(&self.live);
        let outcome = self.take_steps(steps, observer);
        let mut state = self.live.state();
        state.is_running = false;
        state.interrupted = self.interrupted;
        drop(state);
        // What came after the last step holds for the next one.
        self.adopt()?;
        outcome
    }

    fn take_steps(&mut self, steps: u64, observer: &mut dyn Observer) -> Result<()> {
        let end = self.steps() + steps;
        self.interrupted = false;
        while self.steps() < end {
            self.adopt()?;
            let loss = match self.step() {
                Err(Error::Interrupted) => {
                    self.interrupted = true;
                    return Ok(());
                }
                other => other?,
            };
            self.losses.push(loss);
            let measured = self.objective.measure(self.steps())?;
            let mut state = self.live.state();
            state.steps = self.steps();
            state.losses.push(loss);
            let step = state.steps;
            state.measured.extend(
                measured
                    .into_iter()
                    .map(|(name, value)| (step, name, value)),
            );
            let metrics: Vec<_> = iter::once(("loss", loss)).chain(state.newest()).collect();
            drop(state);
            let step = Step {
                label: self.objective.label(),
                step: self.steps(),
                total: Some(end),
                metrics: &metrics,
            };
            if observer.step(&step).is_break() && self.steps() < end {
                self.interrupted = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<f64> {
        interrupt::check()?;
        let step = self.steps() + 1;
        let (value, gradient) = self.gradient(step)?;
        if !value.is_finite() {
            return Err(self.explain(step, "the loss", value));
        }
        let flat = [Some(gradient)];
        let average = self.objective.average().map(|a| a.flat());
        let decay = ramp(self.ema, step);
        match self
            .optimizer
            .step(&flat, average.as_ref().map(|a| (a, decay)))
        {
            Err(Error::Numeric { value, .. }) => {
                let value = if value == "NaN" {
                    f64::NAN
                } else {
                    f64::INFINITY
                };
                Err(self.explain(step, "the gradient", value))
            }
            other => other.map(|_| value),
        }
    }

    /// The mean loss of a step and its gradient, flat; of several batches one after the other, so that only one is held.
    fn gradient(&mut self, step: u64) -> Result<(f64, Tensor)> {
        let params = self.objective.params().clone();
        let share = 1.0 / self.accumulate as f64;
        let (mut value, mut total) = (0.0, None);
        for part in 1..=self.accumulate {
            let loss = self.objective.loss((step - 1) * self.accumulate + part)?;
            value += share * loss.item()?;
            let grads = grad_or_zero(loss, &params.tensors().iter().collect::<Vec<_>>())?;
            let flat = params.gather(&grads)?;
            total = Some(match total {
                None if self.accumulate == 1 => flat,
                None => flat.affine(share, 0.0)?,
                Some(total) => Tensor::combine(&[(1.0, &total), (share, &flat)])?,
            });
            if !value.is_finite() {
                break;
            }
        }
        let none = || Error::Value {
            what: "training",
            message: "takes at least one batch a step".into(),
        };
        Ok((value, total.ok_or_else(none)?))
    }

    /// The same step again, watched: which operation was the first to leave the numbers?
    fn explain(&mut self, step: u64, what: &'static str, value: f64) -> Error {
        let value = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        };
        let params = self.objective.params().clone();
        let again = tape::watch_finite(|| {
            for part in 1..=self.accumulate {
                let loss = self.objective.loss((step - 1) * self.accumulate + part)?;
                grad_or_zero(loss, &params.tensors().iter().collect::<Vec<_>>())?;
            }
            Ok(())
        });
        let op = match again {
            Err(Error::Tensor(rhapsode_tensor::Error::NonFinite { op, .. })) => op.to_string(),
            _ => "the optimizer's sum of squares".to_string(),
        };
        Error::Numeric {
            step,
            what,
            value,
            op,
        }
    }
}
