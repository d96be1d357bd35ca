//! Convolutions as products of matrices with the columns of `x`, a column a position (im2col). Products lay out of these what
//! they need; only the transpose at a stride writes blocks of them, and adds each back.

use std::ops::Range;

use super::{
    columns::Columns,
    cpu::{TASKS, for_tasks},
    geometry::Geometry,
};
use crate::{
    Real, Result,
    interrupt::Poll,
    ops::matmul::{Matrix, gemm_into, gemm_of},
    pool::Ptr,
    simd::transpose::transpose,
};

/// Elements of a block of columns that is added back to its places: it stays in the second-level cache.
const BLOCK: usize = 1 << 17;

/// Multiplications of a task, after which the interrupt is asked.
const TASK: usize = 1 << 27;

/// Positions of a block: a multiple of 16, so that rows start on whole vectors.
pub(super) fn width(geo: &Geometry) -> usize {
    let rows = (geo.inputs * geo.taps()).max(1);
    (BLOCK / rows / 16 * 16).max(48).min(geo.positions().max(1))
}

/// The blocks of positions.
fn blocks(geo: &Geometry) -> impl Iterator<Item = Range<usize>> + use<> {
    let (width, positions) = (width(geo), geo.positions());
    (0..positions)
        .step_by(width)
        .map(move |start| start..(start + width).min(positions))
}

/// The blocks of positions of a task: few and long, as products cut what they lay out themselves.
fn spans(geo: &Geometry, tasks: usize) -> Vec<Range<usize>> {
    let (positions, each) = (geo.positions(), geo.outputs * geo.inputs * geo.taps());
    let most = (TASK / each.max(1))
        .min(positions.div_ceil(TASKS.div_ceil(tasks.max(1))))
        .max(256);
    let size = positions
        .div_ceil(positions.div_ceil(most).max(1))
        .next_multiple_of(32);
    let span = |start: usize| start..(start + size).min(positions);
    (0..positions).step_by(size.max(1)).map(span).collect()
}

/// A task is a block of positions of a group of a sample: a product `[outputs, rows] x [rows, positions]`.
pub(super) fn forward_blocks<T: Real>(geo: &Geometry, x: &[T], w: &[T], y: Ptr<T>) -> Result<()> {
    let (rows, positions, plane) = (geo.inputs * geo.taps(), geo.positions(), geo.plane());
    let all = spans(geo, geo.batch * geo.groups);
    let tasks = geo.batch * geo.groups * all.len();
    let work = geo.outputs * rows * all.first().map_or(0, Range::len);
    for_tasks::<T>(tasks, work, 0, |task, _, _| {
        let (at, block) = (task / all.len(), &all[task % all.len()]);
        let x = &x[at * geo.inputs * plane..][..geo.inputs * plane];
        let w = &w[at % geo.groups * geo.outputs * rows..][..geo.outputs * rows];
        let (left, sizes) = (Matrix::rows(w, rows), [geo.outputs, rows, block.len()]);
        let out = Ptr(y.at(at * geo.outputs * positions + block.start));
        let start = block.start;
        // SAFETY: rows of a block of positions of this sample and group: nobody else's.
        unsafe {
            if geo.is_pointwise() {
                let right = Matrix {
                    values: x.get(start..).unwrap_or(&[]),
                    row: plane,
                    column: 1,
                };
                let [m, k, n] = sizes;
                gemm_into(m, k, n, left, right, out, positions, true);
            } else {
                gemm_of(
                    sizes,
                    &left,
                    &Columns { geo, x, start },
                    out,
                    positions,
                    true,
                );
            }
        }
    })
}

crate::simd! {
    /// Adds columns (see [`Columns`]) back to their places in `x`: the transpose of laying them out.
    fn add_columns<T: Real>(geo: &Geometry, columns: &[T], range: &Range<usize>, x: &mut [T]) {
        let (plane, taps, step) = (geo.plane(), geo.taps(), geo.stride[1]);
        for (row, columns) in columns.chunks_exact(range.len()).enumerate() {
            let Some(x) = x.get_mut(row / taps * plane..(row / taps + 1) * plane) else { return };
            geo.runs(row % taps, range.clone(), #[inline(always)] |at, len, from| {
                let columns = &columns[at..at + len];
                if step == 1 {
                    for (x, y) in x[from..from + len].iter_mut().zip(columns) { *x += *y }
                } else {
                    for (x, y) in x[from..].iter_mut().step_by(step).zip(columns) { *x += *y }
                }
            });
        }
    }
}

