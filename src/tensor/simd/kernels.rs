//! Plain loops over slices, compiled for every instruction set: what the operations are made of.

use super::math::Float;

/// Lanes of a sum: as many accumulators hide the latency of the addition and make the sum more
/// exact than one running total.
const LANES: usize = 64;

/// Elements between two looks at whether one is too large for the fast form of a function.
const NEAR: usize = 1024;

/// Elements summed in the working precision before the partial sum goes to f64.
const BLOCK: usize = 4096;

/// One value from one, e.g. exp.
pub trait Map1 {
    /// The largest `|x|` for which [`Map1::call`] is right; most are everywhere.
    const LIMIT: f64 = f64::INFINITY;
    /// The function, without branches, so that it fills vectors.
    fn call<T: Float>(x: T) -> T;
    /// The function beyond the limit.
    fn far<T: Float>(x: T) -> T {
        Self::call(x)
    }
}

/// One value from two, e.g. a sum.
pub trait Map2 {
    /// The function.
    fn call<T: Float>(a: T, b: T) -> T;
}

/// One value from three, e.g. the derivative of an operation from `(x, y, dy)`.
pub trait Map3 {
    /// The largest `|a|` for which [`Map3::call`] is right.
    const LIMIT: f64 = f64::INFINITY;
    /// The function.
    fn call<T: Float>(a: T, b: T, c: T) -> T;
    /// The function beyond the limit.
    fn far<T: Float>(a: T, b: T, c: T) -> T {
        Self::call(a, b, c)
    }
}

/// Whether an element lies beyond a limit.
#[inline(always)]
fn beyond<T: Float>(x: &[T], limit: T) -> bool {
    x.iter().fold(false, |found, x| found | (x.abs() > limit))
}

crate::simd! {
    /// `y = f(x)`.
    pub fn map1<T: Float, F: Map1>(x: &[T], y: &mut [T]) {
        for (x, y) in x.chunks(NEAR).zip(y.chunks_mut(NEAR)) {
            for (x, y) in x.iter().zip(y.iter_mut()) { *y = F::call(*x) }
            let limit = T::of(F::LIMIT);
            if F::LIMIT.is_finite() && beyond(x, limit) {
                for (x, y) in x.iter().zip(y) { if x.abs() > limit { *y = F::far(*x) } }
            }
        }
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
        let chunks = a.chunks(NEAR).zip(b.chunks(NEAR)).zip(c.chunks(NEAR));
        for (((a, b), c), y) in chunks.zip(y.chunks_mut(NEAR)) {
            for (((a, b), c), y) in a.iter().zip(b).zip(c).zip(y.iter_mut()) { *y = F::call(*a, *b, *c) }
            let limit = T::of(F::LIMIT);
            if F::LIMIT.is_finite() && beyond(a, limit) {
                for (((a, b), c), y) in a.iter().zip(b).zip(c).zip(y) {
                    if a.abs() > limit { *y = F::far(*a, *b, *c) }
                }
            }
        }
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
        extreme(x, T::MIN, |a, b| b > a)
    }
}
crate::simd! {
    /// The smallest value of a slice, NaN if one is there; infinity when empty.
    pub fn min<T: Float>(x: &[T]) -> T {
        extreme(x, -T::MIN, |a, b| b < a)
    }
}
crate::simd! {
    /// `y = x - ln sum e^x` for rows of `n`.
    pub fn log_softmax_rows<T: Float>(x: &[T], n: usize, y: &mut [T]) {
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let top = top(x);
            let total = lanes(x, |lane: T, v| lane + (v - top).exp());
            let shift = top + total.ln();
            for (x, y) in x.iter().zip(y) { *y = *x - shift }
        }
    }
}
crate::simd! {
    /// `dx = dy - e^y sum dy` for rows of `n`: the derivative of the logarithm of softmax.
    pub fn log_softmax_rows_back<T: Float>(y: &[T], dy: &[T], n: usize, dx: &mut [T]) {
        for ((y, dy), dx) in y.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            let total = lanes(dy, |lane: T, v| lane + v);
            for ((y, dy), dx) in y.iter().zip(dy).zip(dx) { *dx = *dy - y.exp() * total }
        }
    }
}
crate::simd! {
    /// The sum of a slice in lanes of the working precision alone.
    pub fn sum_lanes<T: Float>(x: &[T]) -> T {
        lanes(x, |lane: T, v| lane + v)
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
    /// `y += the sum over rows` of the columns from `first` of a matrix with rows of `n`.
    pub fn sum_columns_into<T: Float>(x: &[T], n: usize, first: usize, y: &mut [T]) {
        for row in x.chunks_exact(n) {
            for (x, y) in row[first..first + y.len()].iter().zip(y.iter_mut()) { *y += *x }
        }
    }
}
crate::simd! {
    /// The largest (or smallest) value of each column of a matrix with rows of `y.len()`, NaN if one is there.
    pub fn extreme_columns<T: Float>(x: &[T], smallest: bool, y: &mut [T]) {
        let n = y.len();
        let (first, rest) = x.split_at(n);
        y.copy_from_slice(first);
        for row in rest.chunks_exact(n) {
            if smallest {
                for (x, y) in row.iter().zip(y.iter_mut()) { *y = if *x < *y || x.is_nan() { *x } else { *y } }
            } else {
                for (x, y) in row.iter().zip(y.iter_mut()) { *y = if *x > *y || x.is_nan() { *x } else { *y } }
            }
        }
    }
}
crate::simd! {
    /// Softmax of rows of `n`; a row of only negative infinities gives NaN, as in PyTorch.
    pub fn softmax_rows<T: Float>(x: &[T], n: usize, y: &mut [T]) {
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let top = top(x);
            for (x, y) in x.iter().zip(y.iter_mut()) { *y = (*x - top).exp() }
            let scale = T::ONE / lanes(y, |lane: T, v| lane + v);
            for y in y.iter_mut() { *y *= scale }
        }
    }
}
crate::simd! {
    /// `dx = y (dy - sum(y dy))` for rows of `n`: the derivative of softmax.
    pub fn softmax_rows_back<T: Float>(y: &[T], dy: &[T], n: usize, dx: &mut [T]) {
        for ((y, dy), dx) in y.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            for ((y, dy), dx) in y.iter().zip(dy).zip(dx.iter_mut()) { *dx = *y * *dy }
            let total = lanes(dx, |lane: T, v| lane + v);
            for ((y, dy), dx) in y.iter().zip(dy).zip(dx) { *dx = *y * (*dy - total) }
        }
    }
}
crate::simd! {
    /// `y = scale e^(x - shift)` row by row, with a shift for each row.
    pub fn scaled_exp_rows<T: Float>(x: &[T], shifts: &[T], scale: T, y: &mut [T]) {
        let n = x.len() / shifts.len().max(1);
        if n == 0 { return }
        for ((x, y), shift) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(shifts) {
            for (x, y) in x.iter().zip(y) { *y = scale * (*x - *shift).exp() }
        }
    }
}
crate::simd! {
    /// log sum exp of one row; negative infinity when all are.
    pub fn logsumexp_row<T: Float>(x: &[T]) -> T {
        let top = top(x);
        if !top.finite() {
            // All negative infinity, or an infinity that decides, unless a NaN stands among them.
            for &v in x { if v.is_nan() { return v } }
            return top;
        }
        let total = lanes(x, |lane: T, v| lane + (v - top).exp());
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

/// The largest number of a slice; NaN is passed over.
#[inline(always)]
fn top<T: Float>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    lanes_of(x, T::MIN, larger, larger)
}

/// Folds a slice lane-wise by `f(lane, value)` and adds the lanes up.
#[inline(always)]
fn lanes<T: Float>(x: &[T], f: impl Fn(T, T) -> T) -> T {
    lanes_of(x, T::ZERO, f, |a, b| a + b)
}

/// Folds a slice lane-wise by `f(lane, value)` from `start`, and the lanes by `join`.
#[inline(always)]
fn lanes_of<T: Float>(x: &[T], start: T, f: impl Fn(T, T) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    let mut rest = start;
    for &v in chunks.remainder() {
        rest = f(rest, v);
    }
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *v);
        }
    }
    let all = fold(lanes, &join);
    join(all, rest)
}

