//! The CPU passes of an optimizer's step: pieces of the slices in parallel, one pass each.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Motion, SLOTS, Slots, Update};
use crate::{
    pool::{self, Ptr},
    simd::{kernels, math::Float},
};

/// Pieces begin at multiples of this, so that threads share no cache line.
const QUANTUM: usize = 1024;

/// A [`Motion`] in the element type.
#[derive(Clone, Copy)]
pub(super) struct Numbers<T> {
    pub scale: T,
    pub rate: T,
    pub keep: T,
    pub skip_zeros: bool,
    pub step: u64,
}

impl<T: Float> Numbers<T> {
    pub(super) fn of(motion: Motion) -> Self {
        Self {
            scale: T::of(motion.scale),
            rate: T::of(motion.rate),
            keep: T::of(motion.keep),
            skip_zeros: motion.skip_zeros,
            step: motion.step,
        }
    }
}

// The states are arguments of their own: that they do not overlap is known of arguments, not of the
// elements of an array, and without it the loop is not vectorised.
crate::simd! {
    pub(super) fn piece<T: Float, U: Update<T>>(p: &mut [T], a: &mut [T], b: &mut [T], c: &mut [T], g: &[T], n: Numbers<T>, update: U) {
        let len = p.len();
        let used = |k: usize| if k < U::STATES { len } else { 0 };
        let (a, b, c) = (&mut a[..used(0)], &mut b[..used(1)], &mut c[..used(2)]);
        let g = &g[..len];
        for i in 0..len {
            let mut states: Slots<T> = [T::ZERO; SLOTS];
            if U::STATES > 0 { states[0] = a[i] }
            if U::STATES > 1 { states[1] = b[i] }
            if U::STATES > 2 { states[2] = c[i] }
            let before = states;
            let u = update.direction(p[i], &mut states, g[i] * n.scale);
            let rests = n.skip_zeros & (g[i] == T::ZERO);
            p[i] = if rests { p[i] } else { n.keep * p[i] - n.rate * u };
            if U::STATES > 0 { a[i] = if rests { before[0] } else { states[0] } }
            if U::STATES > 1 { b[i] = if rests { before[1] } else { states[1] } }
            if U::STATES > 2 { c[i] = if rests { before[2] } else { states[2] } }
        }
    }
}

crate::simd! {
    /// The directions of a step that is not taken.
    fn directions<T: Float, U: Update<T>>(p: &[T], a: &[T], b: &[T], c: &[T], g: &[T], out: &mut [T], n: Numbers<T>, update: U) {
        let len = out.len();
        let (p, a, b, c, g) = (&p[..len], &a[..len], &b[..len], &c[..len], &g[..len]);
        for i in 0..len {
            let mut states = [a[i], b[i], c[i]];
            let u = update.direction(p[i], &mut states, g[i] * n.scale);
            out[i] = if n.skip_zeros & (g[i] == T::ZERO) { T::ZERO } else { u };
        }
    }
}

crate::simd! {
    /// `e <- decay e + (1 - decay) p`.
    pub(super) fn follow<T: Float>(e: &mut [T], p: &[T], decay: T) {
        for (e, p) in e.iter_mut().zip(p) { *e = decay.fma(*e - *p, *p) }
    }
}

/// Elements after which the average follows: they are still in the first cache.
const NEAR: usize = 2048;

pub(super) fn sweep<T: Float, U: Update<T>>(
    p: &mut [T],
    states: &mut [Vec<T>],
    g: &[T],
    average: Option<(&mut [T], T)>,
    numbers: Numbers<T>,
    update: U,
) {
    let n = p.len();
    let whole =
        |states: &[Vec<T>]| states.len() == U::STATES && states.iter().all(|s| s.len() == n);
    let fits = average.as_ref().is_none_or(|(e, _)| e.len() == n);
    assert!(
        g.len() == n && whole(states) && fits,
        "update: slices of different lengths"
    );
    let mut bases = [Ptr(std::ptr::NonNull::dangling().as_ptr()); SLOTS];
    for (base, state) in bases.iter_mut().zip(states) {
        *base = Ptr(state.as_mut_ptr());
    }
    let average = average.map(|(e, decay)| (Ptr(e.as_mut_ptr()), decay));
    pool::for_each_piece(p, QUANTUM, |start, p| {
        let near = if average.is_some() {
            NEAR
        } else {
            p.len().max(1)
        };
        for (i, p) in p.chunks_mut(near).enumerate() {
            let (start, len) = (start + i * near, p.len());
            // SAFETY: pieces do not overlap, and the states in use and the average have the length of the
            // whole (checked above); of the others nothing is taken.
            let [a, b, c] = std::array::from_fn(|k| unsafe {
                let used = k < U::STATES;
                bases[k].slice(if used { start } else { 0 }, if used { len } else { 0 })
            });
            piece(p, a, b, c, &g[start..start + len], numbers, update);
            if let Some((e, decay)) = average {
                // SAFETY: as above.
                follow(unsafe { e.slice(start, len) }, p, decay);
            }
        }
    });
}

/// Sum of squares of the directions; `load(k, start, out)` gives state k from `start` on. In blocks that stay in the first
/// cache: a direction costs no memory.
pub(super) fn squares<T: Float, U: Update<T>>(
    p: &[T],
    g: &[T],
    numbers: Numbers<T>,
    update: U,
    load: impl Fn(usize, usize, &mut [T]) + Sync,
) -> f64 {
    reduce(p.len(), |range| {
        let mut states = [[T::ZERO; QUANTUM]; SLOTS];
        let mut out = [T::ZERO; QUANTUM];
        let mut total = 0.0;
        for start in range.clone().step_by(QUANTUM) {
            let len = (range.end - start).min(QUANTUM);
            for (k, state) in states.iter_mut().enumerate().take(U::STATES) {
                load(k, start, &mut state[..len]);
            }
            let ([a, b, c], out) = (&states, &mut out[..len]);
            directions(&p[start..], a, b, c, &g[start..], out, numbers, update);
            total += kernels::sum_squares(out);
        }
        total
    })
}

/// Parts whose sums are kept apart, whatever the number of threads: so the total does not depend on it.
const PARTS: usize = 64;

/// Work below this many elements is not worth waking a second thread for.
const SERIAL_BELOW: usize = 1 << 15;

/// The sum over `0..n` of a function of ranges, which begin at multiples of [`QUANTUM`].
pub(super) fn reduce(n: usize, f: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    if n < SERIAL_BELOW {
        return f(0..n);
    }
    let sums = [const { AtomicU64::new(0) }; PARTS];
    let pool = pool::global();
    pool.run(|thread| {
        for part in pool::range(PARTS, 1, thread, pool.parts()) {
            let sum = f(pool::range(n, QUANTUM, part, PARTS));
            sums[part].store(sum.to_bits(), Ordering::Relaxed);
        }
    });
    sums.iter()
        .map(|sum| f64::from_bits(sum.load(Ordering::Relaxed)))
        .sum()
}
