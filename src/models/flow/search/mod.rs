//! Inference-time search: more compute while sampling for a higher reward, from a flow as it is and for rewards that need no gradient.
//!
//! A flow runs deterministically, so it is given a choice: its ODE is replaced by an SDE of the same laws, on an interpolant that explores more
//! ("vp", see [`super::schedule`]); a state is worth the reward of the data that it predicts, and one evaluation of the velocity gives that and the next
//! drift. In the papers' time `s` a step is `x <- x - f ds + g sqrt(ds) z`.
//!
//! Rollover budget forcing: every step of a chain has a quota of candidates; the first one that is better than the best so far is taken at once, and
//! what is left of the quota rolls over to the next step; the last step spends the rest ([`budget`]). Beside it best of n, SMC, CoDe, SVDD and search over paths
//! (`methods`).
//!
//! The budget counts evaluations of the velocity for one particle, exactly; it is never exceeded. On the exp grid with ten steps the last state before the data is at
//! `s = 0.44`, where "vp" has `alpha = 0.38`: the predicted data there are blurred. "ode" finishes from there along the linear flow, its evaluations
//! counted; "mean" returns the prediction, as the official code does; "sde" takes the last noisy step.
//!
//! (Kim, Yoon, Hwang, Sung 2025, arXiv 2503.19385.)

pub mod budget;
mod methods;

use std::sync::Arc;

use rhapsode_tensor::{Tensor, grad, interrupt, no_grad, random::Stream, tape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::budget::Turn;
use super::{
    VelocityField,
    sample::carry,
    schedule::{Diffused, Look, linear},
    training::above_zero,
};
use crate::{
    Error, Result,
    native::TensorValue,
    nn::positive,
    observe::{Observer, Step},
    ode::{SaveAt, SolveOptions, Solver},
    reference::Reference,
};

/// Where the method comes from.
pub const REFERENCE: Reference = Reference {
    key: "kim2025inference",
    title: "Inference-Time Scaling for Flow Models via Stochastic Generation and Rollover Budget Forcing",
    authors: &[
        "Jaihoon Kim",
        "Taehoon Yoon",
        "Jisung Hwang",
        "Minhyuk Sung",
    ],
    year: 2025,
    arxiv: "2503.19385",
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
    /// The noise to start from, `[k, dim]` with as many rows as the method begins with (default: drawn).
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
            positive(key, count)?;
        }
        if self.steps < 2 {
            return Err(Error::option(
                "steps",
                format!("must be at least 2, got {}", self.steps),
            ));
        }
        above_zero("norm", self.norm)?;
        if !(self.ess > 0.0 && self.ess <= 1.0) {
            return Err(Error::option(
                "ess",
                format!("must lie in (0, 1], got {}", self.ess),
            ));
        }
        if !(self.guidance >= 0.0 && self.guidance.is_finite()) {
            return Err(Error::option(
                "guidance",
                format!("must be a finite number >= 0, got {}", self.guidance),
            ));
        }
        let temperature = self.temperature.unwrap_or(0.5);
        let least = if self.method == Method::Svdd {
            0.0
        } else {
            f64::MIN_POSITIVE
        };
        if !(temperature >= least && temperature.is_finite()) {
            return Err(Error::option(
                "temperature",
                format!("must be a finite number > 0, got {temperature}"),
            ));
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
    fn spendable(&self) -> usize {
        self.nfe.saturating_sub(self.reserve())
    }

    /// The least budget.
    fn least(&self) -> usize {
        let moves = self.steps - 1;
        self.reserve()
            + match self.method {
                Method::Rbf => self.particles * (self.init + self.steps),
                Method::Svdd | Method::Code => self.particles * (1 + moves),
                Method::Bon | Method::Smc => self.steps,
                Method::Sop => {
                    self.particles * methods::SOP_STEPS
                        + methods::sop_rounds().len() * self.particles * 2
                }
            }
    }

    fn times(&self) -> Vec<f64> {
        let grid = self.grid.unwrap_or(match self.path {
            Diffused::Linear => Grid::Linear,
            _ => Grid::Exp,
        });
        grid.times(self.steps)
    }
}

/// A reward of data `[n, ..]`: one number a sample, `[n]`.
pub type Reward = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// What a search found.
pub struct Found {
    /// The sample `[1, dim]`.
    pub x: Tensor,
    /// Its reward.
    pub reward: f64,
    /// The reward of the predicted data of the state that was chosen.
    pub predicted: f64,
    /// Evaluations of the velocity, for one particle.
    pub evaluations: usize,
    /// Where the budget went: the steps of each chain ("rbf"), or of all particles.
    pub trace: Vec<Vec<Turn>>,
}

/// The flow on its interpolant, with every evaluation counted.
pub(super) struct Searcher<'a> {
    flow: &'a dyn VelocityField,
    reward: &'a Reward,
    options: &'a SearchOptions,
    times: Vec<f64>,
    spent: usize,
    draws: u64,
    stream: Stream,
}

