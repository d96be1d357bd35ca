//! A matrix turned by blocks that stay in registers.

/// Columns of the result written before its next rows begin: as many lines of the source stay in the first cache.
const RUN: usize = 256;

/// `to[r * to_step + c] = from[c * from_step + r]` for `r < rows`, `c < columns`.
///
/// # Safety
/// Both must be valid for these elements, and nobody else may touch `to` meanwhile.
pub(crate) unsafe fn transpose<T: Copy>(
    from: *const T,
    from_step: usize,
    to: *mut T,
    to_step: usize,
    rows: usize,
    columns: usize,
) {
    for column in (0..columns).step_by(RUN) {
        let width = RUN.min(columns - column);
        let mut row = 0;
        while row < rows {
            let (from, to) = (
                from.wrapping_add(column * from_step + row),
                to.wrapping_add(row * to_step + column),
            );
            let height = 8.min(rows - row);
            // SAFETY: the block lies within what the caller promised.
            unsafe { band(from, from_step, to, to_step, height, width) };
            row += height;
        }
    }
}

/// Up to eight rows of the result.
///
/// # Safety
/// As for [`transpose`].
unsafe fn band<T: Copy>(
    from: *const T,
    from_step: usize,
    to: *mut T,
    to_step: usize,
    rows: usize,
    columns: usize,
) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && rows == 8 && super::level() >= super::Level::Avx2 {
        done = columns / 8 * 8;
        // SAFETY: the level was detected; the elements are four bytes each and lie where the caller promised.
        unsafe { avx2::band(from.cast(), from_step, to.cast(), to_step, done) };
    }
    for c in done..columns {
        for r in 0..rows {
            // SAFETY: promised by the caller.
            unsafe { *to.add(r * to_step + c) = *from.add(c * from_step + r) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// Eight rows of the result, `columns` a multiple of 8, elements of four bytes.
    ///
    /// # Safety
    /// As for [`super::transpose`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn band(
        from: *const f32,
        from_step: usize,
        to: *mut f32,
        to_step: usize,
        columns: usize,
    ) {
        for c in (0..columns).step_by(8) {
            // SAFETY: eight columns from `c` and eight rows lie where the caller promised.
            unsafe {
                let load = |i: usize| _mm256_loadu_ps(from.add((c + i) * from_step));
                let rows = turn([
                    load(0),
                    load(1),
                    load(2),
                    load(3),
                    load(4),
                    load(5),
                    load(6),
                    load(7),
                ]);
                for (r, row) in rows.into_iter().enumerate() {
                    _mm256_storeu_ps(to.add(r * to_step + c), row);
                }
            }
        }
    }

    /// The transpose of eight rows of eight: pairs, then fours, then halves change places.
    #[target_feature(enable = "avx2")]
    fn turn(r: [__m256; 8]) -> [__m256; 8] {
        let low = |i: usize| _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        let high = |i: usize| _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        let (l, h) = (
            [low(0), low(1), low(2), low(3)],
            [high(0), high(1), high(2), high(3)],
        );
        let fours = |i: usize| {
            [
                _mm256_shuffle_ps::<0x44>(l[2 * i], l[2 * i + 1]),
                _mm256_shuffle_ps::<0xee>(l[2 * i], l[2 * i + 1]),
                _mm256_shuffle_ps::<0x44>(h[2 * i], h[2 * i + 1]),
                _mm256_shuffle_ps::<0xee>(h[2 * i], h[2 * i + 1]),
            ]
        };
        let (a, b) = (fours(0), fours(1));
        let lower = |i: usize| _mm256_permute2f128_ps::<0x20>(a[i], b[i]);
        let upper = |i: usize| _mm256_permute2f128_ps::<0x31>(a[i], b[i]);
        [
            lower(0),
            lower(1),
            lower(2),
            lower(3),
            upper(0),
            upper(1),
            upper(2),
            upper(3),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_finds_its_place() {
        for (rows, columns) in [(1, 1), (8, 8), (9, 17), (30, 300), (16, 256), (5, 700)] {
            let from: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let mut to = vec![0f32; rows * columns];
            // SAFETY: both hold rows * columns elements.
            unsafe { transpose(from.as_ptr(), rows, to.as_mut_ptr(), columns, rows, columns) };
            for r in 0..rows {
                for c in 0..columns {
                    assert_eq!(to[r * columns + c], from[c * rows + r], "{rows} {columns}");
                }
            }
        }
    }
}
