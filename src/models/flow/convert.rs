//! From one field of a process to all others, and from one schedule to another.
//!
//! Conditional expectations given `x_t = x`, with `x_t = alpha x0 + beta x1 + gamma z`:
//!
//! ```text
//! v = E[alpha' x0 + beta' x1]      b = v + gamma' eta_z = v - gamma gamma' s      s = grad log rho = -eta_z / gamma
//! x = alpha eta_0 + beta eta_1 + gamma eta_z      b = alpha' eta_0 + beta' eta_1 + gamma' eta_z
//! ```
//!
//! Two-sided, two of (`eta_0`, `eta_1`, `eta_z`) give everything; one-sided (Gaussian `x0`, `gamma = 0`, `s = -eta_0 / alpha`)
//! any one field does.

use rhapsode_tensor::Tensor;

use super::path::{Along, Coefficients, Process, Sort};
use crate::{Error, Result};

/// What a model knows at points and times; shapes as the points'.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// `b`, the velocity of the probability flow.
    pub velocity: Option<Tensor>,
    /// `v`, the velocity without the latent's part.
    pub drift: Option<Tensor>,
    /// `s`, the score.
    pub score: Option<Tensor>,
    /// `eta_z` (two-sided, mirror) or `eta_0` (one-sided), the denoiser.
    pub denoiser: Option<Tensor>,
}

/// A field that a network can learn, or a closure can give.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// `b`, the velocity of the probability flow.
    Velocity,
    /// `v`, the velocity without the latent's part.
    Drift,
    /// `s`, the score.
    Score,
    /// The denoiser of the Gaussian part.
    Denoiser,
}

/// Every field by name.
pub const FIELDS: &[(&str, FieldKind)] = &[
    ("velocity", FieldKind::Velocity),
    ("drift", FieldKind::Drift),
    ("score", FieldKind::Score),
    ("denoiser", FieldKind::Denoiser),
];

impl FieldKind {
    /// Its name in scripts.
    pub fn name(self) -> &'static str {
        FIELDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

impl Fields {
    /// A field, where it is known.
    pub fn get(&self, kind: FieldKind) -> Option<&Tensor> {
        match kind {
            FieldKind::Velocity => self.velocity.as_ref(),
            FieldKind::Drift => self.drift.as_ref(),
            FieldKind::Score => self.score.as_ref(),
            FieldKind::Denoiser => self.denoiser.as_ref(),
        }
    }

    /// Sets a field.
    pub fn set(&mut self, kind: FieldKind, value: Tensor) {
        *match kind {
            FieldKind::Velocity => &mut self.velocity,
            FieldKind::Drift => &mut self.drift,
            FieldKind::Score => &mut self.score,
            FieldKind::Denoiser => &mut self.denoiser,
        } = Some(value);
    }
}

/// Whether these fields give the velocity, and whether they give the score.
pub fn determines(process: &Process, kinds: &[FieldKind]) -> (bool, bool) {
    use FieldKind::*;
    let has = |kind| kinds.contains(&kind);
    let gaussian = has(Score) || has(Denoiser);
    match process.path.sort() {
        Sort::OneSided => (!kinds.is_empty(), !kinds.is_empty()),
        Sort::Mirror => (!kinds.is_empty(), gaussian || has(Velocity)),
        Sort::TwoSided if process.gamma.is_zero() => (has(Velocity) || has(Drift), has(Score)),
        Sort::TwoSided => (
            has(Velocity) || has(Drift) && gaussian,
            gaussian || has(Velocity) && has(Drift),
        ),
    }
}

/// The conversions at the points and times of a batch.
pub struct Converter<'a> {
    process: &'a Process,
    c: Along,
    x: &'a Tensor,
    known: &'a Fields,
}

/// The determinant `alpha beta' - alpha' beta` of data and noise.
fn cross(c: &Coefficients) -> f64 {
    c.alpha * c.beta_dot - c.alpha_dot * c.beta
}

