//! Rectified flow (flow matching on straight lines).
//!
//! With noise `x0 ~ N(0, I)`, data `x1` and `t ~ U(0, 1)`, the network `v` minimises
//!
//! ```text
//! E | v(x_t, t) - (x1 - x0) |^2        x_t = (1 - t) x0 + t x1
//! ```
//!
//! (the mean over the elements of a sample), and samples follow `dx/dt = v(x, t)` from noise at `t = 0` to data
//! at `t = 1`. With classes, labels are dropped at random in training, and samples follow the
//! guided velocity `v(x, t) + w (v(x, t, class) - v(x, t))` (classifier-free guidance, Ho and Salimans
//! 2022, in the form in which `w = 1` is the plain conditional flow).
//!
//! Shapes: data `[n, dim]`, times `[n]`, labels `[n]`. Samples use the moving average of the weights.

use std::sync::Arc;

use rhapsode_tensor::{DType, Real, Tensor, memory, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Coupling, LogProbOptions, VelocityField, VelocityNet, VelocityOptions, likelihood};
use crate::{
    Error, Result,
    checkpoint::Checkpoint,
    data::Batches,
    native::{OptimizerValue, TensorValue},
    nn::positive,
    observe::{Observer, Step},
    ode::{self, SaveAt, SolveOptions, Solver},
    optim::{AdamOptions, Choice, Schedule},
    reference::Reference,
    train::{Objective, Plan, Run},
};

/// Where the method comes from.
pub const REFERENCE: Reference = Reference {
    key: "liu2022flow",
    title: "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
    authors: &["Xingchao Liu", "Chengyue Gong", "Qiang Liu"],
    year: 2022,
    arxiv: "2209.03003",
};

/// The kind under which checkpoints are saved.
pub const KIND: &str = "flow::rectified";

/// Options of a training.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FitOptions {
    /// Number of steps (at least 1; default 2000).
    pub steps: u64,
    /// Samples a step (at least 1; default 256).
    pub batch: usize,
    /// The optimizer, e.g. `optim::adam(#{ lr: 1e-3 })` (default: that one).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "OptimizerValue")]
    pub optimizer: Option<Choice>,
    /// Labels of the data, a tensor `[n]` of class numbers, for a flow with classes (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub labels: Option<Tensor>,
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
    /// Seed of data order, noise and times (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 256,
            optimizer: None,
            labels: None,
            schedule: None,
            warmup: 0,
            clip: None,
            ema: 0.999,
            coupling: Coupling::default(),
            label_drop: 0.1,
            seed: None,
        }
    }
}

impl FitOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        positive("steps", self.steps as usize)?;
        positive("batch", self.batch)?;
        if !(0.0..1.0).contains(&self.ema) {
            return Err(Error::option(
                "ema",
                format!("must lie in [0, 1), got {}", self.ema),
            ));
        }
        if !(0.0..=1.0).contains(&self.label_drop) {
            return Err(Error::option(
                "label_drop",
                format!("must lie in [0, 1], got {}", self.label_drop),
            ));
        }
        if let Some(clip) = self.clip.filter(|c| !(*c > 0.0 && c.is_finite())) {
            return Err(Error::option(
                "clip",
                format!("must be a finite number > 0, got {clip}"),
            ));
        }
        Ok(())
    }
}

/// Options of sampling.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleOptions {
    /// The solver (default "heun").
    pub solver: Solver,
    /// Number of equal steps from noise to data (at least 1; default 50; "dopri5", "tsit5" and "dopri8" without it choose their own).
    pub steps: Option<usize>,
    /// Relative tolerance when the solver chooses its steps (> 0; default 1e-4).
    pub rtol: Option<f64>,
    /// Absolute tolerance when the solver chooses its steps (> 0; default 1e-4).
    pub atol: Option<f64>,
    /// Class of all samples, for a flow with classes (default: no class).
    pub label: Option<i64>,
    /// Classes one by one, a tensor or array of n class numbers (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub labels: Option<Tensor>,
    /// Weight of the guidance towards the class: 1 is the plain conditional flow, larger is more typical (default 1).
    pub guidance: f64,
    /// Seed of the noise (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            solver: Solver::Heun,
            steps: None,
            rtol: None,
            atol: None,
            label: None,
            labels: None,
            guidance: 1.0,
            seed: None,
        }
    }
}

