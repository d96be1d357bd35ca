//! Heun's method: the means of drift and noise at both ends of a step of Euler and Maruyama. Stratonovich; strong
//! order 1 for diagonal noise.

use rhapsode_tensor::Tensor;

use super::{Calculus, Equation, KLOEDEN, Method, Moment};
use crate::Result;

/// Heun's method for stochastic equations.
pub const SDE_HEUN: Method = Method {
    name: "sde_heun",
    summary: "Heun, Stratonovich, strong order 1",
    strong_order: 1.0,
    calculus: Calculus::Stratonovich,
    reference: KLOEDEN,
    step,
};

fn step(equation: &mut Equation, x: &Tensor, m: &Moment) -> Result<Tensor> {
    let f = equation.drift(x, m.t)?;
    let noise = equation.noise(x, m.t)?.mul(&m.dw)?;
    let guess = Tensor::combine(&[(1.0, x), (m.h, &f), (1.0, &noise)])?;
    let f_end = equation.drift(&guess, m.t + m.h)?;
    let noise_end = equation.noise(&guess, m.t + m.h)?.mul(&m.dw)?;
    let half = 0.5 * m.h;
    Ok(Tensor::combine(&[
        (1.0, x),
        (half, &f),
        (half, &f_end),
        (0.5, &noise),
        (0.5, &noise_end),
    ])?)
}
