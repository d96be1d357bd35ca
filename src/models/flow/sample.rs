//! Samples of any flow: noise carried along the velocity from `t = 0` to `t = 1`.
//!
//! Besides the solvers of [`crate::ode`] there is the walk of few steps of "Improving the Training of Rectified Flows"
//! (Lee, Lin, Fanti 2024, arXiv 2405.20320), on times of one's own and with its update that mixes the predicted data with
//! the *initial* noise again, see [`few_steps`].

use rhapsode_tensor::{Tensor, interrupt, no_grad, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    convert::expected_data,
    field::{VelocityField, fits_rows, velocity_at},
    likelihood,
};
use crate::{
    Error, Result,
    checks::finite,
    native::TensorValue,
    observe::{Observer, Step},
    ode::{self, SaveAt, SolveOptions, Solver},
};

/// How a step of few goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// Along the velocity.
    #[default]
    Standard,
    /// To the predicted data, mixed with the initial noise again.
    Reinterpolate,
}

/// Options of sampling.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleOptions {
    /// The solver (default "heun").
    pub solver: Solver,
    /// Number of equal steps from noise to data (at least 1; default 50; "dopri5", "tsit5" and "dopri8" without it choose their own).
    pub steps: Option<usize>,
    /// Times of the steps, rising from 0 (or a little more) to 1, for "euler" and "heun", whose last step is then Euler's (default: equal steps).
    pub times: Option<Vec<f64>>,
    /// How a step goes on: "standard" along the velocity, "reinterpolate" to the predicted data mixed with the initial noise (solver "euler" or "heun"; default "standard").
    pub update: Update,
    /// Relative tolerance when the solver chooses its steps (> 0; default 1e-4).
    pub rtol: Option<f64>,
    /// Absolute tolerance when the solver chooses its steps (> 0; default 1e-4).
    pub atol: Option<f64>,
    /// Class of all samples, for a flow with classes (default: no class).
    pub label: Option<i64>,
    /// Classes one by one, a tensor or array of n class numbers (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub labels: Option<Tensor>,
    /// Weight of the guidance towards the class: 1 is the plain conditional flow, larger is more typical (default 1).
    pub guidance: f64,
    /// The noise to start from, `[n, dim]` (default: drawn).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub noise: Option<Tensor>,
    /// Seed of the noise (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            solver: Solver::Heun,
            steps: None,
            times: None,
            update: Update::default(),
            rtol: None,
            atol: None,
            label: None,
            labels: None,
            guidance: 1.0,
            noise: None,
            seed: None,
        }
    }
}

impl SampleOptions {
    /// As options of a solver.
    pub(super) fn solve(&self) -> SolveOptions {
        // The solvers of high order choose their steps; the others take few large ones.
        let chooses = matches!(self.solver, Solver::Dopri5 | Solver::Tsit5 | Solver::Dopri8);
        let adaptive = chooses && self.steps.is_none();
        SolveOptions {
            solver: self.solver,
            steps: (!adaptive).then(|| self.steps.unwrap_or(50)),
            rtol: self.rtol.or(adaptive.then_some(1e-4)),
            atol: self.atol.or(adaptive.then_some(1e-4)),
            save_at: SaveAt::END,
            ..Default::default()
        }
    }

