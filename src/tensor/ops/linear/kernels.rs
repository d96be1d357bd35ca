//! Loops over rows that linear layers are made of besides matrix products: activations with their slopes, and
//! products with few columns, for which gemm is slow.

use super::Activation;
use crate::simd::math::{Float, normal_pdf, sigmoid, softplus};

/// Value and slope of an activation at `z`.
trait Act {
    fn both<T: Float>(z: T) -> (T, T);
}

struct Identity;
struct Relu;
struct Silu;
struct Gelu;
struct Tanh;
struct Sigmoid;
struct Softplus;

impl Act for Identity {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        (z, T::ONE)
    }
}
impl Act for Relu {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        if z > T::ZERO {
            (z, T::ONE)
        } else {
            (if z < T::ZERO { T::ZERO } else { z }, T::ZERO)
        }
    }
}
impl Act for Silu {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        let s = sigmoid(z);
        let h = z * s;
        (h, (T::ONE - s).fma(h, s))
    }
}
impl Act for Gelu {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        let cdf = z.normal_cdf();
        (z * cdf, z.fma(normal_pdf(z), cdf))
    }
}
impl Act for Tanh {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        let h = z.tanh();
        (h, T::ONE - h * h)
    }
}
impl Act for Sigmoid {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        let s = sigmoid(z);
        (s, s * (T::ONE - s))
    }
}
impl Act for Softplus {
    #[inline(always)]
    fn both<T: Float>(z: T) -> (T, T) {
        (softplus(z), sigmoid(z))
    }
}

crate::simd! {
    /// `z = act(z + bias)` and `d = act'(z + bias)`, rows of `bias.len()`.
    fn activate<T: Float, A: Act>(z: &mut [T], bias: &[T], d: &mut [T]) {
        let n = bias.len();
        for (z, d) in z.chunks_exact_mut(n).zip(d.chunks_exact_mut(n)) {
            for ((z, b), d) in z.iter_mut().zip(bias).zip(d) { (*z, *d) = A::both(*z + *b) }
        }
    }
}
crate::simd! {
    /// `z = act(z + bias)`, rows of `bias.len()`.
    fn activate_only<T: Float, A: Act>(z: &mut [T], bias: &[T]) {
        for z in z.chunks_exact_mut(bias.len()) {
            for (z, b) in z.iter_mut().zip(bias) { *z = A::both(*z + *b).0 }
        }
    }
}
crate::simd! {
    /// `out[r, j] = sum_k x[r, k] w[j, k]` for few columns: gemm is slow there.
    pub(in crate::ops) fn narrow_product<T: Float>(x: &[T], inputs: usize, w: &[T], out: &mut [T], outputs: usize) {
        const LANES: usize = 16;
        for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
            for (w, out) in w.chunks_exact(inputs).zip(out) {
                let mut lanes = [T::ZERO; LANES];
                let (xs, ws) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
                let mut rest = T::ZERO;
                for (x, w) in xs.remainder().iter().zip(ws.remainder()) { rest = x.fma(*w, rest) }
                for (x, w) in xs.zip(ws) {
                    for ((lane, x), w) in lanes.iter_mut().zip(x).zip(w) { *lane = x.fma(*w, *lane) }
                }
                let mut total = rest;
                for lane in lanes { total += lane }
                *out = total;
            }
        }
    }
}
crate::simd! {
    /// `dz = g * d`.
    pub(in crate::ops) fn times<T: Float>(g: &[T], d: &[T], dz: &mut [T]) {
        for ((g, d), dz) in g.iter().zip(d).zip(dz) { *dz = *g * *d }
    }
}

/// Of an activation: with its slope, and alone.
pub(in crate::ops) type Kernel<T> = (fn(&mut [T], &[T], &mut [T]), fn(&mut [T], &[T]));

