//! Stochastic differential equations with diagonal noise, `dx = f(x, t) dt + g(x, t) dW`: every element of `x` has a
//! Brownian motion of its own. A file a solver; [`ALL`] is the list, its contract test measures the strong orders.
//!
//! An Ito and a Stratonovich equation of the same `f` and `g` differ when `g` depends on `x`: every solver says
//! which of the two it solves. The Brownian path is a function of the seed alone ([`Brownian`]): twice as many
//! steps refine the same path.

mod brownian;
mod euler_maruyama;
mod heun;
mod milstein;
#[cfg(test)]
mod tests;

pub use brownian::Brownian;

use rhapsode_tensor::{Tensor, interrupt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Field, SaveAt, Solution, check_times,
    solve::{check_start, check_state},
};
use crate::{
    Error, Result,
    checks::at_least_one,
    observe::{Observer, Step},
    reference::Reference,
};

/// The meaning of the stochastic integral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calculus {
    /// The noise does not see the change of `g` within a step.
    Ito,
    /// The noise sees `g` in the middle; the ordinary chain rule holds.
    Stratonovich,
}

/// A method for stochastic equations.
#[derive(Debug)]
pub struct Method {
    /// Name in scripts.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The mean distance to the true path at the end falls as `h^strong_order`.
    pub strong_order: f64,
    /// Which equation it solves.
    pub calculus: Calculus,
    /// Where it comes from.
    pub reference: Reference,
    step: fn(&mut Equation, &Tensor, &Moment) -> Result<Tensor>,
}

/// Every solver. To be in the list is to be tested.
pub const ALL: &[&Method] = &[
    &euler_maruyama::EULER_MARUYAMA,
    &heun::SDE_HEUN,
    &milstein::MILSTEIN,
];

const KLOEDEN: Reference = Reference {
    key: "kloeden1992numerical",
    title: "Numerical Solution of Stochastic Differential Equations",
    authors: &["Peter E. Kloeden", "Eckhard Platen"],
    year: 1992,
    arxiv: "",
};

/// A solver of stochastic equations by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Euler and Maruyama, Ito, strong order 1/2.
    #[default]
    EulerMaruyama,
    /// Heun, Stratonovich, strong order 1.
    SdeHeun,
    /// Milstein without derivatives, Ito, strong order 1.
    Milstein,
}

impl Solver {
    /// The method.
    pub fn method(self) -> &'static Method {
        match self {
            Solver::EulerMaruyama => &euler_maruyama::EULER_MARUYAMA,
            Solver::SdeHeun => &heun::SDE_HEUN,
            Solver::Milstein => &milstein::MILSTEIN,
        }
    }
}

/// Options of a stochastic solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SdeOptions {
    /// Time at the start (default 0).
    pub from: f64,
    /// Time at the end; may lie before the start (default 1).
    pub to: f64,
    /// The method (default "euler_maruyama").
    pub solver: Solver,
    /// Number of equal steps (at least 1; default 100).
    pub steps: usize,
    /// Which states are kept in `.t` and `.x`: "steps" (every step and the start, the default), "end" (the last alone), a number of equally spaced times with both ends, or the times themselves. Times must be ends of steps: a path has no values in between.
    pub save_at: SaveAt,
    /// Seed of the Brownian path (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SdeOptions {
    fn default() -> Self {
        Self {
            from: 0.0,
            to: 1.0,
            solver: Solver::default(),
            steps: 100,
            save_at: SaveAt::default(),
            seed: None,
        }
    }
}

impl SdeOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        check_times(self.from, self.to)?;
        at_least_one("steps", self.steps)?;
        if self.steps > 1 << 40 {
            return Err(Error::option(
                "steps",
                format!("must be at most 2^40, got {}", self.steps),
            ));
        }
        self.kept().map(|_| ())
    }

    fn time(&self, i: usize) -> f64 {
        let share = i as f64 / self.steps as f64;
        self.from * (1.0 - share) + self.to * share
    }

    /// The numbers of the steps after which states are kept; `None` for all.
    fn kept(&self) -> Result<Option<Vec<usize>>> {
        let Some(times) = self.save_at.times(self.from, self.to)? else {
            return Ok(None);
        };
        let span = self.to - self.from;
        let number = |t: &f64| {
            let exact = if span == 0.0 {
                0.0
            } else {
                (t - self.from) / span * self.steps as f64
            };
            let near = exact.round();
            if (exact - near).abs() > 1e-6 {
                let message = format!("{t} is not the end of one of {} steps", self.steps);
                return Err(Error::option("save_at", message));
            }
            Ok(near as usize)
        };
        times.iter().map(number).collect::<Result<_>>().map(Some)
    }
}

