//! Reflow: a flow is trained again on pairs of its own, noise and the data to which its ODE carries it. The paths become straight, and one step
//! is enough.
//!
//! What makes one round suffice (Lee, Lin, Fanti 2024, arXiv 2405.20320): warm start from the teacher, times drawn mostly near both ends
//! ([`super::timestep`]), the pseudo-Huber loss, alone or with a perceptual distance ([`super::loss`]), and real data mixed in, whose noise is found by
//! running the teacher's ODE backward. In our time (0 noise, 1 data)
//!
//! ```text
//! x1 = ODE(x0)        x_t = (1 - t) x0 + t x1        min E m(x1 - x0, v(x_t, t))
//! ```
//!
//! Pairs are made once: kept in memory, or in a folder where an interrupted work goes on ([`pairs`]). A diffusion model becomes a teacher by the
//! maps of [`teacher`]. [`measure`] tells how straight a flow is.
//!
//! Scaling of the loss with skipped steps on overflow is for half precision with five bits of exponent, which this library has not: bf16 has the
//! range of f32. Its weights stay f32.

pub mod measure;
pub mod pairs;
pub mod teacher;

use std::{ops::Range, path::PathBuf, sync::Arc};

use rhapsode_tensor::{Tensor, no_grad};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::pairs::{Pairs, Plan};
use super::{
    FitOptions, RectifiedFlow, SharedFlow, VelocityField,
    convert::one_sided,
    field::check_points,
    loss::{Distance, FlowLoss},
    sample::carry,
    timestep::Timestep,
    training::FlowMatching,
};
use crate::{
    Error, Result,
    checks::{at_least_one, finite},
    native::{ClosureValue, FlowValue, OptimizerValue, TensorValue},
    observe::Observer,
    ode::{SaveAt, SolveOptions, Solver},
    optim::{Choice, Schedule},
    reference::Reference,
    train::Run,
};

/// Where the method comes from.
pub const REFERENCE: Reference = Reference {
    key: "lee2024improving",
    title: "Improving the Training of Rectified Flows",
    authors: &["Sangyun Lee", "Zinan Lin", "Giulia Fanti"],
    year: 2024,
    arxiv: "2405.20320",
};

/// How far from the end the way back from data begins: there velocity and data cannot be told apart.
pub const INVERSION_MARGIN: f64 = 1e-3;

/// A flow whose pairs another one learns.
#[derive(Clone)]
pub struct Teacher(pub SharedFlow);

impl std::fmt::Debug for Teacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flow")
    }
}

/// Options of a reflow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReflowOptions {
    /// The flow that makes the pairs, of whatever kind: a function, a diffusion model, an interpolant from noise (default: this one).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "FlowValue")]
    pub teacher: Option<Teacher>,
    /// Number of pairs of noise and data that the flow makes (at least 1; default 50000).
    pub pairs: usize,
    /// Solver that makes them; a coarse one caps what can be learned (default "rk4").
    pub pair_solver: Solver,
    /// Its equal steps (at least 1; default 25).
    pub pair_steps: usize,
    /// Folder in which the pairs are kept, and found again (default: none, in memory).
    pub cache: Option<PathBuf>,
    /// Whether kept data take one byte a number, as images in [-1, 1] do (default false).
    pub eight_bit: bool,
    /// Weight of the guidance towards the classes of the pairs, for a flow with classes (default 1).
    pub guidance: f64,
    /// Real data `[n, dim]`, whose noise is found by running the flow backward (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub real: Option<Tensor>,
    /// Share of the real pairs among all (in (0, 1]; 1: real pairs alone; default 0.5).
    pub real_share: f64,
    /// Steps at the end on real pairs alone (default 0).
    pub real_steps: u64,
    /// Whether training begins with the weights of the flow (default true).
    pub warm_start: bool,
    /// Number of steps (at least 1; default 3000).
    pub steps: u64,
    /// Samples a step (at least 1; default 512).
    pub batch: usize,
    /// Batches whose gradients are added up in a step (at least 1; default 1).
    pub accumulate: u64,
    /// The optimizer, e.g. `optim::adam(#{ lr: 1e-3 })` (default: that one).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "OptimizerValue")]
    pub optimizer: Option<Choice>,
    /// How the learning rate changes over the steps (default: as the optimizer says, else "cosine").
    pub schedule: Option<Schedule>,
    /// Steps over which the learning rate rises from 0 (default 0).
    pub warmup: u64,
    /// Largest norm of the gradient; larger ones are scaled down to it (> 0; default: any).
    pub clip: Option<f64>,
    /// Decay of the moving average of the weights, which samples use (in [0, 1); 0: no average; default 0.999).
    pub ema: f64,
    /// Density of the times (default "u-shaped").
    pub timestep: Timestep,
    /// How much the densities other than "uniform" prefer the ends (> 0; default 4).
    pub sharpness: f64,
    /// What is minimised over the residual (default "pseudo-huber").
    pub loss: FlowLoss,
    /// Where the pseudo-Huber loss turns from a square to a norm (> 0; default 0.00054 times the size of a sample).
    pub huber_c: Option<f64>,
    /// Distance of predicted and true data, a closure `|predicted, data|` of rows that gives one number a sample, for the perceptual losses (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "ClosureValue")]
    pub perceptual: Option<Distance>,
    /// Seed of pairs, data order and times (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for ReflowOptions {
    fn default() -> Self {
        Self {
            teacher: None,
            pairs: 50_000,
            pair_solver: Solver::Rk4,
            pair_steps: 25,
            cache: None,
            eight_bit: false,
            guidance: 1.0,
            real: None,
            real_share: 0.5,
            real_steps: 0,
            warm_start: true,
            steps: 3000,
            batch: 512,
            accumulate: 1,
            optimizer: None,
            schedule: None,
            warmup: 0,
            clip: None,
            ema: 0.999,
            timestep: Timestep::UShaped,
            sharpness: 4.0,
            loss: FlowLoss::PseudoHuber,
            huber_c: None,
            perceptual: None,
            seed: None,
        }
    }
}

