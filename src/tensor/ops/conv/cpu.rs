//! The CPU kernels of the three convolutions: products of matrices with the columns of `x`, a column a position (im2col).
//! Products lay out of these what they need; only the transpose at a stride writes blocks of them, and adds each back.
//!
//! Work is cut by what is written, so that no thread needs a copy of a result and the sums have the same
//! order for any number of threads. Where each channel stands alone, a product would have one row:
//! there the elements of the kernel are walked directly.

use std::ops::Range;

use candle_core::{Device, Tensor as Data};

use super::{
    columns::Columns,
    geometry::Geometry,
    mirror::{mirrored, mirrored_weights},
};
use crate::{
    Real, Result,
    interrupt::{self, Poll},
    memory,
    ops::matmul::{Matrix, gemm_into, gemm_of},
    pool::{self, Ptr},
    simd::{kernels, math::Float, transpose::transpose},
    tensor::{buffer, with_slice},
};

/// Elements of a block of columns that is added back to its places: it stays in the second-level cache.
const BLOCK: usize = 1 << 17;

/// Positions of a block: a multiple of 16, so that rows start on whole vectors.
fn width(geo: &Geometry) -> usize {
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

/// Calls `f(task, scratch, stop)` for all tasks, side by side when there is work enough. An interrupt is an error; long tasks
/// ask for it themselves.
fn for_tasks<T: Real>(
    tasks: usize,
    work: usize,
    scratch: usize,
    f: impl Fn(usize, &mut [T], &Poll) + Sync,
) -> Result<()> {
    let (pool, stop) = (pool::global(), interrupt::poll());
    memory::ensure(scratch.saturating_mul(pool.parts()), size_of::<T>())?;
    let run = |range: Range<usize>| {
        let mut scratch = vec![T::ZERO; if range.is_empty() { 0 } else { scratch }];
        for task in range {
            if stop.requested() {
                return;
            }
            f(task, &mut scratch, &stop);
        }
    };
    if tasks.saturating_mul(work) < 1 << 15 || pool.parts() == 1 {
        run(0..tasks);
    } else {
        pool.run(|part| run(pool::range(tasks, 1, part, pool.parts())));
    }
    interrupt::check()
}

/// How many pieces `n` channels are cut into when there are `tasks` already.
fn pieces(n: usize, tasks: usize) -> usize {
    pool::global()
        .parts()
        .div_ceil(tasks.max(1))
        .clamp(1, n.max(1))
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

/// `x[i step] += s y[i]`.
#[inline(always)]
fn add_strided<T: Real>(s: T, y: &[T], x: &mut [T], step: usize) {
    if step == 1 {
        kernels::axpy(s, y, &mut x[..y.len()]);
    } else {
        for (x, y) in x.iter_mut().step_by(step).zip(y) {
            *x = s.fma(*y, *x)
        }
    }
}

/// Fills rows of `plane` elements with the biases of their channels; zero without.
fn fill<T: Real>(out: &mut [T], plane: usize, bias: &[T]) {
    for (out, b) in out.chunks_exact_mut(plane.max(1)).zip(bias) {
        out.fill(*b)
    }
}

fn values<T: Real>(geo: &Geometry, bias: Option<&Data>) -> Result<Vec<T>> {
    bias.map_or(Ok(Vec::new()), |b| {
        with_slice::<T, _>(geo.op, b, <[T]>::to_vec)
    })
}

fn finish<T: Real>(out: Vec<T>, shape: [usize; 4]) -> Result<Data> {
    Ok(Data::from_vec(out, shape.as_slice(), &Device::Cpu)?)
}

/// `F(x, w) + b`.
pub(super) fn forward<T: Real>(
    geo: &Geometry,
    x: &Data,
    w: &Data,
    bias: Option<&Data>,
) -> Result<Data> {
    let bias = values::<T>(geo, bias)?;
    let mut y = buffer::<T>(memory::count(geo.op, &geo.y_shape())?)?;
    fill_samples(geo, &mut y, geo.positions(), geo.outputs, &bias);
    let base = Ptr(y.as_mut_ptr());
    with_slice::<T, _>(geo.op, x, |x| {
        with_slice::<T, _>(geo.op, w, |w| {
            if geo.is_depthwise() {
                forward_alone(geo, x, w, base)
            } else {
                forward_blocks(geo, x, w, base)
            }
        })
    })???;
    finish(y, geo.y_shape())
}

/// Fills all samples with biases.
fn fill_samples<T: Real>(geo: &Geometry, out: &mut [T], plane: usize, channels: usize, bias: &[T]) {
    let sample = plane * channels * geo.groups;
    if bias.is_empty() || sample == 0 {
        return;
    }
    pool::for_each_piece(out, sample, |_, out| {
        for out in out.chunks_exact_mut(sample) {
            fill(out, plane, bias)
        }
    });
}

/// Multiplications of a task, after which the interrupt is asked.
const TASK: usize = 1 << 27;

/// Tasks that a convolution is cut into where its positions allow.
const TASKS: usize = 16;

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
fn forward_blocks<T: Real>(geo: &Geometry, x: &[T], w: &[T], y: Ptr<T>) -> Result<()> {
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

/// A task is a group of a sample, with one channel of `x`.
fn forward_alone<T: Real>(geo: &Geometry, x: &[T], w: &[T], y: Ptr<T>) -> Result<()> {
    let (taps, positions, plane, step) = (geo.taps(), geo.positions(), geo.plane(), geo.stride[1]);
    for_tasks::<T>(
        geo.batch * geo.groups,
        geo.outputs * taps * positions,
        0,
        |task, _, _| {
            let x = &x[task * plane..][..plane];
            for channel in 0..geo.outputs {
                // SAFETY: a channel of this sample and group: nobody else's.
                let y = unsafe { y.slice((task * geo.outputs + channel) * positions, positions) };
                let w = &w[(task % geo.groups * geo.outputs + channel) * taps..][..taps];
                for (tap, &w) in w.iter().enumerate() {
                    geo.runs(tap, 0..positions, |at, len, from| {
                        let y = &mut y[at..at + len];
                        if step == 1 {
                            kernels::axpy(w, &x[from..from + len], y);
                        } else {
                            for (y, x) in y.iter_mut().zip(x[from..].iter().step_by(step)) {
                                *y = w.fma(*x, *y)
                            }
                        }
                    });
                }
            }
        },
    )
}

/// `B(y, w) + b`. A task is a group of a sample, or a piece of its channels where samples are few.
pub(super) fn transposed<T: Real>(
    geo: &Geometry,
    y: &Data,
    w: &Data,
    bias: Option<&Data>,
) -> Result<Data> {
    let bias = values::<T>(geo, bias)?;
    let mut x = buffer::<T>(memory::count(geo.op, &geo.x_shape())?)?;
    fill_samples(geo, &mut x, geo.plane(), geo.inputs, &bias);
    let base = Ptr(x.as_mut_ptr());
    if let Some(mirrored) = mirrored(geo) {
        with_slice::<T, _>(geo.op, y, |y| {
            with_slice::<T, _>(geo.op, w, |w| {
                forward_blocks(&mirrored, y, &mirrored_weights(geo, w), base)
            })
        })???;
        return finish(x, geo.x_shape());
    }
    let cuts = pieces(geo.inputs, geo.batch * geo.groups);
    let (rows, plane) = (geo.inputs * geo.taps(), geo.plane());
    let most = geo.inputs.div_ceil(cuts);
    let direct = geo.is_depthwise() || geo.is_pointwise();
    let scratch = if direct {
        0
    } else {
        most * geo.taps() * width(geo)
    };
    let work = geo.outputs * most * geo.taps() * geo.positions();
    with_slice::<T, _>(geo.op, y, |y| {
        with_slice::<T, _>(geo.op, w, |w| {
            for_tasks::<T>(
                geo.batch * geo.groups * cuts,
                work,
                scratch,
                |task, scratch, stop| {
                    let at = task / cuts;
                    let channels = pool::range(geo.inputs, 1, task % cuts, cuts);
                    // SAFETY: channels of this sample and group: nobody else's.
                    let x = unsafe {
                        base.slice(
                            (at * geo.inputs + channels.start) * plane,
                            channels.len() * plane,
                        )
                    };
                    let y =
                        &y[at * geo.outputs * geo.positions()..][..geo.outputs * geo.positions()];
                    let w = &w[at % geo.groups * geo.outputs * rows..][..geo.outputs * rows];
                    if geo.is_depthwise() {
                        transposed_alone(geo, y, w, x);
                    } else {
                        transposed_blocks(geo, [y, w], channels, x, scratch, stop);
                    }
                },
            )
        })
    })???;
    finish(x, geo.x_shape())
}

fn transposed_alone<T: Real>(geo: &Geometry, y: &[T], w: &[T], x: &mut [T]) {
    let (taps, positions) = (geo.taps(), geo.positions());
    for (at, &w) in w.iter().enumerate() {
        let y = &y[at / taps * positions..][..positions];
        geo.runs(at % taps, 0..positions, |at, len, from| {
            add_strided(w, &y[at..at + len], &mut x[from..], geo.stride[1]);
        });
    }
}

/// A product `[rows, outputs] x [outputs, positions]` a block, added where it belongs.
fn transposed_blocks<T: Real>(
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

/// `W(x, y)`. A task is a piece of the inputs of a piece of the outputs of a group: samples are summed in order.
pub(super) fn weights<T: Real>(geo: &Geometry, x: &Data, y: &Data) -> Result<Data> {
    let mut w = buffer::<T>(memory::count(geo.op, &geo.w_shape())?)?;
    let base = Ptr(w.as_mut_ptr());
    let in_cuts = pieces(geo.inputs, geo.groups);
    // Outputs are cut where there are few inputs: then laying these out twice costs little.
    let out_cuts = pieces(geo.outputs.div_ceil(8), geo.groups * in_cuts);
    let most = geo.inputs.div_ceil(in_cuts) * geo.taps();
    let scratch = most * geo.outputs;
    let work = geo.batch * geo.positions() * most * geo.outputs.div_ceil(out_cuts);
    with_slice::<T, _>(geo.op, x, |x| {
        with_slice::<T, _>(geo.op, y, |y| {
            for_tasks::<T>(
                geo.groups * in_cuts * out_cuts,
                work,
                scratch,
                |task, scratch, stop| {
                    let (group, rest) = (task / (in_cuts * out_cuts), task % (in_cuts * out_cuts));
                    if geo.is_depthwise() {
                        // One input and at most two outputs are never cut.
                        weights_alone(geo, [x, y], group, base, stop);
                        return;
                    }
                    let inputs = pool::range(geo.inputs, 1, rest / out_cuts, in_cuts);
                    let outputs = pool::range(geo.outputs, 1, rest % out_cuts, out_cuts);
                    weights_blocks(geo, [x, y], group, [inputs, outputs], base, (scratch, stop));
                },
            )
        })
    })???;
    finish(w, geo.w_shape())
}

fn weights_alone<T: Real>(geo: &Geometry, [x, y]: [&[T]; 2], group: usize, w: Ptr<T>, stop: &Poll) {
    let (taps, positions, plane, step) = (geo.taps(), geo.positions(), geo.plane(), geo.stride[1]);
    for channel in 0..geo.outputs {
        let channel = group * geo.outputs + channel;
        let mut totals = vec![0.0f64; taps];
        for sample in 0..geo.batch {
            if stop.requested() {
                return;
            }
            let x = &x[(sample * geo.groups + group) * plane..][..plane];
            let y = &y[(sample * geo.groups * geo.outputs + channel) * positions..][..positions];
            for (tap, total) in totals.iter_mut().enumerate() {
                geo.runs(tap, 0..positions, |at, len, from| {
                    let y = &y[at..at + len];
                    *total += if step == 1 {
                        Float::to_f64(dot(&x[from..from + len], y))
                    } else {
                        let pairs = x[from..].iter().step_by(step).zip(y);
                        pairs
                            .map(|(x, y)| Float::to_f64(*x) * Float::to_f64(*y))
                            .sum()
                    };
                });
            }
        }
        // SAFETY: the kernel of this channel: nobody else's.
        let w = unsafe { w.slice(channel * taps, taps) };
        for (w, total) in w.iter_mut().zip(totals) {
            *w = T::of(total)
        }
    }
}

crate::simd! {
    /// The sum of products, in 32 lanes.
    fn dot<T: Float>(x: &[T], y: &[T]) -> T {
        let mut lanes = [T::ZERO; 32];
        let (xs, ys) = (x.chunks_exact(32), y.chunks_exact(32));
        let mut total = T::ZERO;
        for (x, y) in xs.remainder().iter().zip(ys.remainder()) { total = x.fma(*y, total) }
        for (x, y) in xs.zip(ys) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) { *lane = x.fma(*y, *lane) }
        }
        for lane in lanes { total += lane }
        total
    }
}

/// Products of all samples, added up: `[rows, positions] x [positions, outputs]`, the transpose of what is wanted, as the
/// left operand of a product is laid out the faster.
fn weights_blocks<T: Real>(
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
