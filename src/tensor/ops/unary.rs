//! Elementwise functions of one tensor.
//!
//! Each is a type with its scalar function `f(x)`, the fused first derivative `dy * f'(x)` in one
//! pass, and the derivative as a composition of operations, for higher derivatives.

use crate::{
    DType, Real, Result, Tensor,
    simd::{
        kernels::{self, Map1, Map3},
        math::{self, Float, SIN_COS_LIMIT, normal_pdf, sigmoid, softplus},
    },
    tape::{record, record_as_is},
    tensor::{build, with_slice},
    with_real,
};

/// An elementwise function.
pub(super) trait Unary: Map1 + 'static {
    /// Its name.
    const NAME: &'static str;
    /// `dy * f'(x)`, from `x`, `y = f(x)` and `dy`.
    type Grad: Map3;
    /// `f'(x)` in tensor operations, from `x` and `y`.
    fn derivative(x: &Tensor, y: &Tensor) -> Result<Tensor>;
}

/// A constant added to the multiple of a tensor has this derivative everywhere.
pub(super) fn constant(x: &Tensor, value: f64) -> Result<Tensor> {
    Tensor::full(value, x.dims(), x.dtype())
}

/// Zero or one by a comparison, in the tensor's dtype.
fn indicator(mask: &Tensor, like: &Tensor) -> Result<Tensor> {
    mask.to_dtype(like.dtype())
}

/// Declares a [`Unary`]: name, `f(x)`, `dy * f'(x)` from `(x, y, dy)`, and the composition; also, where the fast forms hold
/// for `|x|` up to a limit only, that limit and both functions beyond it.
macro_rules! unary {
    ($type:ident $name:literal $method:ident: $doc:literal, |$x:ident| $f:expr, |$gx:ident, $gy:ident, $g:ident| $df:expr, |$tx:ident, $ty:ident| $composed:expr $(, beyond $limit:expr, $far:expr, $dfar:expr)?) => {
        struct $type;
        impl Map1 for $type {
            $(const LIMIT: f64 = $limit;)?
            #[inline(always)]
            fn call<T: Float>($x: T) -> T {
                $f
            }
            $(fn far<T: Float>($x: T) -> T {
                $far
            })?
        }
        impl Map3 for $type {
            $(const LIMIT: f64 = $limit;)?
            #[inline(always)]
            fn call<T: Float>($gx: T, $gy: T, $g: T) -> T {
                let _ = ($gx, $gy);
                $df
            }
            $(fn far<T: Float>($gx: T, $gy: T, $g: T) -> T {
                let _ = $gy;
                $dfar
            })?
        }
        impl Unary for $type {
            const NAME: &'static str = $name;
            type Grad = Self;
            fn derivative($tx: &Tensor, $ty: &Tensor) -> Result<Tensor> {
                let _ = ($tx, $ty);
                $composed
            }
        }
        impl Tensor {
            #[doc = $doc]
            pub fn $method(&self) -> Result<Tensor> {
                $crate::ops::unary::apply::<$type>(self)
            }
        }
    };
}

pub(super) use unary;

unary!(Neg "neg" neg: "`-x`.", |x| -x, |x, y, g| -g, |x, y| constant(x, -1.0));
unary!(Exp "exp" exp: "`e^x`.", |x| x.exp(), |x, y, g| g * y, |x, y| Ok(y.clone()));
unary!(Log "log" log: "Natural logarithm; NaN for negative numbers.", |x| x.ln(), |x, y, g| g / x, |x, y| x.recip());
unary!(Sqrt "sqrt" sqrt: "Square root; NaN for negative numbers.", |x| x.sqrt(), |x, y, g| g / (y + y), |x, y| y.affine(2.0, 0.0)?.recip());
unary!(Recip "recip" recip: "`1 / x`.", |x| T::ONE / x, |x, y, g| -(g * y * y), |x, y| y.sqr()?.neg());
unary!(Sqr "sqr" sqr: "`x^2`.", |x| x * x, |x, y, g| g * (x + x), |x, y| x.affine(2.0, 0.0));
unary!(Abs "abs" abs: "Absolute value; the derivative at 0 is 0.", |x| x.abs(),
    |x, y, g| if x > T::ZERO { g } else if x < T::ZERO { -g } else { T::ZERO * x },
    |x, y| x.sign());
unary!(Sign "sign" sign: "-1, 0 or 1 by the sign; its derivative is 0.",
    |x| if x > T::ZERO { T::ONE } else if x < T::ZERO { -T::ONE } else { x },
    |x, y, g| T::ZERO * g, |x, y| constant(x, 0.0));
