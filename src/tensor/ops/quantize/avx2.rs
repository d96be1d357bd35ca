//! AVX2: the two look-ups of a code, the lowest one of the number's cell and that one's end, as gathers.

use std::arch::x86_64::*;

use super::{
    Codebook,
    code::{CELL_SHIFT, CELLS, SMALLEST},
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
    for (x, codes) in parts.iter().zip(places) {
        encode_32(book, x, absmax, least, codes);
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
    let [a, b, c, d] = found;
    let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    // Packing keeps to halves of the register: its groups of four in their order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // SAFETY: there are 32 places.
    unsafe {
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        _mm256_storeu_si256(codes.as_mut_ptr().cast(), bytes);
    }
}
