//! Elementwise functions of two tensors with broadcasting, and comparisons.
//!
//! Shapes are aligned at the last axis; sizes must be equal or one of them 1. Same shapes, a
//! scalar, and a row added to every row are one pass without a copy; other broadcasts expand the
//! smaller operand first.

use crate::{
    Error, Real, Result, Tensor, gate,
    simd::{
        kernels::{self, Map2},
        math::Float,
    },
    tape::{Ctx, record},
    tensor::{build, with_slice},
    with_real,
};

/// The shape that two shapes broadcast to, or an error with both.
pub fn broadcast_shape(op: &'static str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |s: &[usize], i: usize| {
        (i + s.len())
            .checked_sub(rank)
            .and_then(|i| s.get(i))
            .copied()
            .unwrap_or(1)
    };
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => {
                let detail = format!(
                    "shapes {a:?} and {b:?} do not broadcast: sizes {x} and {y} differ at axis {i}"
                );
                Err(Error::Shape { op, detail })
            }
        })
        .collect()
}

/// An elementwise function of two tensors.
pub(super) trait Binary: Map2 + 'static {
    const NAME: &'static str;
    /// The gradient of operand 0 and 1 (of the broadcast shape), from `(a, b, y, g)`.
    fn gradient(which: usize, a: &Tensor, b: &Tensor, y: &Tensor, g: &Tensor) -> Result<Tensor>;
}

macro_rules! binary {
    ($type:ident $name:literal $method:ident: $doc:literal, |$a:ident, $b:ident| $f:expr, |$ta:ident, $tb:ident, $ty:ident, $g:ident| ($da:expr, $db:expr)) => {
        struct $type;
        impl Map2 for $type {
            #[inline(always)]
            fn call<T: Float>($a: T, $b: T) -> T {
                $f
            }
        }
        impl Binary for $type {
            const NAME: &'static str = $name;
            fn gradient(
                which: usize,
                $ta: &Tensor,
                $tb: &Tensor,
                $ty: &Tensor,
                $g: &Tensor,
            ) -> Result<Tensor> {
                let _ = ($ta, $tb, $ty);
                if which == 0 { $da } else { $db }
            }
        }
        impl Tensor {
            #[doc = $doc]
            pub fn $method(&self, other: &Tensor) -> Result<Tensor> {
                $crate::ops::binary::apply::<$type>(self, other)
            }
        }
    };
}

pub(super) use binary;

binary!(Add "add" add: "`a + b` with broadcasting.", |a, b| a + b, |a, b, y, g| (Ok(g.clone()), Ok(g.clone())));
binary!(Sub "sub" sub: "`a - b` with broadcasting.", |a, b| a - b, |a, b, y, g| (Ok(g.clone()), g.neg()));
binary!(Mul "mul" mul: "`a * b` elementwise with broadcasting.", |a, b| a * b, |a, b, y, g| (g.mul(b), g.mul(a)));
binary!(Div "div" div: "`a / b` elementwise with broadcasting.", |a, b| a / b,
    |a, b, y, g| (g.div(b), g.mul(y)?.div(b)?.neg()));
binary!(Pow "pow" pow: "`a^b` elementwise with broadcasting; NaN for a negative base with a broken exponent.",
|a, b| a.powf(b),
|a, b, y, g| (
    g.mul(b)?.mul(&a.pow(&b.affine(1.0, -1.0)?)?),
    // d/db a^b = a^b ln a; where a = 0 (and b > 0) the limit is 0.
    { let zero = a.eq(&Tensor::zeros(a.dims(), a.dtype())?)?;
      let safe = Tensor::where_cond(&zero, &Tensor::ones(a.dims(), a.dtype())?, a)?;
      g.mul(y)?.mul(&safe.log()?) }
));
binary!(Maximum "maximum" maximum: "The larger of two, NaN if one is; ties share the gradient.",
    |a, b| if a > b || a.is_nan() { a } else { b },
    |a, b, y, g| (g.mul(&share(a, b)?), g.mul(&share(b, a)?)));
