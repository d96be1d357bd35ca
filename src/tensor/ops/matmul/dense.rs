//! Products of matrices in memory, on one thread and on all: which kernel computes, and how the work is cut.

use std::ops::Range;

use super::{
    blocked::{Operands, Target, pieces, product},
    source::{Matrix, Source},
};
use crate::{
    Real, Result, interrupt,
    ops::linear::kernels::narrow_product,
    pool,
    pool::Ptr,
    simd::kernels::{add_assign, axpy},
};

/// `out = a b` (or `out += a b`) for `a: [m, k]`, `b: [k, n]`, `out: [m, n]` row-major; one thread.
pub(crate) fn gemm<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: &mut [T],
    add: bool,
) {
    assert!(out.len() >= m * n, "gemm: result too small");
    // SAFETY: `out` is ours and holds `m` rows of `n`.
    unsafe { gemm_into(m, k, n, a, b, Ptr(out.as_mut_ptr()), n, add) }
}

/// Like [`gemm`], with the rows of `out` `step` elements apart: a block of columns of a larger matrix.
///
/// # Safety
/// Each row `out + i * step .. + n` must lie in one allocation, and nobody else may touch it meanwhile.
#[expect(
    clippy::too_many_arguments,
    reason = "a product has three sizes and three matrices"
)]
pub(crate) unsafe fn gemm_into<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: Ptr<T>,
    step: usize,
    add: bool,
) {
    assert!(
        a.reaches(m, k) && b.reaches(k, n),
        "gemm: operand too small"
    );
    let target = Target { out, step, add };
    // SAFETY: promised by the caller.
    if m == 0 || n == 0 || unsafe { nothing_to_sum(m, k, n, target) } {
        return;
    }
    if is_narrow([k, n], a, b) && step == n && !add {
        // SAFETY: promised by the caller.
        let out = unsafe { out.slice(0, m * n) };
        let mut columns = Vec::new();
        let columns = match b.row == 1 && (b.column == k || n == 1) {
            true => &b.values[..n * k],
            false => {
                columns.resize(n * k, T::ZERO);
                b.turned().block(0..n, 0..k, &mut columns, k);
                &columns
            }
        };
        narrow_product(&a.values[..m * k], k, columns, out, n);
        return;
    }
    let Some(kernels) = T::kernels() else {
        // SAFETY: reads lie within the slices, as checked above; writes are promised by the caller.
        return unsafe { by_crate([m, k, n], a, b, target) };
    };
    if m == 1 && b.column == 1 {
        // SAFETY: promised by the caller.
        return row_times(k, a, b, unsafe { out.slice(0, n) }, add);
    }
    let by_columns = a.row == 1 && a.column != 1;
    let left = if by_columns { a.turned() } else { a };
    let operands = Operands {
        left: &left,
        by_columns,
        right: &b,
        lies: (b.column == 1).then_some((b.values.as_ptr(), b.row)),
    };
    // SAFETY: promised by the caller; `b` holds `k` rows of `n`.
    unsafe { product(kernels, [m, k, n], operands, target) }
}

/// Columns of a product that are better taken one by one: a tile would be empty for the most part. Measured on a Zen 4, f32, 256 x
/// 256 with 2, 3, 4 columns: 7, 10 and 13 us, by tiles 24.
const NARROW: usize = 4;

/// Inner size from which that holds: a column's sum ends with one over lanes.
const NARROW_FROM: usize = 64;

/// Whether the right operand has so few columns that the rows of the left one, which lie side by side, meet them one by one.
fn is_narrow<T>([k, n]: [usize; 2], a: Matrix<T>, b: Matrix<T>) -> bool {
    let fits = match n {
        1 => b.row == 1 || k == 1,
        _ => n <= NARROW && k >= NARROW_FROM,
    };
    fits && a.column == 1 && a.row == k
}

/// One row times a matrix that lies by rows: these are added up as they come from memory, in the order in which tiles add, so that
/// the bits are those of the same row among others.
fn row_times<T: Real>(k: usize, a: Matrix<T>, b: Matrix<T>, out: &mut [T], add: bool) {
    const COLUMNS: usize = 1024;
    for (at, out) in out.chunks_mut(COLUMNS).enumerate() {
        for (i, deep) in pieces(k, T::DEPTH, 1).enumerate() {
            let mut sums = [T::ZERO; COLUMNS];
            let sums = &mut sums[..out.len()];
            for row in deep {
                let b = &b.values[row * b.row + at * COLUMNS..][..out.len()];
                axpy(a.values[row * a.column], b, sums);
            }
            if add || i > 0 {
                add_assign(sums, out);
            } else {
                out.copy_from_slice(sums);
            }
        }
    }
}

