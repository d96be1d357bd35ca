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
mod options;
mod spread;

pub use options::{Diffusion, Finish, Grid, METHODS, Method, SearchOptions};
pub use spread::{SpreadOptions, spread};

use std::sync::Arc;

use rhapsode_tensor::{Tensor, grad, interrupt, no_grad, random::Stream, tape};

use self::budget::Turn;
use super::{
    VelocityField,
    sample::carry,
    schedule::{Look, linear},
};
use crate::{
    Error, Result,
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

impl<'a> Searcher<'a> {
    fn new(flow: &'a dyn VelocityField, reward: &'a Reward, options: &'a SearchOptions) -> Self {
        Self {
            flow,
            reward,
            options,
            times: options.times(),
            spent: 0,
            draws: 0,
            stream: Stream::new(options.seed.unwrap_or(0), "search"),
        }
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
    let mut searcher = Searcher::new(flow, reward, options);
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
