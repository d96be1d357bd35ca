//! LARS: momentum whose step is held to a share of each tensor's norm, for large batches.
//!
//! The convention is that of bitsandbytes: the ratio of norms only shrinks steps, and weight decay
//! is part of the gradient.

use rhapsode_tensor::simd::math::Float;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StateKind, StepInput, choice::build, rule::M, sgd};
use crate::{
    Result,
    checks::{decay, not_negative},
    reference::Reference,
};

/// `optim::lars` in [`super::ALL`].
pub const LARS: Kind = Kind {
    name: "lars",
    summary: "momentum whose step is held to a share of each tensor's norm, for large batches",
    equation: "g <- g + weight_decay p;  m <- momentum m + g (m = g at first);  p <- p - lr min(1, max_unorm |p| / |m|) m",
    reference: Reference {
        key: "you2017large",
        title: "Large Batch Training of Convolutional Networks",
        authors: &["Yang You", "Igor Gitman", "Boris Ginsburg"],
        year: 2017,
        arxiv: "1708.03888",
    },
    schema: || schemars::schema_for!(LarsOptions),
    build: build::<LarsOptions>,
};

/// Options of LARS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LarsOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decay of the running sum of gradients (in [0, 1); default 0.9).
    pub momentum: f64,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
    /// Largest norm of a tensor's step before the learning rate, as a share of the tensor's own norm (>= 0; 0: any; default 0.02).
    pub max_unorm: f64,
}

impl Default for LarsOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            weight_decay: 0.0,
            max_unorm: 0.02,
        }
    }
}

impl<T: Float> RuleOn<T> for LarsOptions {
    fn step(&self, input: StepInput<T>) {
        sgd::step(input, self.momentum, false, self.weight_decay);
    }
}

impl Rule for LarsOptions {
    fn name(&self) -> &'static str {
        "lars"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M]
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
        decay("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("max_unorm", self.max_unorm)
    }
}
