//! Products by blocks (the scheme of Goto and of BLIS): one operand is laid out in panels in the second-level cache, and
//! each panel of the other, when it was just laid out, meets them all. The left one stays where it is small enough.
//!
//! The left operand is copied as it lies, by rows or by columns, which costs next to nothing, so most of the laying out is
//! the right operand's. Sums over k run block by block in order, and the blocks depend on k alone.

use std::{
    cell::Cell,
    mem::MaybeUninit,
    ops::{AddAssign, Range},
};

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
pub(crate) fn pieces(n: usize, most: usize, quantum: usize) -> impl Iterator<Item = Range<usize>> {
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
pub(super) unsafe fn product<T: Tiles + AddAssign>(
    kernels: &Kernels<T>,
    [m, k, n]: [usize; 3],
    operands: Operands<T>,
    target: Target<T>,
) {
    let (wide, panels) = (2 * kernels.lanes, m.div_ceil(kernels.rows));
    let lies = operands
        .lies
        .filter(|(_, step)| panels < FEW_PANELS || k * step * size_of::<T>() <= NEAR);
    let depth = k.div_ceil(k.div_ceil(T::DEPTH));
    let left_size = (kernels.rows * T::ROW_STEP).max(T::DEPTH * COLUMN_STEP);
    // Either all panels of rows stay and one panel of columns passes by, or the other way round.
    let left_stays = lies.is_none() && panels * left_size * size_of::<T>() <= BLOCK;
    let most = match left_stays {
        true => n,
        false => (BLOCK / size_of::<T>() / depth / wide * wide).max(wide),
    };
    let right_panels = match left_stays || lies.is_some() {
        true => 1,
        false => n.div_ceil(n.div_ceil(most)).div_ceil(wide),
    };
    let left_panels = if left_stays { panels } else { 1 };
    with_room::<T>(
        left_panels * left_size + right_panels * depth * wide,
        |room| {
            let (left, right) = room.split_at_mut(left_panels * left_size);
            for columns in pieces(n, most, wide) {
                for deep in pieces(k, T::DEPTH, 1) {
                    let add = target.add || deep.start > 0;
                    let (target, columns) = (Target { add, ..target }, columns.clone());
                    let block = Block {
                        kernels,
                        operands: &operands,
                        lies,
                        deep,
                        columns,
                    };
                    // SAFETY: promised by the caller.
                    unsafe {
                        match left_stays {
                            true => block.pass_columns(m, panels, left, right, target),
                            false => block.pass_rows(m, panels, left, right, target),
                        }
                    }
                }
            }
        },
    );
}

/// `0..n` in so many pieces that differ by one at most.
pub(crate) fn even(n: usize, pieces: usize) -> impl Iterator<Item = Range<usize>> {
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

impl<T: Tiles + AddAssign> Block<'_, T> {
    /// The panels of columns.
    fn panels(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (Range { start, end }, wide) = (self.columns.clone(), 2 * self.kernels.lanes);
        (start..end)
            .step_by(wide)
            .map(move |at| at..(at + wide).min(end))
    }

    /// Lays out a panel of rows.
    fn lay_out_left(&self, rows: Range<usize>, out: &mut [T]) {
        let (left, deep) = (self.operands.left, self.deep.clone());
        match self.operands.by_columns {
            true => left.block(deep, rows, out, COLUMN_STEP),
            false => left.block(rows, deep, out, T::ROW_STEP),
        }
    }

    /// A panel of columns that is read where it lies, and the step between its rows.
    fn lying(&self, panel: &Range<usize>) -> Option<(*const T, usize)> {
        let (values, step) = self
            .lies
            .filter(|_| panel.len() == 2 * self.kernels.lanes)?;
        Some((
            values.wrapping_add(self.deep.start * step + panel.start),
            step,
        ))
    }

    /// Lays out a panel of columns, unless it is read where it lies.
    fn lay_out_right(&self, panel: &Range<usize>, out: &mut [T]) {
        if self.lying(panel).is_none() {
            let (right, deep) = (self.operands.right, self.deep.clone());
            right.block(deep, panel.clone(), out, 2 * self.kernels.lanes);
        }
    }

    /// All panels of rows are laid out; each panel of columns, when it was just laid out, meets them all.
    ///
    /// # Safety
    /// As for [`product`].
    unsafe fn pass_columns(
        &self,
        m: usize,
        panels: usize,
        left: &mut [T],
        right: &mut [T],
        target: Target<T>,
    ) {
        let (size, wide) = (left.len() / panels, 2 * self.kernels.lanes);
        for (rows, left) in even(m, panels).zip(left.chunks_exact_mut(size)) {
            self.lay_out_left(rows, left);
        }
        for panel in self.panels() {
            self.lay_out_right(&panel, right);
            let b = self.lying(&panel).unwrap_or((right.as_ptr(), wide));
            for (rows, left) in even(m, panels).zip(left.chunks_exact(size)) {
                // SAFETY: promised by the caller.
                unsafe { self.tile(rows, panel.clone(), left, b, target) };
            }
        }
    }

    /// All panels of columns are laid out; each panel of rows, when it was just laid out, meets them all.
    ///
    /// # Safety
    /// As for [`product`].
    unsafe fn pass_rows(
        &self,
        m: usize,
        panels: usize,
        left: &mut [T],
        right: &mut [T],
        target: Target<T>,
    ) {
        let wide = 2 * self.kernels.lanes;
        // Of a matrix that is read where it lies, only a last panel that is narrow is laid out.
        let place = |i: usize| {
            if self.lies.is_some() {
                0
            } else {
                i * self.deep.len() * wide
            }
        };
        for (i, panel) in self.panels().enumerate() {
            self.lay_out_right(&panel, &mut right[place(i)..]);
        }
        for rows in even(m, panels) {
            self.lay_out_left(rows.clone(), left);
            for (i, panel) in self.panels().enumerate() {
                let laid_out = (right[place(i)..].as_ptr(), wide);
                let b = self.lying(&panel).unwrap_or(laid_out);
                // SAFETY: promised by the caller.
                unsafe { self.tile(rows.clone(), panel, left, b, target) };
            }
        }
    }

    /// A tile: a panel of rows times one of columns.
    ///
    /// # Safety
    /// As for [`product`], and the panels must be laid out.
    unsafe fn tile(
        &self,
        rows: Range<usize>,
        panel: Range<usize>,
        left: &[T],
        (b, step): (*const T, usize),
        target: Target<T>,
    ) {
        let (k, lanes, height) = (self.deep.len(), self.kernels.lanes, rows.len());
        let registers = if panel.len() <= lanes { 1 } else { 2 };
        let (width, by_rows) = (registers * lanes, !self.operands.by_columns);
        let kernel = (self.kernels.tile)(height, registers, by_rows);
        let out = target.out.at(rows.start * target.step + panel.start);
        if panel.len() == width {
            // SAFETY: a whole tile of the target; the panels hold `k` columns and rows.
            return unsafe { kernel(k, left.as_ptr(), b, step, out, target.step, target.add) };
        }
        let mut edge = [const { MaybeUninit::<T>::uninit() }; TILE];
        let edge = edge.as_mut_ptr().cast::<T>();
        // SAFETY: as above; the tile has room in `edge`, and its first columns in the target.
        unsafe {
            kernel(k, left.as_ptr(), b, step, edge, width, false);
            let tile = std::slice::from_raw_parts(edge, height * width);
            spread(tile, width, panel.len(), Ptr(out), target);
        }
    }
}

/// Puts the first columns of a tile where they belong.
///
/// # Safety
/// These must lie in the target, and be nobody else's.
unsafe fn spread<T: Tiles + AddAssign>(
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
