//! Flow matching on lines: `E m(v(x_t, t) - (x1 - x0))` over independent pairs of noise and data, or over pairs that are
//! kept (reflow).

use std::sync::Arc;

use rhapsode_tensor::{DType, Real, Tensor, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Coupling, RectifiedFlow,
    loss::{self, Distance, FlowLoss, Residual},
    rectified::check_labels,
    timestep::Timestep,
};
use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    data::Batches,
    native::{ClosureValue, OptimizerValue, TensorValue},
    optim::{AdamOptions, Choice, Schedule},
    train::{Objective, Plan},
};

/// Options of a training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FitOptions {
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
    /// Labels of the data, a tensor `[n]` of class numbers, for a flow with classes (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub labels: Option<Tensor>,
    /// The noise `[n, dim]` that belongs to each row of the data, as `flow.pairs` makes them (default: fresh noise at each step).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub noise: Option<Tensor>,
    /// How the learning rate changes over the steps (default: as the optimizer says, else "cosine").
    pub schedule: Option<Schedule>,
    /// Steps over which the learning rate rises from 0 (default 0).
    pub warmup: u64,
    /// Largest norm of the gradient; larger ones are scaled down to it (> 0; default: any).
    pub clip: Option<f64>,
    /// Decay of the moving average of the weights, which samples use (in [0, 1); 0: no average; default 0.999).
    pub ema: f64,
    /// How noise and data of a batch are paired: "independent", or "ot" by optimal transport within the batch (default "independent").
    pub coupling: Coupling,
    /// Share of the labels dropped in training, for guidance (in [0, 1]; default 0.1).
    pub label_drop: f64,
    /// Density of the times (default "uniform").
    pub timestep: Timestep,
    /// How much the densities other than "uniform" prefer the ends (> 0; default 4).
    pub sharpness: f64,
    /// What is minimised over the residual (default "mse").
    pub loss: FlowLoss,
    /// Where the pseudo-Huber loss turns from a square to a norm (> 0; default 0.00054 times the size of a sample).
    pub huber_c: Option<f64>,
    /// Distance of predicted and true data, a closure `|predicted, data|` of rows that gives one number a sample, for the perceptual losses (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "ClosureValue")]
    pub perceptual: Option<Distance>,
    /// Seed of data order, noise and times (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 256,
            accumulate: 1,
            optimizer: None,
            labels: None,
            noise: None,
            schedule: None,
            warmup: 0,
            clip: None,
            ema: 0.999,
            coupling: Coupling::default(),
            label_drop: 0.1,
            timestep: Timestep::default(),
            sharpness: 4.0,
            loss: FlowLoss::default(),
            huber_c: None,
            perceptual: None,
            seed: None,
        }
    }
}

impl FitOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        self.plan().validate()?;
        at_least_one("batch", self.batch)?;
        if !(0.0..=1.0).contains(&self.label_drop) {
            let message = format!("must lie in [0, 1], got {}", self.label_drop);
            return Err(Error::option("label_drop", message));
        }
        if self.coupling == Coupling::Pairs {
            let message = "\"pairs\" is what `noise` is for: give it the noise of each row";
            return Err(Error::option("coupling", message));
        }
        if self.coupling == Coupling::Ot && self.noise.is_some() {
            let message = "has no effect with `noise`, which is paired with the data";
            return Err(Error::option("coupling", message));
        }
        positive("sharpness", self.sharpness)?;
        if let Some(c) = self.huber_c {
            positive("huber_c", c)?;
        }
        loss::check(self.loss, self.perceptual.as_ref())
    }

    /// The steps of the training.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            optimizer: self
                .optimizer
                .clone()
                .unwrap_or_else(|| AdamOptions::default().into()),
            steps: self.steps,
            schedule: self.schedule.clone(),
            warmup: self.warmup,
            clip: self.clip,
            ema: self.ema,
            accumulate: self.accumulate,
        }
    }
}

