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
//! Several searches run side by side ([`search_many`]): all of them look at the flow in one batch, each with a budget of its own, and for a flow that has a
//! class a row each towards its own. The noise of a chain depends on the seed, the number of the search and that of the chain: not on how many
//! there are.
//!
//! (Kim, Yoon, Hwang, Sung 2025, arXiv 2503.19385.)

pub mod budget;
mod methods;
mod options;
mod spread;
mod states;
#[cfg(test)]
mod tests;

pub use options::{Diffusion, Finish, Grid, METHODS, Method, SearchOptions};
pub use spread::{SpreadOptions, spread};

use std::sync::Arc;

use rhapsode_tensor::{Tensor, grad, interrupt, memory, no_grad, random::Stream, tape};

use self::{budget::Turn, states::States};
use super::{
    SharedFlow, VelocityField,
    sample::{Piece, Walk, carry},
    schedule::{Look, linear, weighted},
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

/// A reward of data `[n, ..]`, of which row `i` belongs to search `which[i]`: one number a sample, `[n]`.
pub type Reward = Arc<dyn Fn(&Tensor, &[usize]) -> Result<Tensor> + Send + Sync>;

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

/// The flow on its interpolant, with every evaluation counted. Rows are in the order of the searches, as many for each.
pub(super) struct Searcher<'a> {
    flow: &'a dyn VelocityField,
    reward: &'a Reward,
    options: &'a SearchOptions,
    times: Vec<f64>,
    searches: usize,
    /// Evaluations of each search.
    spent: usize,
    draws: u64,
    /// What each chain of each search draws from.
    streams: Vec<Stream>,
}

impl<'a> Searcher<'a> {
    fn new(
        flow: &'a dyn VelocityField,
        reward: &'a Reward,
        options: &'a SearchOptions,
        searches: usize,
    ) -> Self {
        let seed = options.seed.unwrap_or(0);
        let chains = options.chains();
        let stream = |i| Stream::new(seed, &format!("search {} {}", i / chains, i % chains));
        Self {
            flow,
            reward,
            options,
            times: options.times(),
            searches,
            spent: 0,
            draws: 0,
            streams: (0..searches * chains).map(stream).collect(),
        }
    }

    /// The number of the search of each of `n` rows.
    fn which(&self, n: usize) -> Vec<usize> {
        let each = (n / self.searches).max(1);
        (0..n).map(|row| row / each).collect()
    }

    /// The field of `n` rows, where rows of this flow are not alike.
    fn field(&self, n: usize) -> Result<Option<SharedFlow>> {
        match self.flow.own_rows() {
            Some(_) => self.flow.of_rows(&self.which(n)),
            None => Ok(None),
        }
    }

    /// The rewards of data, held against their shape and against NaN.
    fn rewards(&self, data: &Tensor, which: &[usize]) -> Result<Vec<f64>> {
        let found = (self.reward)(data, which)?;
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

    /// Noises of `n` rows, as many for each chain (or one for each search), a draw of their own for each call.
    fn noise(&mut self, n: usize) -> Result<Tensor> {
        self.draws += 1;
        let apart = match n == self.searches {
            true => self.streams.len() / self.searches,
            false => 1,
        };
        let each = n * apart / self.streams.len();
        let (shape, dtype) = ([each, self.flow.dim()], self.flow.dtype());
        let draw = |stream: &Stream| stream.at(self.draws).randn(&shape, dtype);
        let streams = self.streams.iter().step_by(apart);
        let parts = streams.map(draw).collect::<Result<Vec<_>, _>>()?;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            many => Ok(Tensor::cat(&many.iter().collect::<Vec<_>>(), 0)?),
        }
    }

    /// The time and the diffusion at grid indices.
    fn at(&self, at: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let times: Vec<f64> = at.iter().map(|i| self.times[*i]).collect();
        let (diffusion, path, norm) =
            (self.options.diffusion, self.options.path, self.options.norm);
        let g = times.iter().map(|s| diffusion.at(path, *s, norm)).collect();
        (times, g)
    }

    /// Looks at states at a grid index for all, or one a row: one evaluation each.
    fn look(&mut self, x: &Tensor, at: &[usize]) -> Result<States> {
        let n = x.dim(0)?;
        self.spent += n / self.searches;
        let own = self.field(n)?;
        let flow = own.as_deref().unwrap_or(self.flow);
        let (which, chunk) = (self.which(n), flow.rows_at_once().max(1));
        let at = if at.iter().all(|i| Some(i) == at.first()) {
            &at[..1]
        } else {
            at
        };
        if n <= chunk {
            return self.look_at(flow, x, at, &which);
        }
        // Pieces, so that a thousand searches need no more memory for the network's activations than a sample does.
        let mut parts = Vec::new();
        for start in (0..n).step_by(chunk) {
            let end = (start + chunk).min(n);
            let own = flow.of_rows(&(start..end).collect::<Vec<_>>())?;
            let at = if at.len() == n { &at[start..end] } else { at };
            let flow = own.as_deref().unwrap_or(flow);
            parts.push(self.look_at(
                flow,
                &x.narrow(0, start, end - start)?,
                at,
                &which[start..end],
            )?);
        }
        States::join(&parts)
    }

