//! The stochastic side of an interpolant: walks forward and backward with any `eps(t)`, and iterated denoising.
//!
//! ```text
//! forward     X(t + h) = X + h (b + eps s) + sqrt(2 eps h) xi
//! backward    X(t - h) = X - h (b - eps s) + sqrt(2 eps h) xi
//! denoising   X(t') = alpha' eta + beta' x1_hat                       (one-sided, from x1_hat alone at t = 0)
//! ```

use std::sync::Arc;

use rhapsode_tensor::{Tensor, interrupt, no_grad};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Interpolant, Sort};
use crate::{
    Error, Result,
    checks::at_least_one,
    flow::{
        convert::one_sided,
        field::{VelocityField, check_points},
        likelihood::{self, Base, LogProbOptions},
        sample::{Walk, carry},
    },
    native::{RateValue, TensorValue},
    observe::{Observer, Step},
    ode::{self, SaveAt, SolveOptions, sde::Brownian},
};

/// The strength of the noise: a number, or a function of time.
#[derive(Clone)]
pub enum Epsilon {
    /// The same all the way.
    Constant(f64),
    /// A function of time.
    Function(Arc<dyn Fn(f64) -> Result<f64> + Send + Sync>),
}

impl std::fmt::Debug for Epsilon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Epsilon::Constant(value) => write!(f, "{value}"),
            Epsilon::Function(_) => f.write_str("closure"),
        }
    }
}

impl Epsilon {
    /// Its value at a time; negative ones are refused.
    pub fn at(&self, t: f64) -> Result<f64> {
        let value = match self {
            Epsilon::Constant(value) => *value,
            Epsilon::Function(of) => of(t)?,
        };
        match value >= 0.0 && value.is_finite() {
            true => Ok(value),
            false => Err(Error::option(
                "epsilon",
                format!("must be a finite number >= 0, got {value} at t = {t}"),
            )),
        }
    }
}

/// How points move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Along the probability flow.
    #[default]
    Ode,
    /// With noise.
    Sde,
    /// By denoising again and again (one-sided paths).
    Denoise,
}

/// A method of steps: of the ODE, or of the SDE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stepper {
    /// ODE: Euler.
    Euler,
    /// ODE: the midpoint rule.
    Midpoint,
    /// ODE: Heun.
    Heun,
    /// ODE: Runge and Kutta.
    Rk4,
    /// ODE: Dormand and Prince, order 5.
    Dopri5,
    /// ODE: Tsitouras.
    Tsit5,
    /// ODE: Prince and Dormand, order 8.
    Dopri8,
    /// SDE: Euler and Maruyama.
    EulerMaruyama,
    /// SDE: Heun, the drift at both ends of the noisy step.
    SdeHeun,
    /// SDE: the noise first, then Heun with both looks at the new time, as the official code does.
    NoiseHeun,
}

impl Stepper {
    fn ode(self) -> Option<ode::Solver> {
        Some(match self {
            Stepper::Euler => ode::Solver::Euler,
            Stepper::Midpoint => ode::Solver::Midpoint,
            Stepper::Heun => ode::Solver::Heun,
            Stepper::Rk4 => ode::Solver::Rk4,
            Stepper::Dopri5 => ode::Solver::Dopri5,
            Stepper::Tsit5 => ode::Solver::Tsit5,
            Stepper::Dopri8 => ode::Solver::Dopri8,
            Stepper::EulerMaruyama | Stepper::SdeHeun | Stepper::NoiseHeun => return None,
        })
    }
}

/// Options of a walk.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InterpolantSample {
    /// How points move: along the probability flow "ode", with noise "sde", or "denoise" (default "ode").
    pub sampler: Sampler,
    /// Strength of the noise of "sde": a number or a closure of t (>= 0; default 0.5).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "RateValue")]
    pub epsilon: Option<Epsilon>,
    /// Method of the steps (default "heun", "euler_maruyama" with noise).
    pub solver: Option<Stepper>,
    /// Number of equal steps (at least 1; default 50, with noise 200; "dopri5", "tsit5" and "dopri8" without it choose their own).
    pub steps: Option<usize>,
    /// Relative tolerance when the solver chooses its steps (> 0; default 1e-5).
    pub rtol: Option<f64>,
    /// Absolute tolerance when the solver chooses its steps (> 0; default 1e-5).
    pub atol: Option<f64>,
    /// Time at the start (in [0, 1]; default 0, going backward 1).
    pub from: Option<f64>,
    /// Time at the end (in [0, 1]; default 1, going backward 0).
    pub to: Option<f64>,
    /// Whether the last thing is a look at the expected data, instead of the state at the end (default false).
    pub final_denoise: bool,
    /// Points to start from, `[n, dim]` (default: drawn from the base).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub base: Option<Tensor>,
    /// Seed of the base's points and the noise (default: the session's next).
    pub seed: Option<u64>,
}

