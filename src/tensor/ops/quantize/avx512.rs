//! AVX-512: the 256 values and their ends lie in registers, and permutations look up 16 or 32 numbers at once. No table in
//! memory is indexed, which on many machines is the slow part.

use std::arch::x86_64::*;

use super::{Codebook, code::LEVEL_ROWS};

/// `out = map[codes] * absmax`, 32 at a time: the upper and lower halves of the values are permuted as words.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
pub(super) fn decode(book: &Codebook, codes: &[u8], absmax: f32, out: &mut [f32]) {
    let whole = codes.len().min(out.len()) / 32 * 32;
    // SAFETY: the tables have 256 words, eight registers of 32.
    let table = |half: usize, i: usize| unsafe {
        _mm512_loadu_si512(book.halves[half].as_ptr().add(32 * i).cast())
    };
    let low: [__m512i; 8] = std::array::from_fn(|i| table(0, i));
    let high: [__m512i; 8] = std::array::from_fn(|i| table(1, i));
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

/// The codes nearest to `x / absmax`, at least `least` where x > 0, 16 at a time.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
pub(super) fn encode(book: &Codebook, x: &[f32], absmax: f32, least: f32, codes: &mut [u8]) {
    let n = x.len().min(codes.len());
    let (scale, least) = (_mm512_set1_ps(absmax), _mm512_set1_ps(least));
    // SAFETY: every row has 16 floats.
    let rows: [__m512; 20] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_ps(book.levels.0[i].as_ptr()) });
    for at in (0..n).step_by(16) {
        let left = (n - at).min(16);
        let mask = (((1u32 << left) - 1) & 0xffff) as __mmask16;
        // SAFETY: the mask keeps what lies beyond the slices untouched.
        unsafe {
            let x = _mm512_maskz_loadu_ps(mask, x.as_ptr().add(at));
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
            let s = _mm512_div_ps(x, scale);
            let s = _mm512_mask_max_ps(s, positive, s, least);
            _mm_mask_storeu_epi8(codes.as_mut_ptr().add(at).cast(), mask, search(&rows, s));
        }
    }
}

/// Eight comparisons, each with the end that the outcomes before it lead to. Bit i of `n` is outcome i; the code has them
/// in the other order.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn search(rows: &[__m512; 20], s: __m512) -> __m128i {
    let [_, r1, r2, r3, r4, r5, r6, r7] = LEVEL_ROWS;
    let above = |end: __m512| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(s, end);
    let note = |n: __m512i, bit: i32, outcome: __mmask16| {
        _mm512_mask_add_epi32(n, outcome, n, _mm512_set1_epi32(bit))
    };
    let mut n = _mm512_maskz_set1_epi32(
        above(_mm512_broadcastss_ps(_mm512_castps512_ps128(rows[0]))),
        1,
    );
    for (level, row) in [r1, r2, r3, r4].into_iter().enumerate() {
        n = note(n, 2 << level, above(_mm512_permutexvar_ps(n, rows[row])));
    }
    let of32 = |row: usize, n: __m512i| _mm512_permutex2var_ps(rows[row], n, rows[row + 1]);
    let fifth = above(of32(r5, n));
    let m = note(n, 32, fifth);
    // The permutation takes the five lowest bits; the sixth and seventh choose between registers.
    let of64 = |row: usize| _mm512_mask_blend_ps(fifth, of32(row, n), of32(row + 2, n));
    let sixth = above(of64(r6));
    let m = note(m, 64, sixth);
    let seventh = above(_mm512_mask_blend_ps(sixth, of64(r7), of64(r7 + 4)));
    let m = note(m, 128, seventh);
    reversed(_mm512_cvtepi32_epi8(m))
}

/// The bits of every byte in the other order.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
fn reversed(bytes: __m128i) -> __m128i {
    let nibble = _mm_set1_epi8(15);
    let low = _mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
    let high = _mm_slli_epi16::<4>(low);
    let upper = _mm_and_si128(_mm_srli_epi16::<4>(bytes), nibble);
    let lower = _mm_and_si128(bytes, nibble);
    _mm_or_si128(_mm_shuffle_epi8(high, lower), _mm_shuffle_epi8(low, upper))
}
