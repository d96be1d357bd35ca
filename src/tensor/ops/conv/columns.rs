//! The columns of a convolution (im2col) as the operand of a product: a row for each channel and element of the kernel, a
//! column for each position. They are never written as a whole: a product asks for the blocks that it lays out.

use std::ops::Range;

use super::geometry::Geometry;
use crate::{Real, ops::matmul::Source};

/// The columns of the channels in `x`, from the position `start` on.
pub(super) struct Columns<'a, T> {
    pub geo: &'a Geometry,
    pub x: &'a [T],
    pub start: usize,
}

impl<T: Real> Source<T> for Columns<'_, T> {
    fn block(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T], step: usize) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        assert!(out.len() >= (rows.len() - 1) * step + columns.len() && columns.len() <= step);
        assert!(self.x.len() / self.geo.plane() > (rows.end - 1) / self.geo.taps());
        let positions = self.start + columns.start..self.start + columns.end;
        #[cfg(target_arch = "x86_64")]
        if self.geo.stride[1] == 1 && crate::simd::level() == crate::simd::Level::Avx512 {
            // SAFETY: the level was detected; `out` holds the block and `x` the channels, as asserted above.
            return unsafe { avx512::block(self, rows, positions, out, step) };
        }
        for (row, out) in rows.zip(out.chunks_mut(step)) {
            self.row(row, positions.clone(), &mut out[..columns.len()]);
        }
    }
}

impl<T: Real> Columns<'_, T> {
    fn row(&self, row: usize, positions: Range<usize>, out: &mut [T]) {
        let (plane, taps, step) = (self.geo.plane(), self.geo.taps(), self.geo.stride[1]);
        let x = &self.x[row / taps * plane..][..plane];
        let mut filled = 0;
        self.geo.runs(row % taps, positions, |at, len, from| {
            out[filled..at].fill(T::ZERO);
            filled = at + len;
            let out = &mut out[at..filled];
            if step == 1 {
                out.copy_from_slice(&x[from..from + len]);
            } else {
                for (out, x) in out.iter_mut().zip(x[from..].iter().step_by(step)) {
                    *out = *x
                }
            }
        });
        out[filled..].fill(T::ZERO);
    }
}

/// Blocks copied by masked registers of 16 words: the stretches of a row of an image are short, and a call for each would
/// take longer than the copy. A number of f64 is two words.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::{arch::x86_64::*, ops::Range};

    use super::Columns;
    use crate::Real;

    /// Registers of a narrow block.
    const NARROW: usize = 2;

    /// Words of a register that come from one stretch: which, and where the first word of the register would lie.
    type Piece = (__mmask16, isize);

    /// The first `words` of a register.
    fn first(words: usize) -> __mmask16 {
        match words {
            16.. => !0,
            _ => (1 << words) - 1,
        }
    }

    /// # Safety
    /// `out` must hold the block and `x` its channels; rows of an image lie side by side (stride 1); the machine has AVX-512.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn block<T: Real>(
        columns: &Columns<T>,
        rows: Range<usize>,
        positions: Range<usize>,
        out: &mut [T],
        step: usize,
    ) {
        let (words, count) = (size_of::<T>() / 4, rows.len());
        let (width, wide) = (positions.len() * words, 16 * NARROW);
        let has_room =
            step * words >= wide && ((count - 1) * step) * words + wide <= out.len() * words;
        if width <= wide && has_room && count > columns.geo.taps() {
            // SAFETY: promised by the caller; there is room for whole registers.
            return unsafe { narrow(columns, rows, positions, out, step) };
        }
        let (plane, taps) = (columns.geo.plane(), columns.geo.taps());
        for (i, row) in rows.enumerate() {
            let out = out.as_mut_ptr().wrapping_add(i * step).cast::<f32>();
            let x = columns
                .x
                .as_ptr()
                .wrapping_add(row / taps * plane)
                .cast::<f32>();
            let mut filled = 0;
            let put = |at: usize, len: usize, from: Option<usize>| {
                for done in (0..len).step_by(16) {
                    let mask = first(len - done);
                    // SAFETY: the words of the mask lie within the row and the image.
                    unsafe {
                        let values = match from {
                            Some(from) => _mm512_maskz_loadu_ps(mask, x.wrapping_add(from + done)),
                            None => _mm512_setzero_ps(),
                        };
                        _mm512_mask_storeu_ps(out.wrapping_add(at + done), mask, values);
                    }
                }
            };
            columns.geo.runs(
                row % taps,
                positions.clone(),
                #[inline(always)]
                |at, len, from| {
                    let (at, len) = (at * words, len * words);
                    put(filled, at - filled, None);
                    put(at, len, Some(from * words));
                    filled = at + len;
                },
            );
            put(filled, width - filled, None);
        }
    }

    /// A block of at most [`NARROW`] registers a row: what an element of the kernel sees is found once for all channels.
    ///
    /// # Safety
    /// As for [`block`]; whole registers fit in each row of `out`.
    #[target_feature(enable = "avx512f")]
    unsafe fn narrow<T: Real>(
        columns: &Columns<T>,
        rows: Range<usize>,
        positions: Range<usize>,
        out: &mut [T],
        step: usize,
    ) {
        let (plane, taps, words) = (columns.geo.plane(), columns.geo.taps(), size_of::<T>() / 4);
        for tap in 0..taps {
            // At most a stretch a word.
            let mut pieces = [[(0, 0); 16]; NARROW];
            let mut counts = [0; NARROW];
            columns.geo.runs(tap, positions.clone(), |at, len, from| {
                let (at, end) = (at * words, (at + len) * words);
                for register in at / 16..=(end - 1) / 16 {
                    let mask =
                        first(end - 16 * register) & !first(at.saturating_sub(16 * register));
                    let shift = (from * words + 16 * register) as isize - at as isize;
                    pieces[register][counts[register]] = (mask, shift);
                    counts[register] += 1;
                }
            });
            let first_row = rows.start + (tap + taps - rows.start % taps) % taps;
            for row in (first_row..rows.end).step_by(taps) {
                let x = columns
                    .x
                    .as_ptr()
                    .wrapping_add(row / taps * plane)
                    .cast::<f32>();
                let to = out
                    .as_mut_ptr()
                    .wrapping_add((row - rows.start) * step)
                    .cast::<f32>();
                for register in 0..NARROW {
                    let pieces: &[Piece] = &pieces[register][..counts[register]];
                    let mut values = _mm512_setzero_ps();
                    for (mask, shift) in pieces {
                        // SAFETY: the words of the mask lie in the image; no others are read.
                        values = unsafe {
                            _mm512_mask_loadu_ps(values, *mask, x.wrapping_offset(*shift))
                        };
                    }
                    // SAFETY: whole registers fit.
                    unsafe { _mm512_storeu_ps(to.wrapping_add(16 * register), values) };
                }
            }
        }
    }
}
