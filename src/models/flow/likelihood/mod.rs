//! Exact likelihood of flows by the change of variables along the ODE.
//!
//! With `dx/dt = v(x, t)` from a standard normal base at `t = 0` to data at `t = 1`,
//!
//! ```text
//! log p(x) = log N(x(0); 0, I) - int_0^1 div v(x(t), t) dt        x(1) = x
//! ```
//!
//! (Chen et al. 2018, arXiv 1806.07366). The state and the integral are carried together, backward in time, in f64; the
//! field runs in its own precision. The divergence is the exact trace of the Jacobian, `dim` backward passes an
//! evaluation, or Hutchinson's unbiased estimate `e^T (dv/dx) e` with random signs `e`, the same along a whole
//! trajectory (Grathwohl et al. 2018, arXiv 1810.01367). Rows must not influence each other in the field. The base may be any
//! density, see [`Base`].
//!
//! The result has a gradient: with respect to `x` and to whatever tracked tensors the field holds.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, random::Stream, tape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{VelocityField, field::check_points, sample::Walk};
use crate::{
    Error, Result,
    checks::{self, at_least_one},
    native::TensorValue,
    observe::{Observer, Step},
    ode::{self, SaveAt, SolveOptions, Solver},
};

/// Largest dimension at which the trace is exact by default: an evaluation costs `dim` backward passes.
const EXACT: usize = 16;

/// How the divergence of the field is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trace {
    /// Exact up to 16 dimensions, Hutchinson's estimate above.
    #[default]
    Auto,
    /// The exact trace: `dim` backward passes an evaluation.
    Exact,
    /// Hutchinson's estimate: `probes` backward passes an evaluation; unbiased, with a spread.
    Hutchinson,
}

/// Options of a likelihood.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogProbOptions {
    /// The solver (default "dopri5").
    pub solver: Solver,
    /// Number of equal steps from data to noise (at least 1). Default: "dopri5" chooses its own, the others take 100.
    pub steps: Option<usize>,
    /// Relative tolerance when the solver chooses its steps (> 0; default 1e-5).
    pub rtol: Option<f64>,
    /// Absolute tolerance when the solver chooses its steps (> 0; default 1e-6).
    pub atol: Option<f64>,
    /// How the divergence is found (default "auto": exact up to 16 dimensions, "hutchinson" above).
    pub trace: Trace,
    /// Random sign vectors of Hutchinson's estimate, averaged (at least 1; default 1).
    pub probes: usize,
    /// Class of all points, for a flow with classes (default: no class).
    pub label: Option<i64>,
    /// Classes one by one, a tensor of n class numbers (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub labels: Option<Tensor>,
    /// Weight of the guidance towards the class; 1 is the plain conditional flow, whose density this is (default 1).
    pub guidance: f64,
    /// Seed of the sign vectors (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for LogProbOptions {
    fn default() -> Self {
        Self {
            solver: Solver::Dopri5,
            steps: None,
            rtol: None,
            atol: None,
            trace: Trace::default(),
            probes: 1,
            label: None,
            labels: None,
            guidance: 1.0,
            seed: None,
        }
    }
}

impl LogProbOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("probes", self.probes)?;
        checks::finite("guidance", self.guidance)?;
        if self.label.is_some() && self.labels.is_some() {
            let message = "give either `label` or `labels`, not both";
            return Err(Error::option("label", message));
        }
        guides_something(self.guidance, self.label.is_some() || self.labels.is_some())?;
        self.solve().validate()
    }

    fn solve(&self) -> SolveOptions {
        SolveOptions {
            from: 1.0,
            to: 0.0,
            solver: self.solver,
            steps: self.steps,
            rtol: self.rtol,
            atol: self.atol,
            save_at: SaveAt::END,
            ..Default::default()
        }
    }
}

/// Refuses guidance without a class to guide to.
pub(super) fn guides_something(guidance: f64, has_class: bool) -> Result<()> {
    if guidance != 1.0 && !has_class {
        let message = "has no effect without a class: give `label` or `labels`";
        return Err(Error::option("guidance", message));
    }
    Ok(())
}

/// A log-density of points `[n, d]`, one number a row.
pub type LogDensity = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// What a flow begins with.
#[derive(Clone)]
pub enum Base {
    /// Standard normal.
    Normal,
    /// A known density.
    Density(LogDensity),
}

impl Base {
    /// Its log-density at points `[n, d]`.
    pub fn log_density(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Base::Normal => {
                let d = x.dim(1)? as f64;
                let square = x.sqr()?.sum(&[1])?;
                Ok(square.affine(-0.5, -0.5 * d * std::f64::consts::TAU.ln())?)
            }
            Base::Density(of) => {
                let found = of(x)?;
                match found.dims() == [x.dim(0)?] {
                    true => Ok(found),
                    false => Err(Error::Shape {
                        what: "log-density of the base",
                        expected: format!("one number a row, [{}]", x.dim(0)?),
                        got: found.dims().to_vec(),
                    }),
                }
            }
        }
    }
}