unary!(Sin "sin" sin: "Sine of radians.", |x| x.sin_cos().0, |x, y, g| g * x.sin_cos().1, |x, y| x.cos(),
    beyond SIN_COS_LIMIT, x.sin_cos_far().0, g * x.sin_cos_far().1);
unary!(Cos "cos" cos: "Cosine of radians.", |x| x.sin_cos().1, |x, y, g| -(g * x.sin_cos().0), |x, y| x.sin()?.neg(),
    beyond SIN_COS_LIMIT, x.sin_cos_far().1, -(g * x.sin_cos_far().0));
unary!(Tanh "tanh" tanh: "Hyperbolic tangent.", |x| x.tanh(), |x, y, g| g * (T::ONE - y * y), |x, y| y.sqr()?.affine(-1.0, 1.0));
unary!(Sigmoid "sigmoid" sigmoid: "`1 / (1 + e^-x)`.", |x| sigmoid(x), |x, y, g| g * y * (T::ONE - y), |x, y| y.mul(&y.affine(-1.0, 1.0)?));
unary!(Relu "relu" relu: "`max(x, 0)`; the derivative at 0 is 0.",
    // Written so that NaN passes through.
    |x| if x < T::ZERO { T::ZERO } else { x },
    |x, y, g| if x > T::ZERO { g } else { T::ZERO * g },
    |x, y| indicator(&x.gt(&constant(x, 0.0)?)?, x));
unary!(Silu "silu" silu: "`x sigmoid(x)` (swish).", |x| x * sigmoid(x),
    |x, y, g| { let s = sigmoid(x); g * (T::ONE - s).fma(x * s, s) },
    |x, y| { let s = x.sigmoid()?; s.add(&y.mul(&s.affine(-1.0, 1.0)?)?) });
unary!(Softplus "softplus" softplus: "`ln(1 + e^x)`, without overflow.", |x| softplus(x), |x, y, g| g * sigmoid(x), |x, y| x.sigmoid());
unary!(Gelu "gelu" gelu: "`x Phi(x)` with the normal distribution function Phi, exact (not the tanh approximation).",
|x| x * x.normal_cdf(),
|x, y, g| g * x.fma(normal_pdf(x), x.normal_cdf()),
|x, y| {
    let cdf = x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.0)?.erf()?.affine(0.5, 0.5)?;
    let pdf = x.sqr()?.affine(-0.5, 0.0)?.exp()?.affine(math::FRAC_1_SQRT_TAU, 0.0)?;
    cdf.add(&x.mul(&pdf)?)
});
unary!(Erf "erf" erf: "Gauss error function.", |x| x.erf(),
    |x, y, g| g * T::of(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp(),
    |x, y| x.sqr()?.neg()?.exp()?.affine(std::f64::consts::FRAC_2_SQRT_PI, 0.0));

/// What a function does on whole numbers, when it gives whole numbers; others take them as floats.
fn on_ints(op: &str) -> Option<fn(i64) -> i64> {
    Some(match op {
        "neg" => i64::wrapping_neg,
        "abs" => i64::wrapping_abs,
        "sign" => i64::signum,
        "sqr" => |x| x.wrapping_mul(x),
        "relu" => |x| x.max(0),
        "floor" | "ceil" | "round" | "trunc" => |x| x,
        _ => return None,
    })
}

pub(super) fn apply<U: Unary>(x: &Tensor) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return match on_ints(U::NAME) {
            Some(f) => {
                let values = x.to_ints(U::NAME)?.into_iter().map(f).collect();
                // Bytes have no sign: their negative, like a count of bools, is an i64.
                let keeps = x.dtype() == DType::U8 && U::NAME != "neg";
                let dtype = if keeps { DType::U8 } else { DType::I64 };
                Tensor::from_vec::<i64>(values, x.dims())?.to_dtype(dtype)
            }
            None => apply::<U>(&x.to_dtype(x.dtype().float())?),
        };
    }
    let y = with_real!(U::NAME, x.dtype(), T => map1::<T, U>(U::NAME, x.candle()))?;
    let (saved_x, saved_y) = (x.data.clone(), y.clone());
    record(U::NAME, y, &[x], move |ctx, g| {
        let dx = if ctx.create_graph() {
            g.mul(&U::derivative(
                &ctx.input(0, &saved_x),
                &ctx.output(&saved_y),
            )?)?
        } else {
            let data = with_real!(U::NAME, g.dtype(), T => map3::<T, U::Grad>(U::NAME, &saved_x, &saved_y, &g.data))?;
            Tensor::from_candle(data)
        };
        Ok(vec![Some(dx)])
    })
}