impl SampleOptions {
    fn solve(&self) -> SolveOptions {
        // The solvers of high order choose their steps; the others take few large ones.
        let chooses = matches!(self.solver, Solver::Dopri5 | Solver::Tsit5 | Solver::Dopri8);
        let adaptive = chooses && self.steps.is_none();
        SolveOptions {
            solver: self.solver,
            steps: (!adaptive).then(|| self.steps.unwrap_or(50)),
            rtol: self.rtol.or(adaptive.then_some(1e-4)),
            atol: self.atol.or(adaptive.then_some(1e-4)),
            save_at: SaveAt::END,
            ..Default::default()
        }
    }

    fn validate(&self) -> Result<()> {
        if !self.guidance.is_finite() {
            return Err(Error::option(
                "guidance",
                format!("must be finite, got {}", self.guidance),
            ));
        }
        if self.label.is_some() && self.labels.is_some() {
            return Err(Error::option(
                "label",
                "give either `label` or `labels`, not both",
            ));
        }
        likelihood::guides_something(self.guidance, self.label.is_some() || self.labels.is_some())?;
        self.solve().validate()
    }
}

/// A rectified flow. Clones share their parameters.
#[derive(Clone)]
pub struct RectifiedFlow {
    net: VelocityNet,
    average: VelocityNet,
}

impl RectifiedFlow {
    /// A flow with fresh parameters.
    pub fn new(options: VelocityOptions, seed: u64, dtype: DType) -> Result<Self> {
        let net = VelocityNet::new(options, seed, dtype)?;
        let average = net.with(Arc::new(net.params().duplicate(false)?))?;
        Ok(Self { net, average })
    }

    /// What it was made with.
    pub fn options(&self) -> &VelocityOptions {
        self.net.options()
    }

    /// The parameters that training changes.
    pub fn params(&self) -> &Arc<Params> {
        self.net.params()
    }

    /// Learns from data `[n, dim]`. The run that comes back has taken all steps, or those before an interrupt.
    pub fn fit(
        &self,
        data: &Tensor,
        options: &FitOptions,
        observer: &mut dyn Observer,
    ) -> Result<Run> {
        options.validate()?;
        let objective = FlowMatching::new(self.clone(), data, options)?;
        let plan = Plan {
            optimizer: options
                .optimizer
                .clone()
                .unwrap_or_else(|| AdamOptions::default().into()),
            steps: options.steps,
            schedule: options.schedule.clone(),
            warmup: options.warmup,
            clip: options.clip,
            ema: options.ema,
        };
        let mut run = Run::new(Box::new(objective), plan)?;
        run.more(options.steps, observer)?;
        Ok(run)
    }

    /// The velocity of the averaged network at `x: [n, dim]`, times `t: [n]` and, for a flow with
    /// classes, class numbers `[n]`; `guidance` as in [`SampleOptions`].
    pub fn velocity_of(
        &self,
        x: &Tensor,
        t: &Tensor,
        labels: Option<&[i64]>,
        guidance: f64,
    ) -> Result<Tensor> {
        let Some(labels) = labels.filter(|_| guidance != 1.0) else {
            return self.average.forward(x, t, labels);
        };
        // Both velocities in one batch: the second half has no class.
        let none = self.options().classes as i64;
        let both: Vec<i64> = labels
            .iter()
            .copied()
            .chain(labels.iter().map(|_| none))
            .collect();
        let v = self.average.forward(
            &Tensor::cat(&[x, x], 0)?,
            &Tensor::cat(&[t, t], 0)?,
            Some(&both),
        )?;
        let n = labels.len();
        let (with, without) = (v.narrow(0, 0, n)?, v.narrow(0, n, n)?);
        Ok(Tensor::combine(&[
            (guidance, &with),
            (1.0 - guidance, &without),
        ])?)
    }

