//! The sum of powers on the CPU: neighbouring steps are lanes, and a block of lanes becomes the next by one complex
//! multiplication in registers. What a block of lanes begins from is a power in f64, made anew every few blocks, so that the error does
//! not grow with the length (1e-6 of the largest value in f32 over 4096 steps). A mode that has decayed to nothing is left.
//!
//! The gradient is a sum of the same powers: with `F = sum_l g_l b^l` and `D = sum_l l g_l b^(l-1)` the loss is
//! `2 Re q h F`, and its derivative by a pair of numbers is twice the conjugate of the complex derivative,
//!
//! ```text
//! dq = 2 conj(h F)        dz = 2 conj(q (h' F + h b' D))
//! ```

use candle_core::{Device, Tensor as Data};
use rustfft::num_complex::Complex;

use super::{Discretization, Form, OP};
use crate::{
    Real, Result, Tensor,
    pool::{self, Ptr},
    simd::{kernels::fold, math::Float},
    tape::Grads,
    tensor::{buffer, with_slices},
};

/// Steps side by side.
const LANES: usize = 32;

/// Blocks of lanes between two exact powers.
const BLOCKS: usize = 16;

/// Multiplications below this number are not worth a second thread.
const SMALL: usize = 1 << 16;

type C64 = Complex<f64>;

/// A mode in f64: its base and factor, and their derivatives by `z`.
struct Mode {
    base: C64,
    base_slope: C64,
    factor: C64,
    factor_slope: C64,
}

impl Mode {
    fn new(z: C64, form: Form) -> Self {
        let one = C64::new(1.0, 0.0);
        let (base, base_slope, factor, factor_slope) = match form.discretization {
            Discretization::Zoh => {
                let (factor, slope) = held(z);
                (z.exp(), z.exp(), factor, slope)
            }
            Discretization::Bilinear => {
                let down = one / (one - z * 0.5);
                ((one + z * 0.5) * down, down * down, down, down * down * 0.5)
            }
        };
        let (factor, factor_slope) = match form.held {
            true => (factor, factor_slope),
            false => (one, C64::default()),
        };
        Self {
            base,
            base_slope,
            factor,
            factor_slope,
        }
    }
}

/// `h = (e^z - 1) / z` and `h'`, which lose digits as quotients near 0 and are summed as series there:
/// `sum_k z^k / (k + 1)!` and `sum_k (k + 1) z^k / (k + 2)!`.
fn held(z: C64) -> (C64, C64) {
    if z.norm_sqr() > 0.25 {
        let h = (z.exp() - 1.0) / z;
        return (h, (z.exp() - h) / z);
    }
    let (mut h, mut slope, mut power) = (C64::default(), C64::default(), C64::new(1.0, 0.0));
    for k in 0..16 {
        // power = z^k / (k + 1)!
        let k = f64::from(k);
        power = if k > 0.0 {
            power * z / (k + 1.0)
        } else {
            power
        };
        h += power;
        slope += power * ((k + 1.0) / (k + 2.0));
    }
    (h, slope)
}

/// `b^0 .. b^(LANES - 1)` as real and imaginary parts, and `b^LANES`; doubled, so that the chain of products is short.
#[inline(always)]
fn powers<T: Float>(base: C64) -> ([T; LANES], [T; LANES], C64) {
    let (mut re, mut im) = ([0.0; LANES], [0.0; LANES]);
    re[0] = 1.0;
    let (mut next, mut known) = (base, 1);
    while known < LANES {
        for k in 0..known {
            re[known + k] = re[k] * next.re - im[k] * next.im;
            im[known + k] = re[k] * next.im + im[k] * next.re;
        }
        next = square(next);
        known *= 2;
    }
    (re.map(T::of), im.map(T::of), next)
}

#[inline(always)]
fn square(z: C64) -> C64 {
    C64::new(z.re * z.re - z.im * z.im, 2.0 * z.re * z.im)
}