impl InterpolantSample {
    /// Refuses impossible values, and options that would have no effect.
    pub fn validate(&self) -> Result<()> {
        for (key, time) in [("from", self.from), ("to", self.to)] {
            if let Some(t) = time.filter(|t| !(0.0..=1.0).contains(t)) {
                return Err(Error::option(key, format!("must lie in [0, 1], got {t}")));
            }
        }
        if let Some(steps) = self.steps {
            at_least_one("steps", steps)?;
        }
        let idle = |key: &str, message: &str| Err(Error::option(key, message));
        if self.sampler == Sampler::Ode {
            if self.epsilon.is_some() {
                return idle(
                    "epsilon",
                    "has no effect without noise: set sampler: \"sde\"",
                );
            }
            if self.solver.is_some_and(|s| s.ode().is_none()) {
                return idle("solver", "is a method with noise: set sampler: \"sde\"");
            }
            return self.solve(0.0, 1.0).validate();
        }
        for (key, given) in [("rtol", self.rtol.is_some()), ("atol", self.atol.is_some())] {
            if given {
                return idle(key, "has no effect on equal steps");
            }
        }
        match (self.sampler, self.solver) {
            (Sampler::Sde, Some(solver)) if solver.ode().is_some() => idle(
                "solver",
                "with noise it is \"euler_maruyama\", \"sde_heun\" or \"noise_heun\"",
            ),
            (Sampler::Denoise, Some(_)) => idle("solver", "has no effect on \"denoise\""),
            (Sampler::Denoise, None) if self.epsilon.is_some() => {
                idle("epsilon", "has no effect on \"denoise\"")
            }
            _ => Ok(()),
        }
    }

    fn solve(&self, from: f64, to: f64) -> SolveOptions {
        let solver = self
            .solver
            .and_then(Stepper::ode)
            .unwrap_or(ode::Solver::Heun);
        let chooses = matches!(
            solver,
            ode::Solver::Dopri5 | ode::Solver::Tsit5 | ode::Solver::Dopri8
        );
        let adaptive = chooses && self.steps.is_none();
        SolveOptions {
            from,
            to,
            solver,
            steps: (!adaptive).then(|| self.steps.unwrap_or(50)),
            rtol: self.rtol.or(adaptive.then_some(1e-5)),
            atol: self.atol.or(adaptive.then_some(1e-5)),
            save_at: SaveAt::END,
            ..Default::default()
        }
    }
}

/// A drift at points and a time.
pub type Drift<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// One step from `t` over `h` (with sign) under `drift`, which is `b + eps s` going forward and `b - eps s` going backward; `noise` is `sqrt(2
/// eps |h|) xi`.
pub fn step(
    solver: Stepper,
    drift: &mut Drift,
    x: &Tensor,
    t: f64,
    h: f64,
    noise: &Tensor,
) -> Result<Tensor> {
    match solver {
        Stepper::SdeHeun => {
            let first = drift(x, t)?;
            let there = Tensor::combine(&[(1.0, x), (h, &first), (1.0, noise)])?;
            let second = drift(&there, t + h)?;
            Ok(Tensor::combine(&[
                (1.0, x),
                (h / 2.0, &first),
                (h / 2.0, &second),
                (1.0, noise),
            ])?)
        }
        Stepper::NoiseHeun => {
            let moved = Tensor::combine(&[(1.0, x), (1.0, noise)])?;
            let first = drift(&moved, t + h)?;
            let there = Tensor::combine(&[(1.0, &moved), (h, &first)])?;
            let second = drift(&there, t + h)?;
            Ok(Tensor::combine(&[
                (1.0, &moved),
                (h / 2.0, &first),
                (h / 2.0, &second),
            ])?)
        }
        _ => {
            let slope = drift(x, t)?;
            Ok(Tensor::combine(&[(1.0, x), (h, &slope), (1.0, noise)])?)
        }
    }
}

/// A walk with noise between two times.
pub(super) struct NoisyWalk<'a> {
    pub model: &'a Interpolant,
    pub epsilon: &'a Epsilon,
    pub solver: Stepper,
    pub steps: usize,
    pub seed: u64,
}

impl NoisyWalk<'_> {
    /// From `x` at `from` to `to`, backward when that is earlier. `see` gets the state and time before each step.
    pub(super) fn run(
        &self,
        x: &Tensor,
        (from, to): (f64, f64),
        see: &mut dyn FnMut(&Tensor, f64, f64) -> Result<()>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let sign = if to < from { -1.0 } else { 1.0 };
        // The score has no bound at the ends.
        let delta = self.model.options().delta;
        let (from, to) = (from.clamp(delta, 1.0 - delta), to.clamp(delta, 1.0 - delta));
        let h = (to - from) / self.steps as f64;
        let mut path = Brownian::new(
            self.seed,
            x.dims(),
            x.dtype(),
            (to - from).abs().max(1e-12),
            self.steps,
        );
        let mut x = x.clone();
        for i in 0..self.steps {
            interrupt::check()?;
            let t = from + h * i as f64;
            see(&x, t, h)?;
            let noise = path
                .increment()?
                .affine((2.0 * self.epsilon.at(t)?).sqrt(), 0.0)?;
            let mut drift = |x: &Tensor, t: f64| self.model.drift(x, t, sign * self.epsilon.at(t)?);
            x = step(self.solver, &mut drift, &x, t, h, &noise)?;
            let progress = Step {
                label: "sample",
                step: i as u64 + 1,
                total: Some(self.steps as u64),
                metrics: &[],
            };
            if observer.step(&progress).is_break() && i + 1 < self.steps {
                return Err(Error::Interrupted);
            }
        }
        Ok(x)
    }
}

