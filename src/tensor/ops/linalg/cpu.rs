//! The factorisations of single matrices, by nalgebra in f64, and the walk over a batch.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use nalgebra::{DMatrix, DVector};

use crate::{Error, Result, Tensor, interrupt, memory, pool, pool::Ptr};

/// What can be wrong with a matrix.
pub(super) type Outcome = std::result::Result<(), &'static str>;

/// Operations from which a matrix is worked on by a thread of its own, so that an interrupt need not wait: some 30 ms.
const LONG: usize = 1 << 26;

/// Calls `f(matrices, out)` for each place of a batch: `inputs` have `sizes` elements there, the result `size`. `work`: about how many
/// operations each takes.
pub(super) fn each<const N: usize>(
    op: &'static str,
    inputs: &[&Tensor],
    batch: &[usize],
    sizes: [usize; N],
    size: usize,
    work: usize,
    f: impl Fn(&[&[f64]], &mut [f64]) -> Outcome + Send + Sync + 'static,
) -> Result<Vec<f64>> {
    let count = memory::count(op, batch)?;
    let total = memory::count(op, &[count, size])?;
    memory::ensure(total, 16)?;
    let values = inputs
        .iter()
        .map(|x| x.to_vec())
        .collect::<Result<Vec<_>>>()?;
    if values.iter().flatten().any(|v| !v.is_finite()) {
        return Err(wrong(op, "holds NaN or infinity", None));
    }
    let mut out = vec![0.0; total];
    if size == 0 {
        return Ok(out);
    }
    let failed = if work >= LONG {
        patiently(values, sizes, size, &mut out, f)?
    } else {
        side_by_side(&values, sizes, size, work, &mut out, f)?
    };
    match failed {
        Some((at, what)) => Err(wrong(op, what, (count > 1).then_some(at))),
        None => Ok(out),
    }
}

fn wrong(op: &'static str, what: &str, at: Option<usize>) -> Error {
    let which = at.map_or(String::new(), |at| format!(" {at} of the batch"));
    Error::Value {
        op,
        detail: format!("the matrix{which} {what}"),
    }
}

