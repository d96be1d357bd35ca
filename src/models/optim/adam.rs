//! Adam and AdamW. The step is one fused pass, see [`rhapsode_tensor::ops::adam`].

use rhapsode_tensor::{
    ops::adam::{AdamStep, adam},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Rule, RuleOn, StepInput, build, check_lr};
use crate::{Error, Result, reference::Reference};

/// `optim::adam` in [`super::ALL`].
pub const ADAM: Kind = Kind {
    name: "adam",
    summary: "Adam: steps scaled by running first and second moments of the gradient",
    reference: Reference {
        key: "kingma2014adam",
        title: "Adam: A Method for Stochastic Optimization",
        authors: &["Diederik P. Kingma", "Jimmy Ba"],
        year: 2014,
        arxiv: "1412.6980",
    },
    schema: || schemars::schema_for!(AdamOptions),
    build: |options| build(options, AdamOptions::validate),
};

/// `optim::adamw` in [`super::ALL`].
pub const ADAMW: Kind = Kind {
    name: "adamw",
    summary: "Adam with weight decay apart from the gradient",
    reference: Reference {
        key: "loshchilov2017decoupled",
        title: "Decoupled Weight Decay Regularization",
        authors: &["Ilya Loshchilov", "Frank Hutter"],
        year: 2017,
        arxiv: "1711.05101",
    },
    schema: || schemars::schema_for!(AdamWOptions),
    build: |options| build(options, AdamWOptions::validate),
};

/// Options of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decay of the running mean of the gradient (in [0, 1); default 0.9).
    pub beta1: f64,
    /// Decay of the running mean of its square (in [0, 1); default 0.999).
    pub beta2: f64,
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// L2 term added to the gradient (>= 0; default 0).
    pub weight_decay: f64,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl AdamOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        validate(self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)
    }
}

/// Options of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decay of the running mean of the gradient (in [0, 1); default 0.9).
    pub beta1: f64,
    /// Decay of the running mean of its square (in [0, 1); default 0.999).
    pub beta2: f64,
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// Share of the weights lost each step, per unit of learning rate (>= 0; default 1e-2).
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

impl AdamWOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        validate(self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)
    }
}

fn validate(lr: f64, beta1: f64, beta2: f64, eps: f64, weight_decay: f64) -> Result<()> {
    check_lr(lr)?;
    for (key, beta) in [("beta1", beta1), ("beta2", beta2)] {
        if !(0.0..1.0).contains(&beta) {
            return Err(Error::option(
                key,
                format!("must lie in [0, 1), got {beta}"),
            ));
        }
    }
    if !(eps > 0.0 && eps.is_finite()) {
        return Err(Error::option(
            "eps",
            format!("must be a finite number > 0, got {eps}"),
        ));
    }
    if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
        return Err(Error::option(
            "weight_decay",
            format!("must be a finite number >= 0, got {weight_decay}"),
        ));
    }
    Ok(())
}

fn run<T: Float>(input: StepInput<T>, mut numbers: AdamStep) {
    let StepInput {
        p,
        g,
        states,
        average,
        lr,
        scale,
        step,
    } = input;
    let [m, v] = states else { return };
    numbers.lr = lr;
    numbers.scale = scale;
    numbers.step = step;
    adam(p, m, v, g, average, &numbers);
}

impl<T: Float> RuleOn<T> for AdamOptions {
    fn step(&self, input: StepInput<T>) {
        let Self {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = *self;
        run(
            input,
            AdamStep {
                lr,
                beta1,
                beta2,
                eps,
                decay: 0.0,
                l2: weight_decay,
                scale: 1.0,
                step: 1,
            },
        );
    }
}

impl<T: Float> RuleOn<T> for AdamWOptions {
    fn step(&self, input: StepInput<T>) {
        let Self {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = *self;
        run(
            input,
            AdamStep {
                lr,
                beta1,
                beta2,
                eps,
                decay: weight_decay,
                l2: 0.0,
                scale: 1.0,
                step: 1,
            },
        );
    }
}

impl Rule for AdamOptions {
    fn name(&self) -> &'static str {
        "adam"
    }
    fn states(&self) -> &'static [&'static str] {
        &["m", "v"]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Rule for AdamWOptions {
    fn name(&self) -> &'static str {
        "adamw"
    }
    fn states(&self) -> &'static [&'static str] {
        &["m", "v"]
    }
    fn lr(&self) -> f64 {
        self.lr
    }
    fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