impl<'a> Converter<'a> {
    /// At points `x: [n, ..]` and times `t: [n]`.
    pub fn new(process: &'a Process, x: &'a Tensor, t: &Tensor, known: &'a Fields) -> Result<Self> {
        Ok(Self {
            process,
            c: process.along(t)?,
            x,
            known,
        })
    }

    fn missing(&self, what: &str) -> Error {
        Error::Value {
            what: "flow",
            message: format!(
                "the fields that this model knows do not determine the {what} on the path \"{}\": let it learn the \"denoiser\" too",
                self.process.path.name()
            ),
        }
    }

    /// `b`.
    pub fn velocity(&self) -> Result<Tensor> {
        if let Some(b) = &self.known.velocity {
            return Ok(b.clone());
        }
        match self.process.path.sort() {
            Sort::OneSided => {
                let (eta, data) = (self.denoiser()?, self.data()?);
                self.c
                    .combine(&[(&|c| c.alpha_dot, &eta), (&|c| c.beta_dot, &data)])
            }
            Sort::Mirror => match (&self.known.denoiser, &self.known.score) {
                (_, Some(s)) => self.c.combine(&[(&|c| -c.gamma_gamma_dot, s)]),
                (Some(eta), _) => self.c.combine(&[(&|c| c.gamma_dot, eta)]),
                // Without a latent's part there is no motion.
                _ => Ok(Tensor::zeros(self.x.dims(), self.x.dtype())?),
            },
            Sort::TwoSided => {
                let drift = self.known.drift.as_ref();
                let v = drift.ok_or_else(|| self.missing("velocity"))?;
                if self.process.gamma.is_zero() {
                    return Ok(v.clone());
                }
                match (&self.known.score, &self.known.denoiser) {
                    (Some(s), _) => self
                        .c
                        .combine(&[(&|_| 1.0, v), (&|c| -c.gamma_gamma_dot, s)]),
                    (_, Some(eta)) => self.c.combine(&[(&|_| 1.0, v), (&|c| c.gamma_dot, eta)]),
                    _ => Err(self.missing("velocity")),
                }
            }
        }
    }

    /// `v`.
    pub fn drift(&self) -> Result<Tensor> {
        match (&self.known.drift, self.process.path.sort()) {
            (Some(v), _) => Ok(v.clone()),
            (None, Sort::OneSided) => self.velocity(),
            (None, Sort::Mirror) => Ok(Tensor::zeros(self.x.dims(), self.x.dtype())?),
            (None, Sort::TwoSided) if self.process.gamma.is_zero() => self.velocity(),
            (None, Sort::TwoSided) => self.c.combine(&[
                (&|_| 1.0, &self.velocity()?),
                (&|c| c.gamma_gamma_dot, &self.score()?),
            ]),
        }
    }

    /// `s`.
    pub fn score(&self) -> Result<Tensor> {
        if let Some(s) = &self.known.score {
            return Ok(s.clone());
        }
        if let (Sort::OneSided, None, Some(b)) = (
            self.process.path.sort(),
            &self.known.denoiser,
            &self.known.velocity,
        ) {
            // (beta b - beta' x) / (alpha (alpha beta' - alpha' beta))
            let below = |c: &Coefficients| c.alpha * cross(c);
            return self.c.combine(&[
                (&|c| c.beta / below(c), b),
                (&|c| -c.beta_dot / below(c), self.x),
            ]);
        }
        let eta = self.denoiser().map_err(|_| self.missing("score"))?;
        match self.process.path.sort() {
            Sort::OneSided => self.c.combine(&[(&|c| -1.0 / c.alpha, &eta)]),
            _ if self.process.gamma.is_zero() => Err(self.missing("score")),
            _ => self.c.combine(&[(&|c| -1.0 / c.gamma, &eta)]),
        }
    }

