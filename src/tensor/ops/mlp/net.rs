//! A tile of rows through all layers, forward, and back to the gradients.

use super::Plan;
use crate::{
    Real, Result,
    ops::{
        linear::kernels::{
            FEW, Kernel, kernels, narrow_gradient, narrow_product, shallow_gradient,
            shallow_product, times_and_sum,
        },
        loss::RowLoss,
        matmul::{Matrix, gemm},
    },
    pool,
    simd::{kernels::sum_rows_into, math::Float, transpose::transpose},
    tensor::space,
};

/// A network whose weights lie ready: as they are, and transposed.
pub(super) struct Net<'a, T> {
    plan: &'a Plan,
    /// Of each layer: `W: [out, in]` and `b`.
    layers: Vec<(&'a [T], &'a [T])>,
    /// Of each layer: `W^T: [in, out]`, empty where nothing uses it.
    turned: Vec<Vec<T>>,
    acts: Vec<Kernel<T>>,
}

impl<'a, T: Real> Net<'a, T> {
    pub(super) fn new(plan: &'a Plan, slices: &[&'a [T]]) -> Result<Self> {
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

    pub(super) fn depth(&self) -> usize {
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

impl<T: Real> Net<'_, T> {
    /// A tile of rows through all layers.
    pub(super) fn tile(&self, x: &[T], rows: usize, (a, b): &mut (Vec<T>, Vec<T>), y: &mut [T]) {
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
pub(super) struct Scratch<T> {
    /// Outputs of the layers.
    h: Vec<Vec<T>>,
    /// Slopes of their activations.
    d: Vec<Vec<T>>,
    /// The gradient of a layer's output and of its input.
    g: (Vec<T>, Vec<T>),
}

impl<T: Real> Scratch<T> {
    pub(super) fn new(plan: &Plan, tile: usize) -> Result<Self> {
        let outputs = || plan.sizes[1..].iter().map(|n| space::<T>(tile * n));
        let wide = || space::<T>(tile * plan.widest());
        Ok(Self {
            h: outputs().collect::<Result<_>>()?,
            d: outputs().collect::<Result<_>>()?,
            g: (wide()?, wide()?),
        })
    }
}

/// A tile of rows of a training step.
pub(super) struct Step<'a, T> {
    pub(super) x: &'a [T],
    pub(super) target: &'a [T],
    pub(super) rows: usize,
    /// Whether it is the first of its group: then gradients are written, not added.
    pub(super) first: bool,
    pub(super) loss: RowLoss,
    /// One over the number of elements of all targets.
    pub(super) share: f64,
}

impl<T: Real> Net<'_, T> {
    /// Forward and back: gradients go to `grad` and, where it is not empty, `dx`. Gives the sum of the losses of the rows,
    /// times the number of elements of a row.
    pub(super) fn step(
        &self,
        step: &Step<T>,
        scratch: &mut Scratch<T>,
        grad: &mut [T],
        dx: &mut [T],
    ) -> f64 {
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
        let g = &mut scratch.g.0[..count];
        let total = match step.loss {
            RowLoss::Square => squares(y, step.target, T::of(2.0 * step.share), g),
            RowLoss::PseudoHuber(c) => {
                let outputs = self.sizes(last).1;
                hubers(y, step.target, outputs, c, step.share, g)
            }
        };
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
    fn squares<T: Float>(y: &[T], target: &[T], scale: T, g: &mut [T]) -> f64 {
        let mut total = 0.0;
        for ((y, target), g) in y.iter().zip(target).zip(g) {
            let d = *y - *target;
            total += d.to_f64() * d.to_f64();
            *g = d * scale;
        }
        total
    }
}

crate::simd! {
    /// `g = share e / sqrt(|e|^2 + c^2)` for each row `e` of `y - target`, and the sum of `sqrt(|e|^2 + c^2) - c`.
    fn hubers<T: Float>(y: &[T], target: &[T], width: usize, c: f64, share: f64, g: &mut [T]) -> f64 {
        let mut total = 0.0;
        let rows = y.chunks_exact(width).zip(target.chunks_exact(width));
        for ((y, target), g) in rows.zip(g.chunks_exact_mut(width)) {
            let mut square = 0.0;
            for ((y, target), g) in y.iter().zip(target).zip(g.iter_mut()) {
                *g = *y - *target;
                square += g.to_f64() * g.to_f64();
            }
            let root = (square + c * c).sqrt();
            total += square / (root + c);
            let scale = T::of(share / root);
            g.iter_mut().for_each(|g| *g *= scale);
        }
        total
    }
}
