//! Adam, and AdamW with weight decay apart from the gradient.

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Kind, Rule, RuleOn, StateKind, StepInput,
    choice::build,
    rule::{M, V},
};
use crate::{
    Result,
    checks::{decays, not_negative, positive},
    reference::Reference,
};

/// `optim::adam` in [`super::ALL`].
pub const ADAM: Kind = Kind {
    name: "adam",
    summary: "Adam: steps scaled by running first and second moments of the gradient",
    equation: "g <- g + weight_decay p;  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + eps)",
    reference: Reference {
        key: "kingma2014adam",
        title: "Adam: A Method for Stochastic Optimization",
        authors: &["Diederik P. Kingma", "Jimmy Ba"],
        year: 2014,
        arxiv: "1412.6980",
    },
    schema: || schemars::schema_for!(AdamOptions),
    build: build::<AdamOptions>,
};

/// `optim::adamw` in [`super::ALL`].
pub const ADAMW: Kind = Kind {
    name: "adamw",
    summary: "Adam with weight decay apart from the gradient",
    equation: "p <- (1 - lr weight_decay) p;  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + eps)",
    reference: Reference {
        key: "loshchilov2017decoupled",
        title: "Decoupled Weight Decay Regularization",
        authors: &["Ilya Loshchilov", "Frank Hutter"],
        year: 2017,
        arxiv: "1711.05101",
    },
    schema: || schemars::schema_for!(AdamWOptions),
    build: build::<AdamWOptions>,
};

/// Options of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decays of the running means of the gradient and of its square (each in [0, 1); default [0.9, 0.999]).
    pub betas: [f64; 2],
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// Options of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decays of the running means of the gradient and of its square (each in [0, 1); default [0.9, 0.999]).
    pub betas: [f64; 2],
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// Share of the parameters lost each step, per unit of learning rate (>= 0; default 1e-2).
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// The numbers of a step of Adam in the form of the inner loop, with bias correction:
/// `u = correct1 m / (correct2 sqrt(v) + eps)`.
#[derive(Clone, Copy)]
struct Moments<T> {
    beta1: T,
    beta2: T,
    rest1: T,
    rest2: T,
    correct1: T,
    correct2: T,
    eps: T,
    l2: T,
}

impl<T: Float> Update<T> for Moments<T> {
    const STATES: usize = 2;

    #[inline(always)]
    fn direction(self, p: T, [m, v, ..]: &mut Slots<T>, g: T) -> T {
        let g = self.l2.fma(p, g);
        *m = self.beta1.fma(*m, self.rest1 * g);
        *v = self.beta2.fma(*v, self.rest2 * g * g);
        self.correct1 * *m / v.sqrt().fma(self.correct2, self.eps)
    }
}

/// A step with weight decay apart from the gradient (`decay`) or added to it (`l2`).
pub(super) fn step<T: Float>(
    input: StepInput<T>,
    [beta1, beta2]: [f64; 2],
    eps: f64,
    decay: f64,
    l2: f64,
) {
    let k = input.step as f64;
    let moments = Moments {
        beta1: T::of(beta1),
        beta2: T::of(beta2),
        rest1: T::of(1.0 - beta1),
        rest2: T::of(1.0 - beta2),
        correct1: T::of(1.0 / (1.0 - beta1.powf(k))),
        correct2: T::of(1.0 / (1.0 - beta2.powf(k)).sqrt()),
        eps: T::of(eps),
        l2: T::of(l2),
    };
    input.take(decay, moments);
}

impl<T: Float> RuleOn<T> for AdamOptions {
    fn step(&self, input: StepInput<T>) {
        step(input, self.betas, self.eps, 0.0, self.weight_decay);
    }
}

impl<T: Float> RuleOn<T> for AdamWOptions {
    fn step(&self, input: StepInput<T>) {
        step(input, self.betas, self.eps, self.weight_decay, 0.0);
    }
}

impl Rule for AdamOptions {
    fn name(&self) -> &'static str {
        "adam"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M, V]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        decays("betas", &self.betas)?;
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}

impl Rule for AdamWOptions {
    fn name(&self) -> &'static str {
        "adamw"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M, V]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<()> {
        not_negative("lr", self.lr)?;
        decays("betas", &self.betas)?;
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
