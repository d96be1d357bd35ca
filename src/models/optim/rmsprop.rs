//! RMSprop: the gradient over the root of the running mean of its square.

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StateKind, StepInput, choice::build, rule::A};
use crate::{
    Result,
    checks::{decay, not_negative, positive},
    reference::Reference,
};

/// `optim::rmsprop` in [`super::ALL`].
pub const RMSPROP: Kind = Kind {
    name: "rmsprop",
    summary: "RMSprop: the gradient over the root of the running mean of its square",
    equation: "g <- g + weight_decay p;  a <- alpha a + (1 - alpha) g^2;  p <- p - lr g / (sqrt(a) + eps)",
    reference: Reference {
        key: "graves2013generating",
        title: "Generating Sequences With Recurrent Neural Networks",
        authors: &["Alex Graves"],
        year: 2013,
        arxiv: "1308.0850",
    },
    schema: || schemars::schema_for!(RmsPropOptions),
    build: build::<RmsPropOptions>,
};

/// Options of RMSprop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RmsPropOptions {
    /// Learning rate (>= 0; default 1e-2).
    pub lr: f64,
    /// Decay of the running mean of the gradient's square (in [0, 1); default 0.99).
    pub alpha: f64,
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for RmsPropOptions {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Root<T> {
    l2: T,
    alpha: T,
    rest: T,
    eps: T,
}

impl<T: Float> Update<T> for Root<T> {
    const STATES: usize = 1;

    #[inline(always)]
    fn direction(self, p: T, [a, ..]: &mut Slots<T>, g: T) -> T {
        let g = self.l2.fma(p, g);
        *a = self.alpha.fma(*a, self.rest * g * g);
        g / (a.sqrt() + self.eps)
    }
}

impl<T: Float> RuleOn<T> for RmsPropOptions {
    fn step(&self, input: StepInput<T>) {
        let root = Root {
            l2: T::of(self.weight_decay),
            alpha: T::of(self.alpha),
            rest: T::of(1.0 - self.alpha),
            eps: T::of(self.eps),
        };
        input.take(0.0, root);
    }
}

impl Rule for RmsPropOptions {
    fn name(&self) -> &'static str {
        "rmsprop"
    }
    fn states(&self) -> &'static [StateKind] {
        &[A]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        decay("alpha", self.alpha)?;
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