impl Interpolant {
    /// `n` samples `[n, d]`.
    pub fn sample(
        &self,
        n: usize,
        options: &InterpolantSample,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        options.validate()?;
        let x0 = match &options.base {
            Some(base) => {
                let found = check_points(self, "base", base)?;
                if found != n {
                    let message = format!("expected {n} points, got {found}");
                    return Err(Error::option("base", message));
                }
                base.to_dtype(self.dtype())?
            }
            None => self.draw_base(n, options.seed.unwrap_or(0))?,
        };
        // Samples have no history; `transport` records one.
        no_grad(|| self.transport(&x0, false, options, observer))
    }

    /// Carries points from one time to another, forward (base to data) or backward.
    pub fn transport(
        &self,
        x: &Tensor,
        backward: bool,
        options: &InterpolantSample,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        options.validate()?;
        check_points(self, "x", x)?;
        let x = x.to_dtype(self.dtype())?;
        let ends = if backward { (1.0, 0.0) } else { (0.0, 1.0) };
        let (from, to) = (options.from.unwrap_or(ends.0), options.to.unwrap_or(ends.1));
        let x = match options.sampler {
            Sampler::Ode => {
                let solve = options.solve(from, to);
                let walk = Walk {
                    field: self,
                    label: "sample",
                    steps: solve.steps,
                };
                walk.all(&x, observer, &mut |field, x, watch| {
                    carry(field, x, &solve, watch)
                })?
            }
            Sampler::Sde => {
                let walk = NoisyWalk {
                    model: self,
                    epsilon: options.epsilon.as_ref().unwrap_or(&Epsilon::Constant(0.5)),
                    solver: options.solver.unwrap_or(Stepper::EulerMaruyama),
                    steps: options.steps.unwrap_or(200),
                    seed: options.seed.unwrap_or(0),
                };
                walk.run(&x, (from, to), &mut |_, _, _| Ok(()), observer)?
            }
            Sampler::Denoise => {
                self.denoise(&x, (from, to), options.steps.unwrap_or(50), observer)?
            }
        };
        let x = match options.final_denoise {
            true => self.data(&x, &Tensor::full(to, &[x.dim(0)?], x.dtype())?)?,
            false => x,
        };
        match x.is_finite()? {
            true => Ok(x),
            false => Err(Error::Value {
                what: "sample",
                message:
                    "samples are not finite: the walk diverged (take more steps, or less noise)"
                        .into(),
            }),
        }
    }

    /// Iterated denoising: each step mixes the expected noise and data anew.
    fn denoise(
        &self,
        x: &Tensor,
        (from, to): (f64, f64),
        steps: usize,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        one_sided(self.process())?;
        if to <= from {
            return Err(Error::option(
                "to",
                "\"denoise\" goes forward: `to` must be later than `from`",
            ));
        }
        let n = x.dim(0)?;
        let mut x = x.clone();
        for i in 0..steps {
            interrupt::check()?;
            let at = |i: usize| from + (to - from) * i as f64 / steps as f64;
            let t = Tensor::full(at(i), &[n], x.dtype())?;
            let (noise, data) = (self.denoiser(&x, &t)?, self.data(&x, &t)?);
            let c = self.process().at(at(i + 1))?;
            x = Tensor::combine(&[(c.alpha, &noise), (c.beta, &data)])?;
            let progress = Step {
                label: "sample",
                step: i as u64 + 1,
                total: Some(steps as u64),
                metrics: &[],
            };
            if observer.step(&progress).is_break() && i + 1 < steps {
                return Err(Error::Interrupted);
            }
        }
        Ok(x)
    }

    /// The log-density of each row of `x: [n, d]` by the probability flow, from the model's base or the density given.
    pub fn log_prob(
        &self,
        x: &Tensor,
        base: Option<Base>,
        options: &LogProbOptions,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let base = self.density_or(base)?;
        let x = x.to_dtype(self.dtype())?;
        check_points(self, "x", &x)?;
        likelihood::log_prob_rows(self, &base, &x, options, observer)
    }

    /// The base's density: what was given, or known.
    pub fn density_or(&self, base: Option<Base>) -> Result<Base> {
        if self.process().path.sort() == Sort::Mirror {
            return Err(Error::Value {
                what: "log_prob",
                message: "the path \"mirror\" leads from the data to the data: its flow has no known base".into(),
            });
        }
        base.or_else(|| self.base_density()).ok_or_else(|| {
            Error::option(
                "base_log_prob",
                "must be given: the density of a base of points is not known, a closure |x| that gives one number a row",
            )
        })
    }
}
