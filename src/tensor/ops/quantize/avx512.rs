//! AVX-512: the 256 values and their ends lie in registers, and permutations look up 16 or 32 numbers at once. No table in
//! memory is indexed, which on many machines is the slow part. Codes of the dynamic code are calculated ([`Lines`]), others
//! searched for ([`search`]). Loops are written out: a closure given to `array::map` or
//! `from_fn` would be called, not inlined, as these are compiled without the instructions.

use std::arch::x86_64::*;

use super::{
    Codebook,
    code::LEVEL_ROWS,
    stretches::{NEAR_BORDER, NEAR_LINE, SMALLEST, Stretches},
};

/// `out = map[codes] * absmax`.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
pub(super) fn decode(book: &Codebook, codes: &[u8], absmax: f32, out: &mut [f32]) {
    let done = match is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: the instructions were detected on this machine.
        true => unsafe { decode_by_bytes(book, codes, absmax, out) },
        false => 0,
    };
    if done < codes.len() {
        decode_by_words(book, &codes[done..], absmax, &mut out[done..]);
    }
}

/// 64 at a time, as many as there are: the bytes of the values are permuted, and interleaved twice.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vbmi,avx2")]
fn decode_by_bytes(book: &Codebook, codes: &[u8], absmax: f32, out: &mut [f32]) -> usize {
    let whole = codes.len().min(out.len()) / 64 * 64;
    let mut tables = [[_mm512_setzero_si512(); 4]; 4];
    for (table, bytes) in tables.iter_mut().zip(&book.bytes) {
        for (i, part) in table.iter_mut().enumerate() {
            // SAFETY: there are 256 bytes, four registers of 64.
            *part = unsafe { _mm512_loadu_si512(bytes.as_ptr().add(64 * i).cast()) };
        }
    }
    let scale = _mm512_set1_ps(absmax);
    // So that interleaving within lanes gives the numbers in their order.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for at in (0..whole).step_by(64) {
        // SAFETY: 64 codes from `at` on are within the slice.
        let index = unsafe { _mm512_loadu_si512(codes.as_ptr().add(at).cast()) };
        let index = _mm512_permutexvar_epi32(order, index);
        let upper = _mm512_movepi8_mask(index);
        let mut plane = [_mm512_setzero_si512(); 4];
        for (plane, t) in plane.iter_mut().zip(&tables) {
            let a = _mm512_permutex2var_epi8(t[0], index, t[1]);
            let b = _mm512_permutex2var_epi8(t[2], index, t[3]);
            *plane = _mm512_mask_blend_epi8(upper, a, b);
        }
        let [a, b, c, d] = plane;
        let low = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
        let high = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
        let values = [
            _mm512_unpacklo_epi16(low.0, low.1),
            _mm512_unpackhi_epi16(low.0, low.1),
            _mm512_unpacklo_epi16(high.0, high.1),
            _mm512_unpackhi_epi16(high.0, high.1),
        ];
        for (i, value) in values.into_iter().enumerate() {
            let value = _mm512_mul_ps(_mm512_castsi512_ps(value), scale);
            // SAFETY: 64 places from `at` on are within the slice.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(at + 16 * i), value) };
        }
    }
    whole
}

