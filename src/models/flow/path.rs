//! The coefficients of `x_t = alpha(t) x0 + beta(t) x1 + gamma(t) z` and their derivatives, in closed form.
//!
//! One-sided paths have Gaussian `x0`, and `alpha` plays the role of `gamma`; "mirror" has no `x0` at all. For
//! `gamma = sqrt(a t (1 - t))` the derivative is infinite at both ends while `gamma gamma'` is finite: the product is a
//! coefficient of its own, and nothing that cancels is ever multiplied out.
//!
//! (Albergo, Boffi, Vanden-Eijnden 2023, arXiv 2303.08797.)

use std::{f64::consts::PI, sync::Arc};

use rhapsode_tensor::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, checks::positive};

/// How noise and data are weighted on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// `1 - t, t`.
    #[default]
    Linear,
    /// `r cos(pi t / 2), r sin(pi t / 2)` with `r = sqrt(1 - gamma^2)`: keeps the sum of squares 1.
    Trig,
    /// `cos^2(pi t)` of `x0` before the middle, of `x1` behind it: in the middle there is nothing but the latent.
    EncodingDecoding,
    /// `1 - t, t` with Gaussian `x0`.
    OneSidedLinear,
    /// `cos(pi t / 2), sin(pi t / 2)` with Gaussian `x0`.
    OneSidedTrig,
    /// `sqrt(1 - t^2), t` with Gaussian `x0`: score-based diffusion, `t = exp(-tau)`.
    Sbdm,
    /// `x1 + gamma z`: from the data back to the data.
    Mirror,
}

/// Every path. To be in the list is to be tested.
pub const PATHS: &[(&str, Path)] = &[
    ("linear", Path::Linear),
    ("trig", Path::Trig),
    ("encoding-decoding", Path::EncodingDecoding),
    ("one-sided-linear", Path::OneSidedLinear),
    ("one-sided-trig", Path::OneSidedTrig),
    ("sbdm", Path::Sbdm),
    ("mirror", Path::Mirror),
];

/// What a path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Any base; a latent of its own.
    TwoSided,
    /// Gaussian base, which is the latent.
    OneSided,
    /// The data themselves.
    Mirror,
}

impl Path {
    /// What it begins with.
    pub fn sort(self) -> Sort {
        match self {
            Path::Linear | Path::Trig | Path::EncodingDecoding => Sort::TwoSided,
            Path::OneSidedLinear | Path::OneSidedTrig | Path::Sbdm => Sort::OneSided,
            Path::Mirror => Sort::Mirror,
        }
    }

    /// Its name in scripts.
    pub fn name(self) -> &'static str {
        let found = PATHS.iter().find(|(_, path)| *path == self);
        found.map_or("", |(name, _)| name)
    }
}

/// How strong the latent is on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GammaKind {
    /// `sqrt(a t (1 - t))`, a Brownian bridge at each time.
    #[default]
    Sqrt,
    /// `t (1 - t)`.
    Quadratic,
    /// `sin^2(pi t)`.
    Sin2,
    /// A difference of sigmoids of slope 10, flat in the middle.
    Sigmoid,
    /// None.
    Zero,
}

/// A function of time and its derivative.
pub type Curve = Arc<dyn Fn(f64) -> Result<(f64, f64)> + Send + Sync>;

/// The latent's coefficient.
#[derive(Clone)]
pub enum Gamma {
    /// One of the list, with the factor `a` of "sqrt".
    Named(GammaKind, f64),
    /// A function of one's own: value and derivative.
    Custom(Curve),
}

impl std::fmt::Debug for Gamma {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gamma::Named(kind, a) => write!(f, "{kind:?}({a})"),
            Gamma::Custom(_) => write!(f, "custom"),
        }
    }
}

/// `(gamma, gamma', gamma gamma')` at a time.
pub type GammaAt = (f64, f64, f64);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Gamma {
    /// Value, derivative and their product. At the ends of "sqrt" the derivative is infinite, the product is not.
    pub fn at(&self, t: f64) -> Result<GammaAt> {
        let with = |g: f64, dot: f64| (g, dot, g * dot);
        Ok(match self {
            Gamma::Named(GammaKind::Sqrt, a) => {
                let (gamma, product) = (
                    (a * t * (1.0 - t)).max(0.0).sqrt(),
                    a * (1.0 - 2.0 * t) / 2.0,
                );
                (gamma, product / gamma, product)
            }
            Gamma::Named(GammaKind::Quadratic, _) => with(t * (1.0 - t), 1.0 - 2.0 * t),
            Gamma::Named(GammaKind::Sin2, _) => {
                with((PI * t).sin().powi(2), PI * (2.0 * PI * t).sin())
            }
            Gamma::Named(GammaKind::Sigmoid, _) => {
                const F: f64 = 10.0;
                let (p, q) = (sigmoid(F * (t - 0.5) + 1.0), sigmoid(F * (t - 0.5) - 1.0));
                let ends = sigmoid(1.0 - F / 2.0) - sigmoid(-1.0 - F / 2.0);
                with(p - q - ends, F * (p * (1.0 - p) - q * (1.0 - q)))
            }
            Gamma::Named(GammaKind::Zero, _) => (0.0, 0.0, 0.0),
            Gamma::Custom(curve) => {
                let (gamma, dot) = curve(t)?;
                with(gamma, dot)
            }
        })
    }

    /// Whether there is no latent.
    pub fn is_zero(&self) -> bool {
        matches!(self, Gamma::Named(GammaKind::Zero, _))
    }

    /// Whether the derivative is infinite at the ends, so that plain estimates of its losses spread without bound.
    pub fn is_singular(&self) -> bool {
        matches!(self, Gamma::Named(GammaKind::Sqrt, _))
    }
}

