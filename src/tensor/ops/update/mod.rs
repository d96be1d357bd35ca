//! One step of an optimizer over flat slices, fused: gradient scale, states, parameters and the moving
//! average of the parameters in one pass over memory, with SIMD and all threads.
//!
//! What the step does to one element is an [`Update`]; the passes here are the same for all optimizers.
//! Those that need a norm of the whole tensor first (LAMB, LARS) take it with [`sum_squares`] and
//! [`sum_squares_of`]. Sums are cut the same way for a given number of threads, so they repeat bit for bit.

mod cpu;

use crate::simd::math::Float;

/// States of one element, as many as the update has; the rest is unused.
pub type Slots<T> = [T; SLOTS];

/// The most states that an update has, with one more for the moving average.
const SLOTS: usize = 4;

/// What a step does to one element.
pub trait Update<T>: Copy + Send + Sync {
    /// How many states it has (at most three).
    const STATES: usize;

    /// One element: the parameter, its states and its gradient, already scaled. Mark it
    /// `#[inline(always)]`, so that it is compiled for every instruction set.
    fn one(self, p: &mut T, states: &mut Slots<T>, g: T);
}

/// One pass: `g <- scale * g`, then the update of every element, then, with `average = (e, decay)`,
/// `e <- decay e + (1 - decay) p`. All slices have the length of `p`; states beyond
/// [`Update::STATES`] stay untouched.
///
/// # Panics
/// When a slice has another length.
pub fn sweep<T: Float, U: Update<T>>(
    p: &mut [T],
    [a, b, c]: [&mut [T]; 3],
    g: &[T],
    scale: f64,
    average: Option<(&mut [T], f64)>,
    update: U,
) {
    let scale = T::of(scale);
    let Some((e, decay)) = average else {
        return cpu::sweep(p, [a, b, c, &mut []], g, scale, update);
    };
    let averaged = Averaged {
        update,
        decay: T::of(decay),
    };
    // The average is the state behind the update's own.
    match U::STATES {
        0 => cpu::sweep(p, [e, &mut [], &mut [], &mut []], g, scale, averaged),
        1 => cpu::sweep(p, [a, e, &mut [], &mut []], g, scale, averaged),
        2 => cpu::sweep(p, [a, b, e, &mut []], g, scale, averaged),
        _ => cpu::sweep(p, [a, b, c, e], g, scale, averaged),
    }
}

/// An update followed by the moving average of the parameter.
#[derive(Clone, Copy)]
struct Averaged<T, U> {
    update: U,
    decay: T,
}

impl<T: Float, U: Update<T>> Update<T> for Averaged<T, U> {
    const STATES: usize = U::STATES + 1;

    #[inline(always)]
    fn one(self, p: &mut T, states: &mut Slots<T>, g: T) {
        self.update.one(p, states, g);
        let e = states[U::STATES];
        states[U::STATES] = self.decay.fma(e - *p, *p);
    }
}

/// A function of one element's states.
pub trait OfStates<T>: Copy + Send + Sync {
    /// Its value, e.g. the step before it is scaled. Mark it `#[inline(always)]`.
    fn value(self, a: T, b: T) -> T;
}

/// Sum of squares of a slice, by all threads.
pub fn sum_squares<T: Float>(x: &[T]) -> f64 {
    cpu::reduce(x.len(), |range| {
        crate::simd::kernels::sum_squares(&x[range])
    })
}

/// Sum of squares of a function of two states of one length.
pub fn sum_squares_of<T: Float, F: OfStates<T>>(a: &[T], b: &[T], f: F) -> f64 {
    cpu::reduce(a.len().min(b.len()), |range| {
        cpu::sum_squares_of(&a[range.clone()], &b[range], f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` counts, `b` sums the gradients, `p` falls by it.
    #[derive(Clone, Copy)]
    struct Falling;

    impl<T: Float> Update<T> for Falling {
        const STATES: usize = 2;
        #[inline(always)]
        fn one(self, p: &mut T, states: &mut Slots<T>, g: T) {
            states[0] += T::ONE;
            states[1] += g;
            *p = *p - states[1];
        }
    }

    #[test]
    fn a_sweep_reaches_every_element_in_pieces_and_in_one() {
        // Odd lengths below and above the size from which threads share the work.
        for n in [0, 1, 7, 1000, 100_003] {
            let g: Vec<f64> = (0..n).map(|i| i as f64 * 0.5).collect();
            let (mut p, mut a, mut b, mut e) =
                (vec![1.0; n], vec![0.0; n], vec![2.0; n], vec![3.0; n]);
            let states = [&mut a[..], &mut b[..], &mut []];
            sweep(&mut p, states, &g, 2.0, Some((&mut e, 0.25)), Falling);
            for i in 0..n {
                let sum = 2.0 + i as f64;
                assert_eq!((a[i], b[i], p[i]), (1.0, sum, 1.0 - sum), "{i} of {n}");
                assert!(
                    (e[i] - (0.75 + 0.75 * (1.0 - sum))).abs() < 1e-9 * sum,
                    "{i} of {n}"
                );
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Quotient;

    impl<T: Float> OfStates<T> for Quotient {
        #[inline(always)]
        fn value(self, a: T, b: T) -> T {
            a / b
        }
    }

    #[test]
    fn sums_of_squares() {
        for n in [0, 1, 300, 100_003] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let b = vec![2f32; n];
            let want: f64 = a.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            assert!((sum_squares(&a) - want).abs() <= 1e-6 * want);
            assert!((sum_squares_of(&a, &b, Quotient) - want / 4.0).abs() <= 1e-6 * want);
        }
    }
}