/// A product `[rows, outputs] x [outputs, positions]` a block, added where it belongs.
pub(super) fn transposed_blocks<T: Real>(
    geo: &Geometry,
    [y, w]: [&[T]; 2],
    channels: Range<usize>,
    x: &mut [T],
    scratch: &mut [T],
    stop: &Poll,
) {
    let (taps, positions) = (geo.taps(), geo.positions());
    let (rows, all) = (channels.len() * taps, geo.inputs * taps);
    let values = w.get(channels.start * taps..).unwrap_or(&[]);
    let left = Matrix {
        values,
        row: 1,
        column: all,
    };
    for block in blocks(geo) {
        if stop.requested() {
            return;
        }
        let values = y.get(block.start..).unwrap_or(&[]);
        let right = Matrix {
            values,
            row: positions,
            column: 1,
        };
        let (out, step) = if geo.is_pointwise() {
            (Ptr(x[block.start..].as_mut_ptr()), positions)
        } else {
            (Ptr(scratch.as_mut_ptr()), block.len())
        };
        // SAFETY: `x` has a row of `positions` for each channel (and one tap); `scratch` holds the block.
        unsafe {
            gemm_into(
                rows,
                geo.outputs,
                block.len(),
                left,
                right,
                out,
                step,
                geo.is_pointwise(),
            );
        }
        if !geo.is_pointwise() {
            add_columns(geo, &scratch[..rows * block.len()], &block, x);
        }
    }
}

/// Products of all samples, added up: `[rows, positions] x [positions, outputs]`, the transpose of what is wanted, as the
/// left operand of a product is laid out the faster.
pub(super) fn weights_blocks<T: Real>(
    geo: &Geometry,
    [x, y]: [&[T]; 2],
    group: usize,
    [inputs, outputs]: [Range<usize>; 2],
    w: Ptr<T>,
    (scratch, stop): (&mut [T], &Poll),
) {
    let (taps, positions, plane) = (geo.taps(), geo.positions(), geo.plane());
    let (rows, all) = (inputs.len() * taps, geo.inputs * taps);
    let span = (TASK / (all * geo.outputs).max(1)).max(1 << 12);
    let sums = &mut scratch[..rows * outputs.len()];
    sums.fill(T::ZERO);
    for sample in 0..geo.batch {
        let at = sample * geo.groups + group;
        let x = &x[(at * geo.inputs + inputs.start) * plane..][..inputs.len() * plane];
        let y = &y[(at * geo.outputs + outputs.start) * positions..][..outputs.len() * positions];
        for start in (0..positions).step_by(span) {
            if stop.requested() {
                return;
            }
            let sizes = [rows, span.min(positions - start), outputs.len()];
            let right = Matrix {
                values: y.get(start..).unwrap_or(&[]),
                row: 1,
                column: positions,
            };
            let out = Ptr(sums.as_mut_ptr());
            // SAFETY: `sums` has `rows` rows of the outputs.
            unsafe {
                if geo.is_pointwise() {
                    let left = Matrix {
                        values: x.get(start..).unwrap_or(&[]),
                        row: plane,
                        column: 1,
                    };
                    gemm_of(sizes, &left, &right, out, outputs.len(), true);
                } else {
                    gemm_of(
                        sizes,
                        &Columns { geo, x, start },
                        &right,
                        out,
                        outputs.len(),
                        true,
                    );
                }
            }
        }
    }
    let out = w.at((group * geo.outputs + outputs.start) * all + inputs.start * taps);
    // SAFETY: these inputs of these outputs of this group: nobody else's.
    unsafe { transpose(sums.as_ptr(), outputs.len(), out, all, outputs.len(), rows) };
}
