//! A rule at work on tensors: their states, groups with rules of their own, clipping, the schedule.

use std::{ops::Range, sync::Arc};

use rhapsode_tensor::{
    DType, Real, Tensor, memory, ops::update::sum_squares, params, params::Params,
};

use super::{Choice, Rule, RuleOn, Schedule, StepInput, checks};
use crate::{Error, Result};

/// Parameters that share a rule.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their rule.
    pub rule: Arc<dyn Rule>,
    /// Their learning rate before the schedule's factor.
    lr: f64,
    /// How many tensors belong to it.
    count: usize,
}

/// A rule at work on some tensors: it keeps their states and counts steps.
pub struct Optimizer {
    groups: Vec<Group>,
    targets: Vec<Target>,
    states: States,
    steps: u64,
    clip: Option<f64>,
    schedule: Option<Schedule>,
}

/// A tensor that is changed.
struct Target {
    tensor: Tensor,
    /// Its parameter tensors, as ranges of its elements, when it is a flat buffer of several and the rule tells
    /// them apart.
    segments: Vec<Range<usize>>,
}

/// States of every target by name, in the target's dtype. Eight bits will be further variants.
pub(super) enum States {
    F32(Vec<Vec<Vec<f32>>>),
    F64(Vec<Vec<Vec<f64>>>),
}

impl Optimizer {
    /// An optimizer over tensors of one float dtype, which it changes in place.
    pub fn new(choice: impl Into<Choice>, targets: Vec<Tensor>) -> Result<Self> {
        let choice = choice.into();
        Self::grouped(vec![(choice.rule, targets)], choice.clip, choice.schedule)
    }

    /// An optimizer over the flat buffer of a model.
    pub fn flat(choice: impl Into<Choice>, params: &Params) -> Result<Self> {
        let mut optimizer = Self::new(choice, vec![params.flat()])?;
        let per_tensor = optimizer.groups.iter().any(|group| group.rule.per_tensor());
        if let (true, Some(target)) = (per_tensor, optimizer.targets.first_mut()) {
            let slots = params.slots().iter();
            target.segments = slots
                .map(|slot| slot.start..slot.start + slot.shape.iter().product::<usize>())
                .collect();
        }
        Ok(optimizer)
    }

    /// An optimizer over groups of tensors, each with its own rule of one kind. `clip`: largest norm of all gradients
    /// together; `schedule`: a factor on all learning rates.
    pub fn grouped(
        groups: Vec<(Arc<dyn Rule>, Vec<Tensor>)>,
        clip: Option<f64>,
        schedule: Option<Schedule>,
    ) -> Result<Self> {
        if let Some(schedule) = &schedule {
            schedule.complete()?;
        }
        let dtype = dtype_of(groups.iter().flat_map(|(_, targets)| targets))?;
        let mut optimizer = Self {
            groups: Vec::with_capacity(groups.len()),
            targets: Vec::new(),
            states: match dtype {
                DType::F64 => States::F64(Vec::new()),
                _ => States::F32(Vec::new()),
            },
            steps: 0,
            clip: None,
            schedule,
        };
        for (rule, tensors) in groups {
            for tensor in &tensors {
                let (len, names) = (tensor.len(), rule.states().len());
                memory::ensure(len.saturating_mul(names), dtype.size_in_bytes())?;
                match &mut optimizer.states {
                    States::F32(states) => states.push(zeros(len, names)),
                    States::F64(states) => states.push(zeros(len, names)),
                }
            }
            optimizer.groups.push(Group {
                lr: rule.lr(),
                rule,
                count: tensors.len(),
            });
            let whole = |tensor: Tensor| Target {
                segments: std::iter::once(0..tensor.len()).collect(),
                tensor,
            };
            optimizer.targets.extend(tensors.into_iter().map(whole));
        }
        optimizer.set_clip(clip)?;
        Ok(optimizer)
    }