impl ReflowOptions {
    /// The training on the pairs.
    fn fit(&self) -> FitOptions {
        FitOptions {
            steps: self.steps,
            batch: self.batch,
            accumulate: self.accumulate,
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            warmup: self.warmup,
            clip: self.clip,
            ema: self.ema,
            // The classes belong to the pairs: none is dropped.
            label_drop: 0.0,
            timestep: self.timestep,
            sharpness: self.sharpness,
            loss: self.loss,
            huber_c: self.huber_c,
            perceptual: self.perceptual.clone(),
            seed: self.seed,
            ..Default::default()
        }
    }

    fn solve(&self, from: f64, to: f64) -> SolveOptions {
        SolveOptions {
            from,
            to,
            solver: self.pair_solver,
            steps: Some(self.pair_steps),
            save_at: SaveAt::END,
            ..Default::default()
        }
    }

    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("pairs", self.pairs)?;
        at_least_one("pair_steps", self.pair_steps)?;
        if !(self.real_share > 0.0 && self.real_share <= 1.0) {
            let message = format!("must lie in (0, 1], got {}", self.real_share);
            return Err(Error::option("real_share", message));
        }
        if self.real.is_none() && (self.real_steps > 0 || self.real_share != 0.5) {
            let key = if self.real_steps > 0 {
                "real_steps"
            } else {
                "real_share"
            };
            return Err(Error::option(
                key,
                "has no effect without real data: give `real`",
            ));
        }
        pairs::eight_bit_is_kept(self.eight_bit, self.cache.is_some())?;
        finite("guidance", self.guidance)?;
        self.fit().validate()
    }
}

impl RectifiedFlow {
    /// A flow trained on pairs of this one, and its training. An interrupt while pairs are made is an error (what is in the cache stays there); while
    /// training, the flow is as it was then.
    pub fn reflow(
        &self,
        options: &ReflowOptions,
        observer: &mut dyn Observer,
    ) -> Result<(RectifiedFlow, Run)> {
        options.validate()?;
        if options.guidance != 1.0 && self.options().classes == 0 {
            let message = "has no effect: this flow has no classes";
            return Err(Error::option("guidance", message));
        }
        let teacher: SharedFlow = match &options.teacher {
            Some(Teacher(teacher)) => self.takes(teacher)?.clone(),
            None => Arc::new(self.clone()),
        };
        let student = match options.warm_start {
            true => self.duplicate()?,
            false => RectifiedFlow::new(
                self.options().clone(),
                options.seed.unwrap_or(0),
                self.dtype(),
            )?,
        };
        let real = options.real.as_ref();
        let real = real
            .map(|real| self.real_pairs(teacher.as_ref(), real, options, observer))
            .transpose()?;
        let all = match real {
            Some((noise, data)) if options.real_share == 1.0 => Pairs {
                noise,
                data,
                labels: None,
            },
            real => {
                let made = self.pairs(&teacher, options, observer)?;
                match real {
                    None => made,
                    Some(real) => mixed(made, real, options.real_share)?,
                }
            }
        };
        let mut fit = options.fit();
        (fit.labels, fit.noise) = (all.labels, Some(all.noise));
        let objective = FlowMatching::new(student.clone(), &all.data, &fit)?;
        let mut run = student.run(objective, &fit, observer)?;
        if let Some(real) = options
            .real
            .as_ref()
            .filter(|_| options.real_steps > 0 && !run.interrupted)
        {
            let (noise, data) = self.real_pairs(teacher.as_ref(), real, options, observer)?;
            fit.steps = options.real_steps;
            (fit.labels, fit.noise) = (None, Some(noise));
            let objective = FlowMatching::new(student.clone(), &data, &fit)?;
            let last = student.run(objective, &fit, observer)?;
            run.losses.extend(&last.losses);
            run.interrupted = last.interrupted;
        }
        Ok((student, run))
    }

