//! Milstein's method in the form of Platen, without derivatives of `g` (Kloeden and Platen 1992, 11.1):
//!
//! ```text
//! x + f h + g dW + (g(y) - g) (dW^2 - h) / (2 sqrt(h))        y = x + f h + g sqrt(h)
//! ```
//!
//! Ito; strong order 1 for diagonal noise whose `g_i` depends on `x_i` (and on other elements only so that the
//! noise commutes).

use rhapsode_tensor::Tensor;

use super::{Calculus, Equation, KLOEDEN, Method, Moment};
use crate::Result;

/// Milstein's method without derivatives.
pub const MILSTEIN: Method = Method {
    name: "milstein",
    summary: "Milstein without derivatives, Ito, strong order 1",
    strong_order: 1.0,
    calculus: Calculus::Ito,
    reference: KLOEDEN,
    step,
};

fn step(equation: &mut Equation, x: &Tensor, m: &Moment) -> Result<Tensor> {
    let f = equation.drift(x, m.t)?;
    let g = equation.noise(x, m.t)?;
    let noise = g.mul(&m.dw)?;
    let mut terms = vec![(1.0, x), (m.h, &f), (1.0, &noise)];
    if equation.is_additive() {
        return Ok(Tensor::combine(&terms)?);
    }
    let length = m.h.abs();
    let root = length.sqrt();
    let support = Tensor::combine(&[(1.0, x), (m.h, &f), (root, &g)])?;
    let change = equation.noise(&support, m.t)?.sub(&g)?;
    let correction = change.mul(&m.dw.mul(&m.dw)?.affine(1.0, -length)?)?;
    terms.push((0.5 / root, &correction));
    Ok(Tensor::combine(&terms)?)
}