/// The factor `g` of the noise.
pub enum Noise<'a> {
    /// The same everywhere.
    Constant(f64),
    /// A function of state and time: of the shape of `x`, or of one element.
    Field(&'a mut Field<'a>),
}

/// An equation that is being solved.
struct Equation<'a, 'f, 'n> {
    drift: &'a mut Field<'f>,
    noise: Noise<'n>,
    evaluations: usize,
}

/// A step: when, how far (with sign), and the increment of the Brownian motion.
struct Moment {
    t: f64,
    h: f64,
    dw: Tensor,
}

impl Equation<'_, '_, '_> {
    fn drift(&mut self, x: &Tensor, t: f64) -> Result<Tensor> {
        interrupt::check()?;
        self.evaluations += 1;
        let slope = (self.drift)(x, t)?;
        if slope.dims() != x.dims() {
            return Err(Error::Shape {
                what: "drift",
                expected: format!("the shape of x, {:?}", x.dims()),
                got: slope.dims().to_vec(),
            });
        }
        Ok(slope.to_dtype(x.dtype())?)
    }

    /// The factor at every element, and whether it depends on the state.
    fn noise(&mut self, x: &Tensor, t: f64) -> Result<Tensor> {
        let g = match &mut self.noise {
            Noise::Constant(g) => return Ok(Tensor::full(*g, x.dims(), x.dtype())?),
            Noise::Field(noise) => noise(x, t)?.to_dtype(x.dtype())?,
        };
        if g.dims() == x.dims() {
            return Ok(g);
        }
        if g.len() == 1 {
            return Ok(g.reshape(&[])?.broadcast_to(x.dims())?);
        }
        Err(Error::Shape {
            what: "noise",
            expected: format!(
                "the shape of x, {:?}, or one element (the noise is diagonal)",
                x.dims()
            ),
            got: g.dims().to_vec(),
        })
    }

    fn is_additive(&self) -> bool {
        matches!(self.noise, Noise::Constant(_))
    }
}

/// Solves `dx = f dt + g dW` from `x0` (any shape, f32 or f64) with equal steps; backward in time when `to < from`
/// (the increments then run backward too). Gradients go through every step; the path is a constant. An
/// interrupt gives what was reached, marked.
pub fn solve(
    drift: &mut Field,
    noise: Noise,
    x0: &Tensor,
    options: &SdeOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    options.validate()?;
    check_start(x0)?;
    let mut solution = Solution::start(options.from, x0);
    let mut equation = Equation {
        drift,
        noise,
        evaluations: 0,
    };
    let outcome = walk(&mut equation, &mut solution, x0, options, observer);
    solution.evaluations = equation.evaluations;
    match outcome {
        Ok(()) => {}
        Err(Error::Interrupted) => solution.interrupted = true,
        Err(error) => return Err(error),
    }
    Ok(solution)
}

fn walk(
    equation: &mut Equation,
    solution: &mut Solution,
    x0: &Tensor,
    options: &SdeOptions,
    observer: &mut dyn Observer,
) -> Result<()> {
    let span = options.to - options.from;
    let kept = options.kept()?;
    let mut kept = kept.map(|steps| steps.into_iter().peekable());
    let mut keep = |solution: &mut Solution, i: usize, x: &Tensor| -> Result<()> {
        match &mut kept {
            None => solution.keep(options.time(i), x.clone()),
            Some(steps) => {
                while steps.next_if_eq(&i).is_some() {
                    solution.keep(options.time(i), x.clone())?;
                }
                Ok(())
            }
        }
    };
    keep(solution, 0, x0)?;
    if span == 0.0 {
        return Ok(());
    }
    let seed = options.seed.unwrap_or(0);
    let mut path = Brownian::new(seed, x0.dims(), x0.dtype(), span.abs(), options.steps);
    let mut x = x0.clone();
    for i in 0..options.steps {
        interrupt::check()?;
        let (t, end) = (options.time(i), options.time(i + 1));
        let moment = Moment {
            t,
            h: end - t,
            dw: path.increment()?,
        };
        x = (options.solver.method().step)(equation, &x, &moment)?;
        check_state("sde", &x, end)?;
        solution.accepted += 1;
        solution.end = (end, x.clone());
        keep(solution, i + 1, &x)?;
        let progress = Step {
            label: "sde",
            step: solution.accepted as u64,
            total: Some(options.steps as u64),
            metrics: &[],
        };
        if observer.step(&progress).is_break() && i + 1 < options.steps {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}
