//! LAMB: Adam whose step is held to a share of each tensor's norm, for large batches.
//!
//! The convention is that of bitsandbytes: the ratio of norms only shrinks steps (the paper's also
//! enlarges them), and the step's norm is that of the bias-corrected one, without weight decay.

use rhapsode_tensor::simd::math::Float;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Kind, Rule, RuleOn, StateKind, StepInput, adam,
    choice::build,
    rule::{M, V},
};
use crate::{
    Result,
    checks::{decays, not_negative, positive},
    reference::Reference,
};

/// `optim::lamb` in [`super::ALL`].
pub const LAMB: Kind = Kind {
    name: "lamb",
    summary: "Adam whose step is held to a share of each tensor's norm, for large batches",
    equation: "u = m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + eps) with Adam's m, v;  p <- (1 - lr weight_decay) p - lr min(1, max_unorm |p| / |u|) u",
    reference: Reference {
        key: "you2019large",
        title: "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        authors: &[
            "Yang You",
            "Jing Li",
            "Sashank Reddi",
            "Jonathan Hseu",
            "Sanjiv Kumar",
            "Srinadh Bhojanapalli",
            "Xiaodan Song",
            "James Demmel",
            "Kurt Keutzer",
            "Cho-Jui Hsieh",
        ],
        year: 2019,
        arxiv: "1904.00962",
    },
    schema: || schemars::schema_for!(LambOptions),
    build: build::<LambOptions>,
};

/// Options of LAMB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LambOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decays of the running means of the gradient and of its square (each in [0, 1); default [0.9, 0.999]).
    pub betas: [f64; 2],
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// Share of the parameters lost each step, per unit of learning rate (>= 0; default 0.0).
    pub weight_decay: f64,
    /// Largest norm of a tensor's step before the learning rate, as a share of the tensor's own norm (>= 0; 0: any; default 1.0).
    pub max_unorm: f64,
}

impl Default for LambOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            max_unorm: 1.0,
        }
    }
}

impl<T: Float> RuleOn<T> for LambOptions {
    fn step(&self, input: StepInput<T>) {
        adam::step(input, self.betas, self.eps, self.weight_decay, 0.0);
    }
}

impl Rule for LambOptions {
    fn name(&self) -> &'static str {
        "lamb"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M, V]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn max_unorm(&self) -> Option<f64> {
        Some(self.max_unorm)
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        decays("betas", &self.betas)?;
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("max_unorm", self.max_unorm)
    }
}
