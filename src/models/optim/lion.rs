//! Lion: the sign of a momentum; every element moves by the same amount.

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StateKind, StepInput, choice::build, rule::M};
use crate::{
    Result,
    checks::{decays, not_negative},
    reference::Reference,
};

/// `optim::lion` in [`super::ALL`].
pub const LION: Kind = Kind {
    name: "lion",
    summary: "Lion: steps of one size by the sign of an interpolated momentum",
    equation: "p <- (1 - lr weight_decay) p;  p <- p - lr sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g",
    reference: Reference {
        key: "chen2023symbolic",
        title: "Symbolic Discovery of Optimization Algorithms",
        authors: &[
            "Xiangning Chen",
            "Chen Liang",
            "Da Huang",
            "Esteban Real",
            "Kaiyuan Wang",
            "Yao Liu",
            "Hieu Pham",
            "Xuanyi Dong",
            "Thang Luong",
            "Cho-Jui Hsieh",
            "Yifeng Lu",
            "Quoc V. Le",
        ],
        year: 2023,
        arxiv: "2302.06675",
    },
    schema: || schemars::schema_for!(LionOptions),
    build: build::<LionOptions>,
};

/// Options of Lion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LionOptions {
    /// Learning rate, the size of every step (>= 0; default 1e-4).
    pub lr: f64,
    /// Share of the momentum in the step, and decay of the momentum (each in [0, 1); default [0.9, 0.99]).
    pub betas: [f64; 2],
    /// Share of the parameters lost each step, per unit of learning rate (>= 0; default 0.0).
    pub weight_decay: f64,
}

impl Default for LionOptions {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Sign<T> {
    beta1: T,
    beta2: T,
    rest1: T,
    rest2: T,
}

impl<T: Float> Update<T> for Sign<T> {
    const STATES: usize = 1;

    #[inline(always)]
    fn direction(self, _: T, [m, ..]: &mut Slots<T>, g: T) -> T {
        let u = self.beta1.fma(*m, self.rest1 * g);
        *m = self.beta2.fma(*m, self.rest2 * g);
        // Where it is 0 the parameter rests.
        let up = if u > T::ZERO { T::ONE } else { T::ZERO };
        let down = if u < T::ZERO { T::ONE } else { T::ZERO };
        up - down
    }
}

impl<T: Float> RuleOn<T> for LionOptions {
    fn step(&self, input: StepInput<T>) {
        let [beta1, beta2] = self.betas;
        let sign = Sign {
            beta1: T::of(beta1),
            beta2: T::of(beta2),
            rest1: T::of(1.0 - beta1),
            rest2: T::of(1.0 - beta2),
        };
        input.take(self.weight_decay, sign);
    }
}

impl Rule for LionOptions {
    fn name(&self) -> &'static str {
        "lion"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M]
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
        not_negative("weight_decay", self.weight_decay)
    }
}
