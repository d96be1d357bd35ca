//! One step of an optimizer over flat slices, fused: gradient scale, states, parameters and the moving
//! average of the parameters in one pass over memory, with SIMD and all threads.
//!
//! What the step does to one element is an [`Update`]: new states, and a direction u. The pass then takes
//! `p <- keep p - rate u`. The same update works on states in full precision and on states in 8 bits, which are
//! decoded, updated and encoded block by block while they lie in the first cache ([`States`]). Steps that are held to
//! a share of the parameters' norm take the norm of u first ([`norm`]).

mod blocks;
mod cpu;

use crate::{ops::quantize::Blocks, simd::math::Float};

/// States of one element, as many as the update has; the rest is unused.
pub type Slots<T> = [T; SLOTS];

/// The most states that an update has.
pub const SLOTS: usize = 3;

/// What a step does to one element.
pub trait Update<T>: Copy + Send + Sync {
    /// How many states it has (at most three).
    const STATES: usize;

    /// One element: brings its states up to date with its gradient, already scaled, and gives the direction u of the step
    /// before learning rate and weight decay. Mark it `#[inline(always)]`, so that it is compiled for every
    /// instruction set.
    fn direction(self, p: T, states: &mut Slots<T>, g: T) -> T;
}

/// The states of a tensor, in the order of the update.
pub enum States<'a, T> {
    /// In full precision.
    Full(&'a mut [Vec<T>]),
    /// In 8 bits, all in blocks of one size.
    Blocks(&'a mut [Blocks]),
}

impl<T> States<'_, T> {
    /// The same states for a shorter time.
    pub fn reborrow(&mut self) -> States<'_, T> {
        match self {
            States::Full(states) => States::Full(states),
            States::Blocks(states) => States::Blocks(states),
        }
    }
}

/// How a direction becomes a step.
#[derive(Clone, Copy, Debug)]
pub struct Motion {
    /// Factor on the gradient.
    pub scale: f64,
    /// Factor on the direction.
    pub rate: f64,
    /// Factor on the parameters, for weight decay.
    pub keep: f64,
    /// Whether elements with gradient 0 rest: parameter and states stay as they are.
    pub skip_zeros: bool,
    /// Which step it is, for draws.
    pub step: u64,
}

/// One pass: the update of every element with `scale g`, `p <- keep p - rate u`, then, with `average = (e, decay)`,
/// `e <- decay e + (1 - decay) p`. All slices have the length of `p`.
///
/// # Panics
/// When a slice has another length.
pub fn sweep<T: Float, U: Update<T>>(
    p: &mut [T],
    states: States<T>,
    g: &[T],
    average: Option<(&mut [T], f64)>,
    motion: Motion,
    update: U,
) {
    let motion = cpu::Numbers::of(motion);
    let average = average.map(|(e, decay)| (e, T::of(decay)));
    match states {
        States::Full(states) => cpu::sweep(p, states, g, average, motion, update),
        States::Blocks(states) => blocks::sweep(p, states, g, average, motion, update),
    }
}

/// The Euclidean norm of the directions that a step would take; nothing is changed. The sum does not depend on the number
/// of threads.
pub fn norm<T: Float, U: Update<T>>(
    p: &[T],
    states: &States<T>,
    g: &[T],
    motion: Motion,
    update: U,
) -> f64 {
    let motion = cpu::Numbers::of(motion);
    let squares = match states {
        States::Full(states) => cpu::squares(p, g, motion, update, |k, start, out| {
            out.copy_from_slice(&states[k][start..start + out.len()]);
        }),
        States::Blocks(states) => cpu::squares(p, g, motion, update, |k, start, out| {
            states[k].read(start, out);
        }),
    };
    squares.sqrt()
}

