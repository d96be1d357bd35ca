//! Plain loops over slices, compiled for every instruction set: what the operations are made of.

use super::math::Float;

/// Lanes of a sum: as many accumulators hide the latency of the addition and make the sum more
/// exact than one running total.
const LANES: usize = 64;

/// Elements summed in the working precision before the partial sum goes to f64.
const BLOCK: usize = 4096;

/// One value from one, e.g. exp.
pub trait Map1 {
    /// The function.
    fn call<T: Float>(x: T) -> T;
}

/// One value from two, e.g. a sum.
pub trait Map2 {
    /// The function.
    fn call<T: Float>(a: T, b: T) -> T;
}

/// One value from three, e.g. the derivative of an operation from `(x, y, dy)`.
pub trait Map3 {
    /// The function.
    fn call<T: Float>(a: T, b: T, c: T) -> T;
}

crate::simd! {
    /// `y = f(x)`.
    pub fn map1<T: Float, F: Map1>(x: &[T], y: &mut [T]) {
        for (x, y) in x.iter().zip(y) { *y = F::call(*x) }
    }
}
crate::simd! {
    /// `y = f(a, b)`.
    pub fn map2<T: Float, F: Map2>(a: &[T], b: &[T], y: &mut [T]) {
        for ((a, b), y) in a.iter().zip(b).zip(y) { *y = F::call(*a, *b) }
    }
}
crate::simd! {
    /// `y = f(a, s)` for one scalar `s`.
    pub fn map2_scalar<T: Float, F: Map2>(a: &[T], s: T, y: &mut [T]) {
        for (a, y) in a.iter().zip(y) { *y = F::call(*a, s) }
    }
}
crate::simd! {
    /// `y = f(s, b)` for one scalar `s`.
    pub fn scalar_map2<T: Float, F: Map2>(s: T, b: &[T], y: &mut [T]) {
        for (b, y) in b.iter().zip(y) { *y = F::call(s, *b) }
    }
}
crate::simd! {
    /// `y = f(a, b, c)`.
    pub fn map3<T: Float, F: Map3>(a: &[T], b: &[T], c: &[T], y: &mut [T]) {
        for (((a, b), c), y) in a.iter().zip(b).zip(c).zip(y) { *y = F::call(*a, *b, *c) }
    }
}
crate::simd! {
    /// `y += x`.
    pub fn add_assign<T: Float>(x: &[T], y: &mut [T]) {
        for (x, y) in x.iter().zip(y) { *y += *x }
    }
}
crate::simd! {
    /// `y += s * x`.
    pub fn axpy<T: Float>(s: T, x: &[T], y: &mut [T]) {
        for (x, y) in x.iter().zip(y) { *y = s.fma(*x, *y) }
    }
}
crate::simd! {
    /// The sum of a slice: lanes in the working precision, blocks in f64.
    pub fn sum<T: Float>(x: &[T]) -> f64 {
        let mut total = 0.0;
        for block in x.chunks(BLOCK) { total += lanes(block, |lane: T, v| lane + v).to_f64() }
        total
    }
}
crate::simd! {
    /// The sum of squares of a slice.
    pub fn sum_squares<T: Float>(x: &[T]) -> f64 {
        let mut total = 0.0;
        for block in x.chunks(BLOCK) { total += lanes(block, |lane: T, v| v.fma(v, lane)).to_f64() }
        total
    }
}
crate::simd! {
    /// The sum of products of two slices.
    pub fn dot<T: Float>(a: &[T], b: &[T]) -> f64 {
        let mut total = 0.0;
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let mut sums = [T::ZERO; LANES];
            let (mut aa, mut bb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            for (a, b) in (&mut aa).zip(&mut bb) {
                for i in 0..LANES { sums[i] = a[i].fma(b[i], sums[i]) }
            }
            for (a, b) in aa.remainder().iter().zip(bb.remainder()) { sums[0] = a.fma(*b, sums[0]) }
            total += fold(sums, |x, y| x + y).to_f64();
        }
        total
    }
}
crate::simd! {
    /// The largest value of a slice, NaN if one is there; negative infinity when empty.
    pub fn max<T: Float>(x: &[T]) -> T {
        let mut best = T::MIN;
        let mut nan = false;
        for &v in x {
            if v > best { best = v }
            nan |= v.is_nan();
        }
        if nan { T::NAN } else { best }
    }
}
crate::simd! {
    /// `y += the sum over rows` of a `[rows, y.len()]` matrix.
    pub fn sum_rows_into<T: Float>(x: &[T], y: &mut [T]) {
        for row in x.chunks_exact(y.len()) {
            for (x, y) in row.iter().zip(y.iter_mut()) { *y += *x }
        }
    }
}
crate::simd! {
    /// Softmax of one row; a row of only negative infinities gives NaN, as in PyTorch.
    pub fn softmax_row<T: Float>(x: &[T], y: &mut [T]) {
        let mut top = T::MIN;
        for &v in x { if v > top { top = v } }
        for (x, y) in x.iter().zip(y.iter_mut()) { *y = (*x - top).exp() }
        let scale = T::ONE / lanes(y, |lane: T, v| lane + v);
        for y in y.iter_mut() { *y *= scale }
    }
}
crate::simd! {
    /// log sum exp of one row; negative infinity when all are.
    pub fn logsumexp_row<T: Float>(x: &[T]) -> T {
        let mut top = T::MIN;
        for &v in x { if v > top { top = v } }
        if !top.finite() {
            // All negative infinity, or an infinity that decides, unless a NaN stands among them.
            for &v in x { if v.is_nan() { return v } }
            return top;
        }
        let mut lanes = [T::ZERO; LANES];
        let chunks = x.chunks_exact(LANES);
        let mut rest = T::ZERO;
        for &v in chunks.remainder() { rest += (v - top).exp() }
        for chunk in chunks { for (lane, v) in lanes.iter_mut().zip(chunk) { *lane += (*v - top).exp() } }
        let total = fold(lanes, |a: T, b| a + b) + rest;
        top + total.ln()
    }
}
crate::simd! {
    /// Mean and reciprocal standard deviation `1/sqrt(var + eps)` of one row.
    pub fn mean_rstd_row<T: Float>(x: &[T], eps: f64, centred: bool) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = if centred { lanes(x, |lane: T, v| lane + v).to_f64() / n } else { 0.0 };
        let m = T::of(mean);
        let squares = lanes(x, |lane: T, v| (v - m).fma(v - m, lane)).to_f64();
        (mean, 1.0 / (squares / n + eps).sqrt())
    }
}

/// Folds a slice lane-wise by `f(lane, value)` and adds the lanes up.
#[inline(always)]
fn lanes<T: Float>(x: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let chunks = x.chunks_exact(LANES);
    let mut rest = T::ZERO;
    for &v in chunks.remainder() {
        rest = f(rest, v);
    }
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *v);
        }
    }
    fold(lanes, |a, b| a + b) + rest
}

/// Folds lanes into one value, halving them.
#[inline(always)]
pub(crate) fn fold<T: Float, const N: usize>(mut lanes: [T; N], f: impl Fn(T, T) -> T) -> T {
    const { assert!(N.is_power_of_two()) };
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}
