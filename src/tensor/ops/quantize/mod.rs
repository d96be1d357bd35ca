//! Block-wise quantization to 8 bits: of every block of a vector the largest absolute value as f32, and a byte a number
//! that stands for the number's share of it (Dettmers, Lewis, Shleifer, Zettlemoyer 2021, arXiv 2110.02861).
//!
//! `code = the nearest of 256 values to x / absmax`, `x' = map[code] absmax`. Blocks run over the flattened vector;
//! the last may be short; a block of zeros has absmax 0 and the code of 0. Every instruction set gives the same codes:
//! those of an exact search, of two as near values the lower.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod code;
mod cpu;
mod stretches;

pub use blocks::{Blocks, Rounding, Writing};
pub(crate) use blocks::{CHUNK, quantum, write};
pub use code::{CODES, Code, Codebook, EXPONENTS};
pub(crate) use cpu::{decode, largest};

/// How far a vector and its quantization are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Mean of |x' - x|.
    pub mean_abs: f64,
    /// Mean of |x' - x| / |x| over the numbers that are not 0.
    pub mean_rel: f64,
    /// Largest |x' - x|.
    pub max_abs: f64,
    /// Share of the numbers that are not 0 and became 0.
    pub zeroed: f64,
}

impl Deviation {
    /// Of two vectors of one length.
    pub fn between(x: &[f64], back: &[f64]) -> Self {
        let (mut all, mut relative, mut worst) = (0.0, 0.0, 0f64);
        let (mut nonzero, mut zeroed) = (0usize, 0usize);
        for (x, y) in x.iter().zip(back) {
            let apart = (y - x).abs();
            all += apart;
            worst = worst.max(apart);
            if *x != 0.0 {
                relative += apart / x.abs();
                nonzero += 1;
                zeroed += usize::from(*y == 0.0);
            }
        }
        let share = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        Self {
            mean_abs: share(all, x.len()),
            mean_rel: share(relative, nonzero),
            max_abs: worst,
            zeroed: share(zeroed as f64, nonzero),
        }
    }
}