/// 32 at a time: the upper and lower halves of the values are permuted as words.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn decode_by_words(book: &Codebook, codes: &[u8], absmax: f32, out: &mut [f32]) {
    let whole = codes.len().min(out.len()) / 32 * 32;
    let (mut low, mut high) = ([_mm512_setzero_si512(); 8], [_mm512_setzero_si512(); 8]);
    for i in 0..8 {
        // SAFETY: the tables have 256 words, eight registers of 32.
        unsafe {
            low[i] = _mm512_loadu_si512(book.halves[0].as_ptr().add(32 * i).cast());
            high[i] = _mm512_loadu_si512(book.halves[1].as_ptr().add(32 * i).cast());
        }
    }
    let scale = _mm512_set1_ps(absmax);
    // So that interleaving the halves within lanes gives the numbers in their order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for at in (0..whole).step_by(32) {
        // SAFETY: 32 codes and 32 places from `at` on are within both slices.
        unsafe {
            let bytes = _mm256_loadu_si256(codes.as_ptr().add(at).cast());
            let index = _mm512_cvtepu8_epi16(_mm256_permutevar8x32_epi32(bytes, order));
            let bit6 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
            let bit7 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
            let pick = |t: &[__m512i; 8]| {
                let a = _mm512_permutex2var_epi16(t[0], index, t[1]);
                let b = _mm512_permutex2var_epi16(t[2], index, t[3]);
                let c = _mm512_permutex2var_epi16(t[4], index, t[5]);
                let d = _mm512_permutex2var_epi16(t[6], index, t[7]);
                let (ab, cd) = (
                    _mm512_mask_blend_epi16(bit6, a, b),
                    _mm512_mask_blend_epi16(bit6, c, d),
                );
                _mm512_mask_blend_epi16(bit7, ab, cd)
            };
            let (low, high) = (pick(&low), pick(&high));
            let first = _mm512_castsi512_ps(_mm512_unpacklo_epi16(low, high));
            let second = _mm512_castsi512_ps(_mm512_unpackhi_epi16(low, high));
            _mm512_storeu_ps(out.as_mut_ptr().add(at), _mm512_mul_ps(first, scale));
            _mm512_storeu_ps(out.as_mut_ptr().add(at + 16), _mm512_mul_ps(second, scale));
        }
    }
    for (code, out) in codes.iter().zip(out).skip(whole) {
        *out = book.map()[usize::from(*code)] * absmax;
    }
}

/// Numbers that are encoded side by side, four registers: a search is a chain of dependent steps, and four of them fill the
/// time that one waits.
const SIDE: usize = 64;