    /// The times of a walk of few steps, where one is asked for.
    fn few(&self) -> Result<Option<Vec<f64>>> {
        if self.update == Update::Standard && self.times.is_none() {
            return Ok(None);
        }
        if !matches!(self.solver, Solver::Euler | Solver::Heun) {
            let key = if self.times.is_some() {
                "times"
            } else {
                "update"
            };
            let message = "is for the solvers \"euler\" and \"heun\"";
            return Err(Error::option(key, message));
        }
        let Some(times) = &self.times else {
            return Ok(Some(equal_times(self.steps.unwrap_or(50))));
        };
        if self.steps.is_some() {
            return Err(Error::option(
                "steps",
                "give either `steps` or `times`, not both",
            ));
        }
        let rising = times.windows(2).all(|pair| pair[0] < pair[1]);
        let ends =
            times.first().is_some_and(|t| (0.0..1.0).contains(t)) && times.last() == Some(&1.0);
        match rising && ends && times.len() > 1 {
            true => Ok(Some(times.clone())),
            false => {
                let message = format!("must rise from at least 0 to exactly 1, got {times:?}");
                Err(Error::option("times", message))
            }
        }
    }

    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        finite("guidance", self.guidance)?;
        if self.label.is_some() && self.labels.is_some() {
            let message = "give either `label` or `labels`, not both";
            return Err(Error::option("label", message));
        }
        likelihood::guides_something(self.guidance, self.label.is_some() || self.labels.is_some())?;
        self.few()?;
        self.solve().validate()
    }
}

/// Equal steps whose first time is a little later than 0, where noise and data can be told apart.
pub fn equal_times(steps: usize) -> Vec<f64> {
    let at = |i: usize| {
        if i == 0 {
            1e-5
        } else {
            i as f64 / steps as f64
        }
    };
    (0..=steps.max(1)).map(at).collect()
}

/// Noise `[n, dim]`: what was given, or drawn.
pub(super) fn noise(
    field: &dyn VelocityField,
    n: usize,
    given: Option<&Tensor>,
    seed: Option<u64>,
) -> Result<Tensor> {
    let dim = field.dim();
    let Some(noise) = given else {
        return Ok(Stream::new(seed.unwrap_or(0), "noise").randn(&[n, dim], field.dtype())?);
    };
    let fits = noise.dims().first() == Some(&n) && noise.len() == n * dim;
    match fits && noise.is_finite()? {
        true => Ok(noise.to_dtype(field.dtype())?.reshape(&[n, dim])?),
        false => Err(Error::option(
            "noise",
            format!(
                "expected finite numbers of shape [{n}, {dim}], got {:?}",
                noise.dims()
            ),
        )),
    }
}

/// `n` samples `[n, dim]` of a field.
pub fn sample(
    field: &dyn VelocityField,
    n: usize,
    options: &SampleOptions,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    options.validate()?;
    if options.label.is_some() || options.labels.is_some() {
        let key = if options.label.is_some() {
            "label"
        } else {
            "labels"
        };
        let message = "this flow has no classes to choose from when it samples";
        return Err(Error::option(key, message));
    }
    draw(field, n, options, observer)
}

/// `n` samples, of whatever class the field is for; the options have been looked at.
pub(super) fn draw(
    field: &dyn VelocityField,
    n: usize,
    options: &SampleOptions,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    let x0 = noise(field, n, options.noise.as_ref(), options.seed)?;
    let few = options.few()?;
    let solve = options.solve();
    let steps = few.as_ref().map(|times| times.len() - 1).or(solve.steps);
    let walk = Walk {
        field,
        label: "sample",
        steps,
    };
    let mut piece = |field: &dyn VelocityField, x0: &Tensor, watch: &mut dyn Observer| match &few {
        Some(times) => {
            let walked = few_steps(field, x0, times, options.solver, options.update, watch)?;
            Ok(walked.last().cloned().unwrap_or_else(|| x0.clone()))
        }
        None => carry(field, x0, &solve, watch),
    };
    // Samples have no history, also where the velocity is a closure over parameters; `ode::solve` records one.
    let x = no_grad(|| walk.all(&x0, observer, &mut piece))?;
    match x.is_finite()? {
        true => Ok(x),
        false => Err(Error::Value {
            what: "sample",
            message: "samples are not finite: the flow diverged (train longer, or take more steps)"
                .into(),
        }),
    }
}

/// Carries the rows of a batch piece by piece: the activations of a piece stay in cache, and a million rows need no
/// gigabytes.
pub(super) struct Walk<'a> {
    pub field: &'a dyn VelocityField,
    pub label: &'static str,
    /// Steps a piece, when known.
    pub steps: Option<usize>,
}