/// Sum of squares of a slice, by all threads; it does not depend on their number.
pub fn sum_squares<T: Float>(x: &[T]) -> f64 {
    cpu::reduce(x.len(), |range| {
        crate::simd::kernels::sum_squares(&x[range])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::quantize::{Code, Rounding, Writing},
        random::Stream,
    };

    /// `a` counts, `b` sums the gradients, `p` falls by it.
    #[derive(Clone, Copy)]
    struct Falling;

    impl<T: Float> Update<T> for Falling {
        const STATES: usize = 2;
        #[inline(always)]
        fn direction(self, _: T, states: &mut Slots<T>, g: T) -> T {
            states[0] += T::ONE;
            states[1] += g;
            states[1]
        }
    }

    const PLAIN: Motion = Motion {
        scale: 2.0,
        rate: 1.0,
        keep: 1.0,
        skip_zeros: false,
        step: 1,
    };

    #[test]
    fn a_sweep_reaches_every_element_in_pieces_and_in_one() {
        // Odd lengths below and above the size from which threads share the work.
        for n in [0, 1, 7, 1000, 100_003] {
            let g: Vec<f64> = (0..n).map(|i| i as f64 * 0.5).collect();
            let (mut p, mut e) = (vec![1.0; n], vec![3.0; n]);
            let mut states = [vec![0.0; n], vec![2.0; n]];
            let sums: Vec<f64> = (0..n).map(|i| 2.0 + i as f64).collect();
            let norm = norm(&p, &States::Full(&mut states), &g, PLAIN, Falling);
            let want = sums.iter().map(|s| s * s).sum::<f64>().sqrt();
            assert!((norm - want).abs() <= 1e-9 * want);
            let average = Some((&mut e[..], 0.25));
            sweep(
                &mut p,
                States::Full(&mut states),
                &g,
                average,
                PLAIN,
                Falling,
            );
            let [a, b] = states;
            for i in 0..n {
                assert_eq!(
                    (a[i], b[i], p[i]),
                    (1.0, sums[i], 1.0 - sums[i]),
                    "{i} of {n}"
                );
                let want = 0.75 + 0.75 * (1.0 - sums[i]);
                assert!((e[i] - want).abs() < 1e-9 * sums[i], "{i} of {n}");
            }
        }
    }

    fn writing(block: usize, rounding: Rounding) -> Writing {
        Writing {
            block,
            code: Code::default(),
            signed: true,
            floor: false,
            rounding,
        }
    }

    /// Decode, update in full precision, encode: what the fused pass must equal bit for bit, whatever block size.
    #[test]
    fn a_pass_over_blocks_is_that_over_full_states_with_quantization_around_it() {
        let by_chance = Rounding::Stochastic(Stream::new(0, "rounding"));
        for rounding in [Rounding::Nearest, by_chance] {
            for (n, block) in [
                (1, 4),
                (1000, 256),
                (70_003, 256),
                (66_000, 2048),
                (50_001, 5000),
                (9000, 1 << 20),
            ] {
                let (mut p, mut g) = (vec![0f32; n], vec![0f32; n]);
                Stream::new(1, "p").normal(&mut p);
                let mut q = p.clone();
                let (mut e, mut f) = (p.clone(), p.clone());
                let writing = writing(block, rounding);
                let mut blocks = [Blocks::zeros(n, writing), Blocks::zeros(n, writing)];
                for step in 1..4 {
                    Stream::new(2, "g").at(step).normal(&mut g);
                    g.iter_mut().step_by(3).for_each(|g| *g = 0.0);
                    let motion = Motion {
                        skip_zeros: true,
                        rate: 0.1,
                        step,
                        ..PLAIN
                    };
                    let mut full = [vec![0f32; n], vec![0f32; n]];
                    blocks
                        .iter()
                        .zip(&mut full)
                        .for_each(|(b, x)| b.dequantize(x));
                    let norms = [
                        norm(&q, &States::Full(&mut full), &g, motion, Falling),
                        norm(&p, &States::Blocks(&mut blocks), &g, motion, Falling),
                    ];
                    assert_eq!(norms[0], norms[1]);
                    sweep(
                        &mut q,
                        States::Full(&mut full),
                        &g,
                        Some((&mut f, 0.5)),
                        motion,
                        Falling,
                    );
                    sweep(
                        &mut p,
                        States::Blocks(&mut blocks),
                        &g,
                        Some((&mut e, 0.5)),
                        motion,
                        Falling,
                    );
                    assert_eq!((&p, &e), (&q, &f), "{n} in blocks of {block}");
                    for (x, blocks) in full.iter().zip(&blocks) {
                        // Draws are those of the step.
                        let again = match rounding {
                            Rounding::Nearest => Blocks::of(x, writing),
                            Rounding::Stochastic(stream) => {
                                let mut u = vec![0f64; n];
                                stream.at(step).uniform(&mut u);
                                Blocks::of_uniform(x, &u, writing).unwrap()
                            }
                        };
                        assert_eq!(again.absmax(), blocks.absmax());
                        assert_eq!(again.codes(), blocks.codes());
                    }
                }
            }
        }
    }

    #[test]
    fn elements_without_a_gradient_rest_on_request() {
        let (mut p, g) = (vec![1f32, 1.0], [0f32, 3.0]);
        let mut states = [vec![5f32, 5.0], vec![1f32, 1.0]];
        let motion = Motion {
            skip_zeros: true,
            keep: 0.5,
            ..PLAIN
        };
        sweep(&mut p, States::Full(&mut states), &g, None, motion, Falling);
        assert_eq!(p, [1.0, 0.5 - 7.0]);
        assert_eq!(states, [vec![5.0, 6.0], vec![1.0, 7.0]]);
    }

    #[test]
    fn sums_of_squares() {
        for n in [0, 1, 300, 100_003] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let want: f64 = a.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            assert!((sum_squares(&a) - want).abs() <= 1e-6 * want);
        }
    }
}
