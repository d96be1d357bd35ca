//! The CPU kernels: how rows are cut into tiles, and these between threads.

use std::ops::Range;

use candle_core::{Device, Tensor as Data};

use super::{
    Plan,
    net::{Net, Scratch, Step},
};
use crate::{
    Real, Result, Tensor, interrupt,
    ops::loss::RowLoss,
    pool::{self, Ptr},
    tensor::{space, with_slice},
};

/// Numbers of a tile of the widest layer: 128 rows of 256.
const TILE: usize = 1 << 15;

/// Most groups of rows with a gradient of their own.
const GROUPS: usize = 16;

/// Rows of a tile: a multiple of 8, at which rows are cut between threads too.
fn tile_rows(plan: &Plan) -> usize {
    (TILE / plan.widest() / 8 * 8).clamp(32, 256)
}

/// The output of the network at all rows.
pub(super) fn forward<T: Real>(plan: &Plan, x: &Data, layers: &[Data]) -> Result<Data> {
    let (inputs, outputs) = (plan.sizes[0], plan.sizes[plan.sizes.len() - 1]);
    let rows = x.elem_count() / inputs;
    let mut y = space::<T>(rows * outputs)?;
    let base = Ptr(y.as_mut_ptr());
    with_all::<T, _>(x, layers, &mut |x, slices| {
        let net = Net::new(plan, slices)?;
        let (tile, widest) = (tile_rows(plan), plan.widest());
        for_ranges(rows, 8, plan.len(), |range, stop| {
            let mut scratch = (space::<T>(tile * widest)?, space::<T>(tile * widest)?);
            for start in range.clone().step_by(tile) {
                if stop() {
                    break;
                }
                let count = tile.min(range.end - start);
                // SAFETY: the tiles of different parts do not overlap and lie within `y`.
                let y = unsafe { base.slice(start * outputs, count * outputs) };
                net.tile(&x[start * inputs..], count, &mut scratch, y);
            }
            Ok(())
        })
    })?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    Ok(Data::from_vec(y, shape, &Device::Cpu)?)
}

/// The mean loss of the rows, the gradient of all parameters as one flat tensor (`W_1, b_1, W_2, ...`) and, on request, that
/// of `x`.
pub(super) fn loss<T: Real>(
    plan: &Plan,
    [x, target]: [&Data; 2],
    layers: &[Data],
    loss: RowLoss,
    wants_x: bool,
) -> Result<(Data, Tensor, Option<Tensor>)> {
    let inputs = plan.sizes[0];
    let rows = x.elem_count() / inputs;
    let tile = tile_rows(plan);
    // Groups of whole tiles, as many as fit; the same for any number of threads.
    let group = tile * rows.div_ceil(tile).div_ceil(GROUPS);
    let groups = rows.div_ceil(group);
    let n = plan.len();
    let mut partial = space::<T>(groups * n)?;
    let mut losses = vec![0.0f64; groups];
    let mut dx = space::<T>(if wants_x { rows * inputs } else { 0 })?;
    let (base, sums, dx_base) = (
        Ptr(partial.as_mut_ptr()),
        Ptr(losses.as_mut_ptr()),
        Ptr(dx.as_mut_ptr()),
    );
    with_slice::<T, _>("mlp", target, |target| {
        with_all::<T, _>(x, layers, &mut |x, slices| {
            let net = Net::new(plan, slices)?;
            for_ranges(groups, 1, n * group, |range, stop| {
                let mut scratch = Scratch::new(plan, tile)?;
                for at in range {
                    // SAFETY: each group belongs to one part.
                    let (grad, sum) = unsafe { (base.slice(at * n, n), sums.slice(at, 1)) };
                    let own = at * group..((at + 1) * group).min(rows);
                    for start in own.clone().step_by(tile) {
                        if stop() {
                            return Ok(());
                        }
                        let count = tile.min(own.end - start);
                        let step = Step {
                            x: &x[start * inputs..][..count * inputs],
                            target: &target[start * plan.sizes[net.depth()]..],
                            rows: count,
                            first: start == own.start,
                            loss,
                            share: 1.0 / target.len() as f64,
                        };
                        let length = if wants_x { count * inputs } else { 0 };
                        // SAFETY: each row belongs to one group.
                        let dx = unsafe {
                            dx_base.slice(if wants_x { start * inputs } else { 0 }, length)
                        };
                        sum[0] += net.step(&step, &mut scratch, grad, dx);
                    }
                }
                Ok(())
            })
        })
    })??;
    let total: f64 = losses.iter().sum();
    let count = rows * plan.sizes[plan.sizes.len() - 1];
    let loss = Data::from_vec(vec![T::of(total / count as f64)], (), &Device::Cpu)?;
    let flat = Tensor::from_vec(add_groups(partial, n), &[n])?;
    let dx = wants_x
        .then(|| Tensor::from_vec(dx, x.dims()))
        .transpose()?;
    Ok((loss, flat, dx))
}

/// The sum of the gradients of all groups, in their order, in place of the first.
fn add_groups<T: Real>(mut partial: Vec<T>, n: usize) -> Vec<T> {
    let (first, rest) = partial.split_at_mut(n);
    pool::for_each_piece(first, 1024, |start, sum| {
        for other in rest.chunks_exact(n) {
            crate::simd::kernels::add_assign(&other[start..start + sum.len()], sum);
        }
    });
    partial.truncate(n);
    partial
}

/// Calls `f` with ranges of `0..n`, cut at multiples of `quantum`, side by side when `n * work` is large. An interrupt is
/// an error.
fn for_ranges(
    n: usize,
    quantum: usize,
    work: usize,
    f: impl Fn(Range<usize>, &dyn Fn() -> bool) -> Result<()> + Sync,
) -> Result<()> {
    let (pool, poll) = (pool::global(), interrupt::poll());
    let failed = std::sync::Mutex::new(None);
    let run = |range: Range<usize>| {
        if range.is_empty() {
            return;
        }
        if let Err(error) = f(range, &|| poll.requested()) {
            let mut failed = failed
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    };
    if n.saturating_mul(work) < 1 << 15 || pool.parts() == 1 {
        run(0..n);
    } else {
        pool.run(|part| run(pool::range(n, quantum, part, pool.parts())));
    }
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.map_or_else(interrupt::check, Err)
}

/// What is done with the values of `x` and of all parameters.
type OnSlices<'a, T, R> = dyn FnMut(&[T], &[&[T]]) -> Result<R> + 'a;

/// Calls `f` with the values of `x` and of all parameters.
fn with_all<T: Real, R>(x: &Data, parameters: &[Data], f: &mut OnSlices<T, R>) -> Result<R> {
    fn rest<T: Real, R>(
        parameters: &[Data],
        slices: &[&[T]],
        f: &mut dyn FnMut(&[&[T]]) -> Result<R>,
    ) -> Result<R> {
        let Some((first, others)) = parameters.split_first() else {
            return f(slices);
        };
        with_slice::<T, _>("mlp", first, |slice| {
            rest(others, &[slices, &[slice]].concat(), f)
        })?
    }
    with_slice::<T, _>("mlp", x, |x| {
        rest(parameters, &[], &mut |slices| f(x, slices))
    })?
}
