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

use rhapsode_tensor::{DType, Tensor, memory, params::Params};

use super::{
    LogProbOptions, VelocityField, VelocityNet, VelocityOptions,
    field::{SharedFlow, fits_rows},
    likelihood::{self, Base},
    path::Process,
    sample::{SampleOptions, draw},
    training::{FitOptions, FlowMatching},
};
use crate::{
    Error, Result, checkpoint::Checkpoint, checks::finite, observe::Observer, reference::Reference,
    train::Run,
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

    /// How its network is computed, in words.
    pub fn path(&self) -> &'static str {
        self.net.path()
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
        self.run(objective, options, observer)
    }

    /// Takes the steps of a training.
    pub(super) fn run(
        &self,
        objective: FlowMatching,
        options: &FitOptions,
        observer: &mut dyn Observer,
    ) -> Result<Run> {
        let mut run = Run::new(Box::new(objective), options.plan())?;
        run.more(options.steps, observer)?;
        Ok(run)
    }

    /// The network that training changes.
    pub(super) fn trained(&self) -> &VelocityNet {
        &self.net
    }

    /// The network with the moving average of the weights, which everything but training uses.
    pub(super) fn averaged(&self) -> &VelocityNet {
        &self.average
    }

    /// A flow of its own that begins as this one: both its networks are copies of the averaged one.
    pub fn duplicate(&self) -> Result<Self> {
        let from = self.average.params();
        Ok(Self {
            net: self.net.with(Arc::new(from.duplicate(true)?))?,
            average: self.average.with(Arc::new(from.duplicate(false)?))?,
        })
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
        let field = self.toward(labels, options.guidance);
        self.shaped(draw(field.as_ref(), n, options, observer)?)
    }

    /// Rows `[n, dim]` in the shape of the flow's samples.
    fn shaped(&self, x: Tensor) -> Result<Tensor> {
        let shape = &self.options().shape;
        if shape.is_empty() {
            return Ok(x);
        }
        let n = x.dim(0)?;
        Ok(x.reshape(&[&[n], shape.as_slice()].concat())?)
    }

    /// The flow towards these classes, or towards none.
    fn toward(&self, labels: Option<Vec<i64>>, guidance: f64) -> SharedFlow {
        let flow = self.clone();
        match labels {
            None => Arc::new(flow),
            Some(labels) => Arc::new(Guided {
                flow,
                labels,
                guidance,
            }),
        }
    }

    /// The flow towards one class, or towards a class for each row of the batches that it will see: a flow without classes,
    /// which can be sampled, steered and searched as any other.
    pub fn given(&self, labels: &[i64], guidance: f64) -> Result<SharedFlow> {
        check_labels("labels", labels, labels.len(), self.options().classes)?;
        if labels.is_empty() {
            return Err(Error::option("labels", "expected at least one label"));
        }
        finite("guidance", guidance)?;
        Ok(self.toward(Some(labels.to_vec()), guidance))
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
        let field = self.toward(labels, options.guidance);
        likelihood::log_prob_rows(field.as_ref(), &Base::Normal, &x, options, observer)
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

    fn dtype(&self) -> DType {
        self.params().dtype()
    }

    fn process(&self) -> Process {
        Process::rectified()
    }

    fn rows_at_once(&self) -> usize {
        self.net.rows_at_once()
    }
}

/// The flow towards given classes, a field of its own: one class for all rows, or one a row.
struct Guided {
    flow: RectifiedFlow,
    labels: Vec<i64>,
    guidance: f64,
}

impl VelocityField for Guided {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let n = t.len();
        let labels = match self.labels.as_slice() {
            &[one] => vec![one; n],
            // One point takes the first class, for looking at the field.
            many if n <= 1 => many.iter().copied().take(n).collect(),
            many => {
                fits_rows(self, n)?;
                many.to_vec()
            }
        };
        self.flow.velocity_of(x, t, Some(&labels), self.guidance)
    }

    fn dim(&self) -> usize {
        self.flow.options().dim
    }

    fn dtype(&self) -> DType {
        self.flow.dtype()
    }

    fn process(&self) -> Process {
        Process::rectified()
    }

    fn rows_at_once(&self) -> usize {
        self.flow.rows_at_once()
    }

    fn own_rows(&self) -> Option<usize> {
        (self.labels.len() > 1).then_some(self.labels.len())
    }

    fn of_rows(&self, rows: &[usize]) -> Result<Option<SharedFlow>> {
        if self.labels.len() == 1 {
            return Ok(None);
        }
        let labels = rows.iter().filter_map(|row| self.labels.get(*row).copied());
        let labels = Some(labels.collect());
        Ok(Some(self.flow.toward(labels, self.guidance)))
    }
}

/// Refuses labels of another number, or that are no classes.
pub(super) fn check_labels(key: &str, labels: &[i64], n: usize, classes: usize) -> Result<()> {
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