    /// The tensors it changes.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.targets.iter().map(|target| &target.tensor)
    }

    /// The groups, in the order of their tensors.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The name of its rules.
    pub fn name(&self) -> &'static str {
        self.groups.first().map_or("", |group| group.rule.name())
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Learning rate of the first group before the schedule's factor.
    pub fn lr(&self) -> f64 {
        self.groups.first().map_or(0.0, Group::lr)
    }

    /// Changes the learning rate of all groups, or of one, from the next step on.
    pub fn set_lr(&mut self, lr: f64, group: Option<usize>) -> Result<()> {
        checks::not_negative("lr", lr)?;
        let count = self.groups.len();
        match group {
            None => self.groups.iter_mut().for_each(|group| group.lr = lr),
            Some(index) => match self.groups.get_mut(index) {
                Some(group) => group.lr = lr,
                None => {
                    let message =
                        format!("must be below {count}, the number of groups, got {index}");
                    return Err(Error::option("group", message));
                }
            },
        }
        Ok(())
    }

    /// Largest norm of the gradient; it is scaled down to it. `None`: any.
    pub fn clip(&self) -> Option<f64> {
        self.clip
    }

    /// Changes the largest norm from the next step on.
    pub fn set_clip(&mut self, clip: Option<f64>) -> Result<()> {
        clip.map_or(Ok(()), |clip| checks::positive("clip", clip))?;
        self.clip = clip;
        Ok(())
    }

    /// Its schedule.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// Changes the schedule from the next step on; steps count from the optimizer's first.
    pub fn set_schedule(&mut self, schedule: Schedule) -> Result<()> {
        schedule.validate("schedule")?;
        schedule.complete()?;
        self.schedule = Some(schedule);
        Ok(())
    }

    /// Bytes that the states take.
    pub fn state_bytes(&self) -> usize {
        match &self.states {
            States::F32(states) => 4 * elements(states),
            States::F64(states) => 8 * elements(states),
        }
    }

    pub(super) fn states(&self) -> &States {
        &self.states
    }

    pub(super) fn states_mut(&mut self) -> &mut States {
        &mut self.states
    }

    pub(super) fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// One step by gradients, one a target (`None`: this target rests). `average`, a tensor of the first target's
    /// shape with its decay, is brought up to date too. A gradient with NaN or infinity is an error that
    /// changes nothing. Returns the norm before clipping.
    pub fn step(
        &mut self,
        grads: &[Option<Tensor>],
        average: Option<(&Tensor, f64)>,
    ) -> Result<f64> {
        self.check(grads)?;
        let norm = grad_norm(grads)?;
        let step = self.steps + 1;
        if !norm.is_finite() {
            return Err(not_finite(norm, step));
        }
        let scale = clip_scale(norm, self.clip);
        let factor = self.schedule.as_ref().map_or(1.0, |s| s.factor(step));
        let mut average = average;
        let mut index = 0;
        for group in &self.groups {
            let numbers = Numbers {
                lr: group.lr * factor,
                scale,
                step,
            };
            for _ in 0..group.count {
                let (Some(target), Some(Some(grad))) = (self.targets.get(index), grads.get(index))
                else {
                    index += 1;
                    continue;
                };
                let average = average.take();
                match &mut self.states {
                    States::F32(states) => step_one::<f32>(
                        &*group.rule,
                        target,
                        &mut states[index],
                        grad,
                        average,
                        numbers,
                    )?,
                    States::F64(states) => step_one::<f64>(
                        &*group.rule,
                        target,
                        &mut states[index],
                        grad,
                        average,
                        numbers,
                    )?,
                }
                index += 1;
            }
        }
        self.steps = step;
        Ok(norm)
    }

    /// Refuses gradients that do not fit the targets.
    fn check(&self, grads: &[Option<Tensor>]) -> Result<()> {
        if grads.len() != self.targets.len() {
            return Err(Error::Value {
                what: "gradients",
                message: format!(
                    "expected {}, one a parameter, got {}",
                    self.targets.len(),
                    grads.len()
                ),
            });
        }
        for (i, (target, grad)) in self.targets.iter().zip(grads).enumerate() {
            let Some(grad) = grad else { continue };
            let (want, got) = (&target.tensor, grad);
            if want.dims() != got.dims() || want.dtype() != got.dtype() {
                let message = format!(
                    "gradient {i} is {:?} {}, its parameter {:?} {}",
                    got.dims(),
                    got.dtype().as_str(),
                    want.dims(),
                    want.dtype().as_str()
                );
                return Err(Error::Value {
                    what: "gradients",
                    message,
                });
            }
        }
        Ok(())
    }
}

