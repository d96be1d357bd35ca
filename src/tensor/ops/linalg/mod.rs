//! Linear algebra on the last two axes; leading axes are batches.
//!
//! The factorisations are nalgebra's, in f64 also for f32 (results have the dtype of the input); their gradients are
//! the standard formulas, written in tensor operations, and can be differentiated again. Where a factorisation does not exist
//! (singular, not positive definite, not square) or its gradient does not (repeated singular values), an error says so.
//!
//! Gradients: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008;
//! S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions", 2010 (QR); J. Townsend, "Differentiating
//! the singular value decomposition", 2016; G. Golub, V. Pereyra, SIAM J. Numer. Anal. 10, 1973 (pseudo-inverse).

mod contract;
mod cpu;
mod factor;
mod parts;

pub(super) use contract::*;

use super::broadcast_shape;
use crate::{DType, Error, Result, Tensor, tape::record};
use cpu::each;

/// A float matrix with its leading axes: batch, rows, columns.
fn matrix<'a>(op: &'static str, x: &'a Tensor) -> Result<(&'a [usize], usize, usize)> {
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Err(Error::DType {
            op,
            expected: "f32 or f64",
            got: x.dtype(),
        });
    }
    match x.dims() {
        [batch @ .., m, n] => Ok((batch, *m, *n)),
        dims => {
            let detail = format!("expected a matrix [.., m, n], got shape {dims:?}");
            Err(Error::Shape { op, detail })
        }
    }
}

/// A square float matrix: batch and size.
fn square<'a>(op: &'static str, x: &'a Tensor) -> Result<(&'a [usize], usize)> {
    match matrix(op, x)? {
        (batch, m, n) if m == n => Ok((batch, n)),
        _ => {
            let detail = format!(
                "expected a square matrix [.., n, n], got shape {:?}",
                x.dims()
            );
            Err(Error::Shape { op, detail })
        }
    }
}

/// Values in f64 to a tensor of a dtype.
fn from_f64(values: Vec<f64>, shape: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::from_vec(values, shape)?.to_dtype(dtype)
}

/// A shape with further axes.
fn with(batch: &[usize], last: &[usize]) -> Vec<usize> {
    [batch, last].concat()
}

fn widened(x: &Tensor, batch: &[usize], own: usize) -> Result<Tensor> {
    let shape = with(batch, &x.dims()[x.rank() - own..]);
    if shape == x.dims() {
        Ok(x.clone())
    } else {
        x.broadcast_to(&shape)
    }
}

impl Tensor {
    /// The `x` with `a x = b`, for `a: [.., n, n]` and `b: [.., n, k]`, or a vector `b: [.., n]` where that has the leading
    /// axes of `a`; leading axes broadcast. By LU with row exchanges. Errors when `a` is singular.
    pub fn solve(&self, b: &Tensor) -> Result<Tensor> {
        self.solve_as("solve", b)
    }

    fn solve_as(&self, op: &'static str, b: &Tensor) -> Result<Tensor> {
        let (own, n) = square(op, self)?;
        if b.rank() == 1 || (b.rank() + 1 == self.rank() && b.dims() == with(own, &[n])) {
            return self.solve_as(op, &b.unsqueeze(-1)?)?.squeeze(-1);
        }
        let (other, rows, k) = matrix(op, b)?;
        if rows != n {
            let detail = format!(
                "{:?} x = {:?}: sizes {n} and {rows} differ",
                self.dims(),
                b.dims()
            );
            return Err(Error::Shape { op, detail });
        }
        if self.dtype() != b.dtype() {
            return Err(Error::DType {
                op,
                expected: self.dtype().as_str(),
                got: b.dtype(),
            });
        }
        let batch = broadcast_shape(op, own, other)?;
        let (a, b) = (widened(self, &batch, 2)?, widened(b, &batch, 2)?);
        let x = each(
            op,
            &[&a, &b],
            &batch,
            [n * n, n * k],
            n * k,
            n * n * (n + k),
            move |x, out| cpu::solve(x[0], x[1], n, k, out),
        )?;
        let x = from_f64(x, &with(&batch, &[n, k]), self.dtype())?.data;
        let (a_data, x_data) = (a.data.clone(), x.clone());
        record(op, x, &[&a, &b], move |ctx, g| {
            // dB = A^-T G, dA = -dB X^T
            let db = ctx.input(0, &a_data).t()?.solve_as(op, g)?;
            let da = || db.matmul(&ctx.output(&x_data).t()?)?.neg();
            Ok(vec![ctx.needs(0).then(da).transpose()?, Some(db.clone())])
        })
    }

