//! The dynamic code by calculation. The sizes of its values lie in stretches of equal steps: 0, seven decades, 1. Within
//! a stretch the code is the whole part of a line, `floor(slope s + offset)`, and no octave of sizes holds more than
//! one border between stretches. So a number takes two look-ups for its stretch (or a comparison with each border, where
//! registers are short) and three for its line, half the operations of a search through the ends of all codes.
//!
//! The calculation is off by some rounding errors, which matters where the line comes near a whole number ([`NEAR_LINE`])
//! or an inexact size near a border ([`NEAR_BORDER`]). Such numbers, one in some thousands, are told apart and searched for.

use super::EXPONENTS;

/// Octaves of sizes, told apart by the five lowest bits of the exponent: 2^-24 to 1 have one each.
const OCTAVES: usize = 32;

/// The smallest size that is told apart, below the first border.
pub(super) const SMALLEST: f32 = f32::from_bits(FIRST_EXPONENT << 23);

const FIRST_EXPONENT: u32 = 127 - 24;

/// Places for stretches: a register.
const PLACES: usize = 16;

/// How near the line may come to a whole number. Its errors sum up to 5e-5: it is below 256, and steepest where the size, off by
/// 1.8e-7 of itself, is 142 steps.
pub(super) const NEAR_LINE: f32 = 1e-4;

/// How near a size may come to a border, in units of the last place: it is off by 1.5 of them.
pub(super) const NEAR_BORDER: i32 = 4;

/// What the calculation looks up.
pub(super) struct Stretches {
    /// The last size of every stretch but the last one.
    pub borders: [f32; EXPONENTS + 1],
    /// The border in each octave; infinite where there is none.
    pub border: [f32; OCTAVES],
    /// The stretch below that border.
    pub below: [i32; OCTAVES],
    /// The line of each stretch. It counts the codes from that of 0 on.
    pub slope: [f32; PLACES],
    pub offset: [f32; PLACES],
    /// The largest size for the line of each stretch: the last code reaches further.
    pub last: [f32; PLACES],
}

impl Stretches {
    /// Of the dynamic code with all its decades. `ends` are those of the codes from that of 0 on.
    pub(super) fn new(signed: bool, ends: &[f32]) -> Self {
        let mut all = Self {
            borders: [ends[0]; EXPONENTS + 1],
            border: [f32::INFINITY; OCTAVES],
            below: [0; OCTAVES],
            slope: [0.0; PLACES],
            offset: [0.5; PLACES],
            last: [1.0; PLACES],
        };
        let mut first = 1;
        for i in 0..EXPONENTS {
            let count = 1 << if signed { i } else { i + 1 };
            let top = 10f64.powi(i as i32 + 1 - EXPONENTS as i32);
            let step = 0.9 * top / count as f64;
            all.slope[i + 1] = (1.0 / step) as f32;
            all.offset[i + 1] = (first as f64 - 0.1 * top / step) as f32;
            all.last[i + 1] = (top - 0.5 * step) as f32;
            first += count;
            all.borders[i + 1] = ends[first - 1];
        }
        all.offset[EXPONENTS + 1] = first as f32 + 0.5;
        for exponent in FIRST_EXPONENT..=127 {
            let (start, end) = (exponent << 23, (exponent + 1) << 23);
            let below = all
                .borders
                .partition_point(|border| border.to_bits() < start);
            let octave = exponent as usize % OCTAVES;
            all.below[octave] = below as i32;
            if let Some(border) = all.borders.get(below).filter(|b| b.to_bits() < end) {
                all.border[octave] = *border;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::quantize::{Code, Codebook};

    /// The calculation in f64, where nothing is near anything.
    fn calculated(stretches: &Stretches, size: f32) -> usize {
        let size = size.max(SMALLEST);
        let octave = (size.to_bits() >> 23) as usize % OCTAVES;
        let above = usize::from(size > stretches.border[octave]);
        let stretch = stretches.below[octave] as usize + above;
        let held = f64::from(size.min(stretches.last[stretch]));
        let (slope, offset) = (stretches.slope[stretch], stretches.offset[stretch]);
        (f64::from(slope) * held + f64::from(offset)) as usize
    }

    #[test]
    fn lines_give_the_nearest_codes_between_the_ends() {
        for signed in [false, true] {
            let book = Codebook::of(Code::default(), signed);
            let stretches = book.stretches.as_ref().unwrap();
            let zero = usize::from(book.zero());
            let mut low = 0.0;
            for end in &book.ends[zero..255] {
                for share in [0.01, 0.3, 0.5, 0.9, 0.99] {
                    let size = low + share * (end - low);
                    let want = usize::from(book.nearest(size)) - zero;
                    assert_eq!(calculated(stretches, size), want, "{size:e}");
                }
                low = *end;
            }
            assert_eq!(calculated(stretches, 1.0), 255 - zero);
        }
    }

    #[test]
    fn a_size_near_a_border_is_in_the_borders_octave() {
        for signed in [false, true] {
            let book = Codebook::of(Code::default(), signed);
            let borders = &book.stretches.as_ref().unwrap().border;
            let finite: Vec<_> = borders.iter().filter(|b| b.is_finite()).collect();
            assert_eq!(finite.len(), EXPONENTS + 1);
            for border in finite {
                let mantissa = border.to_bits() as i32 & ((1 << 23) - 1);
                assert!((NEAR_BORDER..(1 << 23) - NEAR_BORDER).contains(&mantissa));
            }
        }
    }
}
