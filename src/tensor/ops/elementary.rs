//! Elementary functions beside those that networks use: rounding, trigonometry, logarithms to other
//! bases, division with remainder.
//!
//! Their scalar form runs in f64, also for f32: exact to the last bit, at the cost of vector instructions.
//! Rounding has derivative 0, as in PyTorch.

use super::{
    binary::{Binary, binary},
    unary::{Unary, constant, unary},
};
use crate::{
    DType, Error, Result, Tensor,
    simd::{
        kernels::{Map1, Map2, Map3},
        math::Float,
    },
};

unary!(Floor "floor" floor: "The largest whole number not above `x`; its derivative is 0.", |x| T::of(x.to_f64().floor()), |x, y, g| T::ZERO * g, |x, y| constant(x, 0.0));
unary!(Ceil "ceil" ceil: "The smallest whole number not below `x`; its derivative is 0.", |x| T::of(x.to_f64().ceil()), |x, y, g| T::ZERO * g, |x, y| constant(x, 0.0));
unary!(Round "round" round: "The nearest whole number, halves to the even one; its derivative is 0.", |x| T::of(x.to_f64().round_ties_even()), |x, y, g| T::ZERO * g, |x, y| constant(x, 0.0));
unary!(Trunc "trunc" trunc: "`x` without its fraction; its derivative is 0.", |x| T::of(x.to_f64().trunc()), |x, y, g| T::ZERO * g, |x, y| constant(x, 0.0));
unary!(Tan "tan" tan: "Tangent of radians.", |x| T::of(x.to_f64().tan()), |x, y, g| g * (T::ONE + y * y), |x, y| y.sqr()?.affine(1.0, 1.0));
unary!(Asin "asin" asin: "The angle in radians whose sine is `x`; NaN outside of [-1, 1].", |x| T::of(x.to_f64().asin()), |x, y, g| g / (T::ONE - x * x).sqrt(), |x, y| x.sqr()?.affine(-1.0, 1.0)?.rsqrt());
unary!(Acos "acos" acos: "The angle in radians whose cosine is `x`; NaN outside of [-1, 1].", |x| T::of(x.to_f64().acos()), |x, y, g| -g / (T::ONE - x * x).sqrt(), |x, y| x.sqr()?.affine(-1.0, 1.0)?.rsqrt()?.neg());
unary!(Atan "atan" atan: "The angle in radians whose tangent is `x`.", |x| T::of(x.to_f64().atan()), |x, y, g| g / (T::ONE + x * x), |x, y| x.sqr()?.affine(1.0, 1.0)?.recip());
unary!(Sinh "sinh" sinh: "Hyperbolic sine.", |x| T::of(x.to_f64().sinh()), |x, y, g| g * T::of(x.to_f64().cosh()), |x, y| x.cosh());
unary!(Cosh "cosh" cosh: "Hyperbolic cosine.", |x| T::of(x.to_f64().cosh()), |x, y, g| g * T::of(x.to_f64().sinh()), |x, y| x.sinh());
unary!(Log1p "log1p" log1p: "`ln(1 + x)`, exact for small `x`.", |x| T::of(x.to_f64().ln_1p()), |x, y, g| g / (T::ONE + x), |x, y| x.affine(1.0, 1.0)?.recip());
unary!(Expm1 "expm1" expm1: "`e^x - 1`, exact for small `x`.", |x| T::of(x.to_f64().exp_m1()), |x, y, g| g * (T::ONE + y), |x, y| y.affine(1.0, 1.0));
unary!(Log2 "log2" log2: "Logarithm to base 2.", |x| T::of(x.to_f64().log2()), |x, y, g| g / (x * T::of(std::f64::consts::LN_2)), |x, y| x.affine(std::f64::consts::LN_2, 0.0)?.recip());
unary!(Log10 "log10" log10: "Logarithm to base 10.", |x| T::of(x.to_f64().log10()), |x, y, g| g / (x * T::of(std::f64::consts::LN_10)), |x, y| x.affine(std::f64::consts::LN_10, 0.0)?.recip());
unary!(Rsqrt "rsqrt" rsqrt: "`1 / sqrt(x)`.", |x| T::ONE / x.sqrt(), |x, y, g| g * T::of(-0.5) * y * y * y, |x, y| y.powf(3.0)?.affine(-0.5, 0.0));

binary!(Atan2 "atan2" atan2: "The angle of the point `(b, a)` in radians, in (-pi, pi]: `atan(a / b)` in the right quadrant.",
|a, b| T::of(a.to_f64().atan2(b.to_f64())),
|a, b, y, g| (
    g.mul(b)?.div(&a.sqr()?.add(&b.sqr()?)?),
    g.mul(a)?.div(&a.sqr()?.add(&b.sqr()?)?)?.neg()
));
binary!(FloorDivide "floor_divide" floor_divide: "`floor(a / b)`, Python's `//`; its derivative is 0.",
    |a, b| T::of(quotient(a.to_f64(), b.to_f64())),
    |a, b, y, g| (g.affine(0.0, 0.0), g.affine(0.0, 0.0)));
binary!(Remainder "remainder" remainder: "`a - b floor(a / b)`, with the sign of `b`, as Python's `%`.",
    |a, b| T::of(modulo(a.to_f64(), b.to_f64())),
    |a, b, y, g| (Ok(g.clone()), g.mul(&a.floor_divide(b)?)?.neg()));
binary!(Fmod "fmod" fmod: "`a - b trunc(a / b)`, with the sign of `a`, as C's `fmod`.",
    |a, b| T::of(a.to_f64() % b.to_f64()),
    |a, b, y, g| (Ok(g.clone()), g.mul(&a.div(b)?.trunc()?)?.neg()));

#[inline(always)]
fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

#[inline(always)]
fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    // By the exact remainder: a / b may round up to the next whole number.
    ((a - modulo(a, b)) / b).round()
}

/// Division with remainder of whole numbers; shapes broadcast.
pub(super) fn divide_ints(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let shape = super::broadcast_shape(op, a.dims(), b.dims())?;
    let wide = |x: &Tensor| x.broadcast_to(&shape)?.to_ints(op);
    let (left, right) = (wide(a)?, wide(b)?);
    let divide = |(&a, &b): (&i64, &i64)| {
        let rest = a.checked_rem(b).or(if b == 0 { None } else { Some(0) });
        let rest = rest.ok_or_else(|| Error::Value {
            op,
            detail: "division of whole numbers by zero".into(),
        })?;
        let down = rest != 0 && (rest < 0) != (b < 0);
        Ok(match op {
            "fmod" => rest,
            "remainder" if down => rest + b,
            "remainder" => rest,
            _ => a.wrapping_div(b) - i64::from(down),
        })
    };
    let values = left.iter().zip(&right).map(divide);
    Tensor::from_vec(values.collect::<Result<Vec<i64>>>()?, &shape)?.to_dtype(a.dtype())
}

impl Tensor {
    /// `a + weight (b - a)`; all three broadcast.
    pub fn lerp(&self, end: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let dtype = self.dtype().promote(end.dtype()).promote(weight.dtype());
        let moved = || -> Result<Tensor> {
            let (a, b) = (self.to_dtype(dtype)?, end.to_dtype(dtype)?);
            b.sub(&a)?.mul(&weight.to_dtype(dtype)?)?.add(&a)
        };
        if dtype != DType::BF16 {
            return moved();
        }
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        wide(self)?
            .lerp(&wide(end)?, &wide(weight)?)?
            .to_dtype(dtype)
    }
}
