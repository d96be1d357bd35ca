//! A diffusion model as a flow: any model that predicts the data from a noisy input has the velocity `v = (x1_hat - x_t) / (1 - t)`, once its input has
//! the signal-to-noise ratio of our `x_t = (1 - t) noise + t data`.
//!
//! | teacher | its noise level at `t` | its input |
//! |---|---|---|
//! | "ve", "edm": `y = data + sigma eps` | `sigma = (1 - t) / t` | `x_t / t` |
//! | "vp": `y = A data + S eps`, `A^2 + S^2 = 1` | `A / S = t / (1 - t)` at the time `s = (-b + sqrt(b^2 + 2 (B - b) T)) / (B - b)`, `T = ln(1 + (S / A)^2)` | `x_t A / t` |
//! | "ddpm" | the nearest of `steps` indices of "vp" | `x_t A / t` |
//!
//! An "edm" network is preconditioned, `D = c_skip y + c_out F(c_in y, ln(sigma) / 4)`.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    flow::{FunctionField, VelocityFn, path::Process, timestep::MARGIN},
};

/// What the model was trained for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Diffusion {
    /// Noise that grows; the closure denoises `(y, sigma)`.
    #[default]
    Ve,
    /// The same with preconditioning; the closure is the raw network `(c_in y, ln(sigma) / 4)`.
    Edm,
    /// Constant variance; the closure sees `(y, s)`, a time with noise at 1.
    Vp,
    /// The same at whole steps; the closure sees `(y, index)`.
    Ddpm,
}

/// What the closure predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Predicts {
    /// The data.
    #[default]
    Data,
    /// The noise.
    Noise,
}

/// Options of a flow from a diffusion model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionOptions {
    /// Size of one sample (at least 1; default 2).
    pub dim: usize,
    /// What the model was trained for: "ve", "edm", "vp", "ddpm" (default "ve").
    pub kind: Diffusion,
    /// What the closure predicts, "data" or "noise"; of "edm" it is the raw network (default "data").
    pub predicts: Predicts,
    /// Standard deviation of the data that "edm" was trained with (> 0; default 0.5).
    pub sigma_data: f64,
    /// Rate of noise at the data's end of "vp" and "ddpm" (> 0; default 0.1).
    pub beta_min: f64,
    /// Rate of noise at the other end (> beta_min; default 20).
    pub beta_max: f64,
    /// Number of steps of "ddpm" (at least 1; default 1000).
    pub steps: usize,
}

impl Default for DiffusionOptions {
    fn default() -> Self {
        Self {
            dim: 2,
            kind: Diffusion::default(),
            predicts: Predicts::default(),
            sigma_data: 0.5,
            beta_min: 0.1,
            beta_max: 20.0,
            steps: 1000,
        }
    }
}

/// The noise level of a VE model at our time, and the factor of its input.
pub fn ve_at(t: f64) -> (f64, f64) {
    ((1.0 - t) / t, 1.0 / t)
}

/// A VP model at our time.
#[derive(Clone, Copy, Debug)]
pub struct VpAt {
    /// Its time, noise at 1.
    pub time: f64,
    /// Weight of the data.
    pub alpha: f64,
    /// Weight of the noise.
    pub sigma: f64,
    /// The factor of its input.
    pub scale: f64,
}

/// A VP model with rates of noise from `low` to `high`, at our time.
pub fn vp_at(t: f64, low: f64, high: f64) -> VpAt {
    let ratio = (1.0 - t) / t;
    // A = 1 / sqrt(1 + ratio^2).
    let alpha = (1.0 + ratio * ratio).sqrt().recip();
    let total = (ratio * ratio).ln_1p();
    VpAt {
        time: (-low + (low * low + 2.0 * (high - low) * total).sqrt()) / (high - low),
        alpha,
        sigma: ratio * alpha,
        scale: alpha / t,
    }
}

