//! Stochastic interpolants: `x_t = alpha(t) x0 + beta(t) x1 + gamma(t) z` between any two laws.
//!
//! Conditional expectations given `x_t` are learned by regression ([`objective`]): the velocity `b = E[x_t']`, the drift `v` without the
//! latent's part, the score `s`, the denoiser `eta`; what was not learned is converted ([`super::convert`]). For any
//! `eps(t) >= 0` the same law moves along
//!
//! ```text
//! dX = b dt        dX = (b + eps s) dt + sqrt(2 eps) dW (forward)        dX = (b - eps s) dt + sqrt(2 eps) dW (backward)
//! ```
//!
//! ([`sde`]). Densities come from the ODE or by an estimator from the SDE ([`density`]); [`bound`] tells how far from the data the
//! forward SDE can be, [`bridge`] optimises the interpolant itself to the Schroedinger bridge.
//!
//! The score is `-eta / gamma`, without bound at the ends: all but a learned velocity is looked at no closer than `delta` to them. The
//! diffusive interpolant, a Brownian bridge in place of `gamma z`, has the law of `gamma: "sqrt"` at each time and so its fields.
//!
//! Deviations from the official code: its antithetic losses are sums and its denoiser is `-E[z | x]`; its mirror flow has the
//! other sign, under which points do not return.

pub mod bound;
pub mod bridge;
pub mod density;
pub mod objective;
pub mod sde;
mod source;

use std::sync::{Arc, Mutex};

use rhapsode_tensor::{DType, Tensor, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use objective::InterpolantFit;
use objective::{Fitting, SharedBase, lock};
pub use source::{Functions, Networks, Source};

use super::{
    convert::{Converter, FieldKind, determines},
    field::VelocityField,
    likelihood::Base,
    mixture::{Exact, Mixture},
    path::{Gamma, GammaKind, Path, Process, Sort},
};
use crate::{
    Error, Result,
    checkpoint::Checkpoint,
    checks::at_least_one,
    nn::{Activation, TimeFeatures},
    observe::Observer,
    reference::Reference,
    train::Run,
};

/// Where the method comes from.
pub const REFERENCE: Reference = Reference {
    key: "albergo2023stochastic",
    title: "Stochastic Interpolants: A Unifying Framework for Flows and Diffusions",
    authors: &[
        "Michael S. Albergo",
        "Nicholas M. Boffi",
        "Eric Vanden-Eijnden",
    ],
    year: 2023,
    arxiv: "2303.08797",
};

/// The kind under which checkpoints are saved.
pub const KIND: &str = "flow::interpolant";

/// Options of an interpolant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InterpolantOptions {
    /// Size of one sample (at least 1; default 2).
    pub dim: usize,
    /// How base and data are weighted on the way; "one-sided-..", "sbdm" from Gaussian noise, "mirror" from the data to themselves (default "linear").
    pub path: Path,
    /// The latent's coefficient (default "sqrt"; "zero" on one-sided paths).
    pub gamma: Option<GammaKind>,
    /// The factor a of gamma = sqrt(a t (1 - t)) (> 0; default 1).
    pub gamma_scale: f64,
    /// Fields to learn, of "velocity", "drift", "score", "denoiser" (default: velocity and denoiser; the velocity alone on one-sided paths and without a latent, the denoiser alone on "mirror").
    pub learn: Option<Vec<FieldKind>>,
    /// Whether one network learns all fields, instead of one each (default false).
    pub shared: bool,
    /// Sizes of the hidden layers (default [128, 128, 128]).
    pub hidden: Vec<usize>,
    /// What stands after each hidden layer (default "silu").
    pub activation: Activation,
    /// Number of frequencies of time: a network sees t and sin, cos of pi k t for k up to it (default 8).
    pub time_frequencies: usize,
    /// How close to the ends times are drawn, and scores are looked at (in (0, 0.5); default 0.001).
    pub delta: f64,
}

impl Default for InterpolantOptions {
    fn default() -> Self {
        Self {
            dim: 2,
            path: Path::default(),
            gamma: None,
            gamma_scale: 1.0,
            learn: None,
            shared: false,
            hidden: vec![128, 128, 128],
            activation: Activation::default(),
            time_frequencies: 8,
            delta: 1e-3,
        }
    }
}

impl InterpolantOptions {
    fn features(&self) -> TimeFeatures {
        TimeFeatures {
            frequencies: self.time_frequencies,
        }
    }

    /// Its process.
    pub fn process(&self) -> Process {
        let default = match self.path.sort() {
            Sort::OneSided => GammaKind::Zero,
            Sort::TwoSided | Sort::Mirror => GammaKind::Sqrt,
        };
        Process {
            path: self.path,
            gamma: Gamma::Named(self.gamma.unwrap_or(default), self.gamma_scale),
        }
    }

