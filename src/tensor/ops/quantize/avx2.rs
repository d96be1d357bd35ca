//! AVX2: codes of the dynamic code are calculated ([`Lines`]); others are two look-ups, the lowest code of the number's cell and
//! that one's end, as gathers.

use std::arch::x86_64::*;

use super::{
    Codebook,
    code::{CELL_SHIFT, CELLS, SMALLEST},
    stretches::{NEAR_LINE, Stretches},
};

/// Numbers whose codes fill a register.
const SIDE: usize = 32;

/// The codes nearest to `x / absmax`, at least `least` where x > 0.
#[target_feature(enable = "avx2,fma")]
pub(super) fn encode(book: &Codebook, x: &[f32], absmax: f32, least: f32, codes: &mut [u8]) {
    let n = x.len().min(codes.len());
    let (x, codes) = (&x[..n], &mut codes[..n]);
    let (parts, rest) = x.as_chunks::<SIDE>();
    let (places, left) = codes.as_chunks_mut::<SIDE>();
    match &book.stretches {
        Some(stretches) => {
            let lines = Lines::new(stretches);
            for (x, codes) in parts.iter().zip(places) {
                let sure = match book.signed() {
                    true => lines.encode_32::<true>(x, absmax, least, codes),
                    false => lines.encode_32::<false>(x, absmax, least, codes),
                };
                if !sure {
                    encode_32(book, x, absmax, least, codes);
                }
            }
        }
        None => {
            for (x, codes) in parts.iter().zip(places) {
                encode_32(book, x, absmax, least, codes);
            }
        }
    }
    if !rest.is_empty() {
        let (mut padded, mut found) = ([0f32; SIDE], [0u8; SIDE]);
        padded[..rest.len()].copy_from_slice(rest);
        encode_32(book, &padded, absmax, least, &mut found);
        left.copy_from_slice(&found[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn encode_32(book: &Codebook, x: &[f32; SIDE], absmax: f32, least: f32, codes: &mut [u8; SIDE]) {
    let (scale, least) = (_mm256_set1_ps(absmax), _mm256_set1_ps(least));
    let (zero, one) = (_mm256_setzero_ps(), _mm256_set1_ps(1.0));
    let bottom = _mm256_set1_ps(if book.signed() { -1.0 } else { 0.0 });
    let twin = _mm256_set1_epi32(book.twin);
    let mut found = [_mm256_setzero_si256(); 4];
    for (i, found) in found.iter_mut().enumerate() {
        // SAFETY: four registers of 8 are 32 numbers.
        let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) };
        let s = _mm256_div_ps(x, scale);
        let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(x, zero);
        let s = _mm256_blendv_ps(s, _mm256_max_ps(s, least), positive);
        // Within the code's range, whatever came: what follows reads tables without a check.
        let s = _mm256_min_ps(_mm256_max_ps(s, bottom), one);
        let bits = _mm256_castps_si256(s);
        let size = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
        let size = _mm256_sub_epi32(size, _mm256_set1_epi32(SMALLEST));
        let size = _mm256_max_epi32(size, _mm256_setzero_si256());
        let sign = _mm256_and_si256(
            _mm256_srai_epi32::<31>(bits),
            _mm256_set1_epi32(CELLS as i32),
        );
        let cell = _mm256_add_epi32(_mm256_srli_epi32::<{ CELL_SHIFT as i32 }>(size), sign);
        // SAFETY: numbers in the code's range have a cell; behind the last cell are three bytes more, which a read of
        // four takes in; a byte is an index of 256 ends.
        let (low, end) = unsafe {
            let four = _mm256_i32gather_epi32::<1>(book.cells.as_ptr().cast(), cell);
            let low = _mm256_and_si256(four, _mm256_set1_epi32(255));
            (low, _mm256_i32gather_ps::<4>(book.ends.as_ptr(), low))
        };
        // -1 where the code is the one above; of two equal values the second is passed over.
        let above = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(s, end));
        let twice = _mm256_and_si256(above, _mm256_cmpeq_epi32(low, twin));
        *found = _mm256_sub_epi32(_mm256_sub_epi32(low, above), twice);
    }
    store(found, codes);
}

/// Writes 32 numbers as bytes; those below 0 as 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store([a, b, c, d]: [__m256i; 4], codes: &mut [u8; SIDE]) {
    let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    // Packing keeps to halves of the register: its groups of four in their order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let bytes = _mm256_permutevar8x32_epi32(bytes, order);
    // SAFETY: there are 32 places.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), bytes) };
}