/// The value that is `better` than all others, `worst` when there is none; NaN if one is there.
///
/// A comparison that minds NaN takes twice the instructions of one that does not. So sums run beside it, which NaN spoils;
/// infinities of both signs do too, and then it is looked at closely.
#[inline(always)]
fn extreme<T: Float>(x: &[T], worst: T, better: impl Fn(T, T) -> bool) -> T {
    const WIDE: usize = LANES / 2;
    let pick = |a: T, b: T| if better(a, b) { b } else { a };
    let (mut best, mut sums) = ([worst; WIDE], [T::ZERO; WIDE]);
    let chunks = x.chunks_exact(WIDE);
    let (mut rest, mut sum) = (worst, T::ZERO);
    for &v in chunks.remainder() {
        rest = pick(rest, v);
        sum += v;
    }
    for chunk in chunks {
        for i in 0..WIDE {
            best[i] = pick(best[i], chunk[i]);
            sums[i] += chunk[i];
        }
    }
    if (fold(sums, |a, b| a + b) + sum).is_nan() {
        let close = |a: T, b: T| if better(a, b) || b.is_nan() { b } else { a };
        return lanes_of(x, worst, close, close);
    }
    pick(fold(best, pick), rest)
}

/// Folds lanes into one value, halving them.
#[inline(always)]
pub(crate) fn fold<T: Float, const N: usize>(mut lanes: [T; N], join: impl Fn(T, T) -> T) -> T {
    const { assert!(N.is_power_of_two()) };
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = join(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_see_nan_and_infinities_wherever_they_stand() {
        let n = 2 * LANES + 5;
        let x: Vec<f32> = (0..n).map(|i| ((i * 37 % n) as f32) - 60.0).collect();
        assert_eq!((max(&x), min(&x)), (n as f32 - 61.0, -60.0));
        assert_eq!(
            (max::<f32>(&[]), min::<f32>(&[])),
            (f32::NEG_INFINITY, f32::INFINITY)
        );
        for i in 0..n {
            let mut with = x.clone();
            with[i] = f32::NAN;
            assert!(max(&with).is_nan() && min(&with).is_nan(), "{i}");
            // Both infinities: their sum is NaN, though none is there.
            with[i] = f32::INFINITY;
            with[(i + 1) % n] = f32::NEG_INFINITY;
            assert_eq!(
                (max(&with), min(&with)),
                (f32::INFINITY, f32::NEG_INFINITY),
                "{i}"
            );
            with[(i + 2) % n] = f32::NAN;
            assert!(max(&with).is_nan() && min(&with).is_nan(), "{i}");
        }
    }
}
