//! The CPU kernels: tiles of rows through all layers, forward, and back to the gradients.

use std::ops::Range;

use candle_core::{Device, Tensor as Data};

use super::Plan;
use crate::{
    Real, Result, Tensor, interrupt,
    ops::{
        linear::kernels::{
            FEW, Kernel, kernels, narrow_gradient, narrow_product, shallow_gradient,
            shallow_product, times_and_sum,
        },
        matmul::{Matrix, gemm},
    },
    pool::{self, Ptr},
    simd::{kernels::sum_rows_into, math::Float, transpose::transpose},
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

/// A network whose weights lie ready: as they are, and transposed.
struct Net<'a, T> {
    plan: &'a Plan,
    /// Of each layer: `W: [out, in]` and `b`.
    layers: Vec<(&'a [T], &'a [T])>,
    /// Of each layer: `W^T: [in, out]`, empty where nothing uses it.
    turned: Vec<Vec<T>>,
    acts: Vec<Kernel<T>>,
}

impl<'a, T: Real> Net<'a, T> {
    fn new(plan: &'a Plan, slices: &[&'a [T]]) -> Result<Self> {
        let layers: Vec<_> = slices.chunks_exact(2).map(|p| (p[0], p[1])).collect();
        let mut turned = Vec::with_capacity(layers.len());
        for (sizes, (weight, _)) in plan.sizes.windows(2).zip(&layers) {
            let (inputs, outputs) = (sizes[0], sizes[1]);
            turned.push(match outputs <= FEW {
                true => Vec::new(),
                false => turn(weight, inputs, outputs)?,
            });
        }
        let acts = plan.acts.iter().map(|act| kernels(*act)).collect();
        Ok(Self {
            plan,
            layers,
            turned,
            acts,
        })
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    fn sizes(&self, layer: usize) -> (usize, usize) {
        (self.plan.sizes[layer], self.plan.sizes[layer + 1])
    }

    /// `z = x W^T` of some rows.
    fn product(&self, layer: usize, rows: usize, x: &[T], z: &mut [T]) {
        let (inputs, outputs) = self.sizes(layer);
        let (x, z) = (&x[..rows * inputs], &mut z[..rows * outputs]);
        if outputs <= FEW {
            narrow_product(x, inputs, self.layers[layer].0, z, outputs);
        } else if inputs <= FEW {
            shallow_product(x, inputs, &self.turned[layer], z, outputs);
        } else {
            let right = Matrix::rows(&self.turned[layer], outputs);
            gemm(
                rows,
                inputs,
                outputs,
                Matrix::rows(x, inputs),
                right,
                z,
                false,
            );
        }
    }

    /// `dx = dz W` of some rows.
    fn product_back(&self, layer: usize, rows: usize, dz: &[T], dx: &mut [T]) {
        let (inputs, outputs) = self.sizes(layer);
        let (dz, dx) = (&dz[..rows * outputs], &mut dx[..rows * inputs]);
        let weight = self.layers[layer].0;
        if outputs <= FEW {
            shallow_product(dz, outputs, weight, dx, inputs);
        } else {
            let (left, right) = (Matrix::rows(dz, outputs), Matrix::rows(weight, inputs));
            gemm(rows, outputs, inputs, left, right, dx, false);
        }
    }

    /// `dw += dz^T x` of some rows; the first time instead of it, `dw = dz^T x`.
    fn weight_gradient(
        &self,
        layer: usize,
        rows: usize,
        dz: &[T],
        x: &[T],
        dw: &mut [T],
        first: bool,
    ) {
        let (inputs, outputs) = self.sizes(layer);
        let (dz, x) = (&dz[..rows * outputs], &x[..rows * inputs]);
        let few = outputs <= FEW || inputs <= FEW;
        if few && first {
            dw.fill(T::ZERO);
        }
        if outputs <= FEW {
            narrow_gradient(dz, outputs, x, inputs, dw);
        } else if inputs <= FEW {
            shallow_gradient(dz, outputs, x, inputs, dw);
        } else {
            let (left, right) = (Matrix::transposed(dz, outputs), Matrix::rows(x, inputs));
            gemm(outputs, rows, inputs, left, right, dw, !first);
        }
    }
}

/// The transpose of a weight, by all threads.
fn turn<T: Real>(weight: &[T], inputs: usize, outputs: usize) -> Result<Vec<T>> {
    let mut out = space::<T>(weight.len())?;
    pool::for_each_piece(&mut out, 16 * outputs, |start, out| {
        let (first, rows) = (start / outputs, out.len() / outputs);
        // SAFETY: `out` holds `rows` rows of the transpose from row `first` on; the weight all columns of it.
        unsafe {
            let from = weight.as_ptr().add(first);
            transpose(from, inputs, out.as_mut_ptr(), outputs, rows, outputs);
        }
    });
    Ok(out)
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

impl<T: Real> Net<'_, T> {
    /// A tile of rows through all layers.
    fn tile(&self, x: &[T], rows: usize, (a, b): &mut (Vec<T>, Vec<T>), y: &mut [T]) {
        let last = self.depth() - 1;
        for layer in 0..=last {
            let z: &mut [T] = if layer == last { y } else { b };
            let source: &[T] = if layer == 0 { x } else { a };
            self.product(layer, rows, source, z);
            let z = &mut z[..rows * self.sizes(layer).1];
            (self.acts[layer].1)(z, self.layers[layer].1);
            std::mem::swap(a, b);
        }
    }
}

