//! The machinery of all Runge-Kutta methods: stages, equal steps, and adaptive steps under a
//! proportional-integral controller (Hairer, Norsett, Wanner, II.4; Gustafsson 1991).

use std::ops::ControlFlow;

use rhapsode_tensor::{Tensor, interrupt};

use super::{SolveOptions, Tableau};
use crate::{
    Error, Result,
    observe::{Observer, Step},
};

/// The solution of an initial value problem.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Times of the kept states.
    pub t: Vec<f64>,
    /// The kept states: start and every step with `trajectory`, else the last alone.
    pub x: Vec<Tensor>,
    /// How often `f` was evaluated.
    pub evaluations: usize,
    /// Steps accepted.
    pub accepted: usize,
    /// Steps tried again with a smaller size.
    pub rejected: usize,
}

impl Solution {
    /// The state at the end.
    pub fn last(&self) -> Result<&Tensor> {
        self.x.last().ok_or(Error::Value {
            what: "ode",
            message: "the solution is empty".into(),
        })
    }
}

/// The right-hand side `f(x, t)`.
pub type Field<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// Solves `dx/dt = f(x, t)` from `x0`; backward in time when `to < from`.
///
/// The result of `f` must have the shape of `x`. An interrupt is an error: half a solution is none.
pub fn solve(
    f: &mut Field,
    x0: &Tensor,
    options: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    options.validate()?;
    let tableau = options.solver.tableau();
    let mut run = Run {
        f,
        tableau,
        observer,
        solution: Solution {
            t: vec![options.from],
            x: vec![x0.clone()],
            evaluations: 0,
            accepted: 0,
            rejected: 0,
        },
        keep: options.trajectory,
    };
    match (options.steps, tableau.error) {
        (None, Some(error)) => run.adaptive(x0, options, error)?,
        (steps, _) => run.fixed(x0, options, steps.unwrap_or(100))?,
    }
    Ok(run.solution)
}

struct Run<'a, 'f> {
    f: &'a mut Field<'f>,
    tableau: &'static Tableau,
    observer: &'a mut dyn Observer,
    solution: Solution,
    keep: bool,
}

impl Run<'_, '_> {
    fn evaluate(&mut self, x: &Tensor, t: f64) -> Result<Tensor> {
        interrupt::check()?;
        self.solution.evaluations += 1;
        let slope = (self.f)(x, t)?;
        if slope.dims() != x.dims() {
            let expected = format!("the shape of x, {:?}", x.dims());
            return Err(Error::Shape {
                what: "velocity",
                expected,
                got: slope.dims().to_vec(),
            });
        }
        Ok(slope)
    }

    /// All stages of a step; `first` is the slope at its start when it is known.
    fn stages(&mut self, x: &Tensor, t: f64, h: f64, first: Option<Tensor>) -> Result<Vec<Tensor>> {
        let mut k: Vec<Tensor> = Vec::with_capacity(self.tableau.c.len());
        for (c, row) in self.tableau.c.iter().zip(self.tableau.a) {
            let slope = match (k.is_empty(), &first) {
                (true, Some(first)) => first.clone(),
                (true, None) => self.evaluate(x, t)?,
                _ => self.evaluate(&advance(x, h, row, &k)?, t + c * h)?,
            };
            k.push(slope);
        }
        Ok(k)
    }

    fn accept(&mut self, x: &Tensor, t: f64, total: Option<u64>) -> Result<()> {
        if !self.keep {
            self.solution.t.clear();
            self.solution.x.clear();
        }
        self.solution.t.push(t);
        self.solution.x.push(x.clone());
        self.solution.accepted += 1;
        let step = Step {
            label: "ode",
            step: self.solution.accepted as u64,
            total,
            metrics: &[("t", t)],
        };
        match self.observer.step(&step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }

    fn fixed(&mut self, x0: &Tensor, options: &SolveOptions, steps: usize) -> Result<()> {
        let time = |i: usize| options.from + (options.to - options.from) * i as f64 / steps as f64;
        let mut x = x0.clone();
        let mut first = None;
        for i in 0..steps {
            let (t, next) = (time(i), time(i + 1));
            let k = self.stages(&x, t, next - t, first.take())?;
            x = advance(&x, next - t, self.tableau.b, &k)?;
            if self.tableau.first_same_as_last {
                first = k.last().cloned();
            }
            self.accept(&x, next, Some(steps as u64))?;
        }
        Ok(())
    }

    fn adaptive(&mut self, x0: &Tensor, options: &SolveOptions, error: &[f64]) -> Result<()> {
        let span = options.to - options.from;
        let (mut x, mut t) = (x0.clone(), options.from);
        let mut first = Some(self.evaluate(&x, t)?);
        let mut control = Controller::new(self.tableau.order, span);
        while (options.to - t) * span.signum() > 0.0 {
            let remaining = options.to - t;
            let last = control.h.abs() >= remaining.abs() * (1.0 - 1e-12);
            let h = if last { remaining } else { control.h };
            if h.abs() < 1e-12 * span.abs() {
                let message = format!(
                    "the step fell below 1e-12 of the interval at t = {t}: the field is not smooth there, or rtol and atol are too small"
                );
                return Err(Error::Value {
                    what: "ode",
                    message,
                });
            }
            let k = self.stages(&x, t, h, first.clone())?;
            let next = advance(&x, h, self.tableau.b, &k)?;
            let size = scaled_error(&x, &next, h, error, &k, options)?;
            if control.accepts(size, h) {
                (x, t) = (next, if last { options.to } else { t + h });
                first = if self.tableau.first_same_as_last {
                    k.last().cloned()
                } else {
                    None
                };
                self.accept(&x, t, None)?;
            } else {
                self.solution.rejected += 1;
            }
        }
        Ok(())
    }
}

/// `x + h sum_i w_i k_i`.
fn advance(x: &Tensor, h: f64, weights: &[f64], k: &[Tensor]) -> Result<Tensor> {
    let slopes = weights
        .iter()
        .zip(k)
        .filter(|(w, _)| **w != 0.0)
        .map(|(w, k)| (h * w, k));
    let terms: Vec<(f64, &Tensor)> = [(1.0, x)].into_iter().chain(slopes).collect();
    Ok(Tensor::combine(&terms)?)
}

/// The root mean square of the error estimate, element by element in units of
/// `atol + rtol max(|x|, |next|)`: at most 1 is good enough.
fn scaled_error(
    x: &Tensor,
    next: &Tensor,
    h: f64,
    error: &[f64],
    k: &[Tensor],
    options: &SolveOptions,
) -> Result<f64> {
    let terms: Vec<(f64, &Tensor)> = error.iter().zip(k).map(|(w, k)| (h * w, k)).collect();
    let (error, x, next) = (
        Tensor::combine(&terms)?.to_vec()?,
        x.to_vec()?,
        next.to_vec()?,
    );
    let total: f64 = error
        .iter()
        .zip(x.iter().zip(&next))
        .map(|(e, (x, y))| (e / (options.atol + options.rtol * x.abs().max(y.abs()))).powi(2))
        .sum();
    Ok((total / error.len().max(1) as f64).sqrt())
}

/// Chooses the next step from the last two errors.
struct Controller {
    order: f64,
    h: f64,
    previous: f64,
}

impl Controller {
    fn new(order: u32, span: f64) -> Self {
        Self {
            order: f64::from(order),
            h: span / 20.0,
            previous: 1.0,
        }
    }