impl Group {
    /// Its learning rate before the schedule's factor.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// How many tensors belong to it.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// So many states of `len` elements.
fn zeros<T: Real>(len: usize, names: usize) -> Vec<Vec<T>> {
    let zeros = |_| {
        let state = vec![T::ZERO; len];
        memory::large_pages(&state);
        state
    };
    (0..names).map(zeros).collect()
}

fn elements<T>(states: &[Vec<Vec<T>>]) -> usize {
    states.iter().flatten().map(Vec::len).sum()
}

/// The one dtype of all, f32 or f64.
fn dtype_of<'a>(mut targets: impl Iterator<Item = &'a Tensor>) -> Result<DType> {
    let wrong = |message: String| Error::Value {
        what: "parameters",
        message,
    };
    let Some(first) = targets.next() else {
        return Err(wrong("expected at least one tensor, got none".into()));
    };
    let dtype = first.dtype();
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(wrong(format!(
            "expected f32 or f64, got {}",
            dtype.as_str()
        )));
    }
    match targets.find(|t| t.dtype() != dtype) {
        Some(other) => {
            let (a, b) = (dtype.as_str(), other.dtype().as_str());
            Err(wrong(format!("dtypes {a} and {b} are mixed")))
        }
        None => Ok(dtype),
    }
}

/// The Euclidean norm of all gradients together.
pub fn grad_norm(grads: &[Option<Tensor>]) -> Result<f64> {
    let mut total = 0.0;
    for grad in grads.iter().flatten() {
        total += match grad.dtype() {
            DType::F64 => grad.with_slice::<f64, _>("norm", sum_squares)?,
            _ => grad.with_slice::<f32, _>("norm", sum_squares)?,
        };
    }
    Ok(total.sqrt())
}

/// Gradients scaled down so that their norm together is at most `max_norm` (> 0), and the norm before. NaN or infinity is an error.
pub fn clip_grad_norm(
    grads: &[Option<Tensor>],
    max_norm: f64,
) -> Result<(Vec<Option<Tensor>>, f64)> {
    if !(max_norm > 0.0 && max_norm.is_finite()) {
        return Err(Error::Value {
            what: "the largest norm",
            message: format!("must be a finite number > 0, got {max_norm}"),
        });
    }
    let norm = grad_norm(grads)?;
    if !norm.is_finite() {
        return Err(Error::Value {
            what: "gradients",
            message: "hold NaN or infinity".into(),
        });
    }
    let scale = clip_scale(norm, Some(max_norm));
    let scaled = |grad: &Option<Tensor>| {
        grad.as_ref()
            .map(|grad| Tensor::combine(&[(scale, grad)]))
            .transpose()
    };
    Ok((grads.iter().map(scaled).collect::<Result<_, _>>()?, norm))
}

fn clip_scale(norm: f64, clip: Option<f64>) -> f64 {
    match clip {
        Some(clip) if norm > clip => clip / norm,
        _ => 1.0,
    }
}

fn not_finite(norm: f64, step: u64) -> Error {
    Error::Numeric {
        step,
        what: "the gradient",
        value: if norm.is_nan() { "NaN" } else { "inf" },
        op: "unknown".into(),
    }
}

#[derive(Clone, Copy)]
struct Numbers {
    lr: f64,
    scale: f64,
    step: u64,
}

fn step_one<T: Real>(
    rule: &(impl RuleOn<T> + ?Sized),
    target: &Target,
    states: &mut [Vec<T>],
    grad: &Tensor,
    average: Option<(&Tensor, f64)>,
    Numbers { lr, scale, step }: Numbers,
) -> Result<()> {
    let mut one = |p: &mut [T], g: &[T], mut average: Option<(&mut [T], f64)>| {
        for range in &target.segments {
            let mut parts = states.iter_mut().map(|s| &mut s[range.clone()]);
            let mut part = || parts.next().unwrap_or_default();
            rule.step(StepInput {
                p: &mut p[range.clone()],
                g: &g[range.clone()],
                states: [part(), part(), part()],
                average: average
                    .as_mut()
                    .map(|(e, decay)| (&mut e[range.clone()], *decay)),
                lr,
                scale,
                step,
            });
        }
    };
    grad.with_slice::<T, _>("optimizer", |g| {
        let Some((average, decay)) = average else {
            return params::update_tensor::<T>(&target.tensor, |p| one(p, g, None));
        };
        let mut inner = Ok(());
        params::update_tensor::<T>(&target.tensor, |p| {
            inner = params::update_tensor::<T>(average, |e| one(p, g, Some((e, decay))));
        })?;
        inner
    })??;
    Ok(())
}
