//! The CPU kernels of the linear layer: tiles of rows stay in the second-level cache through the
//! product and the activation; gradients of weights are cut by output rows, so that no thread
//! needs a copy of them and the result does not depend on the number of threads.

use candle_core::{Device, Tensor as Data};

use super::{
    Activation,
    kernels::{kernels, narrow_product, times},
};
use crate::{
    Real, Result, Tensor, interrupt,
    ops::matmul::{Matrix, gemm, gemm_parallel},
    pool::{self, Ptr},
    tensor::{buffer, space, with_slice},
};

/// Rows of a tile: 128 rows of 256 columns in f32 are 128 kB.
const TILE: usize = 128;

/// Calls `f(rows)` for tiles of rows, side by side when the work is worth it. An interrupt is an error.
fn for_tiles(rows: usize, work: usize, f: impl Fn(std::ops::Range<usize>) + Sync) -> Result<()> {
    let (pool, stop) = (pool::global(), interrupt::poll());
    let tiles = |range: std::ops::Range<usize>| {
        for start in range.clone().step_by(TILE) {
            if stop.requested() {
                return;
            }
            f(start..(start + TILE).min(range.end));
        }
    };
    if rows * work < 1 << 15 || pool.parts() == 1 {
        tiles(0..rows);
    } else {
        pool.run(|part| tiles(pool::range(rows, 8, part, pool.parts())));
    }
    interrupt::check()
}

/// Rows up to which the weight is walked once for each: laying it out for a product of matrices would take longer.
const FEW_ROWS: usize = 4;

/// `act(x W^T + b)`, and the slopes `act'(z)` when they are to be kept and not all 1.
pub(super) fn forward<T: Real>(
    [x, w, b]: [&Data; 3],
    [rows, inputs, outputs]: [usize; 3],
    shape: &[usize],
    act: Activation,
    keep: bool,
) -> Result<(Data, Option<Data>)> {
    let keep = keep && act != Activation::Identity;
    let mut y = space::<T>(rows * outputs)?;
    let mut d = if keep {
        space::<T>(rows * outputs)?
    } else {
        Vec::new()
    };
    let (with_slope, without) = kernels::<T>(act);
    let (y_base, d_base) = (Ptr(y.as_mut_ptr()), Ptr(d.as_mut_ptr()));
    with_slice::<T, _>("linear", x, |x| {
        with_slice::<T, _>("linear", w, |w| {
            with_slice::<T, _>("linear", b, |b| {
                for_tiles(rows, inputs * outputs, |tile| {
                    let (start, n) = (tile.start * outputs, tile.len() * outputs);
                    // SAFETY: tiles do not overlap and lie within `y`.
                    let y = unsafe { y_base.slice(start, n) };
                    let x = &x[tile.start * inputs..tile.end * inputs];
                    if outputs <= 8 && inputs > 0 {
                        narrow_product(x, inputs, w, y, outputs);
                    } else if rows <= FEW_ROWS && inputs > 0 {
                        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
                            narrow_product(w, inputs, x, y, 1);
                        }
                    } else {
                        let (left, right) =
                            (Matrix::rows(x, inputs), Matrix::transposed(w, inputs));
                        gemm(tile.len(), inputs, outputs, left, right, y, false);
                    }
                    if outputs == 0 {
                    } else if keep {
                        // SAFETY: as above, within `d`.
                        with_slope(y, b, unsafe { d_base.slice(start, n) });
                    } else {
                        without(y, b);
                    }
                })
            })
        })
    })????;
    let slope = if keep {
        Some(Data::from_vec(d, (rows, outputs), &Device::Cpu)?)
    } else {
        None
    };
    Ok((Data::from_vec(y, shape, &Device::Cpu)?, slope))
}

/// Gradients of `x`, `W`, `b` (those that are needed) from `g = dL/dy`.
pub(super) fn backward<T: Real>(
    [x, w, g]: [&Data; 3],
    slope: Option<&Data>,
    [rows, inputs, outputs]: [usize; 3],
    needs: [bool; 3],
) -> Result<Vec<Option<Tensor>>> {
    let x_shape = x.dims().to_vec();
    with_slice::<T, _>("linear", g, |g| {
        let mut scaled = Vec::new();
        if let Some(slope) = slope {
            scaled = space::<T>(rows * outputs)?;
            with_slice::<T, _>("linear", slope, |d| {
                pool::for_each_piece(&mut scaled, 64, |start, dz| {
                    let r = start..start + dz.len();
                    times(&g[r.clone()], &d[r], dz);
                });
            })?;
        }
        let dz: &[T] = if slope.is_some() { &scaled } else { g };
        let dx = needs[0]
            .then(|| input_gradient(dz, w, [rows, inputs, outputs], &x_shape))
            .transpose()?;
        let dw = needs[1]
            .then(|| weight_gradient(dz, x, [rows, inputs, outputs]))
            .transpose()?;
        let db = needs[2].then(|| bias_gradient(dz, outputs)).transpose()?;
        Ok(vec![dx, dw, db])
    })?
}

/// `dx = dz W`.
fn input_gradient<T: Real>(
    dz: &[T],
    w: &Data,
    [rows, inputs, outputs]: [usize; 3],
    shape: &[usize],
) -> Result<Tensor> {
    let mut dx = space::<T>(rows * inputs)?;
    with_slice::<T, _>("linear", w, |w| {
        gemm_parallel(
            rows,
            outputs,
            inputs,
            Matrix::rows(dz, outputs),
            Matrix::rows(w, inputs),
            &mut dx,
        )
    })??;
    Tensor::from_vec(dx, shape)
}

/// `dW = dz^T x`.
fn weight_gradient<T: Real>(
    dz: &[T],
    x: &Data,
    [rows, inputs, outputs]: [usize; 3],
) -> Result<Tensor> {
    let mut dw = space::<T>(outputs * inputs)?;
    with_slice::<T, _>("linear", x, |x| {
        gemm_parallel(
            outputs,
            rows,
            inputs,
            Matrix::transposed(dz, outputs),
            Matrix::rows(x, inputs),
            &mut dw,
        )
    })??;
    Tensor::from_vec(dw, &[outputs, inputs])
}

/// `db = ` the column sums of `dz`.
fn bias_gradient<T: Real>(dz: &[T], outputs: usize) -> Result<Tensor> {
    let mut db = buffer::<T>(outputs)?;
    if outputs > 0 {
        crate::simd::kernels::sum_rows_into(dz, &mut db);
    }
    Tensor::from_vec(db, &[outputs])
}
