//! Products by blocks (the scheme of Goto and of BLIS, turned): a block of the right operand is laid out in panels in the
//! second-level cache; each panel of rows of the left one, in the first-level cache, then sweeps over it.
//!
//! The left operand is copied as it lies, by rows or by columns, which costs next to nothing, so most of the laying out is
//! the right operand's. Sums over k run block by block in order, and the blocks depend on k alone.

use std::{cell::Cell, ops::Range};

use super::{
    source::Source,
    tiles::{COLUMN_STEP, Kernels, Tiles},
};
use crate::pool::Ptr;

/// Bytes of a laid-out block of the right operand: half of a second-level cache.
const BLOCK: usize = 1 << 19;

/// Panels of rows below which a right operand that already lies by rows is read where it is.
const FEW_PANELS: usize = 3;

/// Bytes of a right operand that is read where it lies for any number of rows: what the second-level cache holds. Measured
/// on a Zen 4, f32: 128 x 256 x 256 at 115 GFLOP/s, laid out 111.
const NEAR: usize = 1 << 20;

/// The operands of a product.
pub(super) struct Operands<'a, T> {
    pub(super) left: &'a dyn Source<T>,
    /// `left` is the transpose, so panels of it lie by columns.
    pub(super) by_columns: bool,
    pub(super) right: &'a dyn Source<T>,
    /// `right` by rows in memory, and the step between these.
    pub(super) lies: Option<(*const T, usize)>,
}

/// Where the result goes.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub(super) out: Ptr<T>,
    /// Between its rows.
    pub(super) step: usize,
    pub(super) add: bool,
}

/// A line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "only its size counts")] [u8; 64]);

thread_local! {
    /// Room for the laid-out operands, kept between products.
    static ROOM: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with this thread's room for so many numbers; what they are is left over from before.
fn with_room<T: Copy>(count: usize, f: impl FnOnce(&mut [T])) {
    let mut room = ROOM.take();
    let lines = (count * size_of::<T>()).div_ceil(64);
    if room.len() < lines {
        room.resize(lines, Line([0; 64]));
    }
    // SAFETY: the lines are initialised and ours; any bits are a number.
    f(unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<T>(), count) });
    ROOM.set(room);
}

/// The pieces of `0..n`, equal up to multiples of `quantum`, none longer than `most`.
fn pieces(n: usize, most: usize, quantum: usize) -> impl Iterator<Item = Range<usize>> {
    let size = n
        .div_ceil(n.div_ceil(most).max(1))
        .next_multiple_of(quantum);
    (0..n)
        .step_by(size.max(1))
        .map(move |start| start..(start + size).min(n))
}

/// Numbers of a tile of the widest kind, 14 rows of 32.
const TILE: usize = 14 * 32;

/// `out = a b` (or `out += a b`) of `[m, k]` and `[k, n]`, none of them 0.
///
/// # Safety
/// The target must hold `[m, n]` and be nobody else's meanwhile; `lies` must reach over `[k, n]`.
pub(super) unsafe fn product<T: Tiles + std::ops::AddAssign>(
    kernels: &Kernels<T>,
    [m, k, n]: [usize; 3],
    operands: Operands<T>,
    target: Target<T>,
) {
    let wide = 2 * kernels.lanes;
    let panels = m.div_ceil(kernels.rows);
    let lies = operands
        .lies
        .filter(|(_, step)| panels < FEW_PANELS || k * step * size_of::<T>() <= NEAR);
    let depth = k.div_ceil(k.div_ceil(T::DEPTH));
    let most = (BLOCK / size_of::<T>() / depth / wide * wide).max(wide);
    let left_size = (kernels.rows * T::ROW_STEP).max(T::DEPTH * COLUMN_STEP);
    let columns_at_once = n.div_ceil(n.div_ceil(most)).next_multiple_of(wide);
    let right_size = match lies {
        Some(_) => depth * wide,
        None => depth * columns_at_once,
    };
    with_room::<T>(left_size + right_size, |room| {
        let (left, right) = room.split_at_mut(left_size);
        for columns in pieces(n, most, wide) {
            for deep in pieces(k, T::DEPTH, 1) {
                let target = Target {
                    add: target.add || deep.start > 0,
                    ..target
                };
                let block = Block {
                    kernels,
                    operands: &operands,
                    lies,
                    deep,
                    columns: columns.clone(),
                };
                block.lay_out(right);
                for rows in even(m, panels) {
                    // SAFETY: promised by the caller.
                    unsafe { block.sweep(rows, left, right, target) };
                }
            }
        }
    });
}