/// The codes nearest to `x / absmax`, at least `least` where x > 0.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
pub(super) fn encode(book: &Codebook, x: &[f32], absmax: f32, least: f32, codes: &mut [u8]) {
    let n = x.len().min(codes.len());
    let (x, codes) = (&x[..n], &mut codes[..n]);
    let (parts, rest) = x.as_chunks::<SIDE>();
    let (places, left) = codes.as_chunks_mut::<SIDE>();
    // Where shares are calculated with the inverse, it and they have to be normal numbers.
    let normal = (1e-30..1e30).contains(&absmax);
    match &book.stretches {
        Some(stretches) if normal => {
            let lines = Lines::new(stretches);
            for (x, codes) in parts.iter().zip(places) {
                let sure = match book.signed() {
                    true => lines.encode_64::<true>(x, absmax, least, codes),
                    false => lines.encode_64::<false>(x, absmax, least, codes),
                };
                if !sure {
                    encode_64(book, x, absmax, least, codes);
                }
            }
        }
        _ => {
            for (x, codes) in parts.iter().zip(places) {
                encode_64(book, x, absmax, least, codes);
            }
        }
    }
    if !rest.is_empty() {
        let (mut padded, mut found) = ([0f32; SIDE], [0u8; SIDE]);
        padded[..rest.len()].copy_from_slice(rest);
        encode_64(book, &padded, absmax, least, &mut found);
        left.copy_from_slice(&found[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn encode_64(book: &Codebook, x: &[f32; SIDE], absmax: f32, least: f32, codes: &mut [u8; SIDE]) {
    let (scale, least) = (_mm512_set1_ps(absmax), _mm512_set1_ps(least));
    let share = |i: usize| {
        // SAFETY: four registers of 16 are 64 numbers.
        let x = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * i)) };
        let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
        let s = _mm512_div_ps(x, scale);
        _mm512_mask_max_ps(s, positive, s, least)
    };
    let found = search(&book.levels.0, [share(0), share(1), share(2), share(3)]);
    // SAFETY: there are 64 places.
    unsafe { _mm512_storeu_si512(codes.as_mut_ptr().cast(), found) };
}

/// The tables of [`Stretches`] in registers.
struct Lines {
    border: [__m512; 2],
    below: [__m512i; 2],
    slope: __m512,
    offset: __m512,
    last: __m512,
}

impl Lines {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
    fn new(from: &Stretches) -> Self {
        // SAFETY: the tables have 32 or 16 numbers of four bytes.
        unsafe {
            let (border, below) = (from.border.as_ptr(), from.below.as_ptr());
            Self {
                border: [_mm512_loadu_ps(border), _mm512_loadu_ps(border.add(16))],
                below: [
                    _mm512_loadu_si512(below.cast()),
                    _mm512_loadu_si512(below.add(16).cast()),
                ],
                slope: _mm512_loadu_ps(from.slope.as_ptr()),
                offset: _mm512_loadu_ps(from.offset.as_ptr()),
                last: _mm512_loadu_ps(from.last.as_ptr()),
            }
        }
    }

    /// The codes, counted from that of 0, of the sizes of 16 numbers, and which of them are not sure.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
    fn count(&self, size: __m512) -> (__m512i, __mmask16) {
        let size = _mm512_max_ps(size, _mm512_set1_ps(SMALLEST));
        let bits = _mm512_castps_si512(size);
        let octave = _mm512_srli_epi32::<23>(bits);
        let border = _mm512_permutex2var_ps(self.border[0], octave, self.border[1]);
        let below = _mm512_permutex2var_epi32(self.below[0], octave, self.below[1]);
        let beyond = _mm512_sub_epi32(bits, _mm512_castps_si512(border));
        let above = _mm512_cmpgt_epi32_mask(beyond, _mm512_setzero_si512());
        let stretch = _mm512_mask_add_epi32(below, above, below, _mm512_set1_epi32(1));
        let held = _mm512_min_ps(size, _mm512_permutexvar_ps(stretch, self.last));
        let slope = _mm512_permutexvar_ps(stretch, self.slope);
        let offset = _mm512_permutexvar_ps(stretch, self.offset);
        let line = _mm512_fmadd_ps(held, slope, offset);
        let code = _mm512_cvttps_epi32(_mm512_sub_ps(line, _mm512_set1_ps(NEAR_LINE)));
        let other = _mm512_cvttps_epi32(_mm512_add_ps(line, _mm512_set1_ps(NEAR_LINE)));
        let apart = _mm512_add_epi32(beyond, _mm512_set1_epi32(NEAR_BORDER));
        let near = _mm512_cmple_epu32_mask(apart, _mm512_set1_epi32(2 * NEAR_BORDER));
        (code, near | _mm512_cmpneq_epi32_mask(code, other))
    }

    /// The codes by calculation; false where one of them is not sure.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
    fn encode_64<const SIGNED: bool>(
        &self,
        x: &[f32; SIDE],
        absmax: f32,
        least: f32,
        codes: &mut [u8; SIDE],
    ) -> bool {
        let (inverse, least) = (_mm512_set1_ps(1.0 / absmax), _mm512_set1_ps(least));
        let (mut unsure, mut negative) = (0, 0u64);
        let mut bytes = [_mm_setzero_si128(); 4];
        for (i, bytes) in bytes.iter_mut().enumerate() {
            // SAFETY: four registers of 16 are 64 numbers.
            let x = unsafe { _mm512_loadu_ps(x.as_ptr().add(16 * i)) };
            let mut size = _mm512_mul_ps(_mm512_abs_ps(x), inverse);
            if SIGNED {
                let sign = _mm512_movepi32_mask(_mm512_castps_si512(x));
                negative |= u64::from(sign) << (16 * i);
            } else {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
                size = _mm512_mask_max_ps(size, positive, size, least);
            }
            let (code, near) = self.count(size);
            *bytes = _mm512_cvtepi32_epi8(code);
            unsure |= near;
        }
        let mut all = joined(bytes);
        if SIGNED {
            // 127 is the code of 0. There are 128 codes above it and 127 below: -1 has the last but one of sizes.
            let zero = _mm512_set1_epi8(127);
            let up = _mm512_add_epi8(zero, all);
            all = _mm512_mask_subs_epu8(up, negative, zero, all);
        }
        // SAFETY: there are 64 places.
        unsafe { _mm512_storeu_si512(codes.as_mut_ptr().cast(), all) };
        unsure == 0
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn joined([a, b, c, d]: [__m128i; 4]) -> __m512i {
    let all = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
    _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(all, c), d)
}

/// Eight comparisons, each with the end that the outcomes before it lead to. Bit i of `n` is outcome i; the code has them
/// in the other order.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
#[expect(
    clippy::needless_range_loop,
    reason = "one index for several registers"
)]
fn search(rows: &[[f32; 16]; 20], s: [__m512; 4]) -> __m512i {
    let [_, r1, r2, r3, r4, r5, r6, r7] = LEVEL_ROWS;
    // SAFETY: every row has 16 floats.
    let row = |i: usize| unsafe { _mm512_loadu_ps(rows[i].as_ptr()) };
    let above = |i: usize, end: __m512| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(s[i], end);
    let note = |n: &mut __m512i, bit: i32, outcome: __mmask16| {
        *n = _mm512_mask_add_epi32(*n, outcome, *n, _mm512_set1_epi32(bit));
    };
    let middle = _mm512_set1_ps(rows[0][0]);
    let mut n = [_mm512_setzero_si512(); 4];
    for i in 0..4 {
        n[i] = _mm512_maskz_set1_epi32(above(i, middle), 1);
    }
    for (level, r) in [r1, r2, r3, r4].into_iter().enumerate() {
        let table = row(r);
        for i in 0..4 {
            let end = _mm512_permutexvar_ps(n[i], table);
            note(&mut n[i], 2 << level, above(i, end));
        }
    }
    // The permutation takes the five lowest bits; the sixth and seventh, known as masks, choose between registers.
    let low = n;
    let of32 = |r: usize, i: usize| _mm512_permutex2var_ps(row(r), low[i], row(r + 1));
    let (mut fifth, mut sixth, mut seventh) = ([0; 4], [0; 4], [0; 4]);
    for i in 0..4 {
        fifth[i] = above(i, of32(r5, i));
    }
    let of64 = |r: usize, i: usize| _mm512_mask_blend_ps(fifth[i], of32(r, i), of32(r + 2, i));
    for i in 0..4 {
        sixth[i] = above(i, of64(r6, i));
    }
    for i in 0..4 {
        let end = _mm512_mask_blend_ps(sixth[i], of64(r7, i), of64(r7 + 4, i));
        seventh[i] = above(i, end);
    }
    let mut bytes = [_mm_setzero_si128(); 4];
    for i in 0..4 {
        note(&mut n[i], 32, fifth[i]);
        note(&mut n[i], 64, sixth[i]);
        note(&mut n[i], 128, seventh[i]);
        bytes[i] = _mm512_cvtepi32_epi8(n[i]);
    }
    reversed(joined(bytes))
}

