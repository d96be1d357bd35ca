//! What all Runge-Kutta methods share: the stages of a step, its end, its error, and states within it.

use rhapsode_tensor::{Tensor, interrupt, ops::scaled_rms};

use super::{Field, Tableau};
use crate::{Error, Result};

/// A step that was tried.
pub(super) struct Step {
    /// Where it begins.
    pub t: f64,
    /// How far it goes, with sign.
    pub h: f64,
    /// The state at its begin.
    pub x: Tensor,
    /// The state at its end.
    pub next: Tensor,
    /// The slope at its end, where it is known.
    pub end_slope: Option<Tensor>,
    k: Vec<Tensor>,
}

/// A method applied to a field.
pub(super) struct Method<'a, 'f> {
    /// The method.
    pub tableau: &'static Tableau,
    /// How often the field was evaluated.
    pub evaluations: usize,
    field: &'a mut Field<'f>,
}

impl<'a, 'f> Method<'a, 'f> {
    /// Nothing evaluated so far.
    pub fn new(tableau: &'static Tableau, field: &'a mut Field<'f>) -> Self {
        Self {
            tableau,
            evaluations: 0,
            field,
        }
    }

    /// The slope at a state; its shape and dtype must be those of the state.
    pub fn slope(&mut self, x: &Tensor, t: f64) -> Result<Tensor> {
        interrupt::check()?;
        self.evaluations += 1;
        let slope = (self.field)(x, t)?;
        if slope.dims() != x.dims() {
            return Err(Error::Shape {
                what: "velocity",
                expected: format!("the shape of x, {:?}", x.dims()),
                got: slope.dims().to_vec(),
            });
        }
        Ok(slope.to_dtype(x.dtype())?)
    }

    /// A step from `x`; `first` is the slope there when it is known.
    pub fn step(&mut self, x: &Tensor, t: f64, h: f64, first: Option<Tensor>) -> Result<Step> {
        let tableau = self.tableau;
        let mut k: Vec<Tensor> = Vec::with_capacity(tableau.c.len());
        let mut next = None;
        let last = tableau.c.len() - 1;
        for (i, (c, row)) in tableau.c.iter().zip(tableau.a).enumerate() {
            let slope = match (i, &first) {
                (0, Some(first)) => first.clone(),
                (0, None) => self.slope(x, t)?,
                // The last stage of such a method is evaluated at the end of the step: one sum for both.
                (i, _) if i == last && tableau.first_same_as_last => {
                    let end = advance(x, h, tableau.b, &k)?;
                    let slope = self.slope(&end, t + h)?;
                    next = Some(end);
                    slope
                }
                _ => self.slope(&advance(x, h, row, &k)?, t + c * h)?,
            };
            k.push(slope);
        }
        let end_slope = k.last().filter(|_| tableau.first_same_as_last).cloned();
        Ok(Step {
            t,
            h,
            next: match next {
                Some(next) => next,
                None => advance(x, h, tableau.b, &k)?,
            },
            x: x.clone(),
            end_slope,
            k,
        })
    }

    /// The state at `t + theta h` of a step, `0 < theta < 1`: by the method's interpolant, else by the cubic
    /// Hermite polynomial, whose slope at the end is the first of the next step.
    pub fn within(&mut self, step: &mut Step, theta: f64) -> Result<Tensor> {
        if let Some(dense) = self.tableau.dense {
            let horner =
                |row: &&[f64]| theta * row.iter().rev().fold(0.0, |sum, c| sum * theta + c);
            let weights: Vec<f64> = dense.iter().map(horner).collect();
            return advance(&step.x, step.h, &weights, &step.k);
        }
        let end = self.complete(step)?;
        let rest = 1.0 - theta;
        let mut terms = vec![
            ((1.0 + 2.0 * theta) * rest * rest, &step.x),
            (theta * theta * (3.0 - 2.0 * theta), &step.next),
            (step.h * theta * theta * (theta - 1.0), &end),
        ];
        terms.extend(step.k.first().map(|k| (step.h * theta * rest * rest, k)));
        Ok(Tensor::combine(&terms)?)
    }

    /// The slope at the end of a step, which is also the first of the next step.
    pub fn complete(&mut self, step: &mut Step) -> Result<Tensor> {
        if let Some(slope) = &step.end_slope {
            return Ok(slope.clone());
        }
        let slope = self.slope(&step.next, step.t + step.h)?;
        step.end_slope = Some(slope.clone());
        Ok(slope)
    }
}

impl Step {
    /// The error estimate in units of the tolerances, root mean square over all elements: at most 1 is
    /// good enough.
    pub fn error(&self, weights: &[f64], (rtol, atol): (f64, f64)) -> Result<f64> {
        let terms: Vec<(f64, Tensor)> = nonzero(weights, &self.k)
            .map(|(w, k)| (self.h * w, k.detach()))
            .collect();
        let terms: Vec<(f64, &Tensor)> = terms.iter().map(|(w, k)| (*w, k)).collect();
        let error = Tensor::combine(&terms)?;
        Ok(scaled_rms(&error, &self.x, &self.next, atol, rtol)?)
    }
}

/// `x + h sum_i w_i k_i`.
fn advance(x: &Tensor, h: f64, weights: &[f64], k: &[Tensor]) -> Result<Tensor> {
    let slopes = nonzero(weights, k).map(|(w, k)| (h * w, k));
    let terms: Vec<(f64, &Tensor)> = [(1.0, x)].into_iter().chain(slopes).collect();
    Ok(Tensor::combine(&terms)?)
}

fn nonzero<'a>(weights: &'a [f64], k: &'a [Tensor]) -> impl Iterator<Item = (f64, &'a Tensor)> {
    weights
        .iter()
        .copied()
        .zip(k)
        .filter(|(weight, _)| *weight != 0.0)
}