    /// Whether a step of this error is kept; sets the size of the next one.
    fn accepts(&mut self, error: f64, h: f64) -> bool {
        if !error.is_finite() {
            self.h = h * 0.1;
            return false;
        }
        let size = error.max(1e-10);
        if error > 1.0 {
            self.h = h * (0.9 * size.powf(-1.0 / self.order)).clamp(0.1, 0.9);
            return false;
        }
        let factor = 0.9 * size.powf(-0.7 / self.order) * self.previous.powf(0.4 / self.order);
        self.previous = size;
        self.h = h * factor.clamp(0.2, 5.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use rhapsode_tensor::DType;

    use super::*;
    use crate::{
        observe::Silent,
        ode::{ALL, Solver},
    };

    /// `x' = x cos t`, `x = e^(sin t)`.
    fn error_with(solver: Solver, steps: Option<usize>, to: f64) -> (f64, Solution) {
        let x0 = Tensor::ones(&[1], DType::F64).unwrap();
        let options = SolveOptions {
            to,
            solver,
            steps,
            rtol: 1e-8,
            atol: 1e-10,
            ..Default::default()
        };
        let mut f = |x: &Tensor, t: f64| Ok(x.affine(t.cos(), 0.0)?);
        let solution = solve(&mut f, &x0, &options, &mut Silent).unwrap();
        (
            (solution.last().unwrap().item().unwrap() - to.sin().exp()).abs(),
            solution,
        )
    }

    #[test]
    fn every_solver_has_its_order_forward_and_backward() {
        let all = [
            Solver::Euler,
            Solver::Midpoint,
            Solver::Heun,
            Solver::Rk4,
            Solver::Dopri5,
        ];
        assert!(
            all.iter()
                .map(|s| s.tableau().name)
                .eq(ALL.iter().map(|t| t.name))
        );
        for solver in all {
            for to in [2.0, -1.5] {
                // The slope over several sizes: errors of one pair may cancel by luck.
                let sizes = [6, 9, 13, 19, 28, 41];
                let errors = sizes.map(|n| error_with(solver, Some(n), to).0.ln());
                let order = -slope(&sizes.map(|n| (n as f64).ln()), &errors);
                let stated = f64::from(solver.tableau().order);
                assert!(
                    (order - stated).abs() < 0.35,
                    "{solver:?} to {to}: measured {order}"
                );
            }
        }
    }

    fn slope(x: &[f64], y: &[f64]) -> f64 {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (mx, my) = (mean(x), mean(y));
        let cross: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        cross / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
    }

    #[test]
    fn coefficients_are_consistent() {
        for t in ALL {
            assert!((t.b.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{}", t.name);
            for (c, row) in t.c.iter().zip(t.a) {
                assert!((row.iter().sum::<f64>() - c).abs() < 1e-14, "{}", t.name);
            }
            assert!(t.error.is_none_or(|e| e.iter().sum::<f64>().abs() < 1e-14));
        }
    }

    #[test]
    fn adaptive_steps_keep_the_tolerance() {
        let (error, solution) = error_with(Solver::Dopri5, None, 3.0);
        assert!(error < 1e-7, "{error}");
        assert!(solution.accepted < 60, "{}", solution.accepted);
        // First same as last: six evaluations a step and one at the start.
        assert_eq!(
            solution.evaluations,
            1 + 6 * (solution.accepted + solution.rejected)
        );
    }

    #[test]
    fn a_field_of_another_shape_is_refused() {
        let x0 = Tensor::ones(&[3], DType::F64).unwrap();
        let mut f = |x: &Tensor, _: f64| Ok(x.sum_all()?);
        let error = solve(&mut f, &x0, &SolveOptions::default(), &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
    }
}
