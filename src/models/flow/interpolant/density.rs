//! The log-density from the SDE: with the backward SDE started at `x`,
//!
//! ```text
//! mean           log rho1(x) = E log rho0(X_0) - E int_0^1 (div b_F + eps |s|^2)(t, X_t) dt        b_F = b + eps s
//! feynman-kac    rho1(x) = E [ rho0(Y_0) exp(-int_0^1 div b_F(t, Y_t) dt) ]                   Y backward with drift b_F
//! ```
//!
//! The second is the first's exponential form: unbiased for the density itself. Minus the mean of the first over data is the cross-entropy.

use rhapsode_tensor::{DType, Tensor, interrupt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Interpolant, VelocityField,
    sde::{Epsilon, NoisyWalk, Stepper},
};
use crate::{
    Error, Result,
    checks::at_least_one,
    flow::{
        FunctionField,
        field::check_points,
        likelihood::{Base, divergence},
    },
    native::RateValue,
    observe::{Observer, Step},
    ode::sde::Brownian,
};

/// Which expectation is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Of the logarithm.
    #[default]
    Mean,
    /// Of the density.
    FeynmanKac,
}

/// Options of the estimate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SdeDensity {
    /// Strength of the noise: a number or a closure of t (>= 0; default 0.5).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "RateValue")]
    pub epsilon: Option<Epsilon>,
    /// Paths for each point (at least 1; default 64).
    pub paths: usize,
    /// Number of equal steps (at least 1; default 200).
    pub steps: usize,
    /// Which expectation is taken: "mean" of the logarithm, or "feynman-kac" of the density (default "mean").
    pub estimator: Estimator,
    /// Seed of the paths (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SdeDensity {
    fn default() -> Self {
        Self {
            epsilon: None,
            paths: 64,
            steps: 200,
            estimator: Estimator::default(),
            seed: None,
        }
    }
}

/// The two expectations of the estimator "mean" at each point, and their standard errors together.
pub struct Estimate {
    /// `log rho1`, `[n]`.
    pub log_prob: Tensor,
    /// Its standard error over the paths, `[n]`.
    pub error: Tensor,
    /// `E log rho0(X_0)`, `[n]`.
    pub base: Tensor,
    /// `E int ..`, `[n]`.
    pub integral: Tensor,
}

impl Interpolant {
    /// The log-density of each row of `x: [n, d]` from the SDE, from the model's base or the density given.
    pub fn log_prob_sde(
        &self,
        x: &Tensor,
        base: Option<Base>,
        options: &SdeDensity,
        observer: &mut dyn Observer,
    ) -> Result<Estimate> {
        at_least_one("paths", options.paths)?;
        at_least_one("steps", options.steps)?;
        let base = self.density_or(base)?;
        let n = check_points(self, "x", x)?;
        let x = x.to_dtype(self.dtype())?.detach();
        let epsilon = options.epsilon.clone().unwrap_or(Epsilon::Constant(0.5));
        let paths = x.repeat_interleave(options.paths, 0)?;
        let (end, integral) = match options.estimator {
            Estimator::Mean => self.backward(&paths, &epsilon, options, observer)?,
            Estimator::FeynmanKac => {
                self.with_forward_drift(&paths, &epsilon, options, observer)?
            }
        };
        let start = base
            .log_density(&end)?
            .to_dtype(DType::F64)?
            .reshape(&[n, options.paths])?;
        let integral = integral
            .to_dtype(DType::F64)?
            .reshape(&[n, options.paths])?;
        let terms = start.sub(&integral)?;
        let count = options.paths as f64;
        let (log_prob, error) = match options.estimator {
            Estimator::Mean => (
                terms.mean(&[1])?,
                spread(&terms)?.affine(count.sqrt().recip(), 0.0)?,
            ),
            Estimator::FeynmanKac => {
                let log = terms.logsumexp(1)?.affine(1.0, -count.ln())?;
                // By the delta rule: the relative error of the mean.
                let relative = terms.sub(&log.unsqueeze(1)?)?.exp()?;
                (log, spread(&relative)?.affine(count.sqrt().recip(), 0.0)?)
            }
        };
        Ok(Estimate {
            log_prob,
            error,
            base: start.mean(&[1])?,
            integral: integral.mean(&[1])?,
        })
    }

