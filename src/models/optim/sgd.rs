//! Stochastic gradient descent, plain and with momentum (PyTorch's convention: the learning rate is a
//! factor on the momentum, not inside it).

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StateKind, StepInput, choice::build, rule::M};
use crate::{
    Error, Result,
    checks::{decay, not_negative},
    reference::Reference,
};

/// `optim::sgd` in [`super::ALL`].
pub const SGD: Kind = Kind {
    name: "sgd",
    summary: "stochastic gradient descent, plain or with momentum",
    equation: "g <- g + weight_decay p;  m <- momentum m + g (m = g at first);  p <- p - lr m, with `nesterov` p <- p - lr (g + momentum m)",
    reference: Reference {
        key: "robbins1951stochastic",
        title: "A Stochastic Approximation Method",
        authors: &["Herbert Robbins", "Sutton Monro"],
        year: 1951,
        arxiv: "",
    },
    schema: || schemars::schema_for!(SgdOptions),
    build: build::<SgdOptions>,
};

/// `optim::momentum` in [`super::ALL`].
pub const MOMENTUM: Kind = Kind {
    name: "momentum",
    summary: "gradient descent with (heavy ball) momentum",
    equation: "g <- g + weight_decay p;  m <- momentum m + g (m = g at first);  p <- p - lr m, with `nesterov` p <- p - lr (g + momentum m)",
    reference: Reference {
        key: "sutskever2013importance",
        title: "On the importance of initialization and momentum in deep learning",
        authors: &[
            "Ilya Sutskever",
            "James Martens",
            "George Dahl",
            "Geoffrey Hinton",
        ],
        year: 2013,
        arxiv: "",
    },
    schema: || schemars::schema_for!(MomentumOptions),
    build: build::<MomentumOptions>,
};

/// Options of gradient descent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decay of the running sum of gradients (in [0, 1); default 0: none is kept).
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum (default false; needs momentum > 0).
    pub nesterov: bool,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
}

/// Options of gradient descent with momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MomentumOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decay of the running sum of gradients (in [0, 1); default 0.9).
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum (default false; needs momentum > 0).
    pub nesterov: bool,
    /// L2 term added to the gradient, per unit of the parameter (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for MomentumOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
}

fn check(lr: f64, momentum: f64, nesterov: bool, weight_decay: f64) -> Result<()> {
    not_negative("lr", lr)?;
    decay("momentum", momentum)?;
    if nesterov && momentum == 0.0 {
        return Err(Error::option(
            "nesterov",
            "needs momentum > 0, got momentum 0",
        ));
    }
    not_negative("weight_decay", weight_decay)
}

#[derive(Clone, Copy)]
struct Plain<T> {
    l2: T,
}

impl<T: Float> Update<T> for Plain<T> {
    const STATES: usize = 0;

    #[inline(always)]
    fn direction(self, p: T, _: &mut Slots<T>, g: T) -> T {
        self.l2.fma(p, g)
    }
}

/// The direction of momentum: `of_m m + of_g g`.
#[derive(Clone, Copy)]
struct Heavy<T> {
    l2: T,
    momentum: T,
    of_m: T,
    of_g: T,
}

impl<T: Float> Update<T> for Heavy<T> {
    const STATES: usize = 1;

    #[inline(always)]
    fn direction(self, p: T, [m, ..]: &mut Slots<T>, g: T) -> T {
        let g = self.l2.fma(p, g);
        *m = self.momentum.fma(*m, g);
        self.of_m.fma(*m, self.of_g * g)
    }
}

pub(super) fn step<T: Float>(
    input: StepInput<T>,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
) {
    let (of_m, of_g) = if nesterov {
        (momentum, 1.0)
    } else {
        (1.0, 0.0)
    };
    let heavy = Heavy {
        l2: T::of(weight_decay),
        momentum: T::of(momentum),
        of_m: T::of(of_m),
        of_g: T::of(of_g),
    };
    input.take(0.0, heavy);
}

impl<T: Float> RuleOn<T> for SgdOptions {
    fn step(&self, input: StepInput<T>) {
        if self.momentum == 0.0 {
            let l2 = T::of(self.weight_decay);
            input.take(0.0, Plain { l2 });
        } else {
            step(input, self.momentum, self.nesterov, self.weight_decay);
        }
    }
}

impl<T: Float> RuleOn<T> for MomentumOptions {
    fn step(&self, input: StepInput<T>) {
        step(input, self.momentum, self.nesterov, self.weight_decay);
    }
}

impl Rule for SgdOptions {
    fn name(&self) -> &'static str {
        "sgd"
    }
    fn states(&self) -> &'static [StateKind] {
        if self.momentum == 0.0 { &[] } else { &[M] }
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<()> {
        check(self.lr, self.momentum, self.nesterov, self.weight_decay)
    }
}

impl Rule for MomentumOptions {
    fn name(&self) -> &'static str {
        "momentum"
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
        check(self.lr, self.momentum, self.nesterov, self.weight_decay)
    }
}
