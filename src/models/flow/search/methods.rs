//! The ways to spend a budget. All keep to grid indices `0..=M - 1`: the last step to the data is the finish.

use rhapsode_tensor::{Tensor, no_grad};

use super::{
    Finish, Method, Searcher, States,
    budget::{self, Ledger, Turn},
};
use crate::{
    Error, Result,
    flow::{VelocityField, field::velocity_at, schedule::Diffused},
    observe::{Observer, Silent},
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

/// What a method gives: the chosen state of each search, and where its budget went.
type Chosen = (States, Vec<Vec<Vec<Turn>>>);

impl Searcher<'_> {
    /// Grid index of the last state.
    fn last(&self) -> usize {
        self.times.len() - 2
    }

    /// The noises that a method begins with: `k` for each search.
    pub(super) fn start(&mut self, k: usize) -> Result<Tensor> {
        let (n, dim) = (self.searches * k, self.flow.dim());
        let Some(noise) = &self.options.noise else {
            return self.noise(n);
        };
        match noise.len() == n * dim && noise.dims().first() == Some(&n) {
            true => Ok(noise.to_dtype(self.flow.dtype())?.reshape(&[n, dim])?),
            false => Err(Error::option(
                "noise",
                format!(
                    "expected [{n}, {dim}] for this method and budget, got {:?}",
                    noise.dims()
                ),
            )),
        }
    }

    /// The best state of each search.
    fn chosen(&self, states: &States) -> Result<States> {
        states.rows(&states.best(self.searches))
    }

    /// What each search tried in one step, for all its chains together.
    fn turns(&self, quota: usize, states: &States, resampled: &[bool]) -> Vec<Turn> {
        let each = states.values.len() / self.searches;
        let turn = |(search, values): (usize, &[f64])| Turn {
            quota,
            chosen: budget::best(values),
            rewards: values.to_vec(),
            improved: resampled.get(search).copied().unwrap_or(false),
            rolled_over: 0,
        };
        states
            .values
            .chunks(each.max(1))
            .enumerate()
            .map(turn)
            .collect()
    }

    /// Rollover budget forcing, all chains in lock-step: each round gives each of them one candidate, of the step that it is at.
    pub(super) fn rbf(&mut self, told: &mut Told) -> Result<Chosen> {
        let (chains, init, last) = (self.options.particles, self.options.init, self.last());
        let quota = budget::quota(self.options.spendable(), chains, init, self.options.steps);
        let noise = self.start(chains * init)?;
        let all = self.look(&noise, &[0])?;
        let mut states = all.rows(&all.best(self.searches * chains))?;
        let begun = |best: &f64| Ledger::new(quota, last, *best);
        let mut ledgers: Vec<Ledger> = states.values.iter().map(begun).collect();
        // The best candidate of the step that each chain is at, of equal ones the first.
        let mut held = states.clone();
        // A round that would reach the budget is not begun, as in the official code.
        while self.left() > chains {
            let at: Vec<usize> = ledgers.iter().map(|l| l.step().min(last - 1)).collect();
            let children = self.children(&states, &at)?;
            let next: Vec<usize> = at.iter().map(|i| i + 1).collect();
            let seen = self.look(&children, &next)?;
            let values = seen.values.iter().zip(&held.values);
            let better: Vec<bool> = ledgers
                .iter()
                .zip(values)
                .map(|(ledger, (new, old))| ledger.is_fresh() || new > old)
                .collect();
            held = held.replaced(&seen, &better)?;
            let over: Vec<bool> = ledgers
                .iter_mut()
                .zip(&seen.values)
                .map(|(ledger, reward)| ledger.try_one(*reward).is_some())
                .collect();
            states = states.replaced(&held, &over)?;
            let best = ledgers.iter().map(Ledger::best);
            told(self.spent, best.fold(f64::NEG_INFINITY, f64::max))?;
        }
        let ends = self.ends(&mut ledgers, &held)?;
        let turns: Vec<_> = ledgers.into_iter().map(|ledger| ledger.turns).collect();
        let traces = turns.chunks(chains).map(<[_]>::to_vec).collect();
        Ok((held.rows(&ends)?, traces))
    }

    /// The row of the best chain of each search, of those that came to their last step.
    fn ends(&self, ledgers: &mut [Ledger], held: &States) -> Result<Vec<usize>> {
        let chains = ledgers.len() / self.searches;
        let mut ends = Vec::with_capacity(self.searches);
        for (search, ledgers) in ledgers.chunks_mut(chains).enumerate() {
            let done = |ledger: &mut Ledger| ledger.is_last() && ledger.end().is_some();
            let done: Vec<bool> = ledgers.iter_mut().map(done).collect();
            let rows = (search * chains..(search + 1) * chains)
                .zip(done)
                .filter_map(|(row, done)| done.then_some(row));
            let best = rows.reduce(|a, b| {
                if held.values[b] > held.values[a] {
                    b
                } else {
                    a
                }
            });
            ends.push(best.ok_or_else(|| {
                Error::option(
                    "nfe",
                    "was spent before any chain came to its last step: raise it, or lower `init`",
                )
            })?);
        }
        Ok(ends)
    }

    /// Chains with children each, of which the best, or one by temperature, goes on: at every step, or every few.
    pub(super) fn groups(&mut self, told: &mut Told) -> Result<Chosen> {
        let (chains, last) = (self.options.particles, self.last());
        let noise = self.start(chains)?;
        let mut states = self.look(&noise, &[0])?;
        let counts = self.counts(last, chains);
        let block = match self.options.method {
            Method::Code => self.options.block,
            _ => 1,
        };
        let mut traces = vec![Vec::new(); self.searches];
        for (from, to) in budget::blocks(last, block) {
            let k = counts[from].max(1);
            let mut children = states.repeated(k)?;
            for i in from..to {
                let x = self.children(&children, &[i])?;
                children = self.look(&x, &[i + 1])?;
            }
            let kept = self.choose(&children, k);
            let turns = self.turns(chains * k * (to - from), &children, &[]);
            traces
                .iter_mut()
                .zip(turns)
                .for_each(|(trace, turn)| trace.push(turn));
            states = children.rows(&kept)?;
            told(self.spent, states.most())?;
        }
        Ok((self.chosen(&states)?, each_alone(traces)))
    }

    /// Children of each chain at each step.
    fn counts(&self, moves: usize, chains: usize) -> Vec<usize> {
        let left = self.left() / chains;
        if let Some(children) = self.options.children {
            return vec![children; moves];
        }
        match self.options.decreasing && self.options.method == Method::Svdd {
            true => budget::decreasing(moves, left),
            false => vec![left / moves; moves],
        }
    }

    /// The row of the child with which each chain goes on: the best of its `k`, or one by its share of `exp(value / temperature)`.
    fn choose(&mut self, children: &States, k: usize) -> Vec<usize> {
        let temperature = self.options.temperature.unwrap_or(0.0);
        if self.options.method != Method::Svdd || temperature == 0.0 {
            return children.best(self.streams.len());
        }
        self.draws += 1;
        let pick = |(chain, values): (usize, &[f64])| {
            let log: Vec<f64> = values.iter().map(|v| v / temperature).collect();
            let mut u = [0.0];
            self.streams[chain].at(self.draws).uniform(&mut u);
            let picked = budget::ancestors(&budget::weights(&log).0, &u);
            chain * k + picked.first().copied().unwrap_or(0)
        };
        children.values.chunks(k).enumerate().map(pick).collect()
    }

    /// Whole walks, of which the best is taken.
    pub(super) fn best_of(&mut self, told: &mut Told) -> Result<Chosen> {
        let last = self.last();
        let k = (self.options.spendable() / (last + 1)).max(1);
        let noise = self.start(k)?;
        let mut states = self.look(&noise, &[0])?;
        for i in 0..last {
            let x = self.children(&states, &[i])?;
            states = self.look(&x, &[i + 1])?;
            told(self.spent, states.most())?;
        }
        let turns = self.turns(k * (last + 1), &states, &[]);
        let traces = turns.into_iter().map(|turn| vec![vec![turn]]).collect();
        Ok((self.chosen(&states)?, traces))
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
        let mut states = self.look(&noise, &[0])?;
        let mut log: Vec<f64> = states.values.iter().map(|v| v / temperature).collect();
        let mut traces = vec![Vec::new(); self.searches];
        for i in 0..last {
            let k = counts[i + 1].max(1);
            let (rows, resampled) = self.resampled(&mut log, k);
            if resampled.contains(&true) {
                states = states.rows(&rows)?;
            }
            let x = self.children(&states, &[i])?;
            let before = std::mem::replace(&mut states, self.look(&x, &[i + 1])?).values;
            for ((w, new), old) in log.iter_mut().zip(&states.values).zip(&before) {
                *w += (new - old) / temperature;
            }
            let turns = self.turns(k, &states, &resampled);
            traces
                .iter_mut()
                .zip(turns)
                .for_each(|(trace, turn)| trace.push(turn));
            told(self.spent, states.most())?;
        }
        Ok((self.chosen(&states)?, each_alone(traces)))
    }

    /// The rows with which `k` particles of each search go on, and which searches drew theirs anew: their log-weights are 0 again.
    fn resampled(&mut self, log: &mut Vec<f64>, k: usize) -> (Vec<usize>, Vec<bool>) {
        let before = log.len() / self.searches;
        let (mut rows, mut all, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        self.draws += 1;
        for (search, log) in log.chunks(before).enumerate() {
            let (p, ess) = budget::weights(log);
            let resampled = ess < self.options.ess * before as f64 || k != before;
            all.push(resampled);
            if resampled {
                let mut u = vec![0.0; k];
                self.streams[search].at(self.draws).uniform(&mut u);
                let drawn = budget::ancestors(&p, &u);
                rows.extend(drawn.into_iter().map(|row| search * before + row));
                weights.extend(vec![0.0; k]);
            } else {
                rows.extend(search * before..(search + 1) * before);
                weights.extend_from_slice(log);
            }
        }
        *log = weights;
        (rows, all)
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
        let x = self.descend(&noise, 1.0, SOP.0)?;
        let budget = self.options.nfe.saturating_sub(self.spent);
        // Each child costs its way down and the look at the end of it.
        let most = (budget / (rounds.len() * chains * (SOP_STEPS + 1))).max(1);
        let k = self.options.children.unwrap_or(most);
        let mut states = States {
            data: x.clone(),
            drift: x.clone(),
            values: vec![f64::NEG_INFINITY; self.searches * chains],
            x,
        };
        let mut traces = vec![Vec::new(); self.searches];
        for (at, noised, next) in rounds {
            let cost = SOP_STEPS + usize::from(next > 0.0);
            if self.spent + chains * k * cost > self.options.nfe {
                break;
            }
            let children = self.detour(&states, k, (at, noised, next))?;
            let turns = self.turns(chains * k * (SOP_STEPS + 1), &children, &[]);
            traces
                .iter_mut()
                .zip(turns)
                .for_each(|(trace, turn)| trace.push(turn));
            states = children.rows(&self.foremost(&children, chains))?;
            told(self.spent, states.most())?;
        }
        Ok((self.chosen(&states)?, each_alone(traces)))
    }

    /// `k` children of each state: noise is added from `at` up to `noised`, and the flow goes down to `next`.
    fn detour(
        &mut self,
        states: &States,
        k: usize,
        (at, noised, next): (f64, f64, f64),
    ) -> Result<States> {
        let parents = states.repeated(k)?;
        // On lines alpha = 1 - s, sigma = s.
        let ratio = (1.0 - noised) / (1.0 - at);
        let spread = (noised * noised - ratio * ratio * at * at).max(0.0).sqrt();
        let n = parents.values.len();
        let z = self.noise(n)?;
        let up = Tensor::combine(&[(ratio, &parents.x), (spread, &z)])?;
        let x = self.descend(&up, noised, next)?;
        let data = match next > 0.0 {
            true => {
                self.spent += n / self.searches;
                let mut look = |field: &dyn VelocityField, x: &Tensor, _: &mut dyn Observer| {
                    velocity_at(field, x, 1.0 - next)
                };
                let v = no_grad(|| self.pieces(&x, &mut Silent, &mut look))?;
                Tensor::combine(&[(1.0, &x), (next, &v)])?
            }
            false => x.clone(),
        };
        let values = no_grad(|| self.rewards(&data, &self.which(n)))?;
        Ok(States {
            drift: parents.drift,
            x,
            data,
            values,
        })
    }

    /// The `k` best rows of each search, best first.
    fn foremost(&self, states: &States, k: usize) -> Vec<usize> {
        let each = states.values.len() / self.searches;
        let best = |search: usize| {
            let mut order: Vec<usize> = (search * each..(search + 1) * each).collect();
            order.sort_by(|a, b| states.values[*b].total_cmp(&states.values[*a]));
            order.truncate(k);
            order
        };
        (0..self.searches).flat_map(best).collect()
    }

    /// The linear flow from one of the papers' times to an earlier one, by Euler.
    fn descend(&mut self, x: &Tensor, from: f64, to: f64) -> Result<Tensor> {
        self.spent += x.dim(0)? / self.searches * SOP_STEPS;
        let solve = SolveOptions {
            from: 1.0 - from,
            to: 1.0 - to,
            solver: Solver::Euler,
            steps: Some(SOP_STEPS),
            save_at: SaveAt::END,
            ..Default::default()
        };
        no_grad(|| self.walk(x, &solve, &mut Silent))
    }
}

/// Traces of searches whose chains are told of together.
fn each_alone(traces: Vec<Vec<Turn>>) -> Vec<Vec<Vec<Turn>>> {
    traces.into_iter().map(|trace| vec![trace]).collect()
}