/// The power from one exact block to the next: `step^BLOCKS`.
#[inline(always)]
fn far(mut step: C64) -> C64 {
    for _ in 0..BLOCKS.trailing_zeros() {
        step = square(step);
    }
    step
}

/// What a number of the working precision no longer sees.
#[inline(always)]
fn nothing<T: Float>() -> f64 {
    if size_of::<T>() == 4 { 1e-34 } else { 1e-290 }
}

/// Whether a falling power has become nothing.
#[inline(always)]
fn gone<T: Float>(value: C64, step: C64) -> bool {
    value.re.abs() + value.im.abs() < nothing::<T>() && step.norm_sqr() <= 1.0
}

crate::simd! {
    /// `out_l += Re(weight base^l)`.
    fn add_powers<T: Float>(base: C64, weight: C64, out: &mut [T]) {
        let (re, im, step) = powers::<T>(base);
        let (sr, si) = (T::of(step.re), T::of(step.im));
        let far = far(step);
        let mut anchor = weight;
        for part in out.chunks_mut(LANES * BLOCKS) {
            if gone::<T>(anchor, step) { return; }
            let (ar, ai) = (T::of(anchor.re), T::of(anchor.im));
            let (mut zr, mut zi) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                zr[k] = re[k] * ar - im[k] * ai;
                zi[k] = re[k] * ai + im[k] * ar;
            }
            let mut blocks = part.chunks_exact_mut(LANES);
            for out in &mut blocks {
                for k in 0..LANES {
                    out[k] += zr[k];
                    let next = zr[k].fma(sr, -(zi[k] * si));
                    zi[k] = zr[k].fma(si, zi[k] * sr);
                    zr[k] = next;
                }
            }
            for (out, z) in blocks.into_remainder().iter_mut().zip(&zr) { *out += *z }
            anchor *= far;
        }
    }
}
crate::simd! {
    /// `sum_l g_l base^l` and `sum_l h_l base^l` for `g` and `h` of one length.
    fn sum_powers<T: Float>(base: C64, g: &[T], h: &[T]) -> [C64; 2] {
        let (re, im, step) = powers::<T>(base);
        let (sr, si) = (T::of(step.re), T::of(step.im));
        let far = far(step);
        let (mut anchor, mut total) = (C64::new(1.0, 0.0), [C64::default(); 2]);
        for (g, h) in g.chunks(LANES * BLOCKS).zip(h.chunks(LANES * BLOCKS)) {
            if gone::<T>(anchor, step) { break; }
            let (ar, ai) = (T::of(anchor.re), T::of(anchor.im));
            let (mut zr, mut zi) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                zr[k] = re[k] * ar - im[k] * ai;
                zi[k] = re[k] * ai + im[k] * ar;
            }
            let (mut gr, mut gi) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            let (mut hr, mut hi) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            let (mut gs, mut hs) = (g.chunks_exact(LANES), h.chunks_exact(LANES));
            for (g, h) in (&mut gs).zip(&mut hs) {
                for k in 0..LANES {
                    gr[k] = g[k].fma(zr[k], gr[k]);
                    gi[k] = g[k].fma(zi[k], gi[k]);
                    hr[k] = h[k].fma(zr[k], hr[k]);
                    hi[k] = h[k].fma(zi[k], hi[k]);
                    let next = zr[k].fma(sr, -(zi[k] * si));
                    zi[k] = zr[k].fma(si, zi[k] * sr);
                    zr[k] = next;
                }
            }
            for (k, (g, h)) in gs.remainder().iter().zip(hs.remainder()).enumerate() {
                gr[k] = g.fma(zr[k], gr[k]);
                gi[k] = g.fma(zi[k], gi[k]);
                hr[k] = h.fma(zr[k], hr[k]);
                hi[k] = h.fma(zi[k], hi[k]);
            }
            total[0] += C64::new(sum(gr), sum(gi));
            total[1] += C64::new(sum(hr), sum(hi));
            anchor *= far;
        }
        total
    }
}