/// Like [`gemm_into`], of operands that lay themselves out.
///
/// # Safety
/// As for [`gemm_into`].
pub(crate) unsafe fn gemm_of<T: Real>(
    [m, k, n]: [usize; 3],
    a: &dyn Source<T>,
    b: &dyn Source<T>,
    out: Ptr<T>,
    step: usize,
    add: bool,
) {
    let target = Target { out, step, add };
    // SAFETY: promised by the caller.
    if m == 0 || n == 0 || unsafe { nothing_to_sum(m, k, n, target) } {
        return;
    }
    if let Some(kernels) = T::kernels() {
        let operands = Operands {
            left: a,
            by_columns: false,
            right: b,
            lies: None,
        };
        // SAFETY: promised by the caller.
        return unsafe { product(kernels, [m, k, n], operands, target) };
    }
    let (mut left, mut right) = (vec![T::ZERO; m * k], vec![T::ZERO; k * n]);
    a.block(0..m, 0..k, &mut left, k);
    b.block(0..k, 0..n, &mut right, n);
    let (a, b) = (Matrix::rows(&left, k), Matrix::rows(&right, n));
    // SAFETY: promised by the caller; the operands were just laid out.
    unsafe { by_crate([m, k, n], a, b, target) }
}

/// Whether `k` is 0; then the product is 0.
///
/// # Safety
/// As for [`gemm_into`].
unsafe fn nothing_to_sum<T: Real>(m: usize, k: usize, n: usize, target: Target<T>) -> bool {
    if k == 0 && !target.add {
        for row in 0..m {
            // SAFETY: promised by the caller.
            unsafe { target.out.slice(row * target.step, n) }.fill(T::ZERO);
        }
    }
    k == 0
}

/// The product by the gemm crate.
///
/// # Safety
/// As for [`gemm_into`], and the operands must reach over `[m, k]` and `[k, n]`.
unsafe fn by_crate<T: Real>([m, k, n]: [usize; 3], a: Matrix<T>, b: Matrix<T>, target: Target<T>) {
    // SAFETY: promised by the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.out.at(0),
            1,
            target.step as isize,
            target.add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Products below this many multiplications stay on one thread.
const SERIAL_BELOW: usize = 1 << 16;

/// Multiplications of a block, after which the interrupt is asked: some ten milliseconds.
pub(super) const BLOCK: usize = 1 << 29;

/// Rows and columns that a cut between threads keeps together.
const CUT: [usize; 2] = [8, 32];

/// `out = a b` with the rows of `a` or the columns of `b` cut between threads. An interrupt is an error.
pub(crate) fn gemm_parallel<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: &mut [T],
) -> Result<()> {
    assert!(out.len() >= m * n, "gemm: result too small");
    // One row or column is the transpose's column or row; whichever has rows in memory to walk along.
    let is_turned = |x: Matrix<T>| x.row == 1 && x.column != 1;
    if (m == 1 && n > 1 && is_turned(b)) || (n == 1 && m > 1 && is_turned(a)) {
        return gemm_parallel(n, k, m, b.turned(), a.turned(), out);
    }
    let (pool, stop) = (pool::global(), interrupt::poll());
    if m * k * n < SERIAL_BELOW {
        gemm(m, k, n, a, b, out, false);
        return Ok(());
    }
    let (base, step) = (Ptr(out.as_mut_ptr()), n);
    let run = |rows: Range<usize>, columns: Range<usize>| {
        let width = columns.len().min((BLOCK / (m * k)).max(512));
        let height = (BLOCK / (k * width.max(1)))
            .next_multiple_of(CUT[0])
            .max(CUT[0]);
        for left in columns.clone().step_by(width.max(1)) {
            for top in rows.clone().step_by(height) {
                if stop.requested() {
                    return;
                }
                let (m, n) = (height.min(rows.end - top), width.min(columns.end - left));
                let (a, b) = (a.from(top, 0), b.from(0, left));
                // SAFETY: the blocks of different parts do not overlap and lie within `out`.
                unsafe { gemm_into(m, k, n, a, b, Ptr(base.at(top * step + left)), step, false) };
            }
        }
    };
    let by_columns = cut_columns::<T>(m, n, b.column != 1, pool.parts());
    pool.run(|part| match by_columns {
        true => run(0..m, pool::range(n, CUT[1], part, pool.parts())),
        false => run(pool::range(m, CUT[0], part, pool.parts()), 0..n),
    });
    interrupt::check()
}

/// Whether to cut columns rather than rows, so that each thread lays out only its own of the right operand: that pays where
/// it must be turned (else, measured, copying all of the left one takes as long), or where the cut is more even.
fn cut_columns<T: Real>(m: usize, n: usize, is_turned: bool, parts: usize) -> bool {
    let share = |n: usize, cut: usize| n.div_ceil(cut).div_ceil(parts) * cut;
    let (by_rows, by_columns) = (share(m, CUT[0]) * n, share(n, CUT[1]) * m);
    let pays = match is_turned {
        true => by_columns <= by_rows + by_rows / 32 && m <= 8 * n,
        false => by_columns + by_columns / 32 < by_rows,
    };
    pays && T::kernels().is_some()
}