/// The log-density, in nats, of each row of `x: [n, dim]` under a flow from a standard normal base; shape `[n]`.
///
/// `row` numbers the first row among all, so that pieces of a batch draw their own signs. Errors: a wrong shape, points that
/// leave the numbers on their way, an interrupt.
pub fn log_prob(
    field: &dyn VelocityField,
    x: &Tensor,
    options: &LogProbOptions,
    row: usize,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    log_prob_from(field, &Base::Normal, x, options, row, observer)
}

/// Like [`log_prob`], from any base.
pub fn log_prob_from(
    field: &dyn VelocityField,
    base: &Base,
    x: &Tensor,
    options: &LogProbOptions,
    row: usize,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    let (end, integral) = transport(field, x, (1.0, 0.0), options, row, observer)?;
    // From 1 to 0 the integral of the divergence arrives as -int_0^1.
    let log_prob = base
        .log_density(&end)?
        .to_dtype(DType::F64)?
        .add(&integral)?;
    finite(log_prob, x.dtype())
}

/// The log-density of many rows, piece by piece.
pub(super) fn log_prob_rows(
    field: &dyn VelocityField,
    base: &Base,
    x: &Tensor,
    options: &LogProbOptions,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    let walk = Walk {
        field,
        label: "log_prob",
        steps: None,
    };
    let mut row = 0;
    walk.all(x, observer, &mut |field, x, watch| {
        let found = log_prob_from(field, base, x, options, row, watch);
        row += x.dim(0)?;
        found
    })
}

/// Carries points from their base to data and gives their log-densities on the way: `log p(x(1)) = log p0(x(0)) - int_0^1
/// div v`. For points and densities at once, when samples are drawn.
pub fn push(
    field: &dyn VelocityField,
    base: &Base,
    x0: &Tensor,
    options: &LogProbOptions,
    observer: &mut dyn Observer,
) -> Result<(Tensor, Tensor)> {
    let (end, integral) = transport(field, x0, (0.0, 1.0), options, 0, observer)?;
    let start = base.log_density(x0)?.to_dtype(DType::F64)?;
    let log_prob = finite(start.sub(&integral)?, x0.dtype())?;
    Ok((end.to_dtype(x0.dtype())?, log_prob))
}

fn finite(log_prob: Tensor, dtype: DType) -> Result<Tensor> {
    if !log_prob.is_finite()? {
        return Err(Error::Value {
            what: "log_prob",
            message:
                "is not finite: the flow carried a point away (train longer, or look at the points)"
                    .into(),
        });
    }
    Ok(log_prob.to_dtype(dtype)?)
}

/// Where points arrive between two times, `[n, d]`, and the integral of the divergence on the way, `[n]`, both in f64.
pub fn transport(
    field: &dyn VelocityField,
    x: &Tensor,
    (from, to): (f64, f64),
    options: &LogProbOptions,
    row: usize,
    observer: &mut dyn Observer,
) -> Result<(Tensor, Tensor)> {
    options.validate()?;
    let d = field.dim();
    if x.rank() != 2 {
        return Err(Error::Shape {
            what: "x",
            expected: format!("[n, {d}]"),
            got: x.dims().to_vec(),
        });
    }
    let n = check_points(field, "x", x)?;
    let divergence = Divergence::new(field, x, options, row)?;
    let start = Tensor::cat(
        &[
            &x.to_dtype(DType::F64)?,
            &Tensor::zeros(&[n, 1], DType::F64)?,
        ],
        1,
    )?;
    let mut slope = |state: &Tensor, t: f64| divergence.slope(state, t);
    let mut watch = |step: &Step| {
        observer.step(&Step {
            label: "log_prob",
            ..*step
        })
    };
    let solve = SolveOptions {
        from,
        to,
        ..options.solve()
    };
    let solution = ode::solve(&mut slope, &start, &solve, &mut watch)?;
    if solution.interrupted {
        return Err(Error::Interrupted);
    }
    let end = solution.last();
    Ok((end.narrow(1, 0, d)?, end.narrow(1, d, 1)?.squeeze(1)?))
}

/// The exact divergence of a field at points `[n, d]` and one time, `[n]`.
pub fn divergence(field: &dyn VelocityField, x: &Tensor, t: f64) -> Result<Tensor> {
    let options = LogProbOptions {
        trace: Trace::Exact,
        ..Default::default()
    };
    let divergence = Divergence::new(field, x, &options, 0)?;
    tape::enable_grad(|| Ok(divergence.at(&x.detach().param()?, t)?.1.detach()))
}