/// States `[k, dim]`, what they are worth, and what was seen there.
#[derive(Clone)]
pub(super) struct States {
    x: Tensor,
    values: Vec<f64>,
    data: Tensor,
    /// The drift from here to the next time.
    drift: Tensor,
}

impl States {
    fn rows(&self, rows: &[usize]) -> Result<Self> {
        let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let indices = Tensor::from_vec(indices, &[rows.len()])?;
        let pick = |x: &Tensor| -> Result<Tensor> { Ok(x.index_select(0, &indices)?) };
        Ok(Self {
            x: pick(&self.x)?,
            data: pick(&self.data)?,
            drift: pick(&self.drift)?,
            values: rows
                .iter()
                .filter_map(|row| self.values.get(*row))
                .copied()
                .collect(),
        })
    }

    fn best(&self) -> usize {
        budget::best(&self.values)
    }

    fn join(parts: &[States]) -> Result<Self> {
        let all = |of: fn(&States) -> &Tensor| -> Result<Tensor> {
            Ok(Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0)?)
        };
        Ok(Self {
            x: all(|s| &s.x)?,
            data: all(|s| &s.data)?,
            drift: all(|s| &s.drift)?,
            values: parts
                .iter()
                .flat_map(|s| s.values.iter().copied())
                .collect(),
        })
    }
}

