//! The CPU kernel of Adam: pieces of the slices in parallel, one pass each.

use super::AdamStep;
use crate::{
    pool::{self, Ptr},
    simd::math::Float,
};

/// The step's numbers as the inner loop wants them.
#[derive(Clone, Copy)]
struct Constants<T> {
    beta1: T,
    beta2: T,
    rest1: T,
    rest2: T,
    /// `lr / (1 - b1^k)`.
    rate: T,
    /// `1 / sqrt(1 - b2^k)`.
    correct: T,
    eps: T,
    keep: T,
    l2: T,
    scale: T,
}

impl<T: Float> Constants<T> {
    fn of(s: &AdamStep) -> Self {
        let k = s.step as f64;
        Self {
            beta1: T::of(s.beta1),
            beta2: T::of(s.beta2),
            rest1: T::of(1.0 - s.beta1),
            rest2: T::of(1.0 - s.beta2),
            rate: T::of(s.lr / (1.0 - s.beta1.powf(k))),
            correct: T::of(1.0 / (1.0 - s.beta2.powf(k)).sqrt()),
            eps: T::of(s.eps),
            keep: T::of(1.0 - s.lr * s.decay),
            l2: T::of(s.l2),
            scale: T::of(s.scale),
        }
    }
}

#[inline(always)]
fn one<T: Float>(p: &mut T, m: &mut T, v: &mut T, g: T, c: Constants<T>) {
    let g = c.l2.fma(*p, g * c.scale);
    *m = c.beta1.fma(*m, c.rest1 * g);
    *v = c.beta2.fma(*v, c.rest2 * g * g);
    *p = c.keep * *p - c.rate * *m / (v.sqrt().fma(c.correct, c.eps));
}

crate::simd! {
    fn piece<T: Float>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], c: Constants<T>) {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) { one(p, m, v, *g, c) }
    }
}
crate::simd! {
    fn piece_ema<T: Float>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], e: &mut [T], ema: T, c: Constants<T>) {
        for ((((p, m), v), g), e) in p.iter_mut().zip(m).zip(v).zip(g).zip(e) {
            one(p, m, v, *g, c);
            *e = ema.fma(*e - *p, *p);
        }
    }
}

pub(super) fn adam<T: Float>(
    p: &mut [T],
    m: &mut [T],
    v: &mut [T],
    g: &[T],
    ema: Option<(&mut [T], f64)>,
    step: &AdamStep,
) {
    let n = p.len();
    assert!(
        m.len() == n && v.len() == n && g.len() == n,
        "adam: slices of different lengths"
    );
    let c = Constants::of(step);
    let (decay, e) = match ema {
        Some((e, decay)) => (T::of(decay), e),
        None => (T::ZERO, &mut [] as &mut [T]),
    };
    assert!(
        e.is_empty() || e.len() == n,
        "adam: the average has another length"
    );
    let with_ema = !e.is_empty();
    let (m, v, e) = (
        Ptr(m.as_mut_ptr()),
        Ptr(v.as_mut_ptr()),
        Ptr(e.as_mut_ptr()),
    );
    pool::for_each_piece(p, 1024, |start, p| {
        let n = p.len();
        // SAFETY: pieces do not overlap, and all slices have the length of `p` (checked above).
        let (m, v) = unsafe { (m.slice(start, n), v.slice(start, n)) };
        let g = &g[start..start + n];
        if with_ema {
            // SAFETY: as above.
            piece_ema(p, m, v, g, unsafe { e.slice(start, n) }, decay, c);
        } else {
            piece(p, m, v, g, c);
        }
    });
}