/// Flow matching on lines: the loss of a step.
pub(super) struct FlowMatching {
    flow: RectifiedFlow,
    label: &'static str,
    data: Tensor,
    /// The noise that belongs to each row; none: fresh noise.
    noise: Option<Tensor>,
    labels: Option<Vec<i64>>,
    batches: Batches,
    fresh: Stream,
    time: Stream,
    drop: Stream,
    options: FitOptions,
    c: f64,
}

impl FlowMatching {
    /// On data `[n, dim]`.
    pub(super) fn new(flow: RectifiedFlow, data: &Tensor, options: &FitOptions) -> Result<Self> {
        let (dim, dtype) = (flow.options().dim, flow.params().dtype());
        let data = rows_of(&flow, "data", data)?;
        let n = data.dim(0)?;
        let noise = options
            .noise
            .as_ref()
            .map(|noise| rows_of(&flow, "noise", noise))
            .transpose()?;
        if let Some(noise) = noise.as_ref().filter(|noise| noise.dims() != data.dims()) {
            return Err(Error::Shape {
                what: "noise",
                expected: format!("{:?}, a row for each row of data", data.dims()),
                got: noise.dims().to_vec(),
            });
        }
        let labels = options
            .labels
            .as_ref()
            .map(|l| l.to_ints("labels"))
            .transpose()?;
        if let Some(labels) = &labels {
            check_labels("labels", labels, n, flow.options().classes)?;
        }
        let seed = options.seed.unwrap_or(0);
        let mut matching = Self {
            flow,
            label: if noise.is_some() {
                "reflow"
            } else {
                "fit rectified flow"
            },
            data,
            noise,
            labels,
            batches: Batches::new(n, options.batch, Stream::new(seed, "order"))?,
            fresh: Stream::new(seed, "noise"),
            time: Stream::new(seed, "time"),
            drop: Stream::new(seed, "label-drop"),
            options: options.clone(),
            c: options.huber_c.unwrap_or_else(|| loss::default_c(dim)),
        };
        if let Some(distance) = &options.perceptual {
            // Once on a batch of the right size before the loop: a wrong shape is told where the closure stands.
            let probe = matching.data.narrow(0, 0, n.min(2))?.to_dtype(dtype)?;
            (distance.0)(&probe, &probe)?;
        }
        (matching.options.labels, matching.options.noise) = (None, None);
        Ok(matching)
    }

    /// The noise of a step, in the order in which it is paired with the rows.
    fn noise(&self, step: u64, rows: &[i64]) -> Result<Tensor> {
        let at = || Tensor::from_vec(rows.to_vec(), &[rows.len()]);
        if let Some(noise) = &self.noise {
            return Ok(noise.index_select(0, &at()?)?);
        }
        let x0 = self
            .fresh
            .at(step)
            .randn(&[rows.len(), self.flow.options().dim], self.data.dtype())?;
        match self.options.coupling {
            Coupling::Independent | Coupling::Pairs => Ok(x0),
            Coupling::Ot => self
                .options
                .coupling
                .pair(x0, &self.data.index_select(0, &at()?)?),
        }
    }

    /// The times of a step.
    fn times(&self, step: u64, n: usize, dtype: DType) -> Result<Tensor> {
        let q = self.time.at(step).rand(&[n], dtype)?;
        let (density, a) = (self.options.timestep, self.options.sharpness);
        if density == Timestep::Uniform {
            return Ok(q);
        }
        let times: Vec<f64> = q.to_vec()?.iter().map(|q| density.time(*q, a)).collect();
        Ok(Tensor::from_vec(times, &[n])?.to_dtype(dtype)?)
    }

    /// Labels of the batch, some replaced by "no class".
    fn batch_labels(&self, rows: &[i64], step: u64) -> Option<Vec<i64>> {
        let labels = self.labels.as_ref()?;
        let mut u = vec![0f64; rows.len()];
        self.drop.at(step).uniform(&mut u);
        let none = self.flow.options().classes as i64;
        let pick = |(&row, &u): (&i64, &f64)| {
            let label = usize::try_from(row)
                .ok()
                .and_then(|row| labels.get(row))
                .copied();
            label
                .filter(|_| u >= self.options.label_drop)
                .unwrap_or(none)
        };
        Some(rows.iter().zip(&u).map(pick).collect())
    }
}

