//! Matrix products by kernels of our own for AVX-512 and AVX2, with our pool.
//!
//! A transposed operand costs next to nothing. Rows or columns are cut statically between threads, and a number of the
//! result is the same however they are cut. At the scalar level of [`crate::simd`], and on other machines, the gemm crate
//! computes, which chooses its instructions itself.

mod blocked;
mod dense;
mod source;
#[cfg(test)]
mod tests;
mod tiles;

pub(crate) use blocked::{even, pieces};
use dense::BLOCK;
pub(crate) use dense::{gemm, gemm_into, gemm_of, gemm_parallel};
pub(crate) use source::{Matrix, Source};
pub use tiles::Tiles;
pub(crate) use tiles::{COLUMN_STEP, Kernels};

use crate::{
    DType, Error, Real, Result, Tensor, interrupt, pool,
    tape::record,
    tensor::{space, with_slice},
    with_real,
};

impl Tensor {
    /// The matrix product over the last two axes, `[.., m, k] x [.., k, n] -> [.., m, n]`; leading axes
    /// broadcast. A vector on the left is a row, on the right a column, and its axis is dropped.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        match (self.rank(), other.rank()) {
            (0, _) | (_, 0) => Err(mismatch(
                self,
                other,
                "a scalar has no rows or columns (use *)",
            )),
            (1, _) => self.unsqueeze(0)?.matmul(other)?.squeeze(-2),
            (_, 1) => self.matmul(&other.unsqueeze(1)?)?.squeeze(-1),
            _ => self.product(other),
        }
    }

    fn product(&self, other: &Tensor) -> Result<Tensor> {
        let (ra, rb) = (self.rank(), other.rank());
        let (k, l) = (self.dims()[ra - 1], other.dims()[rb - 2]);
        if k != l {
            return Err(mismatch(
                self,
                other,
                &format!("inner sizes {k} and {l} differ"),
            ));
        }
        let dtype = self.dtype().promote(other.dtype());
        if !dtype.is_float() {
            // Whole numbers below 2^53 are exact in f64.
            let wide = |x: &Tensor| x.to_dtype(DType::F64);
            return wide(self)?.product(&wide(other)?)?.to_dtype(DType::I64);
        }
        if self.dtype() != dtype || other.dtype() != dtype {
            return self.to_dtype(dtype)?.product(&other.to_dtype(dtype)?);
        }
        let batch = super::binary::broadcast_shape(
            "matmul",
            &self.dims()[..ra - 2],
            &other.dims()[..rb - 2],
        )?;
        let data =
            with_real!("matmul", self.dtype(), T => batched::<T>(&self.data, &other.data, &batch))?;
        let (a, b) = (self.data.clone(), other.data.clone());
        record("matmul", data, &[self, other], move |ctx, g| {
            let da = || g.matmul(&ctx.input(1, &b).t()?)?.sum_to(a.dims());
            let db = || ctx.input(0, &a).t()?.matmul(g)?.sum_to(b.dims());
            Ok(vec![
                ctx.needs(0).then(da).transpose()?,
                ctx.needs(1).then(db).transpose()?,
            ])
        })
    }
}

fn mismatch(a: &Tensor, b: &Tensor, why: &str) -> Error {
    Error::Shape {
        op: "matmul",
        detail: format!("{:?} x {:?}: {why}", a.dims(), b.dims()),
    }
}

/// The matrix in the last two axes kept as it lies when one of its steps is 1, else copied.
fn plain(x: &candle_core::Tensor) -> Result<candle_core::Tensor> {
    let (dims, stride, rank) = (x.dims(), x.stride(), x.rank());
    let (rows, columns) = (dims[rank - 2], dims[rank - 1]);
    let as_rows = stride[rank - 1] == 1 && stride[rank - 2] == columns;
    let as_columns = stride[rank - 2] == 1 && stride[rank - 1] == rows;
    if rank == 2 && (as_rows || as_columns) {
        Ok(x.clone())
    } else {
        Ok(x.contiguous()?)
    }
}

