//! The options of a search: how the budget is spent, on which interpolant, with how much noise, at which times.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::methods;
use crate::{
    Error, Result,
    checks::{at_least_one, not_negative, positive},
    flow::schedule::Diffused,
    native::TensorValue,
};

/// How the budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Rollover budget forcing.
    #[default]
    Rbf,
    /// Best of n whole walks.
    Bon,
    /// Search over paths: noise up, ODE down, keep the best.
    Sop,
    /// Sequential Monte Carlo.
    Smc,
    /// Best of many, chosen every few steps.
    Code,
    /// Best of many at every step.
    Svdd,
}

/// Every method by name.
pub const METHODS: &[(&str, Method)] = &[
    ("rbf", Method::Rbf),
    ("bon", Method::Bon),
    ("sop", Method::Sop),
    ("smc", Method::Smc),
    ("code", Method::Code),
    ("svdd", Method::Svdd),
];

/// The factor of the noise over the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Diffusion {
    /// `s^2`.
    #[default]
    Square,
    /// `sigma(s)`.
    Sigma,
    /// 1.
    Constant,
    /// `s`.
    Linear,
    /// `sin(pi s / 2)`.
    Sin,
    /// `max(2 (s - 1/2), 0)`.
    Clipping,
    /// `exp(-((s - 1) / 0.1)^2)`.
    Exp,
    /// `tan(pi s / 2)` with s at most 0.95.
    Tan,
    /// None: the ODE.
    Zero,
}

impl Diffusion {
    /// `g` at `s` of an interpolant, for a norm.
    pub fn at(self, kind: Diffused, s: f64, norm: f64) -> f64 {
        let half = std::f64::consts::FRAC_PI_2;
        norm * match self {
            Diffusion::Square => s * s,
            Diffusion::Sigma => kind.at(s).sigma,
            Diffusion::Constant => 1.0,
            Diffusion::Linear => s,
            Diffusion::Sin => (half * s).sin(),
            Diffusion::Clipping => (2.0 * (s - 0.5)).max(0.0),
            Diffusion::Exp => (-((s - 1.0) / 0.1).powi(2)).exp(),
            Diffusion::Tan => (half * s.min(0.95)).tan(),
            Diffusion::Zero => 0.0,
        }
    }
}

/// The times of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grid {
    /// Equal steps.
    Linear,
    /// `s_i = sqrt(1 - (i / M)^2)`: small steps where there is noise.
    Exp,
}

impl Grid {
    /// `M + 1` times from 1 to 0.
    pub fn times(self, steps: usize) -> Vec<f64> {
        let at = |i: usize| {
            let share = i as f64 / steps.max(1) as f64;
            match self {
                Grid::Linear => 1.0 - share,
                Grid::Exp => (1.0 - share * share).max(0.0).sqrt(),
            }
        };
        (0..=steps).map(at).collect()
    }
}

/// How a walk ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// Along the linear flow to the data.
    #[default]
    Ode,
    /// With the data that the last state predicts.
    Mean,
    /// With the last noisy step.
    Sde,
}

/// Options of a search.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// How the budget is spent: "rbf", "bon", "sop", "smc", "code", "svdd" (default "rbf").
    pub method: Method,
    /// Budget: evaluations of the velocity for one particle (default 500).
    pub nfe: usize,
    /// Interpolant on which is searched (default "vp").
    pub path: Diffused,
    /// Number of steps M from noise to data (at least 2; default 10).
    pub steps: usize,
    /// Times of the steps (default "exp", on the path "linear" "linear").
    pub grid: Option<Grid>,
    /// Factor of the noise over the way (default "square"; "zero" is the ODE).
    pub diffusion: Diffusion,
    /// What it is multiplied with (> 0; default 3).
    pub norm: f64,
    /// Chains of "rbf", "svdd", "code" and "sop" (at least 1; default 2). "bon" and "smc" take as many particles as the budget allows.
    pub particles: usize,
    /// Children of each state from which "svdd", "code" and "sop" choose (at least 1; default: as many as the budget allows; the paper's "sop" has 5).
    pub children: Option<usize>,
    /// Noises of which "rbf" takes the best to begin a chain (at least 1; default 25).
    pub init: usize,
    /// Steps between choices of "code" (at least 1; default 2).
    pub block: usize,
    /// Temperature of "smc" (> 0; default 0.5), and of the choice of "svdd", where 0 takes the best (default 0).
    pub temperature: Option<f64>,
    /// Share of particles of "smc" below which the effective number of them leads to resampling (in (0, 1]; default 1).
    pub ess: f64,
    /// Whether "svdd" and "smc" begin with more particles and end with fewer (default false).
    pub decreasing: bool,
    /// Weight of the gradient of the reward in the score, where the reward has one (>= 0; default 0: none).
    pub guidance: f64,
    /// How the walk ends: along the linear flow "ode", "mean" or "sde" (default "ode"; "sop" always walks the linear flow).
    pub finish: Finish,
    /// Steps of Heun's method of the finish "ode", two evaluations each (at least 1; default 5).
    pub finish_steps: usize,
    /// The noise to start from, `[k, dim]` with as many rows as the method begins with, those of all searches one after the other (default: drawn).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub noise: Option<Tensor>,
    /// Seed of noises and choices (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            nfe: 500,
            path: Diffused::default(),
            steps: 10,
            grid: None,
            diffusion: Diffusion::default(),
            norm: 3.0,
            particles: 2,
            children: None,
            init: 25,
            block: 2,
            temperature: None,
            ess: 1.0,
            decreasing: false,
            guidance: 0.0,
            finish: Finish::default(),
            finish_steps: 5,
            noise: None,
            seed: None,
        }
    }
}

