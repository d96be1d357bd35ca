//! The method of Euler and Maruyama: `x + f h + g dW`. Ito; strong order 1/2 (1 when `g` does not depend on `x`).

use rhapsode_tensor::Tensor;

use super::{Calculus, Equation, KLOEDEN, Method, Moment};
use crate::Result;

/// The method of Euler and Maruyama.
pub const EULER_MARUYAMA: Method = Method {
    name: "euler_maruyama",
    summary: "Euler and Maruyama, Ito, strong order 1/2",
    strong_order: 0.5,
    calculus: Calculus::Ito,
    reference: KLOEDEN,
    step,
};

fn step(equation: &mut Equation, x: &Tensor, m: &Moment) -> Result<Tensor> {
    let f = equation.drift(x, m.t)?;
    let noise = equation.noise(x, m.t)?.mul(&m.dw)?;
    Ok(Tensor::combine(&[(1.0, x), (m.h, &f), (1.0, &noise)])?)
}
