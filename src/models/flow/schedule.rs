//! Interpolants of diffusion and the way to them from straight lines.
//!
//! In the papers' time `s` (1 noise, 0 data) `x_s = alpha(s) data + sigma(s) noise`. A flow on straight lines gives the fields of any of them: at the same
//! signal-to-noise ratio the linear flow is at `t_s = sigma / (alpha + sigma)` (ours: `tau = 1 - t_s`) and its state is `y = x / c`, `c = alpha + sigma`:
//!
//! ```text
//! x1_hat = y + t_s v        noise_hat = y - (1 - t_s) v        v = v(y, tau)
//! u = alpha' x1_hat + sigma' noise_hat        score = -noise_hat / sigma
//! ```
//!
//! without the 0 / 0 of the forms that go by quotients of the coefficients.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{VelocityField, convert::one_sided, field::velocity_at};
use crate::{Error, Result};

/// Rates of noise of "vp" at data and noise.
const BETA: (f64, f64) = (0.1, 20.0);

/// An interpolant of noise and data in the papers' time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Diffused {
    /// `1 - s, s`.
    Linear,
    /// `e^(-T / 2), sqrt(1 - e^(-T))` with `T = s^2 (B - b) / 2 + s b`.
    #[default]
    Vp,
    /// `(1 - s)^3, 1 - alpha`.
    Polynomial,
    /// `(1 - s)^2, s^2`.
    General,
    /// `sqrt(1 - s^2), s`.
    LinearVp,
    /// `cos(pi s / 2), sin(pi s / 2)`.
    Cosine,
}

/// Every interpolant by name.
pub const DIFFUSED: &[(&str, Diffused)] = &[
    ("linear", Diffused::Linear),
    ("vp", Diffused::Vp),
    ("polynomial", Diffused::Polynomial),
    ("general", Diffused::General),
    ("linear-vp", Diffused::LinearVp),
    ("cosine", Diffused::Cosine),
];

/// Coefficients at a time `s`, derivatives by `s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Weight of the data.
    pub alpha: f64,
    /// Its derivative.
    pub alpha_dot: f64,
    /// Weight of the noise.
    pub sigma: f64,
    /// Its derivative.
    pub sigma_dot: f64,
}

impl Level {
    /// `c = alpha + sigma`, by which states of the linear flow are smaller.
    pub fn scale(&self) -> f64 {
        self.alpha + self.sigma
    }

    /// The derivative of `c`.
    pub fn scale_dot(&self) -> f64 {
        self.alpha_dot + self.sigma_dot
    }

    /// `t_s`, the papers' time of the linear flow.
    pub fn linear_time(&self) -> f64 {
        self.sigma / self.scale()
    }

    /// Its derivative.
    pub fn linear_time_dot(&self) -> f64 {
        (self.sigma_dot * self.alpha - self.sigma * self.alpha_dot) / self.scale().powi(2)
    }

    /// Our time of the linear flow.
    pub fn our_time(&self) -> f64 {
        self.alpha / self.scale()
    }

    /// `log (alpha / sigma)^2`.
    pub fn log_snr(&self) -> f64 {
        2.0 * (self.alpha / self.sigma).ln()
    }
}

impl Diffused {
    /// The coefficients at `s`.
    pub fn at(self, s: f64) -> Level {
        let half = std::f64::consts::FRAC_PI_2;
        let [alpha, alpha_dot, sigma, sigma_dot] = match self {
            Diffused::Linear => [1.0 - s, -1.0, s, 1.0],
            Diffused::Vp => {
                let (low, high) = BETA;
                let total = s * s * (high - low) / 2.0 + s * low;
                let rate = s * (high - low) + low;
                let alpha = (-total / 2.0).exp();
                let sigma = (-(-total).exp_m1()).sqrt();
                [
                    alpha,
                    -0.5 * rate * alpha,
                    sigma,
                    0.5 * rate * alpha * alpha / sigma,
                ]
            }
            Diffused::Polynomial => {
                let alpha = (1.0 - s).powi(3);
                let dot = -3.0 * (1.0 - s).powi(2);
                [alpha, dot, 1.0 - alpha, -dot]
            }
            Diffused::General => [(1.0 - s).powi(2), -2.0 * (1.0 - s), s * s, 2.0 * s],
            Diffused::LinearVp => {
                let alpha = (1.0 - s * s).max(0.0).sqrt();
                [alpha, -s / alpha, s, 1.0]
            }
            Diffused::Cosine => [
                (half * s).cos(),
                -half * (half * s).sin(),
                (half * s).sin(),
                half * (half * s).cos(),
            ],
        };
        Level {
            alpha,
            alpha_dot,
            sigma,
            sigma_dot,
        }
    }
}