    /// The fields that are learned.
    pub fn learns(&self) -> Vec<FieldKind> {
        if let Some(learn) = &self.learn {
            return learn.clone();
        }
        match self.path.sort() {
            Sort::Mirror => vec![FieldKind::Denoiser],
            Sort::OneSided => vec![FieldKind::Velocity],
            Sort::TwoSided if self.process().gamma.is_zero() => vec![FieldKind::Velocity],
            Sort::TwoSided => vec![FieldKind::Velocity, FieldKind::Denoiser],
        }
    }

    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("dim", self.dim)?;
        self.hidden
            .iter()
            .try_for_each(|&n| at_least_one("hidden", n))?;
        if !(self.delta > 0.0 && self.delta < 0.5) {
            let message = format!("must lie in (0, 0.5), got {}", self.delta);
            return Err(Error::option("delta", message));
        }
        if self.gamma_scale != 1.0 && !self.process().gamma.is_singular() {
            let message = "has no effect on this gamma: it is the factor of \"sqrt\"";
            return Err(Error::option("gamma_scale", message));
        }
        self.process().validate()
    }

    /// Refuses fields that do not give a velocity.
    fn validate_learned(&self, process: &Process) -> Result<()> {
        let learn = self.learns();
        let twice = learn
            .iter()
            .enumerate()
            .find(|(i, k)| learn[..*i].contains(k));
        if let Some((_, kind)) = twice {
            let message = format!("{:?} stands there twice", kind.name());
            return Err(Error::option("learn", message));
        }
        let no_latent = process.gamma.is_zero() && process.path.sort() == Sort::TwoSided;
        if no_latent
            && learn
                .iter()
                .any(|k| matches!(k, FieldKind::Score | FieldKind::Denoiser))
        {
            let message = "without a latent there is no score or denoiser to learn";
            return Err(Error::option("learn", message));
        }
        if !determines(process, &learn).0 {
            let names: Vec<&str> = learn.iter().map(|k| k.name()).collect();
            let message = format!(
                "{names:?} do not give the velocity on the path {:?}: add \"velocity\", or \"drift\" with \"denoiser\"",
                process.path.name()
            );
            return Err(Error::option("learn", message));
        }
        Ok(())
    }
}

/// A position function or its derivative: times `[n, 1]`, base and data `[n, d]` to points `[n, d]`.
pub type PositionFn = Arc<dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

/// An interpolant of one's own, `x_t = I(t, x0, x1) + gamma z`, linear in space or not.
#[derive(Clone)]
pub struct CustomPath {
    /// `I`.
    pub position: PositionFn,
    /// Its derivative in time.
    pub derivative: PositionFn,
}

impl CustomPath {
    fn at(&self, t: &Tensor, x0: &Tensor, x1: &Tensor) -> Result<(Tensor, Tensor)> {
        let t = t.unsqueeze(1)?;
        Ok(((self.position)(&t, x0, x1)?, (self.derivative)(&t, x0, x1)?))
    }
}

/// The law of `x0`.
#[derive(Clone)]
pub enum BaseLaw {
    /// Standard normal.
    Normal,
    /// Points of it, `[m, d]`.
    Points(Tensor),
    /// A mixture of Gaussians.
    Mixture(Mixture),
}

impl BaseLaw {
    /// `n` draws.
    fn draw(&self, n: usize, d: usize, stream: Stream, dtype: DType) -> Result<Tensor> {
        match self {
            BaseLaw::Normal => Ok(stream.randn(&[n, d], dtype)?),
            BaseLaw::Mixture(mixture) => mixture.sample(n, stream, dtype),
            BaseLaw::Points(points) => {
                let mut rows = vec![0u64; n];
                stream.below(points.dim(0)? as u64, &mut rows);
                let rows: Vec<i64> = rows.into_iter().map(|row| row as i64).collect();
                let rows = Tensor::from_vec(rows, &[n])?;
                Ok(points.index_select(0, &rows)?.to_dtype(dtype)?)
            }
        }
    }
}

/// An interpolant and what knows its fields. Clones share their parameters.
#[derive(Clone)]
pub struct Interpolant {
    options: InterpolantOptions,
    process: Process,
    custom: Option<CustomPath>,
    source: Arc<dyn Source>,
    nets: Option<(Networks, Networks)>,
    base: SharedBase,
    dtype: DType,
}

