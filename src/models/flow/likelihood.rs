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
//! trajectory (Grathwohl et al. 2018, arXiv 1810.01367). Rows must not influence each other in the field.
//!
//! The result has a gradient: with respect to `x` and to whatever tracked tensors the field holds.

use rhapsode_tensor::{DType, Tensor, random::Stream, tape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::VelocityField;
use crate::{
    Error, Result,
    native::TensorValue,
    nn::positive,
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
        positive("probes", self.probes)?;
        if !self.guidance.is_finite() {
            let message = format!("must be finite, got {}", self.guidance);
            return Err(Error::option("guidance", message));
        }
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
    options.validate()?;
    let d = field.dim();
    let &[n, width] = x.dims() else {
        return Err(wrong_shape(d, x));
    };
    if width != d {
        return Err(wrong_shape(d, x));
    }
    if !x.is_finite()? {
        return Err(Error::Value {
            what: "x",
            message: "holds NaN or infinity".into(),
        });
    }
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
    let solution = ode::solve(&mut slope, &start, &options.solve(), &mut watch)?;
    let end = solution.last();
    // From 1 to 0 the integral of the divergence arrives as -int_0^1.
    let base = end.narrow(1, 0, d)?.sqr()?.sum(&[1])?;
    let base = base.affine(-0.5, -0.5 * d as f64 * std::f64::consts::TAU.ln())?;
    let log_prob = base.add(&end.narrow(1, d, 1)?.squeeze(1)?)?;
    if !log_prob.is_finite()? {
        return Err(Error::Value {
            what: "log_prob",
            message:
                "is not finite: the flow carried a point away (train longer, or look at the points)"
                    .into(),
        });
    }
    Ok(log_prob.to_dtype(x.dtype())?)
}

fn wrong_shape(dim: usize, x: &Tensor) -> Error {
    Error::Shape {
        what: "x",
        expected: format!("[n, {dim}]"),
        got: x.dims().to_vec(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use rhapsode_tensor::{grad, no_grad};

    /// The flow that carries N(0, I) to N(mean, diag(scale^2)) on straight lines of independent pairs:
    /// `v = m' + (s s'/..) (x - m)` of the Gaussian path `x_t = (1 - t) x0 + t x1`.
    struct Gaussian {
        mean: Tensor,
        scale: Tensor,
    }

    impl VelocityField for Gaussian {
        fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
            let t = t.unsqueeze(1)?;
            let rest = t.affine(-1.0, 1.0)?;
            let square = self.scale.sqr()?;
            let variance = rest.sqr()?.add(&t.sqr()?.mul(&square)?)?;
            let half_rate = t.mul(&square)?.sub(&rest)?;
            let centred = x.sub(&t.mul(&self.mean)?)?;
            Ok(self.mean.add(&half_rate.div(&variance)?.mul(&centred)?)?)
        }

        fn dim(&self) -> usize {
            self.mean.len()
        }
    }

    fn gaussian() -> Gaussian {
        let of = |values: Vec<f64>| Tensor::from_vec(values, &[1, 3]).unwrap();
        Gaussian {
            mean: of(vec![1.0, -0.5, 2.0]),
            scale: of(vec![0.5, 2.0, 1.0]),
        }
    }

    fn points(n: usize) -> Tensor {
        Stream::new(3, "points").randn(&[n, 3], DType::F64).unwrap()
    }

    fn exact(flow: &Gaussian, x: &Tensor) -> Vec<f64> {
        let z = x.sub(&flow.mean).unwrap().div(&flow.scale).unwrap();
        let volume: f64 = flow.scale.to_vec().unwrap().iter().map(|s| s.ln()).sum();
        let norms = z.sqr().unwrap().sum(&[1]).unwrap().to_vec().unwrap();
        let constant = 1.5 * std::f64::consts::TAU.ln() + volume;
        norms.iter().map(|r| -0.5 * r - constant).collect()
    }

    fn options(trace: Trace) -> LogProbOptions {
        LogProbOptions {
            rtol: Some(1e-9),
            atol: Some(1e-9),
            trace,
            ..Default::default()
        }
    }

    #[test]
    fn a_gaussian_has_its_density() {
        let (flow, x) = (gaussian(), points(20));
        // The Jacobian is diagonal here, so that random signs give the trace exactly as well.
        for trace in [Trace::Auto, Trace::Exact, Trace::Hutchinson] {
            let found = log_prob(&flow, &x, &options(trace), 0, &mut Silent).unwrap();
            assert!(!found.is_tracked());
            for (found, exact) in found.to_vec().unwrap().iter().zip(exact(&flow, &x)) {
                assert!((found - exact).abs() < 1e-6, "{trace:?}: {found} {exact}");
            }
        }
    }

    #[test]
    fn its_gradients_are_those_of_the_density() {
        let flow = gaussian();
        let scale = flow.scale.param().unwrap();
        let flow = Gaussian { scale, ..flow };
        let x = points(4).param().unwrap();
        let total = log_prob(&flow, &x, &options(Trace::Exact), 0, &mut Silent)
            .unwrap()
            .sum_all()
            .unwrap();
        let grads = grad(&total, &[&x, &flow.scale], false).unwrap();
        let z = x.sub(&flow.mean).unwrap().div(&flow.scale).unwrap();
        // d/dx = -z / s, d/ds = (z^2 - 1) / s.
        let by_x = z.div(&flow.scale).unwrap().neg().unwrap();
        let by_scale = z.sqr().unwrap().affine(1.0, -1.0).unwrap();
        let by_scale = by_scale.div(&flow.scale).unwrap().sum(&[0]).unwrap();
        for (found, exact) in [(&grads[0], by_x), (&grads[1], by_scale)] {
            let pairs = found.to_vec().unwrap().into_iter();
            for (found, exact) in pairs.zip(exact.to_vec().unwrap()) {
                assert!((found - exact).abs() < 1e-5, "{found} {exact}");
            }
        }
    }

    #[test]
    fn without_recording_it_has_the_same_value_and_no_history() {
        let (flow, x) = (gaussian(), points(4).param().unwrap());
        let find = || log_prob(&flow, &x, &options(Trace::Exact), 0, &mut Silent).unwrap();
        let (with, without) = (find(), no_grad(find));
        assert!(with.is_tracked() && !without.is_tracked());
        for (a, b) in with.to_vec().unwrap().iter().zip(without.to_vec().unwrap()) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_field_has_no_divergence() {
        struct Shift;
        impl VelocityField for Shift {
            fn velocity(&self, x: &Tensor, _: &Tensor) -> Result<Tensor> {
                Ok(Tensor::ones(x.dims(), x.dtype())?)
            }
            fn dim(&self) -> usize {
                2
            }
        }
        let x = Tensor::ones(&[1, 2], DType::F64).unwrap();
        let found = log_prob(&Shift, &x, &Default::default(), 0, &mut Silent).unwrap();
        let expected = -std::f64::consts::TAU.ln();
        assert!((found.to_vec().unwrap()[0] - expected).abs() < 1e-9);
    }

    #[test]
    fn wrong_input_is_named() {
        let flow = gaussian();
        let refuse = |x: Tensor, options: LogProbOptions| {
            let found = log_prob(&flow, &x, &options, 0, &mut Silent);
            found.unwrap_err().to_string()
        };
        let wrong = Tensor::zeros(&[4, 2], DType::F64).unwrap();
        assert_eq!(
            refuse(wrong, Default::default()),
            "x: expected [n, 3], got [4, 2]"
        );
        let no_probe = LogProbOptions {
            probes: 0,
            ..Default::default()
        };
        assert!(refuse(points(1), no_probe).starts_with("option `probes`"));
    }
}