impl Searcher<'_> {
    /// The rewards of data, held against their shape and against NaN.
    fn rewards(&self, data: &Tensor) -> Result<Vec<f64>> {
        let found = (self.reward)(data)?;
        let n = data.dim(0)?;
        if found.dims() != [n] {
            return Err(Error::Shape {
                what: "reward",
                expected: format!("one number a sample, [{n}]"),
                got: found.dims().to_vec(),
            });
        }
        let values = found.to_vec()?;
        match values.iter().any(|v| v.is_nan()) {
            true => Err(Error::Value {
                what: "reward",
                message: "gave NaN: a search cannot tell which sample is better".into(),
            }),
            false => Ok(values),
        }
    }

    fn left(&self) -> usize {
        self.options.spendable().saturating_sub(self.spent)
    }

    /// Noises `[k, dim]`, a draw of their own for each call.
    fn noise(&mut self, k: usize) -> Result<Tensor> {
        self.draws += 1;
        Ok(self
            .stream
            .at(self.draws)
            .randn(&[k, self.flow.dim()], self.flow.dtype())?)
    }

    /// Looks at states at the time of grid index `i`: one evaluation each.
    fn look(&mut self, x: &Tensor, i: usize) -> Result<States> {
        interrupt::check()?;
        let s = self.times[i];
        let g = self
            .options
            .diffusion
            .at(self.options.path, s, self.options.norm);
        self.spent += x.dim(0)?;
        if self.options.guidance == 0.0 {
            let look = no_grad(|| Look::new(self.flow, self.options.path, x, s))?;
            let values = no_grad(|| self.rewards(&look.data))?;
            return Ok(States {
                drift: look.drift(g)?,
                data: look.data,
                values,
                x: x.clone(),
            });
        }
        // The reward's gradient goes through the velocity.
        tape::enable_grad(|| {
            let tracked = x.detach().param()?;
            let look = Look::new(self.flow, self.options.path, &tracked, s)?;
            let values = self.rewards(&look.data.detach())?;
            let total = (self.reward)(&look.data)?.sum_all()?;
            if !total.is_tracked() {
                let message =
                    "needs a reward with a gradient, made of tensor operations on its argument";
                return Err(Error::option("guidance", message));
            }
            let slope = grad(&total, &[&tracked], false)?.swap_remove(0);
            let score = Tensor::combine(&[
                (1.0, &look.score()?.detach()),
                (self.options.guidance, &slope),
            ])?;
            Ok(States {
                drift: look.drift_with(g, &score)?.detach(),
                data: look.data.detach(),
                values,
                x: x.clone(),
            })
        })
    }

    /// Children of states one step on, without looking at them: from grid index `i` to `i + 1`.
    fn children(&mut self, states: &States, i: usize) -> Result<Tensor> {
        let (s, next) = (self.times[i], self.times[i + 1]);
        let g = self
            .options
            .diffusion
            .at(self.options.path, s, self.options.norm);
        let ds = s - next;
        let z = self.noise(states.x.dim(0)?)?;
        Ok(Tensor::combine(&[
            (1.0, &states.x),
            (-ds, &states.drift),
            (g * ds.sqrt(), &z),
        ])?)
    }

    /// The sample of a state at the last grid index before the data.
    fn finish(&mut self, state: &States, observer: &mut dyn Observer) -> Result<Tensor> {
        let last = self.times.len() - 2;
        match self.options.finish {
            Finish::Mean => Ok(state.data.clone()),
            Finish::Sde => self.children(state, last),
            Finish::Ode => {
                let level = self.options.path.at(self.times[last]);
                let solve = SolveOptions {
                    from: level.our_time(),
                    to: 1.0,
                    solver: Solver::Heun,
                    steps: Some(self.options.finish_steps),
                    save_at: SaveAt::END,
                    ..Default::default()
                };
                self.spent += 2 * self.options.finish_steps;
                carry(
                    self.flow,
                    &state.x.affine(1.0 / level.scale(), 0.0)?,
                    &solve,
                    observer,
                )
            }
        }
    }
}

/// Searches for a sample of high reward. The reward is looked at once before anything else.
pub fn search(
    flow: &dyn VelocityField,
    reward: &Reward,
    options: &SearchOptions,
    observer: &mut dyn Observer,
) -> Result<Found> {
    options.validate()?;
    linear(flow)?;
    let mut searcher = Searcher {
        flow,
        reward,
        options,
        times: options.times(),
        spent: 0,
        draws: 0,
        stream: Stream::new(options.seed.unwrap_or(0), "search"),
    };
    let probe = Tensor::zeros(&[options.particles.max(2), flow.dim()], flow.dtype())?;
    searcher.rewards(&probe)?;
    let mut progress = |spent: usize, best: f64| -> Result<()> {
        let metrics = [("reward", best)];
        let step = Step {
            label: "search",
            step: spent as u64,
            total: Some(options.nfe as u64),
            metrics: &metrics,
        };
        match observer.step(&step).is_break() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    };
    let (state, trace) = match options.method {
        Method::Rbf => searcher.rbf(&mut progress)?,
        Method::Svdd | Method::Code => searcher.groups(&mut progress)?,
        Method::Bon => searcher.best_of(&mut progress)?,
        Method::Smc => searcher.smc(&mut progress)?,
        Method::Sop => searcher.paths(&mut progress)?,
    };
    let predicted = state.values.first().copied().unwrap_or(f64::NAN);
    let x = match options.method {
        // It walks the linear flow to its end.
        Method::Sop => state.data.clone(),
        _ => searcher.finish(&state, observer)?,
    };
    let rewards = no_grad(|| searcher.rewards(&x))?;
    Ok(Found {
        reward: rewards.first().copied().unwrap_or(f64::NAN),
        predicted,
        evaluations: searcher.spent,
        trace,
        x,
    })
}
