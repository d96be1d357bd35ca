//! The CPU kernels of the norms. Rows are cut between threads; the gradients of the weights are summed in blocks of
//! rows whose number does not depend on the threads.

use candle_core::{Device, Tensor as Data};

use super::Norm;
use crate::{
    Real, Result, Tensor,
    pool::{self, Ptr},
    simd::{kernels, math::Float},
    tensor::{space, with_slice},
};

/// Blocks of rows in which the gradients of the weights are summed.
const BLOCKS: usize = 32;

crate::simd! {
    /// `y = (x - mean) rstd w + b`, weight by weight.
    fn scale_each<T: Float>(x: &[T], mean: T, rstd: T, w: &[T], b: &[T], y: &mut [T]) {
        for (((x, w), b), y) in x.iter().zip(w).zip(b).zip(y) { *y = ((*x - mean) * rstd).fma(*w, *b) }
    }
}
crate::simd! {
    /// `y = (x - mean) s + b`.
    fn scale_all<T: Float>(x: &[T], mean: T, s: T, b: T, y: &mut [T]) {
        for (x, y) in x.iter().zip(y) { *y = (*x - mean).fma(s, b) }
    }
}
crate::simd! {
    /// `sum g` and `sum g (x - mean)`.
    fn sums<T: Float>(g: &[T], x: &[T], mean: T) -> (T, T) {
        const LANES: usize = 32;
        let (mut a, mut b) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (gs, xs) = (g.chunks_exact(LANES), x.chunks_exact(LANES));
        let (mut first, mut second) = (T::ZERO, T::ZERO);
        for (g, x) in gs.remainder().iter().zip(xs.remainder()) {
            first += *g;
            second = g.fma(*x - mean, second);
        }
        for (g, x) in gs.zip(xs) {
            for (((a, b), g), x) in a.iter_mut().zip(&mut b).zip(g).zip(x) {
                *a += *g;
                *b = g.fma(*x - mean, *b);
            }
        }
        for (a, b) in a.iter().zip(&b) {
            first += *a;
            second += *b;
        }
        (first, second)
    }
}
crate::simd! {
    /// `dw += g u`, `db += g`, `gw = g w` and `u`, for one row with a weight an element.
    fn weigh<T: Float>(x: &[T], g: &[T], w: &[T], mean: T, rstd: T, u: &mut [T], gw: &mut [T], dw: &mut [T], db: &mut [T]) {
        for ((((((x, g), w), u), gw), dw), db) in x.iter().zip(g).zip(w).zip(u).zip(gw).zip(dw).zip(db) {
            let normal = (*x - mean) * rstd;
            *u = normal;
            *gw = *g * *w;
            *dw = g.fma(normal, *dw);
            *db += *g;
        }
    }
}
crate::simd! {
    /// `dx = a (gw - m1 - u m2)`, with `gw` in `dx`.
    fn finish_row<T: Float>(u: &[T], a: T, m1: T, m2: T, dx: &mut [T]) {
        for (u, dx) in u.iter().zip(dx) { *dx = a * (*dx - m1 - *u * m2) }
    }
}
crate::simd! {
    /// `dx = a g + b (x - mean) + c`.
    fn blend<T: Float>(g: &[T], x: &[T], mean: T, a: T, b: T, c: T, dx: &mut [T]) {
        for ((g, x), dx) in g.iter().zip(x).zip(dx) { *dx = g.fma(a, (*x - mean).fma(b, c)) }
    }
}

/// The value, and mean and `r` of every row.
pub(super) fn forward<T: Real>(norm: Norm, inputs: &[Data]) -> Result<(Data, Vec<[f64; 2]>)> {
    let x = &inputs[0];
    let rows = x.elem_count() / norm.row;
    let mut y = space::<T>(x.elem_count())?;
    let mut stats = vec![[0.0; 2]; rows];
    let base = Ptr(y.as_mut_ptr());
    let n = norm.row;
    let none = vec![T::ZERO; norm.channels() * norm.cycle];
    with_all::<T, _>(norm.op, inputs, |slices| {
        let (x, w, b) = (
            slices[0],
            slices[1],
            slices.get(2).copied().unwrap_or(&none),
        );
        pool::for_each_costly_piece(&mut stats, 1, n, |start, stats| {
            for (i, stats) in stats.iter_mut().enumerate() {
                let row = start + i;
                let x = &x[row * n..][..n];
                let (mean, rstd) = kernels::mean_rstd_row(x, norm.eps, norm.centred);
                *stats = [mean, rstd];
                let (mean, rstd) = (T::of(mean), T::of(rstd));
                // SAFETY: each row belongs to one piece.
                let y = unsafe { base.slice(row * n, n) };
                let (w, b) = (weights(norm, w, row), weights(norm, b, row));
                if norm.places == 1 {
                    scale_each(x, mean, rstd, w, b, y);
                    continue;
                }
                let channels = x
                    .chunks_exact(norm.places)
                    .zip(y.chunks_exact_mut(norm.places));
                for ((x, y), (w, b)) in channels.zip(w.iter().zip(b)) {
                    scale_all(x, mean, rstd * *w, *b, y);
                }
            }
        });
    })?;
    Ok((Data::from_vec(y, x.dims(), &Device::Cpu)?, stats))
}

/// The weights of a row.
fn weights<T>(norm: Norm, w: &[T], row: usize) -> &[T] {
    &w[row % norm.cycle * norm.channels()..][..norm.channels()]
}

