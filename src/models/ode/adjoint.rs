//! Gradients by the continuous adjoint, in memory that does not grow with the steps.
//!
//! With `a = dL/dx(t)` the gradient of a loss obeys, backward in time,
//!
//! ```text
//! da/dt = -a^T df/dx        dL/dtheta = -integral a^T df/dtheta dt
//! ```
//!
//! and `a` jumps by `dL/dx_i` at every kept state. State, adjoint and gradients of the parameters are solved as
//! one vector, the state starting anew from every kept one, so that it cannot drift away. The gradient is as
//! exact as the steps are, and not that of the discrete steps.
//!
//! Chen, Rubanova, Bettencourt, Duvenaud, "Neural Ordinary Differential Equations" (2018), arXiv 1806.07366.

use std::sync::Arc;

use rhapsode_tensor::{
    Callback, Tensor, grad_or_zero, no_grad,
    tape::{custom, enable_grad, is_recording, leaves, same_history},
};

use super::{STEPS, SaveAt, SharedField, Solution, SolveOptions, solve};
use crate::{
    Error, Result,
    observe::{Observer, Silent},
};

/// Like [`solve`], with gradients by the adjoint equation: with respect to `x0` and to every parameter on which
/// `f` depends (they are found by themselves, from the history of every evaluation).
pub fn solve_adjoint(
    f: &SharedField,
    x0: &Tensor,
    options: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    let start = x0.detach();
    let mut params: Vec<Tensor> = Vec::new();
    let recording = is_recording();
    let mut field = |x: &Tensor, t: f64| -> Result<Tensor> {
        if !recording {
            return f(x, t);
        }
        // The history of one evaluation shows its parameters, and is dropped.
        let slope = enable_grad(|| f(x, t))?;
        for leaf in leaves(&slope) {
            if !params.iter().any(|p| same_history(p, &leaf)) {
                params.push(leaf);
            }
        }
        Ok(slope.detach())
    };
    let mut solution = no_grad(|| solve(&mut field, &start, options, observer))?;
    if !recording || (params.is_empty() && !x0.is_tracked()) {
        return Ok(solution);
    }
    let mut points: Vec<(f64, Tensor)> = solution.t.iter().copied().zip(solution.x).collect();
    if points.last().is_none_or(|(t, _)| *t != solution.end.0) {
        points.push(solution.end.clone());
    }
    let times: Vec<f64> = points.iter().map(|(t, _)| *t).collect();
    let value = Tensor::stack(&points.iter().map(|(_, x)| x).collect::<Vec<_>>(), 0)?;
    let inputs: Vec<&Tensor> = [x0].into_iter().chain(&params).collect();
    let backward = Backward {
        f: Arc::clone(f),
        params: params.clone(),
        options: options.clone(),
        times,
        states: value.clone(),
    };
    let value = custom("ode adjoint", &value, &inputs, move |g| {
        backward.run(g).map_err(tensor_error)
    })?;
    let state = |i: usize| -> Result<Tensor> { Ok(value.select(0, i as i64)?) };
    solution.x = (0..solution.t.len()).map(state).collect::<Result<_>>()?;
    solution.end.1 = state(points.len() - 1)?;
    Ok(solution)
}

/// What the backward pass keeps: no more than what the caller asked to keep.
struct Backward {
    f: SharedField,
    params: Vec<Tensor>,
    options: SolveOptions,
    times: Vec<f64>,
    states: Tensor,
}