impl SearchOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        for (key, count) in [
            ("particles", self.particles),
            ("init", self.init),
            ("block", self.block),
            ("finish_steps", self.finish_steps),
        ] {
            at_least_one(key, count)?;
        }
        self.validate_effects()?;
        if let Some(children) = self.children {
            at_least_one("children", children)?;
            if self.decreasing {
                let message = "is what `decreasing` changes from step to step: give one of the two";
                return Err(Error::option("children", message));
            }
        }
        if self.steps < 2 {
            return Err(Error::option(
                "steps",
                format!("must be at least 2, got {}", self.steps),
            ));
        }
        positive("norm", self.norm)?;
        if !(self.ess > 0.0 && self.ess <= 1.0) {
            return Err(Error::option(
                "ess",
                format!("must lie in (0, 1], got {}", self.ess),
            ));
        }
        not_negative("guidance", self.guidance)?;
        match (self.method, self.temperature) {
            (Method::Svdd, Some(temperature)) => not_negative("temperature", temperature)?,
            (_, Some(temperature)) => positive("temperature", temperature)?,
            (_, None) => {}
        }
        let least = self.least();
        match self.nfe < least {
            true => Err(Error::option(
                "nfe",
                format!(
                    "{:?} needs at least {least} evaluations with these options, got {}",
                    self.name(),
                    self.nfe
                ),
            )),
            false => Ok(()),
        }
    }

    /// Refuses options that the method does not read.
    fn validate_effects(&self) -> Result<()> {
        use Method::{Code, Smc, Sop, Svdd};
        let given: [(&'static str, bool, &[Method]); 3] = [
            ("children", self.children.is_some(), &[Svdd, Code, Sop]),
            ("temperature", self.temperature.is_some(), &[Svdd, Smc]),
            ("decreasing", self.decreasing, &[Svdd, Smc]),
        ];
        match given
            .iter()
            .find(|(_, given, of)| *given && !of.contains(&self.method))
        {
            Some((key, ..)) => Err(Error::option(
                *key,
                format!("has no effect with {:?}", self.name()),
            )),
            None => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        METHODS
            .iter()
            .find(|(_, method)| *method == self.method)
            .map_or("", |(name, _)| name)
    }

    /// Evaluations that are kept back for the finish.
    fn reserve(&self) -> usize {
        match self.finish {
            Finish::Ode => 2 * self.finish_steps,
            Finish::Mean | Finish::Sde => 0,
        }
    }

    /// What the search itself may spend.
    pub(super) fn spendable(&self) -> usize {
        self.nfe.saturating_sub(self.reserve())
    }

    /// Chains of a search; the particles of "bon" and "smc" are one.
    pub(super) fn chains(&self) -> usize {
        match self.method {
            Method::Bon | Method::Smc => 1,
            Method::Rbf | Method::Svdd | Method::Code | Method::Sop => self.particles,
        }
    }

    /// Whether it chooses among children of one state, which must differ.
    pub(super) fn chooses_children(&self) -> bool {
        !matches!(self.method, Method::Bon | Method::Sop)
    }

    /// The least budget.
    fn least(&self) -> usize {
        let (moves, children) = (self.steps - 1, self.children.unwrap_or(1));
        self.reserve()
            + match self.method {
                Method::Rbf => self.particles * (self.init + self.steps),
                Method::Svdd | Method::Code => self.particles * (1 + moves * children),
                Method::Bon | Method::Smc => self.steps,
                Method::Sop => {
                    let rounds = methods::sop_rounds().len();
                    self.particles * methods::SOP_STEPS
                        + rounds * self.particles * children * (methods::SOP_STEPS + 1)
                }
            }
    }

    pub(super) fn times(&self) -> Vec<f64> {
        let grid = self.grid.unwrap_or(match self.path {
            Diffused::Linear => Grid::Linear,
            _ => Grid::Exp,
        });
        grid.times(self.steps)
    }
}