/// What is done with a piece.
pub(super) type Piece<'a> =
    dyn FnMut(&dyn VelocityField, &Tensor, &mut dyn Observer) -> Result<Tensor> + 'a;

impl Walk<'_> {
    pub(super) fn all(
        &self,
        x: &Tensor,
        observer: &mut dyn Observer,
        piece: &mut Piece,
    ) -> Result<Tensor> {
        let n = x.dim(0)?;
        fits_rows(self.field, n)?;
        let chunk = self.field.rows_at_once().clamp(1, n.max(1));
        let chunks = n.div_ceil(chunk).max(1);
        let total = self.steps.map(|steps| (steps * chunks) as u64);
        let mut done = 0;
        let mut parts = Vec::with_capacity(chunks);
        for start in (0..n.max(1)).step_by(chunk) {
            let len = chunk.min(n - start);
            let own = match len == n {
                true => None,
                false => self
                    .field
                    .of_rows(&(start..start + len).collect::<Vec<_>>())?,
            };
            let mut watch = |_: &Step| {
                done += 1;
                observer.step(&Step {
                    label: self.label,
                    step: done,
                    total,
                    metrics: &[],
                })
            };
            let rows = if len == n {
                x.clone()
            } else {
                x.narrow(0, start, len)?
            };
            parts.push(piece(
                own.as_deref().unwrap_or(self.field),
                &rows,
                &mut watch,
            )?);
        }
        Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?)
    }
}

/// Carries points along a field as the options say; an interrupt is an error, as points on the way are no result.
pub fn carry(
    field: &dyn VelocityField,
    x: &Tensor,
    solve: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Tensor> {
    let mut slope = |x: &Tensor, t: f64| velocity_at(field, x, t);
    let solution = ode::solve(&mut slope, x, solve, observer)?;
    match solution.interrupted {
        true => Err(Error::Interrupted),
        false => Ok(solution.last().clone()),
    }
}

/// The states `[x(t_0), .., x(t_k)]` of a walk over the given times, beginning with the noise `z` itself at `t_0`.
///
/// ```text
/// standard        x <- x + (t' - t) v
/// reinterpolate   x <- t' x1_hat + (1 - t') z       x1_hat = x + (1 - t) v
/// ```
///
/// "heun" averages the velocities at both ends of a step, where the predictor follows the same rule; its last step is Euler's,
/// so that k steps cost 2 k - 1 evaluations. In one and two steps of Euler the rules agree.
pub fn few_steps(
    field: &dyn VelocityField,
    z: &Tensor,
    times: &[f64],
    solver: Solver,
    update: Update,
    observer: &mut dyn Observer,
) -> Result<Vec<Tensor>> {
    let process = field.process();
    let go = |x: &Tensor, v: &Tensor, t: f64, end: f64| -> Result<Tensor> {
        if update == Update::Standard {
            return Ok(Tensor::combine(&[(1.0, x), (end - t, v)])?);
        }
        let (data, c) = (expected_data(&process, x, v, t)?, process.at(end)?);
        Ok(Tensor::combine(&[(c.beta, &data), (c.alpha, z)])?)
    };
    let mut states = vec![z.clone()];
    let mut x = z.clone();
    let steps = times.len().saturating_sub(1);
    for (i, pair) in times.windows(2).enumerate() {
        interrupt::check()?;
        let &[t, end] = pair else { continue };
        let mut v = velocity_at(field, &x, t)?;
        if solver == Solver::Heun && i + 1 < steps {
            let there = go(&x, &v, t, end)?;
            let then = velocity_at(field, &there, end)?;
            v = Tensor::combine(&[(0.5, &v), (0.5, &then)])?;
        }
        x = go(&x, &v, t, end)?;
        states.push(x.clone());
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
    Ok(states)
}
