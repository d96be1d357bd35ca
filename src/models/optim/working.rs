//! A rule at work on tensors: their states, groups with rules of their own, clipping, the schedule.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, params::Params};

use super::{
    Choice, Common, Rule, Schedule,
    clip::{Norms, clip_scale, grad_norm},
    target::{Numbers, Target, check_names},
};
use crate::{Error, Result, checks};

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
    steps: u64,
    common: Common,
    norms: Norms,
}

impl Optimizer {
    /// An optimizer over tensors of one float dtype, which it changes in place.
    pub fn new(choice: impl Into<Choice>, targets: Vec<Tensor>) -> Result<Self> {
        let choice = choice.into();
        Self::grouped(vec![(choice.rule, targets)], choice.common)
    }

    /// An optimizer over the flat buffer of a model.
    pub fn flat(choice: impl Into<Choice>, params: &Params) -> Result<Self> {
        let choice = choice.into();
        let groups = vec![(choice.rule, vec![params.flat()])];
        Self::over(groups, choice.common, Some(params))
    }

    /// An optimizer over groups of tensors, each with its own rule of one kind; what is common to all optimizers is
    /// common to the groups.
    pub fn grouped(groups: Vec<(Arc<dyn Rule>, Vec<Tensor>)>, common: Common) -> Result<Self> {
        Self::over(groups, common, None)
    }

    fn over(
        groups: Vec<(Arc<dyn Rule>, Vec<Tensor>)>,
        common: Common,
        params: Option<&Params>,
    ) -> Result<Self> {
        common.validate()?;
        if let Some(schedule) = &common.schedule {
            schedule.complete()?;
        }
        dtype_of(groups.iter().flat_map(|(_, targets)| targets))?;
        let mut optimizer = Self {
            groups: Vec::with_capacity(groups.len()),
            targets: Vec::new(),
            steps: 0,
            common,
            norms: Norms::default(),
        };
        for (rule, tensors) in groups {
            let (lr, count) = (rule.lr(), tensors.len());
            for tensor in tensors {
                let index = optimizer.targets.len();
                let target = Target::new(tensor, params, &*rule, &optimizer.common, index)?;
                optimizer.targets.push(target);
            }
            optimizer.groups.push(Group { rule, lr, count });
        }
        check_names(&optimizer.common, &optimizer.targets)?;
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
        self.common.clip
    }

    /// Changes the largest norm from the next step on.
    pub fn set_clip(&mut self, clip: Option<f64>) -> Result<()> {
        clip.map_or(Ok(()), |clip| checks::positive("clip", clip))?;
        self.common.clip = clip;
        Ok(())
    }

    /// Its schedule.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.common.schedule.as_ref()
    }

    /// Changes the schedule from the next step on; steps count from the optimizer's first.
    pub fn set_schedule(&mut self, schedule: Schedule) -> Result<()> {
        schedule.validate("schedule")?;
        schedule.complete()?;
        self.common.schedule = Some(schedule);
        Ok(())
    }

    /// The options that all optimizers have.
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// Bytes that the states take; the 256 values of a code and the count of steps are not counted.
    pub fn state_bytes(&self) -> usize {
        let parts = self.targets.iter().flat_map(|target| &target.parts);
        parts.map(|part| part.state.bytes()).sum()
    }

    /// Bytes of the states a parameter.
    pub fn bytes_per_parameter(&self) -> f64 {
        let count: usize = self.targets().map(Tensor::len).sum();
        self.state_bytes() as f64 / count.max(1) as f64
    }

    pub(super) fn tensors(&self) -> &[Target] {
        &self.targets
    }

    pub(super) fn tensors_mut(&mut self) -> &mut [Target] {
        &mut self.targets
    }

    pub(super) fn norms(&self) -> &Norms {
        &self.norms
    }

    pub(super) fn set_norms(&mut self, norms: Norms) {
        self.norms = norms;
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
        let clipped = clip_scale(norm, self.common.clip);
        let scale = clipped.min(self.norms.factor(norm, self.common.percentile));
        let factor = self.schedule().map_or(1.0, |s| s.factor(step));
        let mut average = average;
        let mut targets = self.targets.iter_mut().zip(grads);
        for group in &self.groups {
            let max_unorm = group.rule.max_unorm().unwrap_or(self.common.max_unorm);
            let numbers = Numbers {
                lr: group.lr * factor,
                scale,
                max_unorm,
                skip_zeros: self.common.skip_zeros,
                step,
            };
            for (target, grad) in targets.by_ref().take(group.count) {
                let average = average.take();
                let Some(grad) = grad else { continue };
                match target.tensor.dtype() {
                    DType::F64 => target.step::<f64>(&*group.rule, grad, average, numbers)?,
                    _ => target.step::<f32>(&*group.rule, grad, average, numbers)?,
                }
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

fn not_finite(norm: f64, step: u64) -> Error {
    Error::Numeric {
        step,
        what: "the gradient",
        value: if norm.is_nan() { "NaN" } else { "inf" },
        op: "unknown".into(),
    }
}