/// What one look at a linear flow tells of a state of another interpolant.
pub struct Look {
    /// The expected data.
    pub data: Tensor,
    /// The expected noise.
    pub noise: Tensor,
    /// Where in the interpolant: one place for all rows, or one a row.
    pub levels: Vec<Level>,
}

impl Look {
    /// At states `x: [n, ..]` of the interpolant at `s`: one evaluation of the velocity for each row.
    pub fn new(flow: &dyn VelocityField, kind: Diffused, x: &Tensor, s: f64) -> Result<Self> {
        Self::at(flow, kind, x, &[s])
    }

    /// At states `x: [n, ..]`, each at a time of its own (or all at one).
    pub fn at(flow: &dyn VelocityField, kind: Diffused, x: &Tensor, s: &[f64]) -> Result<Self> {
        let levels: Vec<Level> = s.iter().map(|s| kind.at(*s)).collect();
        let each = |of: fn(&Level) -> f64| levels.iter().map(of).collect::<Vec<f64>>();
        let y = weighted(&[(&each(|l| 1.0 / l.scale()), x)])?;
        let times = each(Level::our_time);
        let v = match times.as_slice() {
            &[one] => velocity_at(flow, &y, one)?,
            many => {
                let times = Tensor::from_vec(many.to_vec(), &[many.len()])?;
                flow.velocity(&y, &times.to_dtype(x.dtype())?)?
            }
        };
        Ok(Self {
            data: weighted(&[(&[1.0], &y), (&each(Level::linear_time), &v)])?,
            noise: weighted(&[(&[1.0], &y), (&each(|l| l.linear_time() - 1.0), &v)])?,
            levels,
        })
    }

    fn each(&self, of: fn(&Level) -> f64) -> Vec<f64> {
        self.levels.iter().map(of).collect()
    }

    /// `u`, the velocity in `s`, towards the noise.
    pub fn velocity(&self) -> Result<Tensor> {
        weighted(&[
            (&self.each(|l| l.alpha_dot), &self.data),
            (&self.each(|l| l.sigma_dot), &self.noise),
        ])
    }

    /// The score.
    pub fn score(&self) -> Result<Tensor> {
        weighted(&[(&self.each(|l| -1.0 / l.sigma), &self.noise)])
    }

    /// `f = u - g^2 / 2 score`, the drift in `s`.
    pub fn drift(&self, g: f64) -> Result<Tensor> {
        self.drift_with(&[g], &self.score()?)
    }

    /// The same with another score, and a `g` for all rows, or one a row.
    pub fn drift_with(&self, g: &[f64], score: &Tensor) -> Result<Tensor> {
        let half: Vec<f64> = g.iter().map(|g| -0.5 * g * g).collect();
        weighted(&[(&[1.0], &self.velocity()?), (&half, score)])
    }
}

/// `sum_i c_i x_i` of tensors `[n, ..]`; a weight is one number for all rows, or one a row.
pub(super) fn weighted(terms: &[(&[f64], &Tensor)]) -> Result<Tensor> {
    let plain: Option<Vec<(f64, &Tensor)>> = terms
        .iter()
        .map(|(weights, x)| match weights {
            &&[one] => Some((one, *x)),
            _ => None,
        })
        .collect();
    if let Some(plain) = plain {
        return Ok(Tensor::combine(&plain)?);
    }
    let mut scaled = Vec::with_capacity(terms.len());
    for (weights, x) in terms {
        let mut column = vec![1; x.rank()];
        column[0] = weights.len();
        let column = Tensor::from_vec(weights.to_vec(), &column)?.to_dtype(x.dtype())?;
        scaled.push(x.mul(&column)?);
    }
    let sum: Vec<(f64, &Tensor)> = scaled.iter().map(|x| (1.0, x)).collect();
    Ok(Tensor::combine(&sum)?)
}

/// Refuses flows that do not run on straight lines from Gaussian noise.
pub fn linear(flow: &dyn VelocityField) -> Result<()> {
    let process = flow.process();
    one_sided(&process)?;
    match process.path {
        super::path::Path::OneSidedLinear => Ok(()),
        other => Err(Error::Value {
            what: "flow",
            message: format!(
                "expected a flow on straight lines, \"one-sided-linear\", not \"{}\"",
                other.name()
            ),
        }),
    }
}
