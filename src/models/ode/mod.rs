//! Ordinary differential equations `dx/dt = f(x, t)`: a file a solver, the machinery once.
//!
//! [`solve`] integrates with equal steps or under a proportional-integral controller, forward or backward in
//! time, with dense output and events; gradients go through it on the tape. [`solve_adjoint`] gives the
//! gradients by the continuous adjoint in constant memory. [`sde`] has the stochastic ones. [`ALL`] is the
//! list; its contract test measures every solver's order, that of its dense output included.

mod adjoint;
mod control;
mod dopri5;
mod dopri8;
mod euler;
mod heun;
mod midpoint;
mod rk4;
mod runge_kutta;
mod save;
pub mod sde;
mod solution;
mod solve;
#[cfg(test)]
mod tests;
mod tsit5;

pub use adjoint::solve_adjoint;
pub use save::{Named, SaveAt};
pub use solution::Solution;
pub use solve::{Event, Field, SharedField, solve, solve_until};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    reference::Reference,
};

/// An explicit Runge-Kutta method.
#[derive(Debug)]
pub struct Tableau {
    /// Name in scripts.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The global error falls as `h^order`.
    pub order: u32,
    /// Places of the stages within a step.
    pub c: &'static [f64],
    /// Weights of earlier stages in each stage, row by row (the first row is empty).
    pub a: &'static [&'static [f64]],
    /// Weights of the stages in the result.
    pub b: &'static [f64],
    /// `b` minus the weights of the embedded method: the error estimate, where the method has one.
    pub error: Option<&'static [f64]>,
    /// Whether the last stage is the first of the next step.
    pub first_same_as_last: bool,
    /// The method's own interpolant: for each stage the coefficients of `theta, theta^2, ..` in its weight
    /// `b_i(theta)`, so that `x(t + theta h) = x + h sum_i b_i(theta) k_i`. Without it states between steps come
    /// from the cubic Hermite polynomial on the states and slopes at both ends.
    pub dense: Option<&'static [&'static [f64]]>,
    /// The error of states between steps falls as `h^dense_order`.
    pub dense_order: u32,
    /// Where it comes from.
    pub reference: Reference,
}

/// Every solver. To be in the list is to be tested.
pub const ALL: &[&Tableau] = &[
    &euler::EULER,
    &midpoint::MIDPOINT,
    &heun::HEUN,
    &rk4::RK4,
    &dopri5::DOPRI5,
    &tsit5::TSIT5,
    &dopri8::DOPRI8,
];

/// A solver by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Euler's method, order 1.
    Euler,
    /// The explicit midpoint rule, order 2.
    Midpoint,
    /// Heun's method (the trapezoidal rule made explicit), order 2.
    Heun,
    /// The classical method of Runge and Kutta, order 4.
    Rk4,
    /// Dormand and Prince, order 5.
    Dopri5,
    /// Tsitouras, order 5, with smaller errors than "dopri5".
    Tsit5,
    /// Prince and Dormand, order 8, for tolerances below 1e-8.
    Dopri8,
}

impl Solver {
    /// Its coefficients.
    pub fn tableau(self) -> &'static Tableau {
        match self {
            Solver::Euler => &euler::EULER,
            Solver::Midpoint => &midpoint::MIDPOINT,
            Solver::Heun => &heun::HEUN,
            Solver::Rk4 => &rk4::RK4,
            Solver::Dopri5 => &dopri5::DOPRI5,
            Solver::Tsit5 => &tsit5::TSIT5,
            Solver::Dopri8 => &dopri8::DOPRI8,
        }
    }
}

/// How gradients go back through a solution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gradient {
    /// Through every operation of the solver: exact for the steps taken, memory grows with them.
    #[default]
    Through,
    /// By the adjoint equation, solved backward in time: memory does not grow, the gradient is as exact as the steps.
    Adjoint,
}

/// Steps of a solution with equal steps when none are given.
const STEPS: usize = 100;

/// Options of a solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SolveOptions {
    /// Time at the start (default 0).
    pub from: f64,
    /// Time at the end; may lie before the start (default 1).
    pub to: f64,
    /// The method (default "dopri5").
    pub solver: Solver,
    /// Number of equal steps (at least 1). Default: steps are chosen by `rtol` and `atol`; 100 with "euler" and "rk4", which cannot judge their error.
    pub steps: Option<usize>,
    /// Relative tolerance where steps are chosen (> 0; default 1e-5).
    pub rtol: Option<f64>,
    /// Absolute tolerance where steps are chosen (> 0; default 1e-6).
    pub atol: Option<f64>,
    /// Most steps where they are chosen, tried ones included (at least 1; default 100000).
    pub max_steps: Option<usize>,
    /// Which states are kept in `.t` and `.x`: "steps" (every step and the start, the default), "end" (the last alone), a number of equally spaced times with both ends, or the times themselves in the order in which they are reached.
    pub save_at: SaveAt,
    /// How gradients go back: "through" the solver's steps, or by the "adjoint" equation in constant memory (default "through").
    pub gradient: Gradient,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            from: 0.0,
            to: 1.0,
            solver: Solver::Dopri5,
            steps: None,
            rtol: None,
            atol: None,
            max_steps: None,
            save_at: SaveAt::default(),
            gradient: Gradient::default(),
        }
    }
}

impl SolveOptions {
    /// Refuses impossible values, and options that would have no effect.
    pub fn validate(&self) -> Result<()> {
        check_times(self.from, self.to)?;
        for (key, count) in [("steps", self.steps), ("max_steps", self.max_steps)] {
            if let Some(count) = count {
                at_least_one(key, count)?;
            }
        }
        for (key, tolerance) in [("rtol", self.rtol), ("atol", self.atol)] {
            tolerance.map_or(Ok(()), |tolerance| positive(key, tolerance))?;
        }
        let idle = [
            ("rtol", self.rtol.is_some()),
            ("atol", self.atol.is_some()),
            ("max_steps", self.max_steps.is_some()),
        ];
        if let Some((key, _)) = idle.iter().find(|(_, given)| *given)
            && !self.adaptive()
        {
            let message = match self.steps {
                Some(_) => "has no effect on equal steps: give either `steps` or tolerances".into(),
                None => format!(
                    "{} cannot judge its error: give `steps`, or take \"dopri5\"",
                    self.solver.tableau().name
                ),
            };
            return Err(Error::option(*key, message));
        }
        self.save_at.times(self.from, self.to).map(|_| ())
    }

    /// Whether the solver chooses its steps.
    pub fn adaptive(&self) -> bool {
        self.steps.is_none() && self.solver.tableau().error.is_some()
    }

    fn tolerances(&self) -> (f64, f64) {
        (self.rtol.unwrap_or(1e-5), self.atol.unwrap_or(1e-6))
    }
}

fn check_times(from: f64, to: f64) -> Result<()> {
    for (key, time) in [("from", from), ("to", to)] {
        if !time.is_finite() {
            return Err(Error::option(key, format!("must be finite, got {time}")));
        }
    }
    // A span that overflows, or of which no step can be told from the next.
    if !(to - from).is_finite() {
        return Err(Error::option(
            "to",
            format!("is too far from {from}, got {to}"),
        ));
    }
    Ok(())
}