/// The sum of lanes.
#[inline(always)]
fn sum<T: Float>(lanes: [T; LANES]) -> f64 {
    fold(lanes, |a, b| a + b).to_f64()
}

/// Number `i` of pairs.
fn pair<T: Float>(x: &[T], i: usize) -> C64 {
    C64::new(x[2 * i].to_f64(), x[2 * i + 1].to_f64())
}

/// `[.., M, 2]` twice to `shape = [.., L]`.
pub(super) fn forward<T: Real>(saved: &[Data; 2], shape: &[usize], form: Form) -> Result<Data> {
    let (modes, length) = (saved[0].dims()[saved[0].rank() - 2], shape[shape.len() - 1]);
    let mut out = buffer::<T>(shape.iter().product())?;
    let base = Ptr(out.as_mut_ptr());
    let rows = out.len().checked_div(length).unwrap_or(0);
    let small = out.len().saturating_mul(modes) < SMALL;
    with_slices::<T, _>(OP, &[&saved[0], &saved[1]], |x| {
        pool::for_each_task(
            rows,
            small,
            || (),
            |row, ()| {
                // SAFETY: rows do not overlap, each is given out once, all lie within `out`.
                let out = unsafe { base.slice(row * length, length) };
                for m in row * modes..(row + 1) * modes {
                    let mode = Mode::new(pair(x[0], m), form);
                    add_powers(mode.base, pair(x[1], m) * mode.factor * 2.0, out);
                }
            },
        )
    })??;
    Ok(Data::from_vec(out, shape, &Device::Cpu)?)
}

/// Gradients of `z` and `q`.
pub(super) fn backward<T: Real>(
    saved: &[Data; 2],
    g: &Data,
    length: usize,
    form: Form,
) -> Result<Grads> {
    let shape = saved[0].dims();
    let modes = shape[shape.len() - 2];
    let (mut dz, mut dq) = (
        buffer::<T>(saved[0].elem_count())?,
        buffer::<T>(saved[0].elem_count())?,
    );
    let (to_z, to_q) = (Ptr(dz.as_mut_ptr()), Ptr(dq.as_mut_ptr()));
    let rows = dz.len().checked_div(2 * modes).unwrap_or(0);
    let small = g.elem_count().saturating_mul(modes) < SMALL;
    with_slices::<T, _>(OP, &[&saved[0], &saved[1], g], |x| {
        pool::for_each_task(
            rows,
            small,
            || vec![T::ZERO; length],
            |row, rising| {
                let g = &x[2][row * length..][..length];
                // l g_l, a place earlier: the coefficients of b^(l-1).
                for (l, (to, g)) in rising.iter_mut().zip(g.iter().skip(1)).enumerate() {
                    *to = T::of((l + 1) as f64) * *g;
                }
                // SAFETY: rows do not overlap, each is given out once, all lie within their buffers.
                let (dz, dq) = unsafe {
                    (
                        to_z.slice(row * modes * 2, modes * 2),
                        to_q.slice(row * modes * 2, modes * 2),
                    )
                };
                for m in 0..modes {
                    let (mode, q) = (
                        Mode::new(pair(x[0], row * modes + m), form),
                        pair(x[1], row * modes + m),
                    );
                    let [sum, slope] = sum_powers(mode.base, g, rising);
                    let by_q = mode.factor * sum * 2.0;
                    let by_z =
                        q * (mode.factor_slope * sum + mode.factor * mode.base_slope * slope) * 2.0;
                    (dq[2 * m], dq[2 * m + 1]) = (T::of(by_q.re), T::of(-by_q.im));
                    (dz[2 * m], dz[2 * m + 1]) = (T::of(by_z.re), T::of(-by_z.im));
                }
            },
        )
    })??;
    let finish = |values: Vec<T>| Tensor::from_vec(values, shape).map(Some);
    Ok(vec![finish(dz)?, finish(dq)?])
}
