//! The ways to spend a budget. All keep to grid indices `0..=M - 1`: the last step to the data is the finish.

use rhapsode_tensor::{Tensor, no_grad};

use super::{
    Finish, Method, Searcher, States,
    budget::{self, Ledger, Turn},
};
use crate::{
    Error, Result,
    flow::{field::velocity_at, sample::carry, schedule::Diffused},
    observe::Silent,
    ode::{SaveAt, SolveOptions, Solver},
};

/// Where search over paths begins, how far it goes up and down, and its ODE steps: to the start, and a round.
const SOP: (f64, f64, f64) = (0.12, 0.78, 0.81);
pub(super) const SOP_STEPS: usize = 4;

/// The rounds of search over paths.
pub(super) fn sop_rounds() -> Vec<(f64, f64, f64)> {
    budget::up_and_down(SOP.0, SOP.1, SOP.2)
}

/// Told after each round: evaluations spent, best value.
pub(super) type Told<'a> = dyn FnMut(usize, f64) -> Result<()> + 'a;

/// What a method gives: the chosen state, alone, and where the budget went.
type Chosen = (States, Vec<Vec<Turn>>);

impl Searcher<'_> {
    /// Grid index of the last state.
    fn last(&self) -> usize {
        self.times.len() - 2
    }

    /// The noises that a method begins with.
    pub(super) fn start(&mut self, k: usize) -> Result<Tensor> {
        let Some(noise) = &self.options.noise else {
            return self.noise(k);
        };
        match noise.len() == k * self.flow.dim() && noise.dims().first() == Some(&k) {
            true => Ok(noise
                .to_dtype(self.flow.dtype())?
                .reshape(&[k, self.flow.dim()])?),
            false => Err(Error::option(
                "noise",
                format!(
                    "expected [{k}, {}] for this method and budget, got {:?}",
                    self.flow.dim(),
                    noise.dims()
                ),
            )),
        }
    }

    /// Rollover budget forcing, all chains in lock-step.
    pub(super) fn rbf(&mut self, told: &mut Told) -> Result<Chosen> {
        let (chains, init, last) = (self.options.particles, self.options.init, self.last());
        let noise = self.start(chains * init)?;
        let all = self.look(&noise, 0)?;
        let mut states = Vec::new();
        let mut ledgers = Vec::new();
        let quota = budget::quota(self.options.spendable(), chains, init, self.options.steps);
        for chain in 0..chains {
            let rows: Vec<usize> = (chain * init..(chain + 1) * init).collect();
            let mine = all.rows(&rows)?;
            let best = mine.rows(&[mine.best()])?;
            ledgers.push(Ledger::new(
                quota,
                last,
                best.values.first().copied().unwrap_or(f64::NEG_INFINITY),
            ));
            states.push(best);
        }
        let mut tried: Vec<Vec<States>> = vec![Vec::new(); chains];
        // A round that would reach the budget is not begun, as in the official code.
        while self.left() > chains {
            for chain in 0..chains {
                let step = ledgers[chain].step().min(last - 1);
                let child = self.children(&states[chain], step)?;
                let child = self.look(&child, step + 1)?;
                let reward = child.values.first().copied().unwrap_or(f64::NEG_INFINITY);
                tried[chain].push(child);
                if let Some(chosen) = ledgers[chain].try_one(reward) {
                    states[chain] = tried[chain].swap_remove(chosen);
                    tried[chain].clear();
                }
            }
            let best = ledgers
                .iter()
                .map(Ledger::best)
                .fold(f64::NEG_INFINITY, f64::max);
            told(self.spent, best)?;
        }
        let mut ends = Vec::new();
        for chain in 0..chains {
            if !ledgers[chain].is_last() {
                continue;
            }
            if let Some(chosen) = ledgers[chain].end() {
                ends.push(tried[chain].swap_remove(chosen));
            }
        }
        let trace = ledgers.into_iter().map(|ledger| ledger.turns).collect();
        if ends.is_empty() {
            return Err(Error::option(
                "nfe",
                "was spent before any chain came to its last step: raise it, or lower `init`",
            ));
        }
        let ends = States::join(&ends)?;
        Ok((ends.rows(&[ends.best()])?, trace))
    }

    /// Chains with children each, of which the best, or one by temperature, goes on: at every step, or every few.
    pub(super) fn groups(&mut self, told: &mut Told) -> Result<Chosen> {
        let (chains, last) = (self.options.particles, self.last());
        let noise = self.start(chains)?;
        let mut states = self.look(&noise, 0)?;
        let counts = self.counts(last, chains)?;
        let block = if self.options.method == Method::Code {
            self.options.block
        } else {
            1
        };
        let mut turns = Vec::new();
        for (from, to) in budget::blocks(last, block) {
            let k = counts[from].max(1);
            let rows: Vec<usize> = (0..chains).flat_map(|chain| vec![chain; k]).collect();
            let mut children = states.rows(&rows)?;
            for i in from..to {
                let x = self.children(&children, i)?;
                children = self.look(&x, i + 1)?;
            }
            let mut kept = Vec::new();
            for chain in 0..chains {
                let values = &children.values[chain * k..(chain + 1) * k];
                kept.push(chain * k + self.choose(values)?);
            }
            turns.push(Turn {
                quota: chains * k * (to - from),
                chosen: budget::best(&children.values),
                rewards: children.values.clone(),
                improved: false,
                rolled_over: 0,
            });
            states = children.rows(&kept)?;
            told(self.spent, states.values[states.best()])?;
        }
        Ok((states.rows(&[states.best()])?, vec![turns]))
    }

    /// Children of each chain at each step.
    fn counts(&self, moves: usize, chains: usize) -> Result<Vec<usize>> {
        let left = self.left() / chains;
        Ok(
            match self.options.decreasing && self.options.method == Method::Svdd {
                true => budget::decreasing(moves, left),
                false => vec![left / moves; moves],
            },
        )
    }

    /// The best, or one by its share of `exp(value / temperature)`.
    fn choose(&mut self, values: &[f64]) -> Result<usize> {
        let temperature = self.options.temperature.unwrap_or(0.0);
        if self.options.method != Method::Svdd || temperature == 0.0 {
            return Ok(budget::best(values));
        }
        let log: Vec<f64> = values.iter().map(|v| v / temperature).collect();
        let mut u = [0.0];
        self.draws += 1;
        self.stream.at(self.draws).uniform(&mut u);
        Ok(budget::ancestors(&budget::weights(&log).0, &u)[0])
    }

    /// Whole walks, of which the best is taken.
    pub(super) fn best_of(&mut self, told: &mut Told) -> Result<Chosen> {
        let last = self.last();
        let k = (self.options.spendable() / (last + 1)).max(1);
        let noise = self.start(k)?;
        let mut states = self.look(&noise, 0)?;
        for i in 0..last {
            let x = self.children(&states, i)?;
            states = self.look(&x, i + 1)?;
            told(self.spent, states.values[states.best()])?;
        }
        let turn = Turn {
            quota: k * (last + 1),
            chosen: states.best(),
            rewards: states.values.clone(),
            improved: false,
            rolled_over: 0,
        };
        Ok((states.rows(&[turn.chosen])?, vec![vec![turn]]))
    }

    /// Particles with weights, drawn anew when few of them carry the weight.
    pub(super) fn smc(&mut self, told: &mut Told) -> Result<Chosen> {
        let last = self.last();
        let temperature = self.options.temperature.unwrap_or(0.5);
        let counts = match self.options.decreasing {
            true => budget::decreasing(last + 1, self.options.spendable()),
            false => vec![(self.options.spendable() / (last + 1)).max(1); last + 1],
        };
        let noise = self.start(counts[0])?;
        let mut states = self.look(&noise, 0)?;
        let mut log: Vec<f64> = states.values.iter().map(|v| v / temperature).collect();
        let mut turns = Vec::new();
        for i in 0..last {
            let (p, ess) = budget::weights(&log);
            let k = counts[i + 1].max(1);
            let resampled = ess < self.options.ess * log.len() as f64 || k != log.len();
            if resampled {
                let mut u = vec![0.0; k];
                self.draws += 1;
                self.stream.at(self.draws).uniform(&mut u);
                states = states.rows(&budget::ancestors(&p, &u))?;
                log = vec![0.0; k];
            }
            let before = states.values.clone();
            let x = self.children(&states, i)?;
            states = self.look(&x, i + 1)?;
            for ((w, new), old) in log.iter_mut().zip(&states.values).zip(&before) {
                *w += (new - old) / temperature;
            }
            turns.push(Turn {
                quota: k,
                chosen: states.best(),
                rewards: states.values.clone(),
                improved: resampled,
                rolled_over: 0,
            });
            told(self.spent, states.values[states.best()])?;
        }
        Ok((states.rows(&[states.best()])?, vec![turns]))
    }

    /// Search over paths on the linear flow: noise up, ODE down, the best go on.
    pub(super) fn paths(&mut self, told: &mut Told) -> Result<Chosen> {
        if self.options.path != Diffused::Linear && self.options.finish != Finish::Ode {
            return Err(Error::option(
                "finish",
                "\"sop\" walks the linear flow to its end: leave it out",
            ));
        }
        let chains = self.options.particles;
        let rounds = sop_rounds();
        let noise = self.start(chains)?;
        let mut x = self.descend(&noise, 1.0, SOP.0, SOP_STEPS)?;
        let budget = self.options.nfe.saturating_sub(self.spent);
        // Each child costs its way down and the look at the end of it.
        let down = SOP_STEPS;
        let k = (budget / (rounds.len() * chains * (down + 1))).max(1);
        let mut turns = Vec::new();
        let mut data = x.clone();
        let mut best = f64::NEG_INFINITY;
        for (at, noised, next) in rounds {
            let rows: Vec<i64> = (0..chains)
                .flat_map(|chain| vec![chain as i64; k])
                .collect();
            let n = rows.len();
            if self.spent + n * (down + usize::from(next > 0.0)) > self.options.nfe {
                break;
            }
            let parents = x.index_select(0, &Tensor::from_vec(rows, &[n])?)?;
            // On lines alpha = 1 - s, sigma = s.
            let ratio = (1.0 - noised) / (1.0 - at);
            let spread = (noised * noised - ratio * ratio * at * at).max(0.0).sqrt();
            let z = self.noise(n)?;
            let up = Tensor::combine(&[(ratio, &parents), (spread, &z)])?;
            let children = self.descend(&up, noised, next, down)?;
            let seen = match next > 0.0 {
                true => {
                    self.spent += n;
                    let v = no_grad(|| velocity_at(self.flow, &children, 1.0 - next))?;
                    Tensor::combine(&[(1.0, &children), (next, &v)])?
                }
                false => children.clone(),
            };
            let values = no_grad(|| self.rewards(&seen))?;
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            let kept: Vec<i64> = order.iter().take(chains).map(|row| *row as i64).collect();
            let kept = Tensor::from_vec(kept, &[chains.min(n)])?;
            x = children.index_select(0, &kept)?;
            data = seen.index_select(0, &kept)?;
            best = values[order[0]];
            turns.push(Turn {
                quota: n * (down + 1),
                chosen: order[0],
                rewards: values,
                improved: false,
                rolled_over: 0,
            });
            told(self.spent, best)?;
        }
        let first = data.narrow(0, 0, 1)?;
        let state = States {
            x: first.clone(),
            values: vec![best],
            drift: first.clone(),
            data: first,
        };
        Ok((state, vec![turns]))
    }

    /// The linear flow from one of the papers' times to an earlier one, by Euler.
    fn descend(&mut self, x: &Tensor, from: f64, to: f64, steps: usize) -> Result<Tensor> {
        self.spent += x.dim(0)? * steps;
        let solve = SolveOptions {
            from: 1.0 - from,
            to: 1.0 - to,
            solver: Solver::Euler,
            steps: Some(steps),
            save_at: SaveAt::END,
            ..Default::default()
        };
        no_grad(|| carry(self.flow, x, &solve, &mut Silent))
    }
}