fn batched<T: Real>(
    a: &candle_core::Tensor,
    b: &candle_core::Tensor,
    batch: &[usize],
) -> Result<candle_core::Tensor> {
    let (a, b) = (plain(a)?, plain(b)?);
    let (m, k, n) = (
        a.dims()[a.rank() - 2],
        a.dims()[a.rank() - 1],
        b.dims()[b.rank() - 1],
    );
    let count = crate::memory::count("matmul", batch)?;
    let mut shape = batch.to_vec();
    shape.extend([m, n]);
    let mut out = space::<T>(crate::memory::count("matmul", &shape)?)?;
    // A broadcast right operand lets all rows of all batches be one tall matrix.
    let (count, m) = if b.rank() == 2 && a.elem_count() == count * m * k {
        (1, count * m)
    } else {
        (count, m)
    };
    let (wide_a, wide_b) = (
        places(&a.dims()[..a.rank() - 2], batch),
        places(&b.dims()[..b.rank() - 2], batch),
    );
    let (ta, tb) = (is_transposed(&a), is_transposed(&b));
    with_storage::<T, _>(&a, |xa| {
        with_storage::<T, _>(&b, |xb| {
            let operands = |i: usize| {
                let (pa, pb) = match count {
                    1 => (0, 0),
                    _ => (wide_a[i], wide_b[i]),
                };
                let (xa, xb) = (&xa[pa * (m * k)..], &xb[pb * (k * n)..]);
                let left = if ta {
                    Matrix::transposed(xa, m)
                } else {
                    Matrix::rows(xa, k)
                };
                let right = if tb {
                    Matrix::transposed(xb, k)
                } else {
                    Matrix::rows(xb, n)
                };
                (left, right)
            };
            if count >= MANY && m * k * n <= BLOCK && !out.is_empty() {
                return many([m, k, n], operands, &mut out);
            }
            for i in 0..count {
                let (left, right) = operands(i);
                gemm_parallel(m, k, n, left, right, &mut out[i * m * n..(i + 1) * m * n])?;
            }
            Ok::<(), Error>(())
        })
    })???;
    Ok(candle_core::Tensor::from_vec(
        out,
        shape,
        &candle_core::Device::Cpu,
    )?)
}

/// From this many products on each is one thread's: to cut every one of them would wake the others as often.
const MANY: usize = 4;

/// Many small products, `out[i] = a[i] b[i]`, side by side. An interrupt is an error.
fn many<'a, T: Real>(
    [m, k, n]: [usize; 3],
    operands: impl Fn(usize) -> (Matrix<'a, T>, Matrix<'a, T>) + Sync,
    out: &mut [T],
) -> Result<()> {
    let stop = interrupt::poll();
    pool::for_each_costly_piece(out, m * n, k, |start, out| {
        for (i, out) in out.chunks_exact_mut(m * n).enumerate() {
            if stop.requested() {
                return;
            }
            let (left, right) = operands(start / (m * n) + i);
            gemm(m, k, n, left, right, out, false);
        }
    });
    interrupt::check()
}

/// Whether a matrix lies in memory as its transpose would.
fn is_transposed(x: &candle_core::Tensor) -> bool {
    x.rank() == 2 && !x.is_contiguous()
}

/// The elements in memory order, also of a transposed matrix.
fn with_storage<T: Real, R>(x: &candle_core::Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    if is_transposed(x) {
        with_slice("matmul", &x.t()?, f)
    } else {
        with_slice("matmul", x, f)
    }
}

/// For each place of the broadcast batch, the place in the operand's own batch.
fn places(own: &[usize], batch: &[usize]) -> Vec<usize> {
    let count: usize = batch.iter().product();
    let extra = batch.len() - own.len();
    let place = |mut index: usize| {
        let (mut at, mut step) = (0, 1);
        for axis in (0..batch.len()).rev() {
            let here = index % batch[axis];
            index /= batch[axis];
            if axis >= extra {
                let size = own[axis - extra];
                at += if size == 1 { 0 } else { here * step };
                step *= size;
            }
        }
        at
    };
    (0..count).map(place).collect()
}