/// Data of a flow as rows `[n, dim]` in its dtype; refuses other shapes, no rows, and what is no number.
fn rows_of(flow: &RectifiedFlow, what: &'static str, data: &Tensor) -> Result<Tensor> {
    let options = flow.options();
    let dim = options.dim;
    let Some(n) = options.fits(what, data).ok().filter(|&n| n > 0) else {
        let expected = match options.shape.is_empty() {
            true => format!("[n, {dim}] with n > 0 (the flow has dim {dim})"),
            false => {
                let sizes: Vec<String> = options.shape.iter().map(usize::to_string).collect();
                format!("[n, {}] with n > 0", sizes.join(", "))
            }
        };
        return Err(Error::Shape {
            what,
            expected,
            got: data.dims().to_vec(),
        });
    };
    let data = data
        .detach()
        .reshape(&[n, dim])?
        .to_dtype(flow.params().dtype())?
        .contiguous()?;
    match data.is_finite()? {
        true => Ok(data),
        false => Err(Error::Value {
            what,
            message: "holds NaN or infinity".into(),
        }),
    }
}

impl Objective for FlowMatching {
    fn label(&self) -> &str {
        self.label
    }

    fn params(&self) -> &Arc<Params> {
        self.flow.params()
    }

    fn average(&self) -> Option<&Arc<Params>> {
        Some(self.flow.averaged().params())
    }

    fn loss(&mut self, step: u64) -> Result<Tensor> {
        let rows = self.batches.indices(step - 1)?;
        let dtype = self.data.dtype();
        let x0 = self.noise(step, &rows)?;
        let t = self.times(step, rows.len(), dtype)?;
        let (xt, target) = match dtype {
            DType::F64 => interpolate::<f64>(&self.data, &rows, &x0, &t)?,
            _ => interpolate::<f32>(&self.data, &rows, &x0, &t)?,
        };
        let labels = self.batch_labels(&rows, step);
        let net = self.flow.trained();
        if let Some(loss) = self.options.loss.of_rows(self.c) {
            return net.loss(&xt, &t, labels.as_deref(), &target, loss);
        }
        let v = net.forward(&xt, &t, labels.as_deref())?;
        let residual = Residual {
            v: &v,
            target: &target,
            xt: &xt,
            t: &t,
        };
        residual.loss(self.options.loss, self.c, self.options.perceptual.as_ref())
    }
}

/// `x_t = (1 - t) x0 + t x1` and `x1 - x0` with `x1` the given rows of the data, in one pass.
fn interpolate<T: Real>(
    data: &Tensor,
    rows: &[i64],
    x0: &Tensor,
    t: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let d = x0.dim(1)?;
    let (mut xt, mut target) = (vec![T::ZERO; x0.len()], vec![T::ZERO; x0.len()]);
    data.with_slice::<T, _>("fit", |data| {
        x0.with_slice::<T, _>("fit", |x0| {
            t.with_slice::<T, _>("fit", |t| {
                let out = xt.chunks_exact_mut(d).zip(target.chunks_exact_mut(d));
                for (((xt, target), x0), (&row, &t)) in
                    out.zip(x0.chunks_exact(d)).zip(rows.iter().zip(t))
                {
                    let x1 = &data[row as usize * d..][..d];
                    for (((xt, v), &a), &b) in xt.iter_mut().zip(target).zip(x0).zip(x1) {
                        *v = b - a;
                        *xt = t.fma(b - a, a);
                    }
                }
            })
        })
    })???;
    let shape = x0.dims();
    Ok((
        Tensor::from_vec(xt, shape)?,
        Tensor::from_vec(target, shape)?,
    ))
}
