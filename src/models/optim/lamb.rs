//! LAMB: Adam whose step is held to a share of each tensor's norm, for large batches.
//!
//! The convention is that of bitsandbytes: the ratio of norms only shrinks steps (the paper's also
//! enlarges them), and the step's norm is that of the bias-corrected one, without weight decay.

use rhapsode_tensor::{
    ops::update::{OfStates, Slots, Update, sum_squares, sum_squares_of, sweep},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Kind, Rule, RuleOn, StepInput,
    checks::{decays, not_negative, positive},
    choice::build,
};
use crate::{Result, reference::Reference};

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

/// `min(1, max_unorm |p| / |u|)`. A tensor that is all zero has no norm to go by and takes the whole step:
/// else it would stay zero for ever.
pub(super) fn trust(max_unorm: f64, p: f64, u: f64) -> f64 {
    if max_unorm > 0.0 && p > 0.0 && u > max_unorm * p {
        max_unorm * p / u
    } else {
        1.0
    }
}

/// The first pass: the moments.
#[derive(Clone, Copy)]
struct Moments<T> {
    beta1: T,
    beta2: T,
    rest1: T,
    rest2: T,
}

impl<T: Float> Update<T> for Moments<T> {
    const STATES: usize = 2;

    #[inline(always)]
    fn one(self, _: &mut T, [m, v, ..]: &mut Slots<T>, g: T) {
        *m = self.beta1.fma(*m, self.rest1 * g);
        *v = self.beta2.fma(*v, self.rest2 * g * g);
    }
}

/// The step `u` of the moments: `correct1 m / (correct2 sqrt(v) + eps)`.
#[derive(Clone, Copy)]
struct Direction<T> {
    correct1: T,
    correct2: T,
    eps: T,
}

impl<T: Float> OfStates<T> for Direction<T> {
    #[inline(always)]
    fn value(self, m: T, v: T) -> T {
        self.correct1 * m / v.sqrt().fma(self.correct2, self.eps)
    }
}

/// The second pass: the parameters.
#[derive(Clone, Copy)]
struct Apply<T> {
    direction: Direction<T>,
    rate: T,
    keep: T,
}

impl<T: Float> Update<T> for Apply<T> {
    const STATES: usize = 2;

    #[inline(always)]
    fn one(self, p: &mut T, [m, v, ..]: &mut Slots<T>, _: T) {
        *p = self.keep * *p - self.rate * self.direction.value(*m, *v);
    }
}

impl<T: Float> RuleOn<T> for LambOptions {
    fn step(&self, input: StepInput<T>) {
        let StepInput {
            p,
            g,
            states: [m, v, rest],
            average,
            lr,
            scale,
            step,
        } = input;
        let [beta1, beta2] = self.betas;
        let k = step as f64;
        let moments = Moments {
            beta1: T::of(beta1),
            beta2: T::of(beta2),
            rest1: T::of(1.0 - beta1),
            rest2: T::of(1.0 - beta2),
        };
        sweep(p, [&mut *m, &mut *v, &mut *rest], g, scale, None, moments);
        let direction = Direction {
            correct1: T::of(1.0 / (1.0 - beta1.powf(k))),
            correct2: T::of(1.0 / (1.0 - beta2.powf(k)).sqrt()),
            eps: T::of(self.eps),
        };
        let norm = sum_squares_of(m, v, direction).sqrt();
        let rate = lr * trust(self.max_unorm, sum_squares(p).sqrt(), norm);
        let apply = Apply {
            direction,
            rate: T::of(rate),
            keep: T::of(1.0 - lr * self.weight_decay),
        };
        sweep(p, [m, v, rest], g, 1.0, average, apply);
    }
}

impl Rule for LambOptions {
    fn name(&self) -> &'static str {
        "lamb"
    }
    fn states(&self) -> &'static [&'static str] {
        &["m", "v"]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn per_tensor(&self) -> bool {
        true
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
