//! What the fields of an interpolant are fitted to.
//!
//! | field | target at `x_t = I + gamma z` |
//! |---|---|
//! | velocity | `I' + gamma' z` |
//! | drift | `I'` |
//! | score | `-z / gamma` |
//! | denoiser | `z` |
//!
//! and one-sided, where `x0` is the latent: `alpha' x0 + beta' x1`, the same, `-x0 / alpha`, `x0`. Antithetic pairs take the mean over
//! `+z` and `-z`: near the ends `gamma'` and `1 / gamma` of "sqrt" grow without bound, and the two halves cancel.

use std::sync::{Arc, Mutex, PoisonError};

use rhapsode_tensor::{Tensor, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CustomPath, Interpolant, Networks};
use crate::{
    Error, Result,
    checks::at_least_one,
    data::Batches,
    flow::{
        Coupling,
        convert::FieldKind,
        path::{Along, Process, Sort},
    },
    native::OptimizerValue,
    optim::{AdamOptions, Choice, Schedule},
    train::{Objective, Plan},
};

/// Options of a training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InterpolantFit {
    /// Number of steps (at least 1; default 2000).
    pub steps: u64,
    /// Samples a step (at least 1; default 256).
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
    /// How base and data are paired: "independent", "ot" by optimal transport within the batch, "pairs" row by row (default "independent").
    pub coupling: Coupling,
    /// Whether each latent is taken with both signs (default: where gamma' has no bound, with "sqrt").
    pub antithetic: Option<bool>,
    /// Seed of data order, latents and times (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for InterpolantFit {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 256,
            accumulate: 1,
            optimizer: None,
            schedule: None,
            warmup: 0,
            clip: None,
            ema: 0.999,
            coupling: Coupling::default(),
            antithetic: None,
            seed: None,
        }
    }
}

impl InterpolantFit {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        self.plan().validate()?;
        at_least_one("batch", self.batch)
    }

    /// The steps of the training.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            optimizer: (self.optimizer.clone()).unwrap_or_else(|| AdamOptions::default().into()),
            steps: self.steps,
            schedule: self.schedule.clone(),
            warmup: self.warmup,
            clip: self.clip,
            ema: self.ema,
            accumulate: self.accumulate,
        }
    }
}

/// Draws of a batch: `x0` (not read by "mirror"), `x1`, `z` (not read one-sided) as `[n, d]`, times `[n]`.
pub struct Draw<'a> {
    /// The base.
    pub x0: &'a Tensor,
    /// The data.
    pub x1: &'a Tensor,
    /// The latent.
    pub z: &'a Tensor,
    /// The times.
    pub t: &'a Tensor,
}

/// `x_t` of a batch and what each field is fitted to there.
pub struct Targets {
    /// `x_t`, `[n, d]`.
    pub xt: Tensor,
    drift: Tensor,
    latent: Tensor,
    along: Along,
    one_sided: bool,
}

impl Targets {
    /// Of a batch; `sign` -1 is the antithetic half.
    pub fn new(
        process: &Process,
        custom: Option<&CustomPath>,
        draw: &Draw,
        sign: f64,
    ) -> Result<Self> {
        let along = process.along(draw.t)?;
        let one_sided = process.path.sort() == Sort::OneSided;
        let x0 = match one_sided {
            true => draw.x0.affine(sign, 0.0)?,
            false => draw.x0.clone(),
        };
        let latent = if one_sided {
            x0.clone()
        } else {
            draw.z.affine(sign, 0.0)?
        };
        let (position, drift) = match custom {
            Some(custom) => custom.at(draw.t, &x0, draw.x1)?,
            None => (
                along.combine(&[(&|c| c.alpha, &x0), (&|c| c.beta, draw.x1)])?,
                along.combine(&[(&|c| c.alpha_dot, &x0), (&|c| c.beta_dot, draw.x1)])?,
            ),
        };
        let xt = match one_sided || process.gamma.is_zero() {
            true => position,
            false => along.combine(&[(&|_| 1.0, &position), (&|c| c.gamma, &latent)])?,
        };
        Ok(Self {
            xt,
            drift,
            latent,
            along,
            one_sided,
        })
    }

    /// What a field is fitted to.
    pub fn of(&self, kind: FieldKind) -> Result<Tensor> {
        match kind {
            FieldKind::Drift => Ok(self.drift.clone()),
            FieldKind::Velocity if self.one_sided => Ok(self.drift.clone()),
            FieldKind::Velocity => self
                .along
                .combine(&[(&|_| 1.0, &self.drift), (&|c| c.gamma_dot, &self.latent)]),
            FieldKind::Denoiser => Ok(self.latent.clone()),
            FieldKind::Score if self.one_sided => {
                self.along.combine(&[(&|c| -1.0 / c.alpha, &self.latent)])
            }
            FieldKind::Score => self.along.combine(&[(&|c| -1.0 / c.gamma, &self.latent)]),
        }
    }
}

/// `1/2 |f|^2 - y f` of each row, whose mean has the same minimum as the mean square of `f - y`; `[n]`.
pub fn quadratic(f: &Tensor, y: &Tensor) -> Result<Tensor> {
    let half = f.affine(0.5, 0.0)?.sub(y)?;
    Ok(f.mul(&half)?.sum(&[1])?)
}