    /// `n` samples, shape `[n, dim]`, or `[n, shape..]` for a flow of images.
    pub fn sample(
        &self,
        n: usize,
        options: &SampleOptions,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        options.validate()?;
        // Labels and noise are made for all samples at once: both must fit.
        memory::ensure(n, size_of::<i64>())?;
        let labels = self.labels(n, &options.labels, options.label)?;
        let dtype = self.params().dtype();
        let noise = Stream::new(options.seed.unwrap_or(0), "noise")
            .randn(&[n, self.options().dim], dtype)?;
        let solve = options.solve();
        let chunk = self.net.rows_at_once();
        let chunks = n.div_ceil(chunk).max(1);
        let total = solve.steps.map(|s| (s * chunks) as u64);
        let mut done = 0;
        let mut parts = Vec::with_capacity(chunks);
        for start in (0..n.max(1)).step_by(chunk) {
            let len = chunk.min(n - start);
            let x0 = noise.narrow(0, start, len)?;
            let labels = labels.as_ref().map(|l| &l[start..start + len]);
            let mut field = |x: &Tensor, t: f64| {
                let t = Tensor::full(t, &[len], dtype)?;
                self.velocity_of(x, &t, labels, options.guidance)
            };
            let mut watch = |_: &Step| {
                done += 1;
                observer.step(&Step {
                    label: "sample",
                    step: done,
                    total,
                    metrics: &[],
                })
            };
            let solution = ode::solve(&mut field, &x0, &solve, &mut watch)?;
            if solution.interrupted {
                // Points on the way are no samples.
                return Err(Error::Interrupted);
            }
            parts.push(solution.last().clone());
        }
        let x = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?;
        if !x.is_finite()? {
            let message =
                "samples are not finite: the flow diverged (train longer, or take more steps)"
                    .into();
            return Err(Error::Value {
                what: "sample",
                message,
            });
        }
        let shape = &self.options().shape;
        if shape.is_empty() {
            return Ok(x);
        }
        Ok(x.reshape(&[&[n], shape.as_slice()].concat())?)
    }

    /// The log-density, in nats, of each point of `x: [n, dim]` (or `[n, shape..]`); shape `[n]`. See [`likelihood`].
    pub fn log_prob(
        &self,
        x: &Tensor,
        options: &LogProbOptions,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        options.validate()?;
        let n = self.options().fits("x", x)?;
        let labels = self.labels(n, &options.labels, options.label)?;
        let x = x.to_dtype(self.params().dtype())?;
        let x = x.reshape(&[n, self.options().dim])?;
        let chunk = self.net.rows_at_once();
        let mut parts = Vec::new();
        for start in (0..n.max(1)).step_by(chunk) {
            let len = chunk.min(n - start);
            let field = Guided {
                flow: self,
                labels: labels.as_ref().map(|l| &l[start..start + len]),
                guidance: options.guidance,
            };
            let rows = if len == n {
                x.clone()
            } else {
                x.narrow(0, start, len)?
            };
            parts.push(likelihood::log_prob(
                &field, &rows, options, start, observer,
            )?);
        }
        Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?)
    }

    /// One class number a sample, checked, or none.
    fn labels(
        &self,
        n: usize,
        labels: &Option<Tensor>,
        label: Option<i64>,
    ) -> Result<Option<Vec<i64>>> {
        let (key, labels) = match (labels, label) {
            (Some(labels), _) => ("labels", labels.to_ints("labels")?),
            (None, Some(label)) => ("label", vec![label; n]),
            (None, None) => return Ok(None),
        };
        check_labels(key, &labels, n, self.options().classes)?;
        Ok(Some(labels))
    }

    /// As a checkpoint: the weights and their moving average.
    pub fn checkpoint(&self) -> Checkpoint {
        let options = serde_json::to_value(self.options()).unwrap_or_default();
        let mut checkpoint = Checkpoint {
            kind: KIND.into(),
            options,
            tensors: Vec::new(),
        };
        checkpoint.add("model.", self.params());
        checkpoint.add("average.", self.average.params());
        checkpoint
    }

    /// From a checkpoint.
    pub fn restore(checkpoint: &Checkpoint) -> Result<Self> {
        let bad = |message: String| Error::Value {
            what: "checkpoint",
            message,
        };
        if checkpoint.kind != KIND {
            return Err(bad(format!(
                "holds a `{}`, expected a `{KIND}`",
                checkpoint.kind
            )));
        }
        let options: VelocityOptions = serde_json::from_value(checkpoint.options.clone())
            .map_err(|e| bad(format!("its options do not fit: {e}")))?;
        let dtype = checkpoint
            .tensors
            .first()
            .map_or(DType::F32, |(_, t)| t.dtype());
        let flow = Self::new(options, 0, dtype)?;
        checkpoint.fill("model.", flow.params())?;
        checkpoint.fill("average.", flow.average.params())?;
        Ok(flow)
    }
}

impl VelocityField for RectifiedFlow {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.velocity_of(x, t, None, 1.0)
    }

    fn dim(&self) -> usize {
        self.options().dim
    }
}