/// The kernels of an activation.
pub(in crate::ops) fn kernels<T: Float>(act: Activation) -> Kernel<T> {
    match act {
        Activation::Identity => (activate::<T, Identity>, activate_only::<T, Identity>),
        Activation::Relu => (activate::<T, Relu>, activate_only::<T, Relu>),
        Activation::Silu => (activate::<T, Silu>, activate_only::<T, Silu>),
        Activation::Gelu => (activate::<T, Gelu>, activate_only::<T, Gelu>),
        Activation::Tanh => (activate::<T, Tanh>, activate_only::<T, Tanh>),
        Activation::Sigmoid => (activate::<T, Sigmoid>, activate_only::<T, Sigmoid>),
        Activation::Softplus => (activate::<T, Softplus>, activate_only::<T, Softplus>),
    }
}

crate::simd! {
    /// `out[r, j] = sum_k x[r, k] wt[k, j]` for few `k`.
    pub(in crate::ops) fn shallow_product<T: Float>(x: &[T], inputs: usize, wt: &[T], out: &mut [T], outputs: usize) {
        for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
            match (x, wt.len() / outputs) {
                (&[a, b], 2) => {
                    let (p, q) = wt.split_at(outputs);
                    for ((out, p), q) in out.iter_mut().zip(p).zip(q) { *out = a.fma(*p, b * *q) }
                }
                (&[a, b, c], 3) => {
                    let (p, rest) = wt.split_at(outputs);
                    let (q, r) = rest.split_at(outputs);
                    for (((out, p), q), r) in out.iter_mut().zip(p).zip(q).zip(r) { *out = a.fma(*p, b.fma(*q, c * *r)) }
                }
                _ => {
                    out.fill(T::ZERO);
                    for (x, wt) in x.iter().zip(wt.chunks_exact(outputs)) {
                        for (out, wt) in out.iter_mut().zip(wt) { *out = x.fma(*wt, *out) }
                    }
                }
            }
        }
    }
}
crate::simd! {
    /// `dz = g * d` in place of `g`, and `db += ` its column sums.
    pub(in crate::ops) fn times_and_sum<T: Float>(g: &mut [T], d: &[T], db: &mut [T]) {
        for (g, d) in g.chunks_exact_mut(db.len()).zip(d.chunks_exact(db.len())) {
            for ((g, d), db) in g.iter_mut().zip(d).zip(db.iter_mut()) {
                let dz = *g * *d;
                *g = dz;
                *db += dz;
            }
        }
    }
}
crate::simd! {
    /// `dw[j, :] += sum_r dz[r, j] x[r, :]` for few `j`.
    pub(in crate::ops) fn narrow_gradient<T: Float>(dz: &[T], outputs: usize, x: &[T], inputs: usize, dw: &mut [T]) {
        for (dz, x) in dz.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
            for (dz, dw) in dz.iter().zip(dw.chunks_exact_mut(inputs)) {
                for (x, dw) in x.iter().zip(dw) { *dw = dz.fma(*x, *dw) }
            }
        }
    }
}
crate::simd! {
    /// `dw[j, k] += sum_r dz[r, j] x[r, k]` for at most [`FEW`] `k`: blocks of `j` stay in registers over all rows.
    pub(in crate::ops) fn shallow_gradient<T: Float>(dz: &[T], outputs: usize, x: &[T], inputs: usize, dw: &mut [T]) {
        const WIDE: usize = 64;
        for first in (0..outputs).step_by(WIDE) {
            let width = WIDE.min(outputs - first);
            let mut sums = [[T::ZERO; WIDE]; FEW];
            for (dz, x) in dz.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
                let dz = &dz[first..first + width];
                for (x, sums) in x.iter().zip(&mut sums) {
                    for (dz, sum) in dz.iter().zip(sums.iter_mut()) { *sum = x.fma(*dz, *sum) }
                }
            }
            for (j, dw) in dw[first * inputs..].chunks_exact_mut(inputs).take(width).enumerate() {
                for (dw, sums) in dw.iter_mut().zip(&sums) { *dw += sums[j] }
            }
        }
    }
}

/// Columns so few that a product by plain loops beats gemm.
pub(in crate::ops) const FEW: usize = 8;