binary!(Minimum "minimum" minimum: "The smaller of two, NaN if one is; ties share the gradient.",
    |a, b| if a < b || a.is_nan() { a } else { b },
    |a, b, y, g| (g.mul(&share(b, a)?), g.mul(&share(a, b)?)));

/// Whether `a > b`, 1/2 where they are equal, 0 else.
fn share(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (over, same) = (a.gt(b)?.to_dtype(a.dtype())?, a.eq(b)?.to_dtype(a.dtype())?);
    over.add(&same.affine(0.5, 0.0)?)
}

pub(super) fn apply<B: Binary>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    // On whole numbers these give whole numbers; a quotient, a power and an angle are floats.
    let exact = !matches!(B::NAME, "div" | "pow" | "atan2");
    let dtype = match a.dtype().promote(b.dtype()) {
        d if matches!(B::NAME, "maximum" | "minimum") => d,
        d if exact => d.counting(),
        d => d.float(),
    };
    if a.dtype() != dtype || b.dtype() != dtype {
        return apply::<B>(&a.to_dtype(dtype)?, &b.to_dtype(dtype)?);
    }
    let shape = broadcast_shape(B::NAME, a.dims(), b.dims())?;
    if !dtype.is_float() {
        return integers(B::NAME, a, b);
    }
    let y = with_real!(B::NAME, dtype, T => combine::<T, B>(B::NAME, &a.data, &b.data, &shape))?;
    let (sa, sb, sy) = (a.data.clone(), b.data.clone(), y.clone());
    record(B::NAME, y, &[a, b], move |ctx, g| {
        let (a, b, y) = (ctx.input(0, &sa), ctx.input(1, &sb), ctx.output(&sy));
        let side = |ctx: &Ctx, i: usize, dims: &[usize]| {
            ctx.needs(i)
                .then(|| B::gradient(i, &a, &b, &y, g)?.sum_to(dims))
                .transpose()
        };
        Ok(vec![side(ctx, 0, sa.dims())?, side(ctx, 1, sb.dims())?])
    })
}

/// Whole numbers go through candle, which is exact on them.
fn integers(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (x, y) = (&a.data, &b.data);
    let data = match op {
        "add" => x.broadcast_add(y)?,
        "sub" => x.broadcast_sub(y)?,
        "mul" => x.broadcast_mul(y)?,
        "floor_divide" | "remainder" | "fmod" => return super::elementary::divide_ints(op, a, b),
        "maximum" => x.broadcast_maximum(y)?,
        "minimum" => x.broadcast_minimum(y)?,
        _ => {
            return Err(Error::DType {
                op,
                expected: "f32 or f64",
                got: a.dtype(),
            });
        }
    };
    Ok(a.with_data(data))
}

fn combine<T: Real, F: Map2>(
    op: &'static str,
    a: &candle_core::Tensor,
    b: &candle_core::Tensor,
    shape: &[usize],
) -> Result<candle_core::Tensor> {
    let row = shape.last().copied().unwrap_or(1).max(1);
    let is_row = |x: &candle_core::Tensor| {
        x.elem_count() == row && x.dims().last() == shape.last() && row > 1
    };
    let full = |x: &candle_core::Tensor| x.dims() == shape;
    let is_column = |x: &candle_core::Tensor| match (x.dims().split_last(), shape.split_last()) {
        (Some((1, own)), Some((_, all))) => own == all && row > 1,
        _ => false,
    };
    with_slice::<T, _>(op, a, |xa| {
        with_slice::<T, _>(op, b, |xb| {
            if full(a) && full(b) {
                build::<T>(shape, 64, |s, y| {
                    kernels::map2::<T, F>(&xa[s..s + y.len()], &xb[s..s + y.len()], y)
                })
            } else if let (true, [scalar]) = (full(a), xb) {
                build::<T>(shape, 64, |s, y| {
                    kernels::map2_scalar::<T, F>(&xa[s..s + y.len()], *scalar, y)
                })
            } else if let ([scalar], true) = (xa, full(b)) {
                build::<T>(shape, 64, |s, y| {
                    kernels::scalar_map2::<T, F>(*scalar, &xb[s..s + y.len()], y)
                })
            } else if full(a) && is_row(b) {
                build::<T>(shape, row, |s, y| {
                    for (x, y) in xa[s..s + y.len()]
                        .chunks_exact(row)
                        .zip(y.chunks_exact_mut(row))
                    {
                        kernels::map2::<T, F>(x, xb, y);
                    }
                })
            } else if full(a) && is_column(b) {
                build::<T>(shape, row, |s, y| {
                    for (i, y) in y.chunks_exact_mut(row).enumerate() {
                        let at = s + i * row;
                        kernels::map2_scalar::<T, F>(&xa[at..at + row], xb[at / row], y);
                    }
                })
            } else if is_row(a) && full(b) {
                build::<T>(shape, row, |s, y| {
                    for (x, y) in xb[s..s + y.len()]
                        .chunks_exact(row)
                        .zip(y.chunks_exact_mut(row))
                    {
                        kernels::map2::<T, F>(xa, x, y);
                    }
                })
            } else {
                crate::memory::ensure(crate::memory::count(op, shape)?, 2 * size_of::<T>())?;
                let wide = (a.broadcast_as(shape)?, b.broadcast_as(shape)?);
                with_slice::<T, _>(op, &wide.0, |xa| {
                    with_slice::<T, _>(op, &wide.1, |xb| {
                        build::<T>(shape, 64, |s, y| {
                            kernels::map2::<T, F>(&xa[s..s + y.len()], &xb[s..s + y.len()], y);
                        })
                    })
                })??
            }
        })
    })??
}