/// What a tile leaves behind on its way forward, and the gradients on the way back.
struct Scratch<T> {
    /// Outputs of the layers.
    h: Vec<Vec<T>>,
    /// Slopes of their activations.
    d: Vec<Vec<T>>,
    /// The gradient of a layer's output and of its input.
    g: (Vec<T>, Vec<T>),
}

impl<T: Real> Scratch<T> {
    fn new(plan: &Plan, tile: usize) -> Result<Self> {
        let outputs = || plan.sizes[1..].iter().map(|n| space::<T>(tile * n));
        let wide = || space::<T>(tile * plan.widest());
        Ok(Self {
            h: outputs().collect::<Result<_>>()?,
            d: outputs().collect::<Result<_>>()?,
            g: (wide()?, wide()?),
        })
    }
}

/// The mean squared error, the gradient of all parameters as one flat tensor (`W_1, b_1, W_2, ...`) and, on request, that
/// of `x`.
pub(super) fn mse<T: Real>(
    plan: &Plan,
    [x, target]: [&Data; 2],
    layers: &[Data],
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
                    let (grad, loss) = unsafe { (base.slice(at * n, n), sums.slice(at, 1)) };
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
                            scale: 2.0 / target.len() as f64,
                        };
                        let length = if wants_x { count * inputs } else { 0 };
                        // SAFETY: each row belongs to one group.
                        let dx = unsafe {
                            dx_base.slice(if wants_x { start * inputs } else { 0 }, length)
                        };
                        loss[0] += net.step(&step, &mut scratch, grad, dx);
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

/// A tile of rows of a training step.
struct Step<'a, T> {
    x: &'a [T],
    target: &'a [T],
    rows: usize,
    /// Whether it is the first of its group: then gradients are written, not added.
    first: bool,
    /// `2 / elements`: the slope of the mean squared error.
    scale: f64,
}

impl<T: Real> Net<'_, T> {
    /// Forward and back: gradients go to `grad` and, where it is not empty, `dx`. Gives the sum of squares.
    fn step(&self, step: &Step<T>, scratch: &mut Scratch<T>, grad: &mut [T], dx: &mut [T]) -> f64 {
        let rows = step.rows;
        for layer in 0..self.depth() {
            let (before, own) = scratch.h.split_at_mut(layer);
            let source = before.last().map_or(step.x, Vec::as_slice);
            self.product(layer, rows, source, &mut own[0]);
            let count = rows * self.sizes(layer).1;
            let (z, d) = (&mut own[0][..count], &mut scratch.d[layer][..count]);
            (self.acts[layer].0)(z, self.layers[layer].1, d);
        }
        let last = self.depth() - 1;
        let count = rows * self.sizes(last).1;
        let y = &scratch.h[last][..count];
        let total = residual(y, step.target, T::of(step.scale), &mut scratch.g.0[..count]);
        let mut end = grad.len();
        for layer in (0..=last).rev() {
            let (inputs, outputs) = self.sizes(layer);
            let start = end - (inputs + 1) * outputs;
            let (dw, db) = grad[start..end].split_at_mut(inputs * outputs);
            end = start;
            let (g, next) = (&mut scratch.g.0, &mut scratch.g.1);
            if step.first {
                db.fill(T::ZERO);
            }
            let dz = &mut g[..rows * outputs];
            match self.plan.acts[layer] {
                super::Activation::Identity => sum_rows_into(dz, db),
                _ => times_and_sum(dz, &scratch.d[layer][..rows * outputs], db),
            }
            let source = match layer {
                0 => step.x,
                _ => &scratch.h[layer - 1],
            };
            self.weight_gradient(layer, rows, dz, source, dw, step.first);
            if layer > 0 {
                self.product_back(layer, rows, dz, next);
                std::mem::swap(&mut scratch.g.0, &mut scratch.g.1);
            } else if !dx.is_empty() {
                self.product_back(layer, rows, dz, dx);
            }
        }
        total
    }
}

crate::simd! {
    /// `g = scale (y - target)` and the sum of the squares of `y - target`.
    fn residual<T: Float>(y: &[T], target: &[T], scale: T, g: &mut [T]) -> f64 {
        let mut total = 0.0;
        for ((y, target), g) in y.iter().zip(target).zip(g) {
            let d = *y - *target;
            total += d.to_f64() * d.to_f64();
            *g = d * scale;
        }
        total
    }
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
