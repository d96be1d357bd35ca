//! What an optimizer is: a rule with its numbers, its states and its step.

use rhapsode_tensor::{
    ops::update::{Update, sweep},
    simd::math::Float,
};

use crate::Result;

/// Everything that one step of a rule sees, as flat slices of one length.
pub struct StepInput<'a, T> {
    /// The parameters, updated in place.
    pub p: &'a mut [T],
    /// Their gradient, not yet scaled.
    pub g: &'a [T],
    /// The states, in the order of their names; those that the rule has not are empty.
    pub states: [&'a mut [T]; 3],
    /// The moving average of the parameters to bring up to date in the same pass, and its decay.
    pub average: Option<(&'a mut [T], f64)>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Factor on the gradient, for clipping.
    pub scale: f64,
    /// Which step this is, from 1.
    pub step: u64,
}

impl<T: Float> StepInput<'_, T> {
    /// Does the step in one pass.
    pub fn sweep<U: Update<T>>(self, update: U) {
        sweep(
            self.p,
            self.states,
            self.g,
            self.scale,
            self.average,
            update,
        );
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
    /// Names of its states, at most three.
    fn states(&self) -> &'static [&'static str];
    /// Its learning rate before any schedule.
    fn lr(&self) -> f64;
    /// Whether its step needs a norm of every parameter tensor, and so cannot take a model's flat buffer as one.
    fn per_tensor(&self) -> bool {
        false
    }
    /// Its options as data, for checkpoints and manifests.
    fn options(&self) -> serde_json::Value;
    /// Refuses impossible values.
    fn validate(&self) -> Result<()>;
}