/// The loss of a step.
pub(super) struct Fitting {
    model: Interpolant,
    nets: Networks,
    average: Arc<Params>,
    base: Option<Tensor>,
    data: Tensor,
    bases: Option<Batches>,
    rows: Batches,
    streams: [Stream; 3],
    coupling: Coupling,
    antithetic: bool,
}

impl Fitting {
    /// On data `[n, d]` and the base's points `[m, d]`; without them the base is Gaussian.
    pub(super) fn new(
        model: &Interpolant,
        nets: Networks,
        average: Arc<Params>,
        base: Option<&Tensor>,
        data: &Tensor,
        options: &InterpolantFit,
    ) -> Result<Self> {
        let dtype = nets.params().dtype();
        let check = |what: &'static str, x: &Tensor| -> Result<Tensor> {
            let fits = x.rank() == 2 && x.dims()[1] == model.options().dim && x.dims()[0] > 0;
            if !fits {
                let dim = model.options().dim;
                return Err(Error::Shape {
                    what,
                    expected: format!("[n, {dim}] with n > 0 (the interpolant has dim {dim})"),
                    got: x.dims().to_vec(),
                });
            }
            let x = x.detach().to_dtype(dtype)?.contiguous()?;
            match x.is_finite()? {
                true => Ok(x),
                false => Err(Error::Value {
                    what,
                    message: "holds NaN or infinity".into(),
                }),
            }
        };
        let data = check("data", data)?;
        let base = base.map(|base| check("base", base)).transpose()?;
        let n = data.dim(0)?;
        if options.coupling == Coupling::Pairs {
            match &base {
                Some(base) if base.dim(0)? == n => {}
                _ => {
                    let message = "\"pairs\" needs a base with as many rows as the data";
                    return Err(Error::option("coupling", message));
                }
            }
        }
        let seed = options.seed.unwrap_or(0);
        let bases = match (&base, options.coupling) {
            (Some(base), Coupling::Independent | Coupling::Ot) => Some(Batches::new(
                base.dim(0)?,
                options.batch,
                Stream::new(seed, "order-of-base"),
            )?),
            _ => None,
        };
        let fitting = Self {
            model: model.clone(),
            average,
            nets,
            base,
            bases,
            rows: Batches::new(n, options.batch, Stream::new(seed, "order"))?,
            streams: ["base", "latent", "time"].map(|purpose| Stream::new(seed, purpose)),
            coupling: options.coupling,
            antithetic: options
                .antithetic
                .unwrap_or_else(|| model.process().gamma.is_singular()),
            data,
        };
        Ok(fitting)
    }
}

fn gathered(x: &Tensor, rows: Vec<i64>) -> Result<Tensor> {
    let n = rows.len();
    Ok(x.index_select(0, &Tensor::from_vec(rows, &[n])?)?)
}

impl Objective for Fitting {
    fn label(&self) -> &str {
        "fit interpolant"
    }

    fn params(&self) -> &Arc<Params> {
        self.nets.params()
    }

    fn average(&self) -> Option<&Arc<Params>> {
        Some(&self.average)
    }

    fn loss(&mut self, step: u64) -> Result<Tensor> {
        let rows = self.rows.indices(step - 1)?;
        let (n, d, dtype) = (rows.len(), self.data.dim(1)?, self.data.dtype());
        let [base, latent, time] = self.streams;
        let x1 = gathered(&self.data, rows.clone())?;
        let x0 = match (&self.base, &mut self.bases) {
            (Some(base), Some(order)) => gathered(base, order.indices(step - 1)?)?,
            (Some(base), None) => gathered(base, rows)?,
            (None, _) => base.at(step).randn(&[n, d], dtype)?,
        };
        let x0 = self.coupling.pair(x0, &x1)?;
        let z = latent.at(step).randn(&[n, d], dtype)?;
        let delta = self.model.options().delta;
        let t = time
            .at(step)
            .rand(&[n], dtype)?
            .affine(1.0 - 2.0 * delta, delta)?;
        let draw = Draw {
            x0: &x0,
            x1: &x1,
            z: &z,
            t: &t,
        };
        let (process, custom) = (self.model.process(), self.model.custom());
        let plus = Targets::new(process, custom, &draw, 1.0)?;
        if !self.antithetic {
            return self.nets.loss(&plus.xt, &t, &|kind| plus.of(kind));
        }
        // Both signs as one batch.
        let minus = Targets::new(process, custom, &draw, -1.0)?;
        let both = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
        let target = |kind| Ok(both(&plus.of(kind)?, &minus.of(kind)?)?);
        self.nets
            .loss(&both(&plus.xt, &minus.xt)?, &both(&t, &t)?, &target)
    }
}

/// What a model begins with, which a training may change.
pub(super) type SharedBase = Arc<Mutex<super::BaseLaw>>;

/// A lock that a panic elsewhere does not take away.
pub(super) fn lock(base: &SharedBase) -> std::sync::MutexGuard<'_, super::BaseLaw> {
    base.lock().unwrap_or_else(PoisonError::into_inner)
}