/// The flow towards given classes, a field of its own. One point takes the first class, for looking at the field.
struct Guided<'a> {
    flow: &'a RectifiedFlow,
    labels: Option<&'a [i64]>,
    guidance: f64,
}

impl VelocityField for Guided<'_> {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let labels = self.labels.and_then(|l| l.get(..t.len()));
        self.flow.velocity_of(x, t, labels, self.guidance)
    }

    fn dim(&self) -> usize {
        self.flow.options().dim
    }
}

fn check_labels(key: &str, labels: &[i64], n: usize, classes: usize) -> Result<()> {
    if classes == 0 {
        return Err(Error::option(
            key,
            "this flow has no classes (make it with classes: k)",
        ));
    }
    if labels.len() != n {
        return Err(Error::option(
            key,
            format!("expected {n} labels, got {}", labels.len()),
        ));
    }
    match labels.iter().find(|l| !(0..classes as i64).contains(l)) {
        Some(label) => Err(Error::option(
            key,
            format!("must lie in 0..{classes}, got {label}"),
        )),
        None => Ok(()),
    }
}

/// Flow matching on independent pairs: the loss of a step.
struct FlowMatching {
    flow: RectifiedFlow,
    data: Tensor,
    labels: Option<Vec<i64>>,
    batches: Batches,
    noise: Stream,
    time: Stream,
    drop: Stream,
    label_drop: f64,
    coupling: Coupling,
}

impl FlowMatching {
    fn new(flow: RectifiedFlow, data: &Tensor, options: &FitOptions) -> Result<Self> {
        let dim = flow.options().dim;
        let n = flow.options().fits("data", data).ok().filter(|&n| n > 0);
        let Some(n) = n else {
            let shape = flow.options().shape.iter();
            let expected = match flow.options().shape.is_empty() {
                true => format!("[n, {dim}] with n > 0 (the flow has dim {dim})"),
                false => {
                    let sizes: Vec<String> = shape.map(usize::to_string).collect();
                    format!("[n, {}] with n > 0", sizes.join(", "))
                }
            };
            return Err(Error::Shape {
                what: "data",
                expected,
                got: data.dims().to_vec(),
            });
        };
        let data = data
            .detach()
            .reshape(&[n, dim])?
            .to_dtype(flow.params().dtype())?
            .contiguous()?;
        if !data.is_finite()? {
            return Err(Error::Value {
                what: "data",
                message: "holds NaN or infinity".into(),
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
        let batches = Batches::new(n, options.batch, Stream::new(seed, "order"))?;
        Ok(Self {
            flow,
            data,
            labels,
            batches,
            noise: Stream::new(seed, "noise"),
            time: Stream::new(seed, "time"),
            drop: Stream::new(seed, "label-drop"),
            label_drop: options.label_drop,
            coupling: options.coupling,
        })
    }

    /// The noise in the order in which it is paired with the rows.
    fn pair(&self, x0: Tensor, rows: &[i64]) -> Result<Tensor> {
        if self.coupling == Coupling::Independent {
            return Ok(x0);
        }
        let rows = Tensor::from_vec(rows.to_vec(), &[rows.len()])?;
        self.coupling.pair(x0, &self.data.index_select(0, &rows)?)
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
            label.filter(|_| u >= self.label_drop).unwrap_or(none)
        };
        Some(rows.iter().zip(&u).map(pick).collect())
    }
}

impl Objective for FlowMatching {
    fn label(&self) -> &str {
        "fit rectified flow"
    }

    fn params(&self) -> &Arc<Params> {
        self.flow.params()
    }

    fn average(&self) -> Option<&Arc<Params>> {
        Some(self.flow.average.params())
    }

    fn loss(&mut self, step: u64) -> Result<Tensor> {
        let rows = self.batches.indices(step - 1)?;
        let (n, d, dtype) = (rows.len(), self.flow.options().dim, self.data.dtype());
        let x0 = self.noise.at(step).randn(&[n, d], dtype)?;
        let x0 = self.pair(x0, &rows)?;
        let t = self.time.at(step).rand(&[n], dtype)?;
        let (xt, target) = match dtype {
            DType::F64 => interpolate::<f64>(&self.data, &rows, &x0, &t)?,
            _ => interpolate::<f32>(&self.data, &rows, &x0, &t)?,
        };
        let labels = self.batch_labels(&rows, step);
        Ok(self
            .flow
            .net
            .forward(&xt, &t, labels.as_deref())?
            .mse(&target)?)
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
