//! AdEMAMix: Adam with a second, much slower mean of the gradient mixed into the step.
//!
//! The weight of the slow mean and its decay may rise over the first steps (`t_alpha`, `t_beta3`).

use rhapsode_tensor::{
    ops::update::{Slots, Update},
    simd::math::Float,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Kind, Rule, RuleOn, StateKind, StepInput,
    choice::build,
    rule::{M, M2, V},
};
use crate::{
    Error, Result,
    checks::{decays, not_negative, positive},
    reference::Reference,
};

/// `optim::ademamix` in [`super::ALL`].
pub const ADEMAMIX: Kind = Kind {
    name: "ademamix",
    summary: "Adam with a second, much slower mean of the gradient mixed into the step",
    equation: "m <- b1 m + (1 - b1) g;  m2 <- b3 m2 + (1 - b3) g;  v <- b2 v + (1 - b2) g^2;  p <- (1 - lr weight_decay) p - lr (m / (1 - b1^k) + alpha m2) / (sqrt(v / (1 - b2^k)) + eps)",
    reference: Reference {
        key: "pagliardini2024ademamix",
        title: "The AdEMAMix Optimizer: Better, Faster, Older",
        authors: &["Matteo Pagliardini", "Pierre Ablin", "David Grangier"],
        year: 2024,
        arxiv: "2409.03137",
    },
    schema: || schemars::schema_for!(AdEmaMixOptions),
    build: build::<AdEmaMixOptions>,
};

/// Options of AdEMAMix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdEmaMixOptions {
    /// Learning rate (>= 0; default 1e-3).
    pub lr: f64,
    /// Decays of the fast mean, of the mean square and of the slow mean (each in [0, 1); default [0.9, 0.999, 0.9999]).
    pub betas: [f64; 3],
    /// Weight of the slow mean in the step (>= 0; default 5).
    pub alpha: f64,
    /// Added to the root of the second moment (> 0; default 1e-8).
    pub eps: f64,
    /// Share of the parameters lost each step, per unit of learning rate (>= 0; default 1e-2).
    pub weight_decay: f64,
    /// Steps over which alpha rises linearly from 0 (at least 1; default: none, it is whole at once).
    pub t_alpha: Option<u64>,
    /// Steps over which the slow decay rises from that of the fast mean (at least 1; default: none, it is whole at once).
    pub t_beta3: Option<u64>,
}

impl Default for AdEmaMixOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999, 0.9999],
            alpha: 5.0,
            eps: 1e-8,
            weight_decay: 1e-2,
            t_alpha: None,
            t_beta3: None,
        }
    }
}

impl AdEmaMixOptions {
    /// alpha at a step: `min(k alpha / t_alpha, alpha)`.
    fn alpha_at(&self, k: f64) -> f64 {
        let full = self.alpha;
        self.t_alpha
            .map_or(full, |t| (k * full / t as f64).min(full))
    }

    /// The slow decay at a step: its half life rises linearly, `min(exp(ln b1 ln b3 / ((1 - k/t) ln b3 + k/t ln b1)), b3)`.
    fn beta3_at(&self, k: f64) -> f64 {
        let [beta1, _, beta3] = self.betas;
        let Some(t) = self.t_beta3 else { return beta3 };
        let (share, ln1, ln3) = ((k / t as f64).min(1.0), beta1.ln(), beta3.ln());
        (ln1 * ln3 / ((1.0 - share) * ln3 + share * ln1))
            .exp()
            .min(beta3)
    }
}

#[derive(Clone, Copy)]
struct Mix<T> {
    beta1: T,
    beta2: T,
    beta3: T,
    rest1: T,
    rest2: T,
    rest3: T,
    correct1: T,
    correct2: T,
    alpha: T,
    eps: T,
}

impl<T: Float> Update<T> for Mix<T> {
    const STATES: usize = 3;

    #[inline(always)]
    fn direction(self, _: T, [m, m2, v]: &mut Slots<T>, g: T) -> T {
        *m = self.beta1.fma(*m, self.rest1 * g);
        *m2 = self.beta3.fma(*m2, self.rest3 * g);
        *v = self.beta2.fma(*v, self.rest2 * g * g);
        self.correct1.fma(*m, self.alpha * *m2) / v.sqrt().fma(self.correct2, self.eps)
    }
}

impl<T: Float> RuleOn<T> for AdEmaMixOptions {
    fn step(&self, input: StepInput<T>) {
        let [beta1, beta2, _] = self.betas;
        let k = input.step as f64;
        let beta3 = self.beta3_at(k);
        let mix = Mix {
            beta1: T::of(beta1),
            beta2: T::of(beta2),
            beta3: T::of(beta3),
            rest1: T::of(1.0 - beta1),
            rest2: T::of(1.0 - beta2),
            rest3: T::of(1.0 - beta3),
            correct1: T::of(1.0 / (1.0 - beta1.powf(k))),
            correct2: T::of(1.0 / (1.0 - beta2.powf(k)).sqrt()),
            alpha: T::of(self.alpha_at(k)),
            eps: T::of(self.eps),
        };
        input.take(self.weight_decay, mix);
    }
}

impl Rule for AdEmaMixOptions {
    fn name(&self) -> &'static str {
        "ademamix"
    }
    fn states(&self) -> &'static [StateKind] {
        &[M, M2, V]
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
        not_negative("alpha", self.alpha)?;
        positive("eps", self.eps)?;
        for (key, steps) in [("t_alpha", self.t_alpha), ("t_beta3", self.t_beta3)] {
            if steps == Some(0) {
                return Err(Error::option(key, "must be at least 1, got 0"));
            }
        }
        let [beta1, _, beta3] = self.betas;
        if self.t_beta3.is_some() && !(beta1 > 0.0 && beta1 <= beta3) {
            let message = format!("needs 0 < first beta <= third beta, got {beta1} and {beta3}");
            return Err(Error::option("t_beta3", message));
        }
        not_negative("weight_decay", self.weight_decay)
    }
}
