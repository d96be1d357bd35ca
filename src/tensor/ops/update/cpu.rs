//! The CPU passes of an optimizer's step: pieces of the slices in parallel, one pass each.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{OfStates, SLOTS, Slots, Update};
use crate::{
    pool::{self, Ptr},
    simd::{kernels, math::Float},
};

/// Pieces begin at multiples of this, so that threads share no cache line.
const QUANTUM: usize = 1024;

// The states are arguments of their own: that they do not overlap is known of arguments, not of the
// elements of an array, and without it the loop is not vectorised.
crate::simd! {
    fn piece<T: Float, U: Update<T>>(p: &mut [T], a: &mut [T], b: &mut [T], c: &mut [T], d: &mut [T], g: &[T], scale: T, update: U) {
        let n = p.len();
        let used = |k: usize| if k < U::STATES { n } else { 0 };
        let (a, b, c, d) = (&mut a[..used(0)], &mut b[..used(1)], &mut c[..used(2)], &mut d[..used(3)]);
        let g = &g[..n];
        for i in 0..n {
            let mut states: Slots<T> = [T::ZERO; SLOTS];
            if U::STATES > 0 { states[0] = a[i] }
            if U::STATES > 1 { states[1] = b[i] }
            if U::STATES > 2 { states[2] = c[i] }
            if U::STATES > 3 { states[3] = d[i] }
            update.one(&mut p[i], &mut states, g[i] * scale);
            if U::STATES > 0 { a[i] = states[0] }
            if U::STATES > 1 { b[i] = states[1] }
            if U::STATES > 2 { c[i] = states[2] }
            if U::STATES > 3 { d[i] = states[3] }
        }
    }
}

pub(super) fn sweep<T: Float, U: Update<T>>(
    p: &mut [T],
    states: [&mut [T]; SLOTS],
    g: &[T],
    scale: T,
    update: U,
) {
    let n = p.len();
    assert!(
        g.len() == n && states[..U::STATES].iter().all(|s| s.len() == n),
        "update: slices of different lengths"
    );
    let states = states.map(|s| (Ptr(s.as_mut_ptr()), s.len()));
    pool::for_each_piece(p, QUANTUM, |start, p| {
        let n = p.len();
        // SAFETY: pieces do not overlap, and the states in use have the length of `p` (checked above);
        // the others are not taken.
        let [a, b, c, d] = std::array::from_fn(|k| unsafe {
            let (base, _) = states[k];
            if k < U::STATES {
                base.slice(start, n)
            } else {
                base.slice(0, 0)
            }
        });
        piece(p, a, b, c, d, &g[start..start + n], scale, update);
    });
}

/// Threads whose partial sums are kept apart; with more the sum is taken by one.
const PARTS: usize = 64;

/// Work below this many elements is not worth waking a second thread for.
const SERIAL_BELOW: usize = 1 << 15;

/// The sum over `0..n` of a function of ranges.
pub(super) fn reduce(n: usize, f: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    let pool = pool::global();
    let parts = pool.parts();
    if n < SERIAL_BELOW || parts == 1 || parts > PARTS {
        return f(0..n);
    }
    let sums = [const { AtomicU64::new(0) }; PARTS];
    pool.run(|part| {
        let range = pool::range(n, QUANTUM, part, parts);
        if let (false, Some(sum)) = (range.is_empty(), sums.get(part)) {
            sum.store(f(range).to_bits(), Ordering::Relaxed);
        }
    });
    sums.iter()
        .map(|sum| f64::from_bits(sum.load(Ordering::Relaxed)))
        .sum()
}

crate::simd! {
    fn fill<T: Float, F: OfStates<T>>(a: &[T], b: &[T], out: &mut [T], f: F) {
        for ((a, b), out) in a.iter().zip(b).zip(out) { *out = f.value(*a, *b) }
    }
}

/// In blocks that stay in the first cache: a value costs no memory.
pub(super) fn sum_squares_of<T: Float, F: OfStates<T>>(a: &[T], b: &[T], f: F) -> f64 {
    const BLOCK: usize = 1024;
    let mut block = [T::ZERO; BLOCK];
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let values = &mut block[..a.len()];
        fill(a, b, values, f);
        total += kernels::sum_squares(values);
    }
    total
}