/// The field of the joint state (point, integral of the divergence).
struct Divergence<'a> {
    field: &'a dyn VelocityField,
    dim: usize,
    dtype: DType,
    /// Sign vectors of Hutchinson's estimate; none: the exact trace.
    probes: Vec<Tensor>,
    /// Whether the result shall have a gradient.
    differentiable: bool,
}

impl<'a> Divergence<'a> {
    fn new(
        field: &'a dyn VelocityField,
        x: &Tensor,
        options: &LogProbOptions,
        row: usize,
    ) -> Result<Self> {
        let (dim, dtype) = (field.dim(), x.dtype());
        let estimate = match options.trace {
            Trace::Auto => dim > EXACT,
            Trace::Exact => false,
            Trace::Hutchinson => true,
        };
        if !estimate && options.probes > 1 {
            let message = "has no effect on the exact trace: set trace: \"hutchinson\"";
            return Err(Error::option("probes", message));
        }
        let signs = |probe: u64| {
            let stream = Stream::new(options.seed.unwrap_or(0), "hutchinson").at(probe);
            signs(stream.at(row as u64), x.dims(), dtype)
        };
        let probes = if estimate {
            (0..options.probes as u64)
                .map(signs)
                .collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        // Something tracked inside the field shows in its value at an untracked point.
        let differentiable = tape::is_recording() && {
            let probe = x.narrow(0, 0, x.dims().first().copied().unwrap_or(0).min(1))?;
            let t = Tensor::ones(&[probe.dim(0)?], dtype)?;
            x.is_tracked() || field.velocity(&probe.detach(), &t)?.is_tracked()
        };
        Ok(Self {
            field,
            dim,
            dtype,
            probes,
            differentiable,
        })
    }

    /// `(v, div v)` at a joint state `[n, dim + 1]`.
    fn slope(&self, state: &Tensor, t: f64) -> Result<Tensor> {
        let point = state.narrow(1, 0, self.dim)?.to_dtype(self.dtype)?;
        // A solver may look at the field without recording (for its first step): the divergence needs it all the same.
        let (v, divergence) = if self.differentiable && tape::is_recording() {
            let point = if point.is_tracked() {
                point
            } else {
                point.param()?
            };
            self.at(&point, t)?
        } else {
            let (v, divergence) = tape::enable_grad(|| self.at(&point.detach().param()?, t))?;
            (v.detach(), divergence.detach())
        };
        let divergence = divergence.to_dtype(DType::F64)?.unsqueeze(1)?;
        Ok(Tensor::cat(&[&v.to_dtype(DType::F64)?, &divergence], 1)?)
    }

    /// The velocity `[n, dim]` and its divergence `[n]` at a tracked point.
    fn at(&self, point: &Tensor, t: f64) -> Result<(Tensor, Tensor)> {
        let n = point.dim(0)?;
        let v = self
            .field
            .velocity(point, &Tensor::full(t, &[n], self.dtype)?)?;
        let mut terms = Vec::new();
        if self.probes.is_empty() {
            for axis in 0..self.dim {
                let column = v.narrow(1, axis, 1)?;
                let row = self.pull(&column, point, &Tensor::ones(&[n, 1], self.dtype)?)?;
                terms.push(row.narrow(1, axis, 1)?.squeeze(1)?);
            }
        }
        for probe in &self.probes {
            let row = self.pull(&v, point, probe)?;
            terms.push(row.mul(probe)?.sum(&[1])?);
        }
        let weight = 1.0 / self.probes.len().max(1) as f64;
        let weighted: Vec<(f64, &Tensor)> = terms.iter().map(|term| (weight, term)).collect();
        Ok((v, Tensor::combine(&weighted)?))
    }

    /// `w^T dv/dx`, zero where the value does not depend on the point.
    fn pull(&self, v: &Tensor, point: &Tensor, w: &Tensor) -> Result<Tensor> {
        let create_graph = self.differentiable && tape::is_recording();
        match tape::vjp(v, &[point], w, create_graph) {
            Ok(mut rows) => Ok(rows.swap_remove(0)),
            Err(rhapsode_tensor::Error::NoGradient { op: "grad", .. }) => {
                Ok(Tensor::zeros(point.dims(), self.dtype)?)
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// Independent random signs.
fn signs(stream: Stream, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let u = stream.rand(shape, DType::F64)?;
    let signs: Vec<f64> = u.to_vec()?.iter().map(|u| (u - 0.5).signum()).collect();
    Ok(Tensor::from_vec(signs, shape)?.to_dtype(dtype)?)
}