fn map1<T: Real, F: Map1>(
    op: &'static str,
    x: &candle_core::Tensor,
) -> Result<candle_core::Tensor> {
    with_slice::<T, _>(op, x, |x_all| {
        build::<T>(x.dims(), 64, |start, y| {
            kernels::map1::<T, F>(&x_all[start..start + y.len()], y)
        })
    })?
}

/// `f(a, b, c)` elementwise over tensors of one shape.
fn map3<T: Real, F: Map3>(
    op: &'static str,
    a: &candle_core::Tensor,
    b: &candle_core::Tensor,
    c: &candle_core::Tensor,
) -> Result<candle_core::Tensor> {
    with_slice::<T, _>(op, a, |a_all| {
        with_slice::<T, _>(op, b, |b_all| {
            with_slice::<T, _>(op, c, |c_all| {
                build::<T>(a.dims(), 64, |start, y| {
                    let r = start..start + y.len();
                    kernels::map3::<T, F>(&a_all[r.clone()], &b_all[r.clone()], &c_all[r], y);
                })
            })
        })
    })???
}

impl Tensor {
    /// `scale * x + shift`.
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return self.to_dtype(self.dtype().float())?.affine(scale, shift);
        }
        let y = with_real!("affine", self.dtype(), T => {
            let (a, b) = (T::of(scale), T::of(shift));
            self.with_slice::<T, _>("affine", |x| build::<T>(self.dims(), 64, |start, y| {
                affine_kernel(&x[start..start + y.len()], a, b, y);
            }))?
        })?;
        record("affine", y, &[self], move |_, g| {
            Ok(vec![Some(g.affine(scale, 0.0)?)])
        })
    }

    /// `x^p` with a constant exponent; negative bases need a whole `p`.
    pub fn powf(&self, p: f64) -> Result<Tensor> {
        if p == 2.0 {
            return self.sqr();
        }
        if !self.dtype().is_float() {
            return self.to_dtype(self.dtype().float())?.powf(p);
        }
        let y = with_real!("pow", self.dtype(), T => {
            let exponent = T::of(p);
            self.with_slice::<T, _>("pow", |x| build::<T>(self.dims(), 64, |start, y| {
                for (x, y) in x[start..start + y.len()].iter().zip(y) { *y = Float::powf(*x, exponent) }
            }))?
        })?;
        let saved = self.data.clone();
        record("pow", y, &[self], move |ctx, g| {
            let x = ctx.input(0, &saved);
            let slope = if p == 0.0 {
                constant(&x, 0.0)?
            } else {
                x.powf(p - 1.0)?.affine(p, 0.0)?
            };
            Ok(vec![Some(g.mul(&slope)?)])
        })
    }

    /// Values cut to `[low, high]`; the derivative is 1 inside and 0 outside.
    pub fn clamp(&self, low: f64, high: f64) -> Result<Tensor> {
        if low > high || low.is_nan() || high.is_nan() {
            let detail = format!("the lower limit {low} lies above the upper limit {high}");
            return Err(crate::Error::Value {
                op: "clamp",
                detail,
            });
        }
        let y = with_real!("clamp", self.dtype(), T => {
            let (low, high) = (T::of(low), T::of(high));
            self.with_slice::<T, _>("clamp", |x| build::<T>(self.dims(), 64, |start, y| {
                for (&x, y) in x[start..start + y.len()].iter().zip(y) {
                    *y = if x < low { low } else if x > high { high } else { x };
                }
            }))?
        })?;
        let saved = self.data.clone();
        record("clamp", y, &[self], move |_, g| {
            let x = Tensor::from_candle(saved.clone());
            let inside = indicator(&x.ge(&constant(&x, low)?)?, g)?
                .mul(&indicator(&x.le(&constant(&x, high)?)?, g)?)?;
            Ok(vec![Some(g.mul(&inside)?)])
        })
    }

    /// The values in another dtype; to bool, what is not 0 is true. A gradient comes back in the old
    /// dtype; to an integer dtype or bool there is none.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        crate::memory::ensure(self.len(), dtype.size_in_bytes())?;
        if dtype == DType::Bool {
            let zero = Tensor::scalar(0.0, self.dtype())?;
            return self.ne(&zero);
        }
        let (data, from) = (
            crate::tensor::cast(&self.data, dtype.storage())?,
            self.dtype(),
        );
        if !dtype.is_float() {
            return Ok(Tensor::from_candle(data));
        }
        record_as_is("to_dtype", data, &[self], move |_, g| {
            Ok(vec![Some(g.to_dtype(from)?)])
        })
    }
}

crate::simd! {
    fn affine_kernel<T: Float>(x: &[T], a: T, b: T, y: &mut [T]) {
        for (x, y) in x.iter().zip(y) { *y = x.fma(a, b) }
    }
}
