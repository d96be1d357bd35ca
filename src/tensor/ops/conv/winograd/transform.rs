//! The transforms of tiles: sums and differences of vectors of tiles, the same at every instruction set.

use super::grid::{HALF, LANES, Pick, Step, WINDOW};
use crate::simd::math::Float;

/// Whose tiles are transformed: 4 x 4 of `x` by `B^T d B`, or 2 x 2 of `y` by `A d A^T`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    X,
    Y,
}

/// `B^T d` or `A d`, of a column.
#[inline(always)]
fn apply<T: Float>(kind: Kind, i: usize, d: [T; 4]) -> T {
    match (kind, i) {
        (Kind::X, 0) => d[0] - d[2],
        (Kind::X, 1) => d[1] + d[2],
        (Kind::X, 2) => d[2] - d[1],
        (Kind::X, _) => d[1] - d[3],
        (Kind::Y, 0) => d[0],
        (Kind::Y, 1) => d[0] + d[1],
        (Kind::Y, 2) => d[0] - d[1],
        (Kind::Y, _) => -d[1],
    }
}

/// Rows of the tiles of one channel, transformed along the row: row i, element j, of tile t at `out[(4 i + j) stride + t]`.
///
/// The next channel's image begins a `plane` behind.
///
/// # Safety
/// The windows' inner places must lie in the images from `x` on, and the tiles within the stride.
pub(super) unsafe fn rows<T: Float>(
    kind: Kind,
    picks: &[Pick],
    steps: &[Step],
    (x, plane): (*const T, usize),
    out: &mut [T],
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && crate::simd::level() == crate::simd::Level::Avx512 {
        // SAFETY: the level was detected, the elements are four bytes each, the rest is promised by the caller.
        return unsafe {
            avx512::rows(
                kind,
                picks,
                steps,
                (x.cast(), plane),
                out.as_mut_ptr().cast(),
                stride,
            )
        };
    }
    for step in steps {
        let mut window = [T::ZERO; WINDOW];
        for (at, to) in window
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| step.inside >> at & 1 == 1)
        {
            // SAFETY: an inner place.
            *to = unsafe { *x.wrapping_offset(step.window + at as isize) };
        }
        let pick = &picks[step.pick];
        for store in &step.stores {
            for lane in (0..LANES).filter(|lane| store.lanes >> lane & 1 == 1) {
                let d = std::array::from_fn(|j| match pick.inside[j] >> lane & 1 {
                    1 => window[pick.places[j][lane] as usize],
                    _ => T::ZERO,
                });
                let place = (store.place + lane as isize) as usize;
                for j in 0..4 {
                    out[place + j * stride] = apply(kind, j, d);
                }
            }
        }
    }
}

