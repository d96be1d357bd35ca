//! Where the operands of a product come from: matrices in memory with any steps, or whatever can lay out a block of itself.

use std::ops::Range;

use crate::simd::transpose::transpose;

/// An operand that lays out blocks of itself, row by row.
pub(crate) trait Source<T> {
    /// Writes the block to `out`, its rows `step` apart. What lies between two rows may be overwritten too.
    fn block(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T], step: usize);
}

/// One operand of a product in memory: values, and the steps between rows and between columns.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix with `columns` columns.
    pub(crate) fn rows(values: &'a [T], columns: usize) -> Self {
        Self {
            values,
            row: columns,
            column: 1,
        }
    }

    /// The transpose of a row-major matrix with `columns` columns.
    pub(crate) fn transposed(values: &'a [T], columns: usize) -> Self {
        Self {
            values,
            row: 1,
            column: columns,
        }
    }

    /// The transpose of this matrix, where it lies.
    pub(super) fn turned(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The matrix from this row and column on.
    pub(super) fn from(self, row: usize, column: usize) -> Self {
        let values = self.values.get(row * self.row + column * self.column..);
        Self {
            values: values.unwrap_or(&[]),
            ..self
        }
    }

    /// Whether all of a block lies in memory.
    pub(super) fn reaches(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// Columns turned at a time: as many lines of the source are read side by side.
const TURN: usize = 16;

impl<T: Copy> Source<T> for Matrix<'_, T> {
    fn block(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T], step: usize) {
        let (height, width) = (rows.len(), columns.len());
        if height == 0 || width == 0 {
            return;
        }
        let from = self.from(rows.start, columns.start);
        assert!(from.reaches(height, width), "gemm: operand too small");
        assert!(out.len() >= (height - 1) * step + width && width <= step);
        if self.column == 1 {
            copy(from.values, self.row, out, step, height, width);
        } else if self.row == 1 {
            for at in (0..width).step_by(TURN) {
                let (source, to) = (&from.values[at * self.column..], &mut out[at..]);
                let width = TURN.min(width - at);
                // SAFETY: both hold the block, as asserted above.
                unsafe {
                    transpose(
                        source.as_ptr(),
                        self.column,
                        to.as_mut_ptr(),
                        step,
                        height,
                        width,
                    )
                };
            }
        } else {
            for row in 0..height {
                for column in 0..width {
                    out[row * step + column] = from.values[row * self.row + column * self.column];
                }
            }
        }
    }
}

/// Copies rows. Narrow ones are copied as one or two whole registers, where there is room to read and write these.
fn copy<T: Copy>(
    from: &[T],
    from_step: usize,
    out: &mut [T],
    step: usize,
    height: usize,
    width: usize,
) {
    let room = out.len();
    let fits = |n: usize, rows: usize| {
        width <= n
            && n <= step
            && (rows - 1) * from_step + n <= from.len()
            && (rows - 1) * step + n <= room
    };
    let mut done = 0;
    for rows in [height, height - 1] {
        if done == 0 && rows > 0 && width * size_of::<T>() <= 128 {
            done = rows;
            match size_of::<T>() {
                _ if fits(8, rows) => copy_wide::<T, 8>(from, from_step, out, step, rows),
                _ if fits(16, rows) => copy_wide::<T, 16>(from, from_step, out, step, rows),
                _ if fits(32, rows) => copy_wide::<T, 32>(from, from_step, out, step, rows),
                _ => done = 0,
            }
        }
    }
    for row in done..height {
        out[row * step..][..width].copy_from_slice(&from[row * from_step..][..width]);
    }
}

/// Copies rows of `N`.
fn copy_wide<T: Copy, const N: usize>(
    from: &[T],
    from_step: usize,
    out: &mut [T],
    step: usize,
    rows: usize,
) {
    crate::simd! {
        fn rows_of<T: Copy, A: Copy>(from: &[T], from_step: usize, out: &mut [T], step: usize, rows: usize) {
            for row in 0..rows {
                let (from, to) = (&from[row * from_step..], &mut out[row * step..]);
                if size_of_val(from) >= size_of::<A>() && size_of_val(to) >= size_of::<A>() {
                    // SAFETY: `A` is an array of `T`, and both have room for one.
                    unsafe { to.as_mut_ptr().cast::<A>().write_unaligned(from.as_ptr().cast::<A>().read_unaligned()) }
                }
            }
        }
    }
    rows_of::<T, [T; N]>(from, from_step, out, step, rows);
}