macro_rules! compare {
    ($($method:ident $candle:ident $doc:literal),+) => {
        impl Tensor {
            $(#[doc = $doc]
            pub fn $method(&self, other: &Tensor) -> Result<Tensor> {
                broadcast_shape(stringify!($method), self.dims(), other.dims())?;
                let dtype = self.dtype().promote(other.dtype()).storage();
                let (a, b) = (self.data.to_dtype(dtype)?, other.data.to_dtype(dtype)?);
                Ok(Tensor::from_mask(gate::reading(|| a.$candle(&b))?))
            })+
        }
    };
}

compare!(
    gt broadcast_gt "Whether `a > b`, elementwise as bool; no history.",
    ge broadcast_ge "Whether `a >= b`, elementwise as bool; no history.",
    lt broadcast_lt "Whether `a < b`, elementwise as bool; no history.",
    le broadcast_le "Whether `a <= b`, elementwise as bool; no history.",
    eq broadcast_eq "Whether `a == b`, elementwise as bool; no history.",
    ne broadcast_ne "Whether `a != b`, elementwise as bool; no history."
);

impl Tensor {
    /// `a` where `mask` is not 0, else `b`; all three broadcast. The other branch takes no gradient,
    /// not even a NaN.
    pub fn where_cond(mask: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let shape = broadcast_shape("where", a.dims(), b.dims())?;
        let shape = broadcast_shape("where", mask.dims(), &shape)?;
        let dtype = a.dtype().promote(b.dtype());
        if a.dtype() != dtype || b.dtype() != dtype {
            return Tensor::where_cond(mask, &a.to_dtype(dtype)?, &b.to_dtype(dtype)?);
        }
        let mask = mask
            .data
            .ne(&mask.data.zeros_like()?)?
            .broadcast_as(shape.as_slice())?
            .contiguous()?;
        let (wide_a, wide_b) = (
            a.data.broadcast_as(shape.as_slice())?,
            b.data.broadcast_as(shape.as_slice())?,
        );
        let (wide_a, wide_b) = (wide_a.contiguous()?, wide_b.contiguous()?);
        let data = gate::reading(|| mask.where_cond(&wide_a, &wide_b))?;
        let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
        record("where", data, &[a, b], move |ctx, g| {
            let mask = Tensor::from_candle(mask.clone());
            let zero = Tensor::zeros(g.dims(), g.dtype())?;
            let left = ctx
                .needs(0)
                .then(|| Tensor::where_cond(&mask, g, &zero)?.sum_to(&da))
                .transpose()?;
            let right = ctx
                .needs(1)
                .then(|| Tensor::where_cond(&mask, &zero, g)?.sum_to(&db))
                .transpose()?;
            Ok(vec![left, right])
        })
    }
}