    /// The inverse of `[.., n, n]`. Errors when it is singular.
    pub fn inv(&self) -> Result<Tensor> {
        self.inv_as("inv")
    }

    fn inv_as(&self, op: &'static str) -> Result<Tensor> {
        let (_, n) = square(op, self)?;
        // Of the same rank: an identity alone could be taken for a batch of vectors.
        self.solve_as(
            op,
            &Tensor::eye(n, self.dtype())?.broadcast_to(self.dims())?,
        )
    }

    /// The determinant of `[.., n, n]`: `[..]`. Its gradient `det A^-T` is an error where the matrix is singular.
    pub fn det(&self) -> Result<Tensor> {
        let op = "det";
        let (batch, n) = square(op, self)?;
        let y = each(op, &[self], batch, [n * n], 1, n * n * n, move |x, out| {
            cpu::det(x[0], n, out)
        })?;
        let y = from_f64(y, batch, self.dtype())?.data;
        let (a, saved) = (self.data.clone(), y.clone());
        record(op, y, &[self], move |ctx, g| {
            let inverse = ctx.input(0, &a).inv_as("gradient of det")?.t()?;
            let scale = g.mul(&ctx.output(&saved))?.unsqueeze(-1)?.unsqueeze(-1)?;
            Ok(vec![Some(inverse.mul(&scale)?)])
        })
    }

    /// Sign (-1, 0, 1) and logarithm of the absolute value of the determinant of `[.., n, n]`, without overflow: `[..]` each. The
    /// logarithm has the gradient `A^-T`, the sign none (zero).
    pub fn slogdet(&self) -> Result<(Tensor, Tensor)> {
        let op = "slogdet";
        let (batch, n) = square(op, self)?;
        let both = each(op, &[self], batch, [n * n], 2, n * n * n, move |x, out| {
            cpu::slogdet(x[0], n, out)
        })?;
        let (sign, log): (Vec<f64>, Vec<f64>) = both.chunks_exact(2).map(|p| (p[0], p[1])).unzip();
        let log = from_f64(log, batch, self.dtype())?.data;
        let a = self.data.clone();
        let log = record(op, log, &[self], move |ctx, g| {
            let inverse = ctx.input(0, &a).inv_as("gradient of slogdet")?.t()?;
            Ok(vec![Some(inverse.mul(&g.unsqueeze(-1)?.unsqueeze(-1)?)?)])
        })?;
        Ok((from_f64(sign, batch, self.dtype())?, log))
    }

    /// The least squares solution of `a x = b` for `a: [.., m, n]` of full rank and `b: [.., m, k]` or a vector `[m]`: the one of smallest
    /// norm where there are several (`m < n`). By QR. Errors where the rank is not full: [`Tensor::pinv`] then gives the one of
    /// smallest norm.
    pub fn lstsq(&self, b: &Tensor) -> Result<Tensor> {
        let op = "lstsq";
        let (own, m, n) = matrix(op, self)?;
        if b.rank() == 1 || (b.rank() + 1 == self.rank() && b.dims() == with(own, &[m])) {
            return self.lstsq(&b.unsqueeze(-1)?)?.squeeze(-1);
        }
        let (_, rows, _) = matrix(op, b)?;
        if rows != m {
            let detail = format!(
                "{:?} x = {:?}: sizes {m} and {rows} differ",
                self.dims(),
                b.dims()
            );
            return Err(Error::Shape { op, detail });
        }
        let full = |error| match error {
            Error::Value { .. } => Error::Value {
                op,
                detail: "the matrix does not have full rank (pinv takes it)".into(),
            },
            other => other,
        };
        if m >= n {
            let (q, r) = self.qr()?;
            r.solve_as(op, &q.t()?.matmul(b)?).map_err(full)
        } else {
            let (q, r) = self.t()?.qr()?;
            q.matmul(&r.t()?.solve_as(op, b).map_err(full)?)
        }
    }

