//! Matrix products by kernels of our own for AVX-512 and AVX2, with our pool.
//!
//! A transposed operand costs next to nothing. Rows or columns are cut statically between threads, and a number of the
//! result is the same however they are cut. At the scalar level of [`crate::simd`], and on other machines, the gemm crate
//! computes, which chooses its instructions itself.

mod blocked;
mod source;
#[cfg(test)]
mod tests;
mod tiles;

use std::ops::Range;

use blocked::{Operands, Target, product};
pub(crate) use source::{Matrix, Source};
pub use tiles::Tiles;

use super::linear::kernels::narrow_product;
use crate::{
    DType, Error, Real, Result, Tensor, interrupt, pool,
    pool::Ptr,
    tape::record,
    tensor::{space, with_slice},
    with_real,
};

/// `out = a b` (or `out += a b`) for `a: [m, k]`, `b: [k, n]`, `out: [m, n]` row-major; one thread.
pub(crate) fn gemm<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: &mut [T],
    add: bool,
) {
    assert!(out.len() >= m * n, "gemm: result too small");
    // SAFETY: `out` is ours and holds `m` rows of `n`.
    unsafe { gemm_into(m, k, n, a, b, Ptr(out.as_mut_ptr()), n, add) }
}

/// Like [`gemm`], with the rows of `out` `step` elements apart: a block of columns of a larger matrix.
///
/// # Safety
/// Each row `out + i * step .. + n` must lie in one allocation, and nobody else may touch it meanwhile.
#[expect(
    clippy::too_many_arguments,
    reason = "a product has three sizes and three matrices"
)]
pub(crate) unsafe fn gemm_into<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: Ptr<T>,
    step: usize,
    add: bool,
) {
    assert!(
        a.reaches(m, k) && b.reaches(k, n),
        "gemm: operand too small"
    );
    let target = Target { out, step, add };
    // SAFETY: promised by the caller.
    if m == 0 || n == 0 || unsafe { nothing_to_sum(m, k, n, target) } {
        return;
    }
    let is_column = n == 1 && step == 1 && !add && (b.row == 1 || k == 1);
    if is_column && a.column == 1 && a.row == k {
        // SAFETY: promised by the caller.
        let out = unsafe { out.slice(0, m) };
        narrow_product(&a.values[..m * k], k, &b.values[..k], out, 1);
        return;
    }
    let Some(kernels) = T::kernels() else {
        // SAFETY: reads lie within the slices, as checked above; writes are promised by the caller.
        return unsafe { by_crate([m, k, n], a, b, target) };
    };
    let by_columns = a.row == 1 && a.column != 1;
    let left = if by_columns { a.turned() } else { a };
    let operands = Operands {
        left: &left,
        by_columns,
        right: &b,
        lies: (b.column == 1).then_some((b.values.as_ptr(), b.row)),
    };
    // SAFETY: promised by the caller; `b` holds `k` rows of `n`.
    unsafe { product(kernels, [m, k, n], operands, target) }
}

/// Like [`gemm_into`], of operands that lay themselves out.
///
/// # Safety
/// As for [`gemm_into`].
pub(crate) unsafe fn gemm_of<T: Real>(
    [m, k, n]: [usize; 3],
    a: &dyn Source<T>,
    b: &dyn Source<T>,
    out: Ptr<T>,
    step: usize,
    add: bool,
) {
    let target = Target { out, step, add };
    // SAFETY: promised by the caller.
    if m == 0 || n == 0 || unsafe { nothing_to_sum(m, k, n, target) } {
        return;
    }
    if let Some(kernels) = T::kernels() {
        let operands = Operands {
            left: a,
            by_columns: false,
            right: b,
            lies: None,
        };
        // SAFETY: promised by the caller.
        return unsafe { product(kernels, [m, k, n], operands, target) };
    }
    let (mut left, mut right) = (vec![T::ZERO; m * k], vec![T::ZERO; k * n]);
    a.block(0..m, 0..k, &mut left, k);
    b.block(0..k, 0..n, &mut right, n);
    let (a, b) = (Matrix::rows(&left, k), Matrix::rows(&right, n));
    // SAFETY: promised by the caller; the operands were just laid out.
    unsafe { by_crate([m, k, n], a, b, target) }
}