impl Interpolant {
    /// An interpolant with networks to fit. `gamma` and `custom` take the place of those of the options.
    pub fn new(
        options: InterpolantOptions,
        gamma: Option<Gamma>,
        custom: Option<CustomPath>,
        seed: u64,
        dtype: DType,
    ) -> Result<Self> {
        options.validate()?;
        let mut process = options.process();
        if let Some(gamma) = gamma {
            process.gamma = gamma;
            process.validate()?;
        }
        if custom.is_some() && process.path != Path::Linear {
            let message = "an interpolant of one's own is two-sided: leave `path` out";
            return Err(Error::option("path", message));
        }
        options.validate_learned(&process)?;
        let nets = Networks::new(&options, seed, dtype)?;
        let average = nets.with(&options, Arc::new(nets.params().duplicate(false)?));
        Ok(Self {
            process,
            custom,
            source: Arc::new(average.clone()),
            nets: Some((nets, average)),
            base: Arc::new(Mutex::new(BaseLaw::Normal)),
            options,
            dtype,
        })
    }

    /// The exact interpolant between two mixtures of Gaussians.
    pub fn exact(
        base: Option<Mixture>,
        target: Mixture,
        process: Process,
        dtype: DType,
    ) -> Result<Self> {
        let law = match (process.path.sort(), base) {
            (Sort::TwoSided, Some(base)) => BaseLaw::Mixture(base),
            (Sort::TwoSided | Sort::OneSided, None) => BaseLaw::Normal,
            (Sort::Mirror, None) => BaseLaw::Mixture(target.clone()),
            (Sort::OneSided | Sort::Mirror, Some(_)) => {
                let message = format!(
                    "the path {:?} has a base of its own: leave it out",
                    process.path.name()
                );
                return Err(Error::option("base", message));
            }
        };
        let dim = target.dim();
        let first = match &law {
            BaseLaw::Mixture(mixture) => mixture.clone(),
            _ => Mixture::normal(dim)?,
        };
        let exact = Exact::new(first, target, process.clone())?;
        let mut model = Self::over(Arc::new(exact), dim, process, law, dtype)?;
        // Exact scores have bounds wherever the laws have densities.
        model.options.delta = 1e-6;
        Ok(model)
    }

    /// An interpolant whose fields are known.
    pub fn over(
        source: Arc<dyn Source>,
        dim: usize,
        process: Process,
        base: BaseLaw,
        dtype: DType,
    ) -> Result<Self> {
        process.validate()?;
        let options = InterpolantOptions {
            dim,
            path: process.path,
            ..Default::default()
        };
        Ok(Self {
            options,
            process,
            custom: None,
            source,
            nets: None,
            base: Arc::new(Mutex::new(base)),
            dtype,
        })
    }