/// The same by registers.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{HALF, Kind, Pick, Step};

    /// # Safety
    /// As for [`super::rows`]; the machine has AVX-512.
    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) unsafe fn rows(
        kind: Kind,
        picks: &[Pick],
        steps: &[Step],
        (x, plane): (*const f32, usize),
        out: *mut f32,
        stride: usize,
    ) {
        for step in steps {
            let (pick, from) = (&picks[step.pick], x.wrapping_offset(step.window));
            // The next channel is too far away for the machine to foresee.
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(plane).cast());
            // SAFETY: only inner places are read.
            let (low, high) = unsafe {
                (
                    _mm512_maskz_loadu_ps(step.inside as u16, from),
                    _mm512_maskz_loadu_ps((step.inside >> 16) as u16, from.wrapping_add(16)),
                )
            };
            let find = |j: usize| {
                // SAFETY: a row of the table has 16 places.
                let places = unsafe { _mm512_loadu_si512(pick.places[j].as_ptr().cast()) };
                _mm512_maskz_permutex2var_ps(pick.inside[j], low, places, high)
            };
            let (a, b) = (find(0), find(1));
            let found = match kind {
                Kind::X => {
                    let (c, d) = (find(2), find(3));
                    [
                        _mm512_sub_ps(a, c),
                        _mm512_add_ps(b, c),
                        _mm512_sub_ps(c, b),
                        _mm512_sub_ps(b, d),
                    ]
                }
                Kind::Y => [a, _mm512_add_ps(a, b), _mm512_sub_ps(a, b), negative(b)],
            };
            for store in step.stores.iter().filter(|store| store.lanes != 0) {
                let to = out.wrapping_offset(store.place);
                // A masked store takes as long as several whole ones.
                let first = store.lanes.trailing_zeros() as usize;
                for (j, found) in found.into_iter().enumerate() {
                    let to = to.wrapping_add(j * stride);
                    // SAFETY: there is room for a register behind the last tile.
                    unsafe {
                        match first {
                            0 => _mm512_storeu_ps(to, found),
                            HALF => _mm256_storeu_ps(
                                to.wrapping_add(HALF),
                                _mm512_extractf32x8_ps::<1>(found),
                            ),
                            _ => _mm512_mask_storeu_ps(to, store.lanes, found),
                        }
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn negative(x: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_xor_si512(
            _mm512_castps_si512(x),
            _mm512_set1_epi32(i32::MIN),
        ))
    }

    /// # Safety
    /// The sixteen elements must hold `count` tiles, whole registers; `upper` and `lower` twice as many; the machine has AVX-512.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn outputs(
        m: *const f32,
        element: usize,
        count: usize,
        bias: f32,
        upper: *mut f32,
        lower: *mut f32,
    ) {
        let bias = _mm512_set1_ps(bias);
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        for at in (0..count).step_by(16) {
            let mut sums = [[bias; 4]; 2];
            let [upper_sums, lower_sums] = &mut sums;
            for (j, (up, low)) in upper_sums.iter_mut().zip(lower_sums).enumerate() {
                // SAFETY: within the elements, as promised.
                let load = |i: usize| unsafe {
                    _mm512_loadu_ps(m.wrapping_add((4 * i + j) * element + at))
                };
                let [a, b, c, d] = [load(0), load(1), load(2), load(3)];
                *up = _mm512_add_ps(_mm512_add_ps(a, b), c);
                *low = _mm512_sub_ps(_mm512_sub_ps(b, c), d);
            }
            for ([a, b, c, d], out) in sums.into_iter().zip([upper, lower]) {
                let left = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), c), bias);
                let right = _mm512_add_ps(_mm512_sub_ps(_mm512_sub_ps(b, c), d), bias);
                let out = out.wrapping_add(2 * at);
                // SAFETY: as promised.
                unsafe {
                    _mm512_storeu_ps(out, _mm512_permutex2var_ps(left, low, right));
                    _mm512_storeu_ps(
                        out.wrapping_add(16),
                        _mm512_permutex2var_ps(left, high, right),
                    );
                }
            }
        }
    }
}

/// Vectors of a panel: places of the transformed tiles, `[16][panels][channels][PANEL]`.
pub(super) const PANEL: usize = 32;

/// Between the channels of a panel, between the panels of a channel and between the elements (i, j) of a tile.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub channel: usize,
    pub panel: usize,
    pub element: usize,
}