/// The tables of [`Stretches`] in registers. The last stretch, one code, has none: it is told by its border.
struct Lines {
    borders: [__m256; 7],
    top: __m256,
    slope: __m256,
    offset: __m256,
    last: __m256,
}

impl Lines {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(from: &Stretches) -> Self {
        let mut borders = [_mm256_setzero_ps(); 7];
        for (border, value) in borders.iter_mut().zip(from.borders) {
            *border = _mm256_set1_ps(value);
        }
        // SAFETY: the tables have 16 numbers of four bytes.
        unsafe {
            Self {
                borders,
                top: _mm256_set1_ps(from.borders[7]),
                slope: _mm256_loadu_ps(from.slope.as_ptr()),
                offset: _mm256_loadu_ps(from.offset.as_ptr()),
                last: _mm256_loadu_ps(from.last.as_ptr()),
            }
        }
    }

    /// The codes, counted from that of 0, of 8 sizes, and 0 where they are not sure.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn count(&self, size: __m256) -> (__m256i, __m256i) {
        let beyond = |border| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(size, border));
        let mut stretch = _mm256_setzero_si256();
        for border in self.borders {
            stretch = _mm256_sub_epi32(stretch, beyond(border));
        }
        let held = _mm256_min_ps(size, _mm256_permutevar8x32_ps(self.last, stretch));
        let slope = _mm256_permutevar8x32_ps(self.slope, stretch);
        let offset = _mm256_permutevar8x32_ps(self.offset, stretch);
        let line = _mm256_fmadd_ps(held, slope, offset);
        let near = _mm256_set1_ps(NEAR_LINE);
        let code = _mm256_cvttps_epi32(_mm256_sub_ps(line, near));
        let other = _mm256_cvttps_epi32(_mm256_add_ps(line, near));
        let sure = _mm256_cmpeq_epi32(code, other);
        (_mm256_sub_epi32(code, beyond(self.top)), sure)
    }

    /// The codes by calculation; false where one of them is not sure.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn encode_32<const SIGNED: bool>(
        &self,
        x: &[f32; SIDE],
        absmax: f32,
        least: f32,
        codes: &mut [u8; SIDE],
    ) -> bool {
        let (scale, least) = (_mm256_set1_ps(absmax), _mm256_set1_ps(least));
        let mut sure = _mm256_set1_epi32(-1);
        let mut found = [_mm256_setzero_si256(); 4];
        for (i, found) in found.iter_mut().enumerate() {
            // SAFETY: four registers of 8 are 32 numbers.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) };
            let share = _mm256_castps_si256(_mm256_div_ps(x, scale));
            let size = if SIGNED {
                // The end between two negative codes belongs to the one further from 0: there the size counts as one unit in
                // the last place more.
                let size = _mm256_and_si256(share, _mm256_set1_epi32(0x7fff_ffff));
                _mm256_castsi256_ps(_mm256_add_epi32(size, _mm256_srli_epi32::<31>(share)))
            } else {
                let share = _mm256_castsi256_ps(share);
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps());
                _mm256_blendv_ps(share, _mm256_max_ps(share, least), positive)
            };
            let (code, known) = self.count(size);
            sure = _mm256_and_si256(sure, known);
            *found = match SIGNED {
                // 127 is the code of 0. There are 128 codes above it and 127 below: -1 has the code of the size before.
                true => {
                    let code = _mm256_sign_epi32(code, share);
                    _mm256_add_epi32(code, _mm256_set1_epi32(127))
                }
                false => code,
            };
        }
        store(found, codes);
        _mm256_movemask_epi8(sure) == -1
    }
}