/// The bits of every byte in the other order.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn reversed(bytes: __m512i) -> __m512i {
    let nibble = _mm512_set1_epi8(15);
    let low = _mm512_broadcast_i32x4(_mm_setr_epi8(
        0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15,
    ));
    let high = _mm512_slli_epi16::<4>(low);
    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble);
    let lower = _mm512_and_si512(bytes, nibble);
    _mm512_or_si512(
        _mm512_shuffle_epi8(high, lower),
        _mm512_shuffle_epi8(low, upper),
    )
}

/// The largest absolute value.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
pub(super) fn largest(x: &[f32]) -> f32 {
    let (parts, rest) = x.as_chunks::<SIDE>();
    let mut tops = [_mm512_setzero_ps(); 4];
    for part in parts {
        for (i, top) in tops.iter_mut().enumerate() {
            // SAFETY: four registers of 16 are 64 numbers.
            let x = unsafe { _mm512_loadu_ps(part.as_ptr().add(16 * i)) };
            // A number that is none leaves the top as it is: it stands first.
            *top = _mm512_max_ps(_mm512_abs_ps(x), *top);
        }
    }
    let [a, b, c, d] = tops;
    let top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
    rest.iter().fold(top, |top, x| top.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::quantize::Code,
        simd::{Level, level},
    };

    #[test]
    fn both_ways_to_decode_give_the_values() {
        if level() != Level::Avx512 {
            return;
        }
        let codes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for signed in [false, true] {
            let book = Codebook::of(Code::default(), signed);
            let value = |code: &u8| book.map()[usize::from(*code)] * 0.3;
            let want: Vec<f32> = codes.iter().map(value).collect();
            let mut found = vec![0f32; codes.len()];
            // SAFETY: the level was detected on this machine.
            unsafe { decode_by_words(book, &codes, 0.3, &mut found) };
            assert_eq!(found, want);
            if is_x86_feature_detected!("avx512vbmi") {
                found.fill(0.0);
                // SAFETY: the instructions were detected on this machine.
                let done = unsafe { decode_by_bytes(book, &codes[3..], 0.3, &mut found[3..]) };
                assert_eq!((done, &found[3..451]), (448, &want[3..451]));
            }
        }
    }
}