impl Backward {
    /// The gradients of `x0` and the parameters from those of the kept states, `[times, ..]`.
    fn run(&self, g: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let shape = self.states.dims().get(1..).unwrap_or(&[]).to_vec();
        let dtype = self.states.dtype();
        let n = [self.states.len() / self.times.len().max(1)];
        let mut adjoint = Tensor::zeros(&n, dtype)?;
        let count = self.params.iter().map(Tensor::len).sum();
        let mut gradients = Tensor::zeros(&[count], dtype)?;
        for (i, &t) in self.times.iter().enumerate().rev() {
            let at = i as i64;
            adjoint = adjoint.add(&g.select(0, at)?.reshape(&n)?)?;
            let before = i.checked_sub(1).and_then(|i| self.times.get(i));
            let to = before.copied().unwrap_or(self.options.from);
            if to == t {
                continue;
            }
            let x = self.states.select(0, at)?.reshape(&n)?;
            let z = Tensor::cat(&[&x, &adjoint, &gradients], 0)?;
            let mut field = |z: &Tensor, t: f64| self.augmented(z, t, &shape);
            let solution = no_grad(|| solve(&mut field, &z, &self.piece(t, to), &mut Silent))?;
            if solution.interrupted {
                return Err(Error::Interrupted);
            }
            adjoint = solution.last().narrow(0, n[0], n[0])?;
            gradients = solution.last().narrow(0, 2 * n[0], count)?;
        }
        let mut all = vec![Some(adjoint.reshape(&shape)?)];
        let mut start = 0;
        for p in &self.params {
            let g = gradients.narrow(0, start, p.len())?.reshape(p.dims())?;
            all.push(Some(g.to_dtype(p.dtype())?));
            start += p.len();
        }
        Ok(all)
    }

    /// The options of the way back between two kept states: steps of the same length.
    fn piece(&self, from: f64, to: f64) -> SolveOptions {
        let whole = (self.options.to - self.options.from).abs();
        let steps = self.options.steps.unwrap_or(STEPS) as f64;
        let share = (steps * (to - from).abs() / whole - 1e-9).ceil().max(1.0) as usize;
        SolveOptions {
            from,
            to,
            steps: (!self.options.adaptive()).then_some(share),
            save_at: SaveAt::END,
            ..self.options.clone()
        }
    }

    /// The slopes of state, adjoint and parameter gradients, one vector.
    fn augmented(&self, z: &Tensor, t: f64, shape: &[usize]) -> Result<Tensor> {
        let n: usize = shape.iter().product();
        let x = z.narrow(0, 0, n)?.reshape(shape)?.param()?;
        let adjoint = z.narrow(0, n, n)?.reshape(shape)?;
        let (y, loss) = enable_grad(|| -> Result<_> {
            let y = (self.f)(&x, t)?.to_dtype(z.dtype())?;
            let loss = y.mul(&adjoint)?.sum_all()?;
            Ok((y, loss))
        })?;
        self.check_params(&y, &x, t)?;
        let wanted: Vec<&Tensor> = [&x].into_iter().chain(&self.params).collect();
        let found = match loss.is_tracked() {
            true => grad_or_zero(loss, &wanted)?,
            false => vec![None; wanted.len()],
        };
        let mut parts = vec![y.detach().reshape(&[n])?];
        for (of, g) in wanted.into_iter().zip(found) {
            parts.push(match g {
                Some(g) => g
                    .reshape(&[of.len()])?
                    .to_dtype(z.dtype())?
                    .affine(-1.0, 0.0)?,
                None => Tensor::zeros(&[of.len()], z.dtype())?,
            });
        }
        Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?)
    }

    /// A parameter that `f` did not know on the way forward would silently get no gradient.
    fn check_params(&self, y: &Tensor, x: &Tensor, t: f64) -> Result<()> {
        let known = |leaf: &Tensor| {
            same_history(leaf, x) || self.params.iter().any(|p| same_history(p, leaf))
        };
        match leaves(y).iter().all(known) {
            true => Ok(()),
            false => Err(Error::Value {
                what: "ode adjoint",
                message: format!(
                    "at t = {t} the field depends on a parameter on which it did not depend on the way forward; gradient: \"through\" takes such fields"
                ),
            }),
        }
    }
}

fn tensor_error(error: Error) -> rhapsode_tensor::Error {
    match error {
        Error::Tensor(error) => error,
        Error::Interrupted => rhapsode_tensor::Error::Interrupted,
        other => rhapsode_tensor::Error::Callback(Callback::new(other)),
    }
}