    /// What it was made with.
    pub fn options(&self) -> &InterpolantOptions {
        &self.options
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The position of one's own, where there is one.
    pub(super) fn custom(&self) -> Option<&CustomPath> {
        self.custom.as_ref()
    }

    /// The parameters that training changes; none where the fields are known.
    pub fn params(&self) -> Option<&Arc<Params>> {
        self.nets.as_ref().map(|(nets, _)| nets.params())
    }

    /// Which fields its source knows.
    pub fn knows(&self) -> &[FieldKind] {
        self.source.kinds()
    }

    /// What its flow begins with.
    pub fn base(&self) -> BaseLaw {
        lock(&self.base).clone()
    }

    /// The density of the base, where it is known.
    pub fn base_density(&self) -> Option<Base> {
        match self.base() {
            BaseLaw::Normal => Some(Base::Normal),
            BaseLaw::Mixture(mixture) => {
                Some(Base::Density(Arc::new(move |x| mixture.log_density(x))))
            }
            BaseLaw::Points(_) => None,
        }
    }

    /// Learns from data `[n, d]` and points of the base `[m, d]`; without them the base is Gaussian (of "mirror": the data).
    pub fn fit(
        &self,
        base: Option<&Tensor>,
        data: &Tensor,
        options: &InterpolantFit,
        observer: &mut dyn Observer,
    ) -> Result<Run> {
        options.validate()?;
        let Some((nets, average)) = &self.nets else {
            return Err(Error::Value {
                what: "fit",
                message: "the fields of this interpolant are given: there is nothing to learn"
                    .into(),
            });
        };
        if base.is_some() && self.process.path.sort() != Sort::TwoSided {
            return Err(Error::Value {
                what: "base",
                message: format!(
                    "the path {:?} has a base of its own: give the data alone",
                    self.process.path.name()
                ),
            });
        }
        let objective = Fitting::new(
            self,
            nets.clone(),
            average.params().clone(),
            base,
            data,
            options,
        )?;
        let mut run = Run::new(Box::new(objective), options.plan())?;
        *lock(&self.base) = match (base, self.process.path.sort()) {
            (Some(base), _) => BaseLaw::Points(base.detach().to_dtype(self.dtype)?),
            (None, Sort::Mirror) => BaseLaw::Points(data.detach().to_dtype(self.dtype)?),
            (None, _) => BaseLaw::Normal,
        };
        run.more(options.steps, observer)?;
        Ok(run)
    }

    /// `n` draws of the base.
    pub fn draw_base(&self, n: usize, seed: u64) -> Result<Tensor> {
        self.base()
            .draw(n, self.options.dim, Stream::new(seed, "noise"), self.dtype)
    }

    /// Times no closer than `delta` to the ends.
    fn inside(&self, t: &Tensor) -> Result<Tensor> {
        Ok(t.clamp(self.options.delta, 1.0 - self.options.delta)?)
    }

    /// One field, looked at inside where the source does not know it itself.
    fn converted(
        &self,
        x: &Tensor,
        t: &Tensor,
        wanted: Option<FieldKind>,
        of: impl Fn(&Converter) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let direct = wanted.is_some_and(|kind| self.source.kinds().contains(&kind));
        let exact = direct && (wanted == Some(FieldKind::Velocity) || self.nets.is_none());
        let t = if exact { t.clone() } else { self.inside(t)? };
        let fields = self.source.fields(x, &t)?;
        of(&Converter::new(&self.process, x, &t, &fields)?)
    }

    /// The score at points `[n, d]` and times `[n]`.
    pub fn score(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.converted(x, t, Some(FieldKind::Score), |c| c.score())
    }

    /// The denoiser: the expected latent, one-sided the expected noise.
    pub fn denoiser(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.converted(x, t, Some(FieldKind::Denoiser), |c| c.denoiser())
    }

    /// The expected data.
    pub fn data(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        if self.custom.is_some() {
            return Err(Error::Value {
                what: "data",
                message: "cannot be told from the fields of an interpolant of one's own".into(),
            });
        }
        self.converted(x, t, None, |c| c.data())
    }

    /// `b + eps s` (forward) or `b - eps s` (backward) from one look at the fields.
    pub(super) fn drift(&self, x: &Tensor, t: f64, epsilon: f64) -> Result<Tensor> {
        let n = x.dims().first().copied().unwrap_or(0);
        let t = Tensor::full(t, &[n], x.dtype())?;
        if epsilon == 0.0 {
            return self.velocity(x, &t);
        }
        // The score needs a time inside; the velocity comes along from the same look.
        let t = if self.nets.is_none() && self.source.kinds().contains(&FieldKind::Score) {
            t
        } else {
            self.inside(&t)?
        };
        let fields = self.source.fields(x, &t)?;
        let c = Converter::new(&self.process, x, &t, &fields)?;
        Ok(Tensor::combine(&[
            (1.0, &c.velocity()?),
            (epsilon, &c.score()?),
        ])?)
    }

    /// As a checkpoint: options, weights, their moving average, and the base's points.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let Some((nets, average)) = self.nets.as_ref().filter(|_| self.custom.is_none()) else {
            return Err(Error::Value {
                what: "save",
                message: "an interpolant with given fields or a path of one's own is a function of the script, and cannot be saved".into(),
            });
        };
        if matches!(self.process.gamma, Gamma::Custom(_)) {
            return Err(Error::Value {
                what: "save",
                message: "an interpolant with a gamma of one's own cannot be saved".into(),
            });
        }
        let mut checkpoint = Checkpoint {
            kind: KIND.into(),
            options: serde_json::to_value(&self.options).unwrap_or_default(),
            tensors: Vec::new(),
        };
        checkpoint.add("model.", nets.params());
        checkpoint.add("average.", average.params());
        if let BaseLaw::Points(points) = self.base() {
            checkpoint.tensors.push(("base".into(), points));
        }
        Ok(checkpoint)
    }

    /// From a checkpoint.
    pub fn restore(checkpoint: &Checkpoint) -> Result<Self> {
        let bad = |message: String| Error::Value {
            what: "checkpoint",
            message,
        };
        let options: InterpolantOptions = serde_json::from_value(checkpoint.options.clone())
            .map_err(|e| bad(format!("its options do not fit: {e}")))?;
        let dtype = checkpoint
            .tensors
            .first()
            .map_or(DType::F32, |(_, t)| t.dtype());
        let model = Self::new(options, None, None, 0, dtype)?;
        if let Some((nets, average)) = &model.nets {
            checkpoint.fill("model.", nets.params())?;
            checkpoint.fill("average.", average.params())?;
        }
        if let Some((_, points)) = checkpoint.tensors.iter().find(|(name, _)| name == "base") {
            *lock(&model.base) = BaseLaw::Points(points.clone());
        }
        Ok(model)
    }
}

impl VelocityField for Interpolant {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.converted(x, t, Some(FieldKind::Velocity), |c| c.velocity())
    }

    fn dim(&self) -> usize {
        self.options.dim
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn process(&self) -> Process {
        self.process.clone()
    }

    fn rows_at_once(&self) -> usize {
        match self.nets {
            Some(_) => 8192,
            None => usize::MAX,
        }
    }
}
