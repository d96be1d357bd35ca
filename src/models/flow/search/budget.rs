//! The arithmetic of a search: quotas that roll over, weights of particles, schedules. No flow is seen here.

/// A step of a chain: what it was given, what it tried, what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Candidates that it might try.
    pub quota: usize,
    /// The rewards of those it tried, in order.
    pub rewards: Vec<f64>,
    /// Which was taken.
    pub chosen: usize,
    /// Whether it was better than the best before.
    pub improved: bool,
    /// What was left of the quota for the next step.
    pub rolled_over: usize,
}

/// Where the largest number stands, the first of equal ones.
pub fn best(values: &[f64]) -> usize {
    let mut at = 0;
    for (i, value) in values.iter().enumerate() {
        if values.get(at).is_none_or(|most| value > most) {
            at = i;
        }
    }
    at
}

/// The quota of a step of each of `chains` that begin with the best of `init` noises and take `steps` steps.
pub fn quota(nfe: usize, chains: usize, init: usize, steps: usize) -> usize {
    nfe.saturating_sub(chains * init) / (steps * chains)
}

/// The ledger of one chain: it says after each candidate what becomes of it.
#[derive(Clone, Debug)]
pub struct Ledger {
    base: usize,
    quota: usize,
    steps: usize,
    best: f64,
    rewards: Vec<f64>,
    /// The steps that are done.
    pub turns: Vec<Turn>,
}

impl Ledger {
    /// A chain whose start is worth `best`, with `steps` steps, the last of which spends all that is left.
    pub fn new(quota: usize, steps: usize, best: f64) -> Self {
        Self {
            base: quota,
            quota,
            steps,
            best,
            rewards: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// The step that is on.
    pub fn step(&self) -> usize {
        self.turns.len()
    }

    /// Whether the present step has tried nothing yet.
    pub fn is_fresh(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Whether the last step is on.
    pub fn is_last(&self) -> bool {
        self.turns.len() + 1 >= self.steps
    }

    /// The best reward so far.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// A candidate of the present step is worth `reward`; which one is taken, when the step is over.
    pub fn try_one(&mut self, reward: f64) -> Option<usize> {
        self.rewards.push(reward);
        if self.is_last() {
            return None;
        }
        let tries = self.rewards.len();
        // Strictly: ties go on searching.
        if reward > self.best {
            let left = self.quota - tries;
            return Some(self.close(tries - 1, left));
        }
        (tries >= self.quota).then(|| self.close(best(&self.rewards), 0))
    }

    /// Ends the last step, when nothing is left to spend; which candidate is taken. None when it has tried none.
    pub fn end(&mut self) -> Option<usize> {
        if self.rewards.is_empty() {
            return None;
        }
        self.quota = self.rewards.len();
        let chosen = best(&self.rewards);
        Some(self.close(chosen, 0))
    }

    fn close(&mut self, chosen: usize, left: usize) -> usize {
        let rewards = std::mem::take(&mut self.rewards);
        let reward = rewards.get(chosen).copied().unwrap_or(f64::NEG_INFINITY);
        let improved = reward > self.best;
        if improved {
            self.best = reward;
        }
        self.turns.push(Turn {
            quota: self.quota,
            rewards,
            chosen,
            improved,
            rolled_over: left,
        });
        self.quota = self.base + left;
        chosen
    }
}

/// Normalised weights of `exp(log)` and their effective number.
pub fn weights(log: &[f64]) -> (Vec<f64>, f64) {
    let most = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raw: Vec<f64> = log.iter().map(|w| (w - most).exp()).collect();
    let total: f64 = raw.iter().sum();
    let p: Vec<f64> = raw.iter().map(|w| w / total).collect();
    let ess = 1.0 / p.iter().map(|p| p * p).sum::<f64>();
    (p, ess)
}

/// The index drawn by each uniform number: the first whose cumulative weight is not below it.
pub fn ancestors(p: &[f64], uniforms: &[f64]) -> Vec<usize> {
    let last = p.len().saturating_sub(1);
    let pick = |u: &f64| {
        let mut below = 0.0;
        let reached = |p: &f64| {
            below += p;
            below >= *u
        };
        p.iter().position(reached).unwrap_or(last)
    };
    uniforms.iter().map(pick).collect()
}

/// Particles of each of `steps` steps, falling linearly, with the sum `nfe`.
pub fn decreasing(steps: usize, nfe: usize) -> Vec<usize> {
    if steps < 2 {
        return vec![nfe; steps];
    }
    let fall = 2 * nfe.saturating_sub(steps) / (steps * (steps - 1));
    let first = (nfe + fall * steps * (steps - 1) / 2) / steps;
    let mut counts: Vec<usize> = (0..steps).map(|i| first - i * fall).collect();
    let rest = nfe - counts.iter().sum::<usize>();
    // Fewer than steps are left over.
    counts.iter_mut().take(rest).for_each(|count| *count += 1);
    counts
}

/// Grid indices from one choice of "code" to the next.
pub fn blocks(steps: usize, block: usize) -> Vec<(usize, usize)> {
    (0..steps)
        .step_by(block.max(1))
        .map(|from| (from, (from + block).min(steps)))
        .collect()
}

/// The times of search over paths: where it is, up to where noise is added, and down to where the ODE goes, until the data.
pub fn up_and_down(start: f64, up: f64, down: f64) -> Vec<(f64, f64, f64)> {
    let mut at = start;
    let mut rounds = Vec::new();
    while at > 1e-12 && rounds.len() < 10_000 {
        let noised = (at + up).min(1.0);
        let next = noised - down;
        let next = if next < 1e-9 { 0.0 } else { next };
        rounds.push((at, noised, next));
        at = next;
    }
    rounds
}