    fn look_at(
        &self,
        flow: &dyn VelocityField,
        x: &Tensor,
        at: &[usize],
        which: &[usize],
    ) -> Result<States> {
        interrupt::check()?;
        let (s, g) = self.at(at);
        if self.options.guidance == 0.0 {
            let look = no_grad(|| Look::at(flow, self.options.path, x, &s))?;
            let values = no_grad(|| self.rewards(&look.data, which))?;
            return Ok(States {
                drift: look.drift_with(&g, &look.score()?)?,
                data: look.data,
                values,
                x: x.clone(),
            });
        }
        // The reward's gradient goes through the velocity.
        tape::enable_grad(|| {
            let tracked = x.detach().param()?;
            let look = Look::at(flow, self.options.path, &tracked, &s)?;
            let values = self.rewards(&look.data.detach(), which)?;
            let total = (self.reward)(&look.data, which)?.sum_all()?;
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
                drift: look.drift_with(&g, &score)?.detach(),
                data: look.data.detach(),
                values,
                x: x.clone(),
            })
        })
    }

    /// Children of states one step on, without looking at them: from a grid index, of all or one a row, to the next.
    fn children(&mut self, states: &States, at: &[usize]) -> Result<Tensor> {
        let (s, g) = self.at(at);
        let step: Vec<f64> = s
            .iter()
            .zip(at)
            .map(|(s, i)| s - self.times[i + 1])
            .collect();
        let back: Vec<f64> = step.iter().map(|ds| -ds).collect();
        let spread: Vec<f64> = g.iter().zip(&step).map(|(g, ds)| g * ds.sqrt()).collect();
        let z = self.noise(states.values.len())?;
        weighted(&[(&[1.0], &states.x), (&back, &states.drift), (&spread, &z)])
    }

    /// Does something with the rows and their field, in pieces that the flow takes at once.
    fn pieces(&self, x: &Tensor, observer: &mut dyn Observer, piece: &mut Piece) -> Result<Tensor> {
        let own = self.field(x.dim(0)?)?;
        let walk = Walk {
            field: own.as_deref().unwrap_or(self.flow),
            label: "search",
            steps: None,
        };
        walk.all(x, observer, piece)
    }

    /// Carries rows along the linear flow, from one of our times to another.
    fn walk(
        &self,
        x: &Tensor,
        solve: &SolveOptions,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        self.pieces(x, observer, &mut |field, x, watch| {
            carry(field, x, solve, watch)
        })
    }

    /// The samples of states, one a search, at the last grid index before the data.
    fn finish(&mut self, states: &States, observer: &mut dyn Observer) -> Result<Tensor> {
        let last = self.times.len() - 2;
        match self.options.finish {
            Finish::Mean => Ok(states.data.clone()),
            Finish::Sde => self.children(states, &[last]),
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
                self.spent += 2 * self.options.finish_steps * states.values.len() / self.searches;
                let y = states.x.affine(1.0 / level.scale(), 0.0)?;
                let (spent, total) = (self.spent as u64, Some(self.options.nfe as u64));
                let mut watch = |_: &Step| {
                    observer.step(&Step {
                        label: "search",
                        step: spent,
                        total,
                        metrics: &[],
                    })
                };
                self.walk(&y, &solve, &mut watch)
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
    let mut found = search_many(flow, 1, reward, options, observer)?;
    Ok(found.swap_remove(0))
}

/// `n` independent searches side by side, each with the whole budget: what the first few find does not depend on how many there are. A flow
/// with a class a row has one a search.
pub fn search_many(
    flow: &dyn VelocityField,
    n: usize,
    reward: &Reward,
    options: &SearchOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<Found>> {
    options.validate()?;
    linear(flow)?;
    if n == 0 {
        return Err(Error::Value {
            what: "n",
            message: "must be at least 1, got 0".into(),
        });
    }
    if let Some(own) = flow.own_rows().filter(|own| *own != n) {
        let message =
            format!("this flow has {own} labels, one a search: expected {own} searches, got {n}");
        return Err(Error::Value {
            what: "labels",
            message,
        });
    }
    if options.diffusion == Diffusion::Zero && options.chooses_children() {
        observer.warn("with diffusion \"zero\" the children of a state are all the same, and the search has nothing to choose from: take another diffusion, or method \"bon\" or \"sop\"");
    }
    // Every search has its chains and their streams before the first evaluation.
    memory::ensure(
        n.saturating_mul(options.chains())
            .saturating_mul(flow.dim()),
        size_of::<f64>(),
    )?;
    let mut searcher = Searcher::new(flow, reward, options, n);
    let probe = n * options.chains().max(if n == 1 { 2 } else { 1 });
    let zeros = Tensor::zeros(&[probe, flow.dim()], flow.dtype())?;
    searcher.rewards(&zeros, &searcher.which(probe))?;
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
    let (states, traces) = match options.method {
        Method::Rbf => searcher.rbf(&mut progress)?,
        Method::Svdd | Method::Code => searcher.groups(&mut progress)?,
        Method::Bon => searcher.best_of(&mut progress)?,
        Method::Smc => searcher.smc(&mut progress)?,
        Method::Sop => searcher.paths(&mut progress)?,
    };
    let x = match options.method {
        // It walks the linear flow to its end.
        Method::Sop => states.data.clone(),
        _ => no_grad(|| searcher.finish(&states, observer))?,
    };
    let rewards = no_grad(|| searcher.rewards(&x, &searcher.which(n)))?;
    let all = rewards.into_iter().zip(states.values).zip(traces);
    all.enumerate()
        .map(|(i, ((reward, predicted), trace))| {
            Ok(Found {
                x: x.narrow(0, i, 1)?.contiguous()?,
                reward,
                predicted,
                evaluations: searcher.spent,
                trace,
            })
        })
        .collect()
}