crate::simd! {
    /// The other half of the transform, along the columns, of the rows `is` of the result: tile t of element
    /// `4 (i - is.start) + j` goes to `out[element (..) + panel (t / PANEL) + t % PANEL]`.
    pub(super) fn columns<T: Float>(kind: Kind, is: &std::ops::Range<usize>, rows: &[T], stride: usize, count: usize, places: Places, out: &mut [T]) {
        for i in is.clone() {
            for j in 0..4 {
                let out = &mut out[((i - is.start) * 4 + j) * places.element..];
                for at in (0..count).step_by(LANES) {
                    let row = |i: usize| &rows[(4 * i + j) * stride + at..][..LANES];
                    let to = &mut out[at / PANEL * places.panel + at % PANEL..][..LANES];
                    match (kind, i) {
                        (Kind::X, 0) => put(to, row(0), row(2), #[inline(always)] |a, b| a - b),
                        (Kind::X, 1) => put(to, row(1), row(2), #[inline(always)] |a, b| a + b),
                        (Kind::X, 2) => put(to, row(2), row(1), #[inline(always)] |a, b| a - b),
                        (Kind::X, _) => put(to, row(1), row(3), #[inline(always)] |a, b| a - b),
                        (Kind::Y, 0) => put(to, row(0), row(1), #[inline(always)] |a, _| a),
                        (Kind::Y, 1) => put(to, row(0), row(1), #[inline(always)] |a, b| a + b),
                        (Kind::Y, 2) => put(to, row(0), row(1), #[inline(always)] |a, b| a - b),
                        (Kind::Y, _) => put(to, row(0), row(1), #[inline(always)] |_, b| -b),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn put<T: Float>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = f(*a, *b)
    }
}

/// `A^T m A + b`: element e of tile t at `m[e element + t]` gives the tile's upper two places at `upper[2 t ..]`, its lower
/// two at `lower[2 t ..]`; whole multiples of [`LANES`] tiles.
pub(super) fn outputs<T: Float>(
    m: &[T],
    element: usize,
    bias: T,
    upper: &mut [T],
    lower: &mut [T],
) {
    let count = upper.len() / 2;
    assert!(
        count.is_multiple_of(LANES)
            && lower.len() == upper.len()
            && m.len() >= 15 * element + count
    );
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && crate::simd::level() == crate::simd::Level::Avx512 {
        let (upper, lower) = (upper.as_mut_ptr().cast(), lower.as_mut_ptr().cast());
        // SAFETY: the level was detected, the elements are four bytes each, the slices hold the tiles as asserted above.
        return unsafe {
            avx512::outputs(
                m.as_ptr().cast(),
                element,
                count,
                bias.to_f64() as f32,
                upper,
                lower,
            )
        };
    }
    outputs_of(m, element, bias, upper, lower)
}

crate::simd! {
    fn outputs_of<T: Float>(m: &[T], element: usize, bias: T, upper: &mut [T], lower: &mut [T]) {
        let (upper, lower) = (upper.as_chunks_mut::<2>().0, lower.as_chunks_mut::<2>().0);
        for (t, (upper, lower)) in upper.iter_mut().zip(lower).enumerate() {
            let column = |j: usize| {
                let [a, b, c, d] = [0, 4, 8, 12].map(|e| m[(e + j) * element + t]);
                [a + b + c, b - c - d]
            };
            let s = [column(0), column(1), column(2), column(3)];
            *upper = [s[0][0] + s[1][0] + s[2][0] + bias, s[1][0] - s[2][0] - s[3][0] + bias];
            *lower = [s[0][1] + s[1][1] + s[2][1] + bias, s[1][1] - s[2][1] - s[3][1] + bias];
        }
    }
}

/// `G (a, b, c)`.
#[inline(always)]
fn widen<T: Float>([a, b, c]: [T; 3]) -> [T; 4] {
    let half = T::of(0.5);
    let (ends, middle) = (half * (a + c), half * b);
    [a, ends + middle, ends - middle, c]
}

/// `G^T (a, b, c, d)`.
#[inline(always)]
fn narrow<T: Float>([a, b, c, d]: [T; 4]) -> [T; 3] {
    let half = T::of(0.5);
    let middle = half * (b + c);
    [a + middle, half * (b - c), middle + d]
}

crate::simd! {
    /// `G g G^T` of [`LANES`] kernels side by side: nine rows to sixteen, these `step` apart.
    pub(super) fn kernels<T: Float>(g: &[T], mirror: bool, out: &mut [T], step: usize) {
        let tap = |tap: usize| &g[if mirror { 8 - tap } else { tap } * LANES..][..LANES];
        let taps: [&[T]; 9] = std::array::from_fn(tap);
        let mut found = [[T::ZERO; LANES]; 16];
        for t in 0..LANES {
            let columns: [[T; 4]; 3] = std::array::from_fn(#[inline(always)] |j| widen([taps[j][t], taps[3 + j][t], taps[6 + j][t]]));
            for i in 0..4 {
                let row = widen([columns[0][i], columns[1][i], columns[2][i]]);
                for j in 0..4 { found[4 * i + j][t] = row[j] }
            }
        }
        for (e, found) in found.iter().enumerate() { out[e * step..][..LANES].copy_from_slice(found) }
    }
}

crate::simd! {
    /// `G^T u G` of `count` kernels side by side: sixteen rows, `step` apart, to nine.
    pub(super) fn gradients<T: Float>(u: &[T], step: usize, count: usize, out: &mut [T]) {
        let u: [&[T]; 16] = std::array::from_fn(#[inline(always)] |e| &u[e * step..][..count]);
        let mut rows = out.chunks_exact_mut(count);
        let out: [&mut [T]; 9] = std::array::from_fn(#[inline(always)] |_| rows.next().unwrap_or_default());
        let out = out.map(#[inline(always)] |row| &mut row[..count]);
        for t in 0..count {
            let columns: [[T; 3]; 4] = std::array::from_fn(#[inline(always)] |j| narrow([u[j][t], u[4 + j][t], u[8 + j][t], u[12 + j][t]]));
            for i in 0..3 {
                let row = narrow([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
                for j in 0..3 { out[3 * i + j][t] = row[j] }
            }
        }
    }
}