/// Whether `k` is 0; then the product is 0.
///
/// # Safety
/// As for [`gemm_into`].
unsafe fn nothing_to_sum<T: Real>(m: usize, k: usize, n: usize, target: Target<T>) -> bool {
    if k == 0 && !target.add {
        for row in 0..m {
            // SAFETY: promised by the caller.
            unsafe { target.out.slice(row * target.step, n) }.fill(T::ZERO);
        }
    }
    k == 0
}

/// The product by the gemm crate.
///
/// # Safety
/// As for [`gemm_into`], and the operands must reach over `[m, k]` and `[k, n]`.
unsafe fn by_crate<T: Real>([m, k, n]: [usize; 3], a: Matrix<T>, b: Matrix<T>, target: Target<T>) {
    // SAFETY: promised by the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.out.at(0),
            1,
            target.step as isize,
            target.add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Products below this many multiplications stay on one thread.
const SERIAL_BELOW: usize = 1 << 16;

/// Multiplications of a block, after which the interrupt is asked: some ten milliseconds.
const BLOCK: usize = 1 << 29;

/// Rows and columns that a cut between threads keeps together.
const CUT: [usize; 2] = [8, 32];

/// `out = a b` with the rows of `a` or the columns of `b` cut between threads. An interrupt is an error.
pub(crate) fn gemm_parallel<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: &mut [T],
) -> Result<()> {
    assert!(out.len() >= m * n, "gemm: result too small");
    // One row or column is the transpose's column or row; whichever has rows in memory to walk along.
    let is_turned = |x: Matrix<T>| x.row == 1 && x.column != 1;
    if (m == 1 && n > 1 && is_turned(b)) || (n == 1 && m > 1 && is_turned(a)) {
        return gemm_parallel(n, k, m, b.turned(), a.turned(), out);
    }
    let (pool, stop) = (pool::global(), interrupt::poll());
    if m * k * n < SERIAL_BELOW {
        gemm(m, k, n, a, b, out, false);
        return Ok(());
    }
    let (base, step) = (Ptr(out.as_mut_ptr()), n);
    let run = |rows: Range<usize>, columns: Range<usize>| {
        let width = columns.len().min((BLOCK / (m * k)).max(512));
        let height = (BLOCK / (k * width.max(1)))
            .next_multiple_of(CUT[0])
            .max(CUT[0]);
        for left in columns.clone().step_by(width.max(1)) {
            for top in rows.clone().step_by(height) {
                if stop.requested() {
                    return;
                }
                let (m, n) = (height.min(rows.end - top), width.min(columns.end - left));
                let (a, b) = (a.from(top, 0), b.from(0, left));
                // SAFETY: the blocks of different parts do not overlap and lie within `out`.
                unsafe { gemm_into(m, k, n, a, b, Ptr(base.at(top * step + left)), step, false) };
            }
        }
    };
    let by_columns = cut_columns::<T>(m, n, pool.parts());
    pool.run(|part| match by_columns {
        true => run(0..m, pool::range(n, CUT[1], part, pool.parts())),
        false => run(pool::range(m, CUT[0], part, pool.parts()), 0..n),
    });
    interrupt::check()
}

/// Whether to cut columns rather than rows: each thread lays out what it uses of both operands, and the left one costs
/// less; unless the cut would be less even.
fn cut_columns<T: Real>(m: usize, n: usize, parts: usize) -> bool {
    let share = |n: usize, cut: usize| n.div_ceil(cut).div_ceil(parts) * cut;
    let (by_rows, by_columns) = (share(m, CUT[0]) * n, share(n, CUT[1]) * m);
    T::kernels().is_some() && by_columns <= by_rows + by_rows / 32 && m <= 8 * n
}

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
