//! The plain compositions that the fused kernel must equal, and by which its gradient is differentiated again.

use super::{Discretization, Form, per_mode};
use crate::{Result, Tensor};

/// Below this `|z|^2` the factor `(e^z - 1) / z` is summed as a series: the quotient loses digits.
const SMALL: f64 = 0.25;

/// Terms of that series: the next one is below 1e-17 for `|z| < 1/2`.
const TERMS: u32 = 14;

/// The kernel of [`super::kernel`].
pub fn kernel(
    a: &Tensor,
    bc: &Tensor,
    dt: &Tensor,
    length: usize,
    discretization: Discretization,
) -> Result<Tensor> {
    let dt = per_mode(a, bc, dt)?;
    response(&a.mul(&dt)?, &bc.mul(&dt)?, length, discretization)
}

/// The sum of [`super::response`].
pub fn response(
    z: &Tensor,
    q: &Tensor,
    length: usize,
    discretization: Discretization,
) -> Result<Tensor> {
    let held = true;
    sum_of_powers(
        z,
        q,
        length,
        Form {
            discretization,
            held,
        },
    )
}

/// `2 Re sum_m q_m h(z_m) e^(l log b(z_m))` over a tensor `[.., M, L, 2]` of powers.
pub(super) fn sum_of_powers(z: &Tensor, q: &Tensor, length: usize, form: Form) -> Result<Tensor> {
    let log = match form.discretization {
        Discretization::Zoh => z.clone(),
        Discretization::Bilinear => logarithm(&factors(z, form.discretization)?.0)?,
    };
    let weight = match form.held {
        true => q.complex_mul(&factors(z, form.discretization)?.1)?,
        false => q.clone(),
    };
    let steps = Tensor::arange(0.0, 1.0, length, z.dtype())?.unsqueeze(-1)?;
    let powers = log.unsqueeze(-2)?.mul(&steps)?.complex_exp()?;
    let terms = weight.unsqueeze(-2)?.complex_mul(&powers)?;
    terms.real()?.sum(&[-2])?.affine(2.0, 0.0)
}

/// `b(z)` and `h(z)`.
pub(super) fn factors(z: &Tensor, discretization: Discretization) -> Result<(Tensor, Tensor)> {
    let one = Tensor::from_vec(vec![1.0, 0.0], &[2])?.to_dtype(z.dtype())?;
    match discretization {
        Discretization::Zoh => Ok((z.complex_exp()?, held(z, &one)?)),
        Discretization::Bilinear => {
            let half = z.affine(0.5, 0.0)?;
            let down = one.complex_div(&one.sub(&half)?)?;
            Ok((one.add(&half)?.complex_mul(&down)?, down))
        }
    }
}

/// `(e^z - 1) / z`, also near 0.
fn held(z: &Tensor, one: &Tensor) -> Result<Tensor> {
    let size = z.detach().sqr()?.sum(&[-1])?.unsqueeze(-1)?;
    let small = size.lt(&Tensor::scalar(SMALL, z.dtype())?)?;
    let near = Tensor::where_cond(&small, z, &z.affine(0.0, 0.0)?)?;
    let far = Tensor::where_cond(&small, one, z)?;
    let quotient = far.complex_exp()?.sub(one)?.complex_div(&far)?;
    let mut series = one.clone();
    for k in (2..=TERMS).rev() {
        series = near
            .complex_mul(&series)?
            .affine(1.0 / f64::from(k), 0.0)?
            .add(one)?;
    }
    Tensor::where_cond(&small, &series, &quotient)
}

/// `log |z| + i arg z`.
fn logarithm(z: &Tensor) -> Result<Tensor> {
    Tensor::complex(&z.complex_abs()?.log()?, &z.imag()?.atan2(&z.real()?)?)
}
