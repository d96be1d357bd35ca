//! What an optimizer is: a rule with its numbers, its states and its step.

use rhapsode_tensor::{
    ops::update::{Motion, States, Update, norm, sum_squares, sweep},
    simd::math::Float,
};

use crate::Result;

/// One of a rule's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKind {
    /// Its name in files.
    pub name: &'static str,
    /// Whether it has negative numbers; second moments have not, and get all codes for positive ones.
    pub signed: bool,
}

const fn kind(name: &'static str, signed: bool) -> StateKind {
    StateKind { name, signed }
}

/// A running mean or sum of the gradient.
pub(super) const M: StateKind = kind("m", true);
/// A slower one.
pub(super) const M2: StateKind = kind("m2", true);
/// The running mean of the gradient's square.
pub(super) const V: StateKind = kind("v", false);
/// A running sum or mean of the gradient's square, without bias correction.
pub(super) const A: StateKind = kind("a", false);

/// Everything that one step of a rule sees, as flat slices of one length.
pub struct StepInput<'a, T> {
    /// The parameters, updated in place.
    pub p: &'a mut [T],
    /// Their gradient, not yet scaled.
    pub g: &'a [T],
    /// The states, in the order of [`Rule::states`].
    pub states: States<'a, T>,
    /// The moving average of the parameters to bring up to date in the same pass, and its decay.
    pub average: Option<(&'a mut [T], f64)>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Factor on the gradient, for clipping.
    pub scale: f64,
    /// Largest norm of the step's direction as a share of the parameters' norm; 0: any.
    pub max_unorm: f64,
    /// Whether elements with gradient 0 rest.
    pub skip_zeros: bool,
    /// Which step this is, from 1.
    pub step: u64,
}

impl<T: Float> StepInput<'_, T> {
    /// Takes the step `p <- (1 - lr decay) p - lr min(1, max_unorm |p| / |u|) u`: in one pass, with `max_unorm` after one that
    /// takes the norm of u.
    pub fn take<U: Update<T>>(self, decay: f64, update: U) {
        let mut motion = Motion {
            scale: self.scale,
            rate: self.lr,
            keep: 1.0 - self.lr * decay,
            skip_zeros: self.skip_zeros,
            step: self.step,
        };
        if self.max_unorm > 0.0 {
            let size = sum_squares(self.p).sqrt();
            let length = norm(self.p, &self.states, self.g, motion, update);
            motion.rate *= trust(self.max_unorm, size, length);
        }
        sweep(self.p, self.states, self.g, self.average, motion, update);
    }
}

/// `min(1, max_unorm |p| / |u|)`. A tensor that is all zero has no norm to go by and takes the whole step:
/// else it would stay zero for ever.
fn trust(max_unorm: f64, p: f64, u: f64) -> f64 {
    if p > 0.0 && u > max_unorm * p {
        max_unorm * p / u
    } else {
        1.0
    }
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
    /// Its states, at most three.
    fn states(&self) -> &'static [StateKind];
    /// Its learning rate before any schedule.
    fn lr(&self) -> f64;
    /// Largest norm of a tensor's step as a share of the tensor's norm, where it is the rule's own option.
    fn max_unorm(&self) -> Option<f64> {
        None
    }
    /// Its options as data, for checkpoints and manifests.
    fn options(&self) -> serde_json::Value;
    /// Refuses impossible values.
    fn validate(&self) -> Result<()>;
}
