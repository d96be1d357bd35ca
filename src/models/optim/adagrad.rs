//! Adagrad: the gradient over the root of the sum of all its squares.

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StateKind, StepInput, choice::build, rule::A};
use crate::{
    Result,
    checks::{not_negative, positive},
    reference::Reference,
};

/// `optim::adagrad` in [`super::ALL`].
pub const ADAGRAD: Kind = Kind {
    name: "adagrad",
    summary: "Adagrad: the gradient over the root of the sum of all its squares",
    equation: "g <- g + weight_decay p;  a <- a + g^2;  p <- p - lr g / (sqrt(a) + eps)",
    reference: Reference {
        key: "duchi2011adaptive",
        title: "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
        authors: &["John Duchi", "Elad Hazan", "Yoram Singer"],
        year: 2011,
        arxiv: "",
    },
    schema: || schemars::schema_for!(AdagradOptions),
    build: build::<AdagradOptions>,
};

/// Options of Adagrad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdagradOptions {
    /// Learning rate (>= 0; default 1e-2).
    pub lr: f64,
    /// Added to the root of the sum of squares (> 0; default 1e-10).
    pub eps: f64,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for AdagradOptions {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            eps: 1e-10,
            weight_decay: 0.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Sum<T> {
    l2: T,
    eps: T,
}

impl<T: Float> Update<T> for Sum<T> {
    const STATES: usize = 1;

    #[inline(always)]
    fn direction(self, p: T, [a, ..]: &mut Slots<T>, g: T) -> T {
        let g = self.l2.fma(p, g);
        *a = g.fma(g, *a);
        g / (a.sqrt() + self.eps)
    }
}

impl<T: Float> RuleOn<T> for AdagradOptions {
    fn step(&self, input: StepInput<T>) {
        let sum = Sum {
            l2: T::of(self.weight_decay),
            eps: T::of(self.eps),
        };
        input.take(0.0, sum);
    }
}

impl Rule for AdagradOptions {
    fn name(&self) -> &'static str {
        "adagrad"
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
        positive("eps", self.eps)?;
        not_negative("weight_decay", self.weight_decay)
    }
}