type Failed = Option<(usize, &'static str)>;

/// The matrices at one place of the batch.
fn at<const N: usize>(values: &[Vec<f64>], sizes: [usize; N], place: usize) -> Vec<&[f64]> {
    values
        .iter()
        .zip(sizes)
        .map(|(v, size)| &v[place * size..(place + 1) * size])
        .collect()
}

fn side_by_side<const N: usize>(
    values: &[Vec<f64>],
    sizes: [usize; N],
    size: usize,
    work: usize,
    out: &mut [f64],
    f: impl Fn(&[&[f64]], &mut [f64]) -> Outcome + Sync,
) -> Result<Failed> {
    let count = out.len() / size;
    let (pool, stop, base) = (pool::global(), interrupt::poll(), Ptr(out.as_mut_ptr()));
    let failed: Mutex<Failed> = Mutex::new(None);
    let run = |range: std::ops::Range<usize>| {
        for place in range {
            if stop.requested() {
                return;
            }
            // SAFETY: places do not overlap, each is given out once, all lie within `out`.
            let out = unsafe { base.slice(place * size, size) };
            if let Err(what) = f(&at(values, sizes, place), out) {
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if first.is_none_or(|(known, _)| place < known) {
                    *first = Some((place, what));
                }
                return;
            }
        }
    };
    if count < 2 || count.saturating_mul(work) < 1 << 16 {
        run(0..count);
    } else {
        pool.run(|part| run(pool::range(count, 1, part, pool.parts())));
    }
    interrupt::check()?;
    Ok(failed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// One matrix after the other on a thread that is left behind when the user interrupts: nalgebra cannot be asked to stop.
fn patiently<const N: usize>(
    values: Vec<Vec<f64>>,
    sizes: [usize; N],
    size: usize,
    out: &mut [f64],
    f: impl Fn(&[&[f64]], &mut [f64]) -> Outcome + Send + Sync + 'static,
) -> Result<Failed> {
    let shared = Arc::new((values, f));
    for (place, out) in out.chunks_exact_mut(size).enumerate() {
        let (done, result) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("linalg".into())
            .spawn(move || {
                let mut out = vec![0.0; size];
                let outcome = (theirs.1)(&at(&theirs.0, sizes, place), &mut out);
                // Nobody listens any more after an interrupt.
                let _ = done.send((outcome, out));
            })
            .map_err(|error| Error::Candle(format!("no thread for a factorisation: {error}")))?;
        loop {
            match result.recv_timeout(Duration::from_millis(10)) {
                Ok((Ok(()), values)) => {
                    out.copy_from_slice(&values);
                    break;
                }
                Ok((Err(what), _)) => return Ok(Some((place, what))),
                Err(mpsc::RecvTimeoutError::Timeout) => interrupt::check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Ok(Some((place, "could not be factorised")));
                }
            }
        }
    }
    Ok(None)
}

const SINGULAR: &str = "is singular";
const SLOW: &str = "did not converge";

/// `out`, row by row.
fn write(x: &DMatrix<f64>, out: &mut [f64]) {
    for (i, row) in out.chunks_exact_mut(x.ncols().max(1)).enumerate() {
        for (j, out) in row.iter_mut().enumerate() {
            *out = x[(i, j)]
        }
    }
}

/// `x` with `a x = b`. A pivot within rounding of its column's cancellation means singular.
pub(super) fn solve(a: &[f64], b: &[f64], n: usize, k: usize, out: &mut [f64]) -> Outcome {
    let a = DMatrix::from_row_slice(n, n, a);
    let sizes: Vec<f64> = a.column_iter().map(|c| c.amax()).collect();
    let lu = a.lu();
    let inner = lu.lu_internal();
    let tiny = |j: usize| inner[(j, j)].abs() <= n as f64 * f64::EPSILON * sizes[j];
    if (0..n).any(tiny) {
        return Err(SINGULAR);
    }
    let mut x = DMatrix::from_row_slice(n, k, b);
    if !lu.solve_mut(&mut x) {
        return Err(SINGULAR);
    }
    write(&x, out);
    Ok(())
}

pub(super) fn det(a: &[f64], n: usize, out: &mut [f64]) -> Outcome {
    out[0] = DMatrix::from_row_slice(n, n, a).lu().determinant();
    Ok(())
}

/// Sign and logarithm.
pub(super) fn slogdet(a: &[f64], n: usize, out: &mut [f64]) -> Outcome {
    let lu = DMatrix::from_row_slice(n, n, a).lu();
    let exchanges: f64 = lu.p().determinant();
    let (mut sign, mut log) = (exchanges, 0.0);
    for pivot in lu.lu_internal().diagonal().iter() {
        sign *= if *pivot == 0.0 { 0.0 } else { pivot.signum() };
        log += pivot.abs().ln();
    }
    out.copy_from_slice(&[sign, log]);
    Ok(())
}

pub(super) fn cholesky(a: &[f64], n: usize, out: &mut [f64]) -> Outcome {
    let found = DMatrix::from_row_slice(n, n, a)
        .cholesky()
        .ok_or("is not positive definite")?;
    write(&found.l(), out);
    Ok(())
}

/// `Q` and `R`, for `m >= n`.
pub(super) fn qr(a: &[f64], m: usize, n: usize, out: &mut [f64]) -> Outcome {
    let (q, r) = DMatrix::from_row_slice(m, n, a).qr().unpack();
    let (left, right) = out.split_at_mut(m * n);
    write(&q, left);
    write(&r, right);
    Ok(())
}

/// More iterations than convergence ever takes: a bound, as without one there is none.
fn iterations(n: usize) -> usize {
    1000 + 100 * n
}

/// Eigenvalues, rising, and eigenvectors.
pub(super) fn eigh(a: &[f64], n: usize, out: &mut [f64]) -> Outcome {
    let a = DMatrix::from_row_slice(n, n, a);
    let found = a
        .try_symmetric_eigen(f64::EPSILON, iterations(n))
        .ok_or(SLOW)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| found.eigenvalues[i].total_cmp(&found.eigenvalues[j]));
    let (values, vectors) = out.split_at_mut(n);
    for (column, &from) in order.iter().enumerate() {
        values[column] = found.eigenvalues[from];
        let vector = found.eigenvectors.column(from);
        let sign = vector[vector.iamax()].signum();
        for (row, v) in vector.iter().enumerate() {
            vectors[row * n + column] = sign * v
        }
    }
    Ok(())
}

/// `U`, `s`, `V^T`.
type Factors = (DMatrix<f64>, DVector<f64>, DMatrix<f64>);
type Svd = nalgebra::linalg::SVD<f64, nalgebra::Dyn, nalgebra::Dyn>;

fn singular(a: &[f64], m: usize, n: usize) -> std::result::Result<Factors, &'static str> {
    let a = DMatrix::from_row_slice(m, n, a);
    let found: Svd = a
        .try_svd(true, true, 5.0 * f64::EPSILON, iterations(m.min(n)))
        .ok_or(SLOW)?;
    match (found.u, found.v_t) {
        (Some(u), Some(vt)) => Ok((u, found.singular_values, vt)),
        _ => Err(SLOW),
    }
}

/// `U`, `s`, `V^T`, the largest element of each column of `U` positive.
pub(super) fn svd(a: &[f64], m: usize, n: usize, out: &mut [f64]) -> Outcome {
    let (mut u, s, mut vt) = singular(a, m, n)?;
    let k = m.min(n);
    for i in 0..k {
        let column = u.column(i);
        if column[column.iamax()] < 0.0 {
            u.column_mut(i).neg_mut();
            vt.row_mut(i).neg_mut();
        }
    }
    let (left, rest) = out.split_at_mut(m * k);
    let (middle, right) = rest.split_at_mut(k);
    write(&u, left);
    middle.copy_from_slice(s.as_slice());
    write(&vt, right);
    Ok(())
}

pub(super) fn pinv(a: &[f64], m: usize, n: usize, eps: f64, out: &mut [f64]) -> Outcome {
    let (u, s, vt) = singular(a, m, n)?;
    let least = m.max(n) as f64 * eps * s.amax();
    let mut left = vt.transpose();
    for (mut column, s) in left.column_iter_mut().zip(s.iter()) {
        column *= if *s > least { 1.0 / s } else { 0.0 };
    }
    write(&(left * u.transpose()), out);
    Ok(())
}
