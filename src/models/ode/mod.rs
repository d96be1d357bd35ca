//! Ordinary differential equations `dx/dt = f(x, t)`: a file a solver, the machinery once in
//! `runge_kutta.rs`. [`ALL`] is the list; its contract test measures every solver's order.

mod dopri5;
mod euler;
mod heun;
mod midpoint;
mod rk4;
mod runge_kutta;

pub use runge_kutta::{Solution, solve};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, nn::positive, reference::Reference};

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
];

/// A solver by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Euler's method, order 1.
    Euler,
    /// The explicit midpoint rule, order 2.
    Midpoint,
    /// Heun's method (the trapezoidal rule made explicit), order 2.
    #[default]
    Heun,
    /// The classical method of Runge and Kutta, order 4.
    Rk4,
    /// Dormand and Prince, order 5, with an error estimate: chooses its own steps when no number of steps is given.
    Dopri5,
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
        }
    }
}

/// Options of a solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SolveOptions {
    /// Time at the start (default 0).
    pub from: f64,
    /// Time at the end; may lie before the start (default 1).
    pub to: f64,
    /// The method (default "heun").
    pub solver: Solver,
    /// Number of equal steps (at least 1). Default: 100; "dopri5" without it chooses its steps by `rtol` and `atol`.
    pub steps: Option<usize>,
    /// Relative tolerance of an adaptive solution (> 0; default 1e-5).
    pub rtol: f64,
    /// Absolute tolerance of an adaptive solution (> 0; default 1e-6).
    pub atol: f64,
    /// Keep every accepted step, not the last alone (default false).
    pub trajectory: bool,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            from: 0.0,
            to: 1.0,
            solver: Solver::default(),
            steps: None,
            rtol: 1e-5,
            atol: 1e-6,
            trajectory: false,
        }
    }
}

impl SolveOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        for (key, time) in [("from", self.from), ("to", self.to)] {
            if !time.is_finite() {
                return Err(Error::option(key, format!("must be finite, got {time}")));
            }
        }
        if let Some(steps) = self.steps {
            positive("steps", steps)?;
        }
        for (key, tolerance) in [("rtol", self.rtol), ("atol", self.atol)] {
            if !(tolerance > 0.0 && tolerance.is_finite()) {
                return Err(Error::option(
                    key,
                    format!("must be a finite number > 0, got {tolerance}"),
                ));
            }
        }
        Ok(())
    }
}