/// Gradients of `x`, weight and bias.
pub(super) fn backward<T: Real>(
    norm: Norm,
    inputs: &[Data],
    stats: &[[f64; 2]],
    g: &Data,
    wants_weights: bool,
) -> Result<[Option<Tensor>; 3]> {
    let x = &inputs[0];
    let mut dx = space::<T>(x.elem_count())?;
    let (cycles, all) = (stats.len() / norm.cycle, norm.channels() * norm.cycle);
    let blocks = BLOCKS.min(cycles).max(1);
    // Of each block: the gradient of the weights, then that of the biases.
    let mut partial = vec![T::ZERO; blocks * 2 * all];
    let base = Ptr(dx.as_mut_ptr());
    with_all::<T, _>(
        norm.op,
        &[x.clone(), inputs[1].clone(), g.clone()],
        |slices| {
            let task = |block: usize, partial: &mut [T]| {
                let (dw, db) = partial.split_at_mut(all);
                let mut unit = vec![T::ZERO; if norm.places == 1 { norm.row } else { 0 }];
                let range = pool::range(cycles, 1, block, blocks);
                let rows = range.start * norm.cycle..range.end * norm.cycle;
                for (row, &[mean, rstd]) in rows.clone().zip(&stats[rows]) {
                    let at = row * norm.row..(row + 1) * norm.row;
                    let first = row % norm.cycle * norm.channels();
                    let own = first..first + norm.channels();
                    let (dw, db) = (&mut dw[own.clone()], &mut db[own.clone()]);
                    let row = Row {
                        x: &slices[0][at.clone()],
                        g: &slices[2][at.clone()],
                        w: &slices[1][own],
                        mean: T::of(mean),
                        rstd: T::of(rstd),
                    };
                    // SAFETY: each row belongs to one block.
                    let dx = unsafe { base.slice(at.start, norm.row) };
                    if norm.places == 1 {
                        row.each(norm, &mut unit, dx, dw, db);
                    } else {
                        row.channels(norm, dx, dw, db);
                    }
                }
            };
            let (pool, base) = (pool::global(), Ptr(partial.as_mut_ptr()));
            pool.run(|part| {
                for block in pool::range(blocks, 1, part, pool.parts()) {
                    // SAFETY: each block belongs to one part.
                    task(block, unsafe { base.slice(block * 2 * all, 2 * all) });
                }
            });
        },
    )?;
    let dx = Some(Tensor::from_vec(dx, x.dims())?);
    if !wants_weights {
        return Ok([dx, None, None]);
    }
    let mut total = vec![0.0f64; 2 * all];
    for block in partial.chunks_exact(2 * all) {
        for (total, part) in total.iter_mut().zip(block) {
            *total += Float::to_f64(*part);
        }
    }
    let sum = |range: std::ops::Range<usize>| {
        let values: Vec<T> = total[range].iter().map(|v| T::of(*v)).collect();
        Tensor::from_vec(values, &[all])
    };
    Ok([dx, Some(sum(0..all)?), Some(sum(all..2 * all)?)])
}

/// A row on its way back.
struct Row<'a, T> {
    x: &'a [T],
    g: &'a [T],
    w: &'a [T],
    mean: T,
    rstd: T,
}

impl<T: Real> Row<'_, T> {
    /// With a weight an element.
    fn each(&self, norm: Norm, unit: &mut [T], dx: &mut [T], dw: &mut [T], db: &mut [T]) {
        weigh(
            self.x, self.g, self.w, self.mean, self.rstd, unit, dx, dw, db,
        );
        let n = T::of(norm.row as f64);
        let (m1, m2) = sums(dx, unit, T::ZERO);
        let m1 = if norm.centred { m1 / n } else { T::ZERO };
        finish_row(unit, self.rstd, m1, m2 / n, dx);
    }

    /// With a weight a channel.
    fn channels(&self, norm: Norm, dx: &mut [T], dw: &mut [T], db: &mut [T]) {
        let (mean, rstd) = (self.mean, self.rstd);
        let (mut m1, mut m2) = (T::ZERO, T::ZERO);
        let channels = || {
            self.x
                .chunks_exact(norm.places)
                .zip(self.g.chunks_exact(norm.places))
        };
        for (((x, g), w), (dw, db)) in channels().zip(self.w).zip(dw.iter_mut().zip(db)) {
            let (sum, product) = sums(g, x, mean);
            let unit = product * rstd;
            *dw += unit;
            *db += sum;
            m1 += *w * sum;
            m2 += *w * unit;
        }
        let n = T::of(norm.row as f64);
        let m1 = if norm.centred { m1 / n } else { T::ZERO };
        let slope = -(rstd * rstd * m2 / n);
        for (((x, g), w), dx) in channels().zip(self.w).zip(dx.chunks_exact_mut(norm.places)) {
            blend(g, x, mean, rstd * *w, slope, -(rstd * m1), dx);
        }
    }
}

/// Calls `f` with the values of all tensors.
fn with_all<T: Real, R>(
    op: &'static str,
    tensors: &[Data],
    f: impl FnOnce(&[&[T]]) -> R,
) -> Result<R> {
    match tensors {
        [a, b] => with_slice::<T, _>(op, a, |a| with_slice::<T, _>(op, b, |b| f(&[a, b])))?,
        [a, b, c] => with_slice::<T, _>(op, a, |a| {
            with_slice::<T, _>(op, b, |b| with_slice::<T, _>(op, c, |c| f(&[a, b, c])))
        })??,
        _ => Err(crate::Error::Value {
            op,
            detail: "takes two or three tensors".into(),
        }),
    }
}