/// A path and its latent: all that turns noise and data into `x_t`.
#[derive(Clone, Debug)]
pub struct Process {
    /// The weights of noise and data.
    pub path: Path,
    /// The weight of the latent.
    pub gamma: Gamma,
}

/// The coefficients at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Weight of `x0` and its derivative.
    pub alpha: f64,
    /// Its derivative.
    pub alpha_dot: f64,
    /// Weight of `x1`.
    pub beta: f64,
    /// Its derivative.
    pub beta_dot: f64,
    /// Weight of the latent.
    pub gamma: f64,
    /// Its derivative.
    pub gamma_dot: f64,
    /// The product of the two, finite also where the derivative is not.
    pub gamma_gamma_dot: f64,
}

impl Process {
    /// Straight lines from Gaussian noise: the process of rectified flows.
    pub fn rectified() -> Self {
        Self {
            path: Path::OneSidedLinear,
            gamma: Gamma::Named(GammaKind::Zero, 1.0),
        }
    }

    /// Refuses a latent that the path has no room for.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::option("gamma", message));
        if let Gamma::Named(_, a) = self.gamma {
            positive("gamma_scale", a)?;
        }
        match (self.path.sort(), self.path) {
            (Sort::OneSided, _) if !self.gamma.is_zero() => wrong(
                "a one-sided path has no latent besides its Gaussian base: leave it out, or set \"zero\"",
            ),
            (Sort::Mirror, _) if self.gamma.is_zero() => wrong(
                "the path \"mirror\" needs a latent: \"sqrt\", \"quadratic\", \"sin2\" or \"sigmoid\"",
            ),
            (_, Path::EncodingDecoding) if self.gamma.at(0.5)?.0 == 0.0 => wrong(
                "the path \"encoding-decoding\" collapses to a point in the middle without a latent: take \"sin2\"",
            ),
            (_, Path::Trig) => {
                let most = (1..200).map(|i| self.gamma.at(f64::from(i) / 200.0).map(|g| g.0));
                match most.collect::<Result<Vec<_>>>()?.iter().any(|g| *g >= 1.0) {
                    true => wrong(
                        "the path \"trig\" needs a latent below 1 everywhere: take \"sqrt\" or \"quadratic\"",
                    ),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The coefficients at one time.
    pub fn at(&self, t: f64) -> Result<Coefficients> {
        let (gamma, gamma_dot, product) = self.gamma.at(t)?;
        let (s, c) = (PI * t / 2.0).sin_cos();
        let [alpha, alpha_dot, beta, beta_dot] = match self.path {
            Path::Linear | Path::OneSidedLinear => [1.0 - t, -1.0, t, 1.0],
            Path::Trig => {
                let r = (1.0 - gamma * gamma).sqrt();
                let falls = product / r;
                [
                    r * c,
                    -falls * c - PI / 2.0 * r * s,
                    r * s,
                    -falls * s + PI / 2.0 * r * c,
                ]
            }
            Path::EncodingDecoding => {
                let (weight, dot) = ((PI * t).cos().powi(2), -PI * (2.0 * PI * t).sin());
                match t <= 0.5 {
                    true => [weight, dot, 0.0, 0.0],
                    false => [0.0, 0.0, weight, dot],
                }
            }
            Path::OneSidedTrig => [c, -PI / 2.0 * s, s, PI / 2.0 * c],
            Path::Sbdm => {
                let alpha = (1.0 - t * t).max(0.0).sqrt();
                [alpha, -t / alpha, t, 1.0]
            }
            Path::Mirror => [0.0, 0.0, 1.0, 0.0],
        };
        Ok(Coefficients {
            alpha,
            alpha_dot,
            beta,
            beta_dot,
            gamma,
            gamma_dot,
            gamma_gamma_dot: product,
        })
    }

    /// The weight of the Gaussian part: `alpha` one-sided, else `gamma`.
    pub fn width(&self, c: &Coefficients) -> f64 {
        match self.path.sort() {
            Sort::OneSided => c.alpha,
            Sort::TwoSided | Sort::Mirror => c.gamma,
        }
    }

    /// The coefficients at times `[n]`.
    pub fn along(&self, t: &Tensor) -> Result<Along> {
        let rows = t.to_vec()?.into_iter().map(|t| self.at(t));
        Ok(Along {
            rows: rows.collect::<Result<_>>()?,
            dtype: t.dtype(),
        })
    }
}

/// A function of the coefficients.
pub type Weight<'a> = &'a dyn Fn(&Coefficients) -> f64;

/// Coefficients at the times of a batch.
pub struct Along {
    rows: Vec<Coefficients>,
    dtype: DType,
}

impl Along {
    /// A function of the coefficients, a column of the rank of `x` to multiply it with.
    pub fn column(&self, x: &Tensor, of: impl Fn(&Coefficients) -> f64) -> Result<Tensor> {
        let mut shape = vec![1; x.rank().max(1)];
        shape[0] = self.rows.len();
        let values: Vec<f64> = self.rows.iter().map(of).collect();
        Ok(Tensor::from_vec(values, &shape)?.to_dtype(self.dtype)?)
    }

    /// `sum_i of_i(coefficients) x_i`, row by row.
    pub fn combine(&self, terms: &[(Weight, &Tensor)]) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        for (of, x) in terms {
            // A weight that is 0 everywhere takes part in nothing, not even in memory.
            if self.rows.iter().all(|c| of(c) == 0.0) && total.is_some() {
                continue;
            }
            let term = self.column(x, of)?.mul(x)?;
            total = Some(match total {
                None => term,
                Some(total) => total.add(&term)?,
            });
        }
        total.ok_or_else(|| Error::Value {
            what: "combine",
            message: "needs at least one term".into(),
        })
    }
}
