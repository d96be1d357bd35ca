//! The CPU's ways through the three convolutions, and how their work is cut.
//!
//! Work is cut by what is written, so that no thread needs a copy of a result and the sums have the same
//! order for any number of threads.

use std::ops::Range;

use candle_core::{Device, Tensor as Data};

use super::{
    alone::{forward_alone, transposed_alone, weights_alone},
    blocks::{forward_blocks, transposed_blocks, weights_blocks, width},
    geometry::Geometry,
    mirror::{mirrored, mirrored_weights},
    winograd,
};
use crate::{
    Real, Result,
    interrupt::{self, Poll},
    memory,
    pool::{self, Ptr},
    tensor::{buffer, space, with_slice},
};

/// Tasks that a convolution is cut into where its positions allow.
pub(super) const TASKS: usize = 16;

/// Calls `f(task, scratch, stop)` for all tasks, side by side when there is work enough. An interrupt is an error; long tasks
/// ask for it themselves.
pub(super) fn for_tasks<T: Real>(
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
    if winograd::fits::<T>(geo) {
        return by_winograd(geo, [x, w], &bias, false, geo.y_shape());
    }
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

/// A convolution, or with `mirror` a transposed one that is the convolution `geo`, to `shape`.
fn by_winograd<T: Real>(
    geo: &Geometry,
    [x, w]: [&Data; 2],
    bias: &[T],
    mirror: bool,
    shape: [usize; 4],
) -> Result<Data> {
    let mut y = space::<T>(memory::count(geo.op, &shape)?)?;
    let base = Ptr(y.as_mut_ptr());
    with_slice::<T, _>(geo.op, x, |x| {
        with_slice::<T, _>(geo.op, w, |w| {
            winograd::forward(geo, [x, w, bias], mirror, base)
        })
    })???;
    finish(y, shape)
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

/// `B(y, w) + b`. A task is a group of a sample, or a piece of its channels where samples are few.
pub(super) fn transposed<T: Real>(
    geo: &Geometry,
    y: &Data,
    w: &Data,
    bias: Option<&Data>,
) -> Result<Data> {
    let bias = values::<T>(geo, bias)?;
    let mirrored = mirrored(geo);
    if let Some(mirrored) = mirrored.filter(winograd::fits::<T>) {
        return by_winograd(&mirrored, [y, w], &bias, true, geo.x_shape());
    }
    let mut x = buffer::<T>(memory::count(geo.op, &geo.x_shape())?)?;
    fill_samples(geo, &mut x, geo.plane(), geo.inputs, &bias);
    let base = Ptr(x.as_mut_ptr());
    if let Some(mirrored) = mirrored {
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

/// `W(x, y)`. A task is a piece of the inputs of a piece of the outputs of a group: samples are summed in order.
pub(super) fn weights<T: Real>(geo: &Geometry, x: &Data, y: &Data) -> Result<Data> {
    let mut w = buffer::<T>(memory::count(geo.op, &geo.w_shape())?)?;
    let base = Ptr(w.as_mut_ptr());
    if winograd::fits::<T>(geo) {
        with_slice::<T, _>(geo.op, x, |x| {
            with_slice::<T, _>(geo.op, y, |y| winograd::weights(geo, [x, y], base))
        })???;
        return finish(w, geo.w_shape());
    }
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