    /// A teacher, if this flow can learn its pairs.
    fn takes<'a>(&self, teacher: &'a SharedFlow) -> Result<&'a SharedFlow> {
        one_sided(&teacher.process())?;
        if teacher.dim() != self.dim() {
            let message = format!(
                "has samples of {} elements, those of this flow have {}",
                teacher.dim(),
                self.dim()
            );
            return Err(Error::option("teacher", message));
        }
        if self.options().classes > 0 {
            let message = "makes pairs without classes, and this flow has classes: reflow it by its own, or make one without";
            return Err(Error::option("teacher", message));
        }
        Ok(teacher)
    }

    /// Pairs that a flow makes; this one towards all its classes.
    fn pairs(
        &self,
        teacher: &SharedFlow,
        options: &ReflowOptions,
        observer: &mut dyn Observer,
    ) -> Result<Pairs> {
        let plan = Plan {
            count: options.pairs,
            dim: self.dim(),
            dtype: teacher.dtype(),
            seed: options.seed.unwrap_or(0),
            solve: options.solve(0.0, 1.0),
            classes: self.options().classes,
            guidance: options.guidance,
            eight_bit: options.eight_bit,
        };
        let field = |_: Range<usize>, labels: Option<&[i64]>| -> Result<SharedFlow> {
            match labels {
                Some(labels) => self.given(labels, options.guidance),
                None => Ok(teacher.clone()),
            }
        };
        pairs::make(&plan, &field, options.cache.as_deref(), observer)
    }

    /// Real data and the noise to which the teacher's ODE carries them back.
    fn real_pairs(
        &self,
        teacher: &dyn VelocityField,
        real: &Tensor,
        options: &ReflowOptions,
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, Tensor)> {
        let n = check_points(self, "real", real)?;
        let data = real
            .detach()
            .to_dtype(teacher.dtype())?
            .reshape(&[n, self.dim()])?;
        let solve = options.solve(1.0 - INVERSION_MARGIN, 0.0);
        let noise = invert(teacher, &data, &solve, options.seed.unwrap_or(0), observer)?;
        Ok((noise, data))
    }
}

/// Carries data back to noise: from a little before the end, where a little noise is mixed in.
pub fn invert(
    field: &dyn VelocityField,
    data: &Tensor,
    solve: &SolveOptions,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    let noise =
        rhapsode_tensor::random::Stream::new(seed, "inversion").randn(data.dims(), data.dtype())?;
    let start = Tensor::combine(&[(solve.from, data), (1.0 - solve.from, &noise)])?;
    no_grad(|| carry(field, &start, solve, observer))
}

/// Made and real pairs so that the real ones have the given share.
fn mixed(made: Pairs, (noise, data): (Tensor, Tensor), share: f64) -> Result<Pairs> {
    if made.labels.is_some() {
        let message = "real data have no classes here: reflow a flow of one class (`given`) or leave `real` out";
        return Err(Error::option("real", message));
    }
    let (n, m) = (made.data.dim(0)?, data.dim(0)?);
    let wanted = ((share / (1.0 - share)) * n as f64).round().max(1.0) as usize;
    rhapsode_tensor::memory::ensure(
        wanted.saturating_mul(data.dim(1)?),
        2 * data.dtype().size_in_bytes(),
    )?;
    let rows: Vec<i64> = (0..wanted).map(|i| (i % m) as i64).collect();
    let rows = Tensor::from_vec(rows, &[wanted])?;
    Ok(Pairs {
        noise: Tensor::cat(&[&made.noise, &noise.index_select(0, &rows)?], 0)?,
        data: Tensor::cat(&[&made.data, &data.index_select(0, &rows)?], 0)?,
        labels: None,
    })
}