/// `0..n` in so many pieces that differ by one at most.
fn even(n: usize, pieces: usize) -> impl Iterator<Item = Range<usize>> {
    (0..pieces).map(move |i| n * i / pieces..n * (i + 1) / pieces)
}

/// A block of k and columns.
struct Block<'a, T: 'static> {
    kernels: &'a Kernels<T>,
    operands: &'a Operands<'a, T>,
    lies: Option<(*const T, usize)>,
    deep: Range<usize>,
    columns: Range<usize>,
}

impl<T: Tiles + std::ops::AddAssign> Block<'_, T> {
    /// The panels of columns: where they start, and how wide they are.
    fn panels(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (Range { start, end }, wide) = (self.columns.clone(), 2 * self.kernels.lanes);
        (start..end)
            .step_by(wide)
            .map(move |at| at..(at + wide).min(end))
    }

    /// Lays out the right operand; where it is read as it lies, only a last panel that is narrow.
    fn lay_out(&self, right: &mut [T]) {
        let wide = 2 * self.kernels.lanes;
        let size = self.deep.len() * wide;
        for (i, panel) in self.panels().enumerate() {
            let at = match self.lies {
                Some(_) if panel.len() == wide => continue,
                Some(_) => 0,
                None => i * size,
            };
            let out = &mut right[at..at + size];
            self.operands
                .right
                .block(self.deep.clone(), panel, out, wide);
        }
    }

    /// A panel of rows times all panels of columns.
    ///
    /// # Safety
    /// As for [`product`].
    unsafe fn sweep(&self, rows: Range<usize>, left: &mut [T], right: &[T], target: Target<T>) {
        let (deep, lanes) = (self.deep.clone(), self.kernels.lanes);
        let (height, size, wide) = (rows.len(), deep.len() * 2 * lanes, 2 * lanes);
        if self.operands.by_columns {
            self.operands
                .left
                .block(deep.clone(), rows.clone(), left, COLUMN_STEP);
        } else {
            self.operands
                .left
                .block(rows.clone(), deep.clone(), left, T::ROW_STEP);
        }
        let tile = |registers| (self.kernels.tile)(height, registers, !self.operands.by_columns);
        let (full, half) = (tile(2), tile(1));
        for (i, panel) in self.panels().enumerate() {
            let (b, step) = match self.lies {
                Some((values, step)) if panel.len() == wide => {
                    (values.wrapping_add(deep.start * step + panel.start), step)
                }
                Some(_) => (right.as_ptr(), wide),
                None => (right[i * size..].as_ptr(), wide),
            };
            let (kernel, width) = match panel.len() <= lanes {
                true => (half, lanes),
                false => (full, wide),
            };
            let out = target.out.at(rows.start * target.step + panel.start);
            if panel.len() == width {
                // SAFETY: a whole tile of the target; the panels hold `deep.len()` columns and rows.
                unsafe {
                    kernel(
                        deep.len(),
                        left.as_ptr(),
                        b,
                        step,
                        out,
                        target.step,
                        target.add,
                    )
                };
                continue;
            }
            let mut edge = [const { std::mem::MaybeUninit::<T>::uninit() }; TILE];
            let edge = edge.as_mut_ptr().cast::<T>();
            // SAFETY: as above; the tile has room in `edge`, and its first columns in the target.
            unsafe {
                kernel(deep.len(), left.as_ptr(), b, step, edge, width, false);
                let tile = std::slice::from_raw_parts(edge, height * width);
                spread(tile, width, panel.len(), Ptr(out), target);
            }
        }
    }
}

/// Puts the first columns of a tile where they belong.
///
/// # Safety
/// These must lie in the target, and be nobody else's.
unsafe fn spread<T: Tiles + std::ops::AddAssign>(
    tile: &[T],
    width: usize,
    columns: usize,
    out: Ptr<T>,
    target: Target<T>,
) {
    for (row, tile) in tile.chunks_exact(width).enumerate() {
        for (column, x) in tile[..columns].iter().enumerate() {
            let place = out.at(row * target.step + column);
            // SAFETY: promised by the caller.
            unsafe {
                match target.add {
                    true => *place += *x,
                    false => *place = *x,
                }
            }
        }
    }
}