    /// The Moore-Penrose inverse of `[.., m, n]`: `[.., n, m]`, by singular values; those below `max(m, n) eps` times the largest
    /// count as zero. The gradient holds while the rank does not change.
    pub fn pinv(&self) -> Result<Tensor> {
        let op = "pinv";
        let (batch, m, n) = matrix(op, self)?;
        let eps = if self.dtype() == DType::F32 {
            f64::from(f32::EPSILON)
        } else {
            f64::EPSILON
        };
        let p = each(
            op,
            &[self],
            batch,
            [m * n],
            m * n,
            8 * m * n * m.min(n),
            move |x, out| cpu::pinv(x[0], m, n, eps, out),
        )?;
        let p = from_f64(p, &with(batch, &[n, m]), self.dtype())?.data;
        let (a, saved) = (self.data.clone(), p.clone());
        record(op, p, &[self], move |ctx, g| {
            // dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P
            let (a, p) = (ctx.input(0, &a), ctx.output(&saved));
            let (pt, gt) = (p.t()?, g.t()?);
            let direct = pt.matmul(g)?.matmul(&pt)?;
            let left = gt.matmul(&p)?.matmul(&pt)?;
            let left = left.sub(&a.matmul(&p.matmul(&left)?)?)?;
            let right = pt.matmul(&p)?.matmul(&gt)?;
            let right = right.sub(&right.matmul(&p)?.matmul(&a)?)?;
            Ok(vec![Some(left.add(&right)?.sub(&direct)?)])
        })
    }

    /// `e^A = sum_k A^k / k!` of `[.., n, n]`, by scaling, a Pade approximant of order 13, and squaring (N. Higham, "The scaling and squaring
    /// method for the matrix exponential revisited", 2005).
    pub fn matrix_exp(&self) -> Result<Tensor> {
        const B: [f64; 14] = [
            64_764_752_532_480_000.0,
            32_382_376_266_240_000.0,
            7_771_770_303_897_600.0,
            1_187_353_796_428_800.0,
            129_060_195_264_000.0,
            10_559_470_521_600.0,
            670_442_572_800.0,
            33_522_128_640.0,
            1_323_241_920.0,
            40_840_800.0,
            960_960.0,
            16_380.0,
            182.0,
            1.0,
        ];
        let op = "matrix_exp";
        let (_, n) = square(op, self)?;
        if self.is_empty() {
            return Ok(self.clone());
        }
        let norm = self
            .detach()
            .abs()?
            .sum(&[-2])?
            .to_vec()?
            .into_iter()
            .fold(0.0, f64::max);
        if !norm.is_finite() || !self.is_finite()? {
            return Err(Error::Value {
                op,
                detail: "the matrix holds NaN or infinity, or its norm overflows".into(),
            });
        }
        let squarings = (norm / 5.37).log2().ceil().max(0.0) as i32;
        // In f64: the coefficients span 17 digits.
        let a = self
            .to_dtype(DType::F64)?
            .affine(0.5f64.powi(squarings), 0.0)?;
        let one = Tensor::eye(n, DType::F64)?
            .broadcast_to(a.dims())?
            .contiguous()?;
        let a2 = a.matmul(&a)?;
        let a4 = a2.matmul(&a2)?;
        let a6 = a4.matmul(&a2)?;
        let high =
            |b: [f64; 3]| a6.matmul(&Tensor::combine(&[(b[0], &a6), (b[1], &a4), (b[2], &a2)])?);
        let low =
            |b: [f64; 4]| Tensor::combine(&[(b[0], &a6), (b[1], &a4), (b[2], &a2), (b[3], &one)]);
        let odd = high([B[13], B[11], B[9]])?.add(&low([B[7], B[5], B[3], B[1]])?)?;
        let u = a.matmul(&odd)?;
        let v = high([B[12], B[10], B[8]])?.add(&low([B[6], B[4], B[2], B[0]])?)?;
        let mut y = v.sub(&u)?.solve_as(op, &v.add(&u)?)?;
        for _ in 0..squarings {
            y = y.matmul(&y)?;
        }
        y.to_dtype(self.dtype())
    }
}