impl DiffusionOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("dim", self.dim)?;
        at_least_one("steps", self.steps)?;
        positive("sigma_data", self.sigma_data)?;
        positive("beta_min", self.beta_min)?;
        if !(self.beta_max > self.beta_min && self.beta_max.is_finite()) {
            let message = format!(
                "must be larger than beta_min, {}, got {}",
                self.beta_min, self.beta_max
            );
            return Err(Error::option("beta_max", message));
        }
        if self.kind == Diffusion::Edm && self.predicts == Predicts::Noise {
            let message = "has no effect on \"edm\", whose closure is the raw network";
            return Err(Error::option("predicts", message));
        }
        Ok(())
    }

    /// The data that the model expects at `x_t: [n, ..]` and times `[n]`.
    pub fn data(&self, model: &VelocityFn, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let times: Vec<f64> = t
            .to_vec()?
            .into_iter()
            .map(|t| t.clamp(MARGIN, 1.0 - MARGIN))
            .collect();
        let mut shape = vec![1; x.rank()];
        shape[0] = times.len();
        let column = |of: &dyn Fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = times.iter().map(|t| of(*t)).collect();
            Ok(Tensor::from_vec(values, &shape)?.to_dtype(x.dtype())?)
        };
        let row = |of: &dyn Fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = times.iter().map(|t| of(*t)).collect();
            Ok(Tensor::from_vec(values, &[times.len()])?.to_dtype(x.dtype())?)
        };
        let vp = |t: f64| vp_at(t, self.beta_min, self.beta_max);
        let sd = self.sigma_data;
        match self.kind {
            Diffusion::Edm => {
                let y = x.mul(&column(&|t| ve_at(t).1)?)?;
                let norm = |t: f64| (ve_at(t).0.powi(2) + sd * sd).sqrt();
                let raw = model(
                    &y.mul(&column(&|t| 1.0 / norm(t))?)?,
                    &row(&|t| ve_at(t).0.ln() / 4.0)?,
                )?;
                let skip = column(&|t| sd * sd / norm(t).powi(2))?;
                let out = column(&|t| ve_at(t).0 * sd / norm(t))?;
                Ok(skip.mul(&y)?.add(&out.mul(&raw)?)?)
            }
            Diffusion::Ve => {
                let y = x.mul(&column(&|t| ve_at(t).1)?)?;
                let found = model(&y, &row(&|t| ve_at(t).0)?)?;
                match self.predicts {
                    Predicts::Data => Ok(found),
                    Predicts::Noise => Ok(y.sub(&column(&|t| ve_at(t).0)?.mul(&found)?)?),
                }
            }
            Diffusion::Vp | Diffusion::Ddpm => {
                let last = (self.steps - 1) as f64;
                let level = |t: f64| match self.kind {
                    Diffusion::Ddpm => (vp(t).time * self.steps as f64 - 1.0)
                        .round()
                        .clamp(0.0, last),
                    _ => vp(t).time,
                };
                let y = x.mul(&column(&|t| vp(t).scale)?)?;
                let found = model(&y, &row(&level)?)?;
                match self.predicts {
                    Predicts::Data => Ok(found),
                    Predicts::Noise => {
                        let noise = column(&|t| vp(t).sigma)?.mul(&found)?;
                        Ok(y.sub(&noise)?.div(&column(&|t| vp(t).alpha)?)?)
                    }
                }
            }
        }
    }

    /// The model as a flow.
    pub fn flow(&self, model: VelocityFn, dtype: rhapsode_tensor::DType) -> Result<FunctionField> {
        self.validate()?;
        let options = self.clone();
        let function: VelocityFn = std::sync::Arc::new(move |x: &Tensor, t: &Tensor| {
            // At the very end it is 0 / 0.
            let t = t.clamp(MARGIN, 1.0 - MARGIN)?;
            let mut shape = vec![1; x.rank()];
            shape[0] = t.len();
            let rest = t.affine(-1.0, 1.0)?.reshape(&shape)?;
            Ok(options.data(&model, x, &t)?.sub(x)?.div(&rest)?)
        });
        Ok(FunctionField {
            function,
            dim: self.dim,
            dtype,
            process: Process::rectified(),
        })
    }
}