    /// `b + eps s` as a field of its own.
    fn forward_drift(&self, epsilon: &Epsilon) -> FunctionField {
        let (model, epsilon) = (self.clone(), epsilon.clone());
        FunctionField {
            function: std::sync::Arc::new(move |x, t| {
                let t = t.to_vec()?.first().copied().unwrap_or(0.5);
                model.drift(x, t, epsilon.at(t)?)
            }),
            dim: self.dim(),
            dtype: self.dtype(),
            process: self.process().clone(),
        }
    }

    /// The end of the backward SDE, and `int (div b_F + eps |s|^2) dt` by the midpoints of the states at both ends of a step.
    fn backward(
        &self,
        x: &Tensor,
        epsilon: &Epsilon,
        options: &SdeDensity,
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, Tensor)> {
        let field = self.forward_drift(epsilon);
        let integrand = |x: &Tensor, t: f64| -> Result<Tensor> {
            let times = Tensor::full(t, &[x.dim(0)?], x.dtype())?;
            let square = self
                .score(x, &times)?
                .sqr()?
                .sum(&[1])?
                .affine(epsilon.at(t)?, 0.0)?;
            Ok(divergence(&field, x, t)?.add(&square)?.detach())
        };
        let walk = NoisyWalk {
            model: self,
            epsilon,
            solver: Stepper::SdeHeun,
            steps: options.steps,
            seed: options.seed.unwrap_or(0),
        };
        let mut total = Tensor::zeros(&[x.dim(0)?], x.dtype())?;
        let mut last = 0.0;
        let mut first = true;
        let end = walk.run(
            x,
            (1.0, 0.0),
            &mut |x, t, h| {
                // Trapezoids: half a step at the start, whole ones inside.
                let weight = if first { 0.5 * h.abs() } else { h.abs() };
                first = false;
                last = h.abs();
                total = Tensor::combine(&[(1.0, &total), (weight, &integrand(x, t)?)])?;
                Ok(())
            },
            observer,
        )?;
        let total = Tensor::combine(&[
            (1.0, &total),
            (0.5 * last, &integrand(&end, self.options().delta)?),
        ])?;
        Ok((end, total))
    }

    /// The end of the walk backward with the drift of the forward SDE, and the integral of its divergence.
    fn with_forward_drift(
        &self,
        x: &Tensor,
        epsilon: &Epsilon,
        options: &SdeDensity,
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, Tensor)> {
        let field = self.forward_drift(epsilon);
        let delta = self.options().delta;
        let h = (1.0 - 2.0 * delta) / options.steps as f64;
        let mut path = Brownian::new(
            options.seed.unwrap_or(0),
            x.dims(),
            x.dtype(),
            1.0 - 2.0 * delta,
            options.steps,
        );
        let mut total = Tensor::zeros(&[x.dim(0)?], x.dtype())?;
        let mut x = x.clone();
        for i in 0..options.steps {
            interrupt::check()?;
            let t = 1.0 - delta - h * i as f64;
            let here = divergence(&field, &x, t)?.detach();
            let noise = path
                .increment()?
                .affine((2.0 * epsilon.at(t)?).sqrt(), 0.0)?;
            let mut drift = |x: &Tensor, t: f64| self.drift(x, t, epsilon.at(t)?);
            x = super::sde::step(Stepper::SdeHeun, &mut drift, &x, t, -h, &noise)?;
            let there = divergence(&field, &x, t - h)?.detach();
            total = Tensor::combine(&[(1.0, &total), (0.5 * h, &here), (0.5 * h, &there)])?;
            let progress = Step {
                label: "log_prob",
                step: i as u64 + 1,
                total: Some(options.steps as u64),
                metrics: &[],
            };
            if observer.step(&progress).is_break() && i + 1 < options.steps {
                return Err(Error::Interrupted);
            }
        }
        Ok((x, total))
    }
}

/// The standard deviation of each row; 0 of a single path.
fn spread(terms: &Tensor) -> Result<Tensor> {
    match terms.dim(1)? {
        1 => Ok(Tensor::zeros(&[terms.dim(0)?], DType::F64)?),
        _ => Ok(terms.std(Some(&[1]))?),
    }
}