    /// `eta_z`, or `eta_0` of a one-sided path.
    pub fn denoiser(&self) -> Result<Tensor> {
        if let Some(eta) = &self.known.denoiser {
            return Ok(eta.clone());
        }
        let one_sided = self.process.path.sort() == Sort::OneSided;
        match (&self.known.score, &self.known.velocity, &self.known.drift) {
            (Some(s), ..) if one_sided => self.c.combine(&[(&|c| -c.alpha, s)]),
            (Some(s), ..) => self.c.combine(&[(&|c| -c.gamma, s)]),
            // x and b are two equations for eta_0 and x1.
            (_, Some(b), _) | (_, _, Some(b)) if one_sided => self.c.combine(&[
                (&|c| c.beta_dot / cross(c), self.x),
                (&|c| -c.beta / cross(c), b),
            ]),
            (_, Some(b), _) if self.process.path.sort() == Sort::Mirror => {
                self.c.combine(&[(&|c| 1.0 / c.gamma_dot, b)])
            }
            (_, Some(b), Some(v)) if !self.process.gamma.is_zero() => self
                .c
                .combine(&[(&|c| 1.0 / c.gamma_dot, b), (&|c| -1.0 / c.gamma_dot, v)]),
            _ => Err(self.missing("denoiser")),
        }
    }

    /// `eta_1`, the data that are expected at the end.
    pub fn data(&self) -> Result<Tensor> {
        match self.process.path.sort() {
            Sort::OneSided => match (&self.known.velocity, &self.known.drift) {
                (Some(b), _) | (_, Some(b)) => self.c.combine(&[
                    (&|c| c.alpha / cross(c), b),
                    (&|c| -c.alpha_dot / cross(c), self.x),
                ]),
                _ => {
                    let eta = self.denoiser()?;
                    self.c
                        .combine(&[(&|c| 1.0 / c.beta, self.x), (&|c| -c.alpha / c.beta, &eta)])
                }
            },
            Sort::Mirror => {
                let eta = self.denoiser()?;
                self.c.combine(&[(&|_| 1.0, self.x), (&|c| -c.gamma, &eta)])
            }
            Sort::TwoSided => {
                // The latent's part taken away, it is as one-sided.
                let (rest, rate) = match self.process.gamma.is_zero() {
                    true => (self.x.clone(), self.velocity()?),
                    false => {
                        let eta = self.denoiser()?;
                        let rest = self
                            .c
                            .combine(&[(&|_| 1.0, self.x), (&|c| -c.gamma, &eta)])?;
                        let rate = match &self.known.drift {
                            Some(v) => v.clone(),
                            None => self.c.combine(&[
                                (&|_| 1.0, &self.velocity()?),
                                (&|c| -c.gamma_dot, &eta),
                            ])?,
                        };
                        (rest, rate)
                    }
                };
                self.c.combine(&[
                    (&|c| c.alpha / cross(c), &rate),
                    (&|c| -c.alpha_dot / cross(c), &rest),
                ])
            }
        }
    }
}

/// The data that a velocity `v` at `x` and `t` expects, on a one-sided path: `(alpha v - alpha' x) / (alpha beta' - alpha' beta)`,
/// on lines `x + (1 - t) v`. Differentiable in `x` and `v`.
pub fn expected_data(process: &Process, x: &Tensor, v: &Tensor, t: f64) -> Result<Tensor> {
    let c = one_sided(process)?.at(t)?;
    let below = cross(&c);
    Ok(Tensor::combine(&[
        (c.alpha / below, v),
        (-c.alpha_dot / below, x),
    ])?)
}

/// Refuses a process whose velocity alone does not tell the data.
pub fn one_sided(process: &Process) -> Result<&Process> {
    match process.path.sort() {
        Sort::OneSided => Ok(process),
        _ => Err(Error::Value {
            what: "flow",
            message: format!(
                "needs a flow from Gaussian noise, such as \"one-sided-linear\", not the path \"{}\"",
                process.path.name()
            ),
        }),
    }
}
