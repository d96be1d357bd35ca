//! Factorisations with several results: Cholesky, QR, eigenvalues of symmetric matrices, singular values.
//!
//! A node of the tape has one output: several are one packed vector a matrix, of which the results are pieces.

use super::{cpu, each, from_f64, matrix, square, with};
use crate::{Error, Result, Tensor, tape::record};

/// The pieces of packed vectors `[.., total]` as tensors `[.., shape]`.
fn unpack(packed: &Tensor, shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    let batch = &packed.dims()[..packed.rank() - 1];
    let mut start = 0;
    let mut piece = |shape: &&[usize]| {
        let len = shape.iter().product();
        let piece = packed.narrow(-1, start, len)?;
        start += len;
        piece.reshape(&with(batch, shape))
    };
    shapes.iter().map(&mut piece).collect()
}

/// The symmetric part; an error where the matrix is not symmetric.
fn symmetric(op: &'static str, x: &Tensor) -> Result<Tensor> {
    let part = x.add(&x.t()?)?.affine(0.5, 0.0)?;
    let largest =
        |x: &Tensor| Ok::<f64, Error>(x.to_vec()?.into_iter().map(f64::abs).fold(0.0, f64::max));
    let off = largest(&x.detach().sub(&part.detach())?)?;
    let size = largest(x)?;
    if off > 1e-4 * size {
        let detail = format!(
            "expected a symmetric matrix, got one with elements that differ by {:.3} from their mirror images",
            2.0 * off
        );
        return Err(Error::Value { op, detail });
    }
    Ok(part)
}

/// Vectors `[.., n]` as rows that scale columns: `x diag(s)` is `x * columns(s)`.
fn columns(s: &Tensor) -> Result<Tensor> {
    s.unsqueeze(-2)
}

/// Whether a tensor is all zero and stays so: its history does not matter either.
fn is_constant_zero(x: &Tensor) -> Result<bool> {
    Ok(!x.is_tracked() && x.to_vec()?.iter().all(|v| *v == 0.0))
}

/// `F[i, j] = 1 / (s_j - s_i)`, 0 on the diagonal. An error where two are equal.
fn inverse_gaps(op: &'static str, s: &Tensor) -> Result<Tensor> {
    let n = s.dim(-1)?;
    let gaps = s.unsqueeze(-2)?.sub(&s.unsqueeze(-1)?)?;
    let gaps = gaps.add(&Tensor::eye(n, s.dtype())?)?;
    if gaps.detach().to_vec()?.contains(&0.0) {
        return Err(Error::NoGradient {
            op,
            detail: "the gradient of its vectors is undefined where two values are equal (that of the values alone is not)",
        });
    }
    gaps.recip()?.sub(&Tensor::eye(n, s.dtype())?)
}

impl Tensor {
    /// The lower triangular `L` with `A = L L^T` of a symmetric positive definite `[.., n, n]`. Errors where it is not.
    pub fn cholesky(&self) -> Result<Tensor> {
        let op = "cholesky";
        let (batch, n) = square(op, self)?;
        let a = symmetric(op, self)?;
        let l = each(
            op,
            &[&a],
            batch,
            [n * n],
            n * n,
            n * n * n / 3,
            move |x, out| cpu::cholesky(x[0], n, out),
        )?;
        let l = from_f64(l, self.dims(), self.dtype())?.data;
        let saved = l.clone();
        record(op, l, &[&a], move |ctx, g| {
            // S = L^-T P L^-1 with P = Phi(L^T G): the lower triangle, its diagonal halved.
            let l = ctx.output(&saved);
            let inner = l.t()?.matmul(g)?;
            let phi = inner.tril(0)?.add(&inner.tril(-1)?)?.affine(0.5, 0.0)?;
            let left = l.t()?.solve_as(op, &phi)?;
            let s = l.t()?.solve_as(op, &left.t()?)?.t()?;
            Ok(vec![Some(s.add(&s.t()?)?.affine(0.5, 0.0)?)])
        })
    }

    /// `A = Q R` of `[.., m, n]`, reduced: `Q: [.., m, k]` with orthonormal columns, `R: [.., k, n]` upper triangular with a
    /// diagonal that is not negative, `k = min(m, n)`. The gradient needs full rank.
    pub fn qr(&self) -> Result<(Tensor, Tensor)> {
        let op = "qr";
        let (batch, m, n) = matrix(op, self)?;
        if m < n {
            // Of the first m columns; the rest of R is Q^T times the rest of A.
            let (q, u) = self.narrow(-1, 0, m)?.qr()?;
            let rest = q.t()?.matmul(&self.narrow(-1, m, n - m)?)?;
            let r = Tensor::cat(&[&u, &rest], -1)?;
            return Ok((q, r));
        }
        let total = m * n + n * n;
        let packed = each(
            op,
            &[self],
            batch,
            [m * n],
            total,
            4 * m * n * n,
            move |x, out| cpu::qr(x[0], m, n, out),
        )?;
        let packed = from_f64(packed, &with(batch, &[total]), self.dtype())?.data;
        let saved = packed.clone();
        let pieces = move |packed: &Tensor| unpack(packed, &[&[m, n], &[n, n]]);
        let packed = record(op, packed, &[self], move |ctx, g| {
            let (qr, g) = (pieces(&ctx.output(&saved))?, pieces(g)?);
            let [q, r, gq, gr] = [&qr[0], &qr[1], &g[0], &g[1]];
            // dA = (gQ + Q copyltu(M)) R^-T with M = R gR^T - gQ^T Q
            let inner = r.matmul(&gr.t()?)?.sub(&gq.t()?.matmul(q)?)?;
            let mirrored = inner.tril(0)?.add(&inner.tril(-1)?.t()?)?;
            let right = gq.add(&q.matmul(&mirrored)?)?;
            let da = r.solve_as("gradient of qr", &right.t()?)?.t()?;
            Ok(vec![Some(da)])
        })?;
        let mut pieces = pieces(&packed)?.into_iter();
        match (pieces.next(), pieces.next()) {
            (Some(q), Some(r)) => Ok((q, r)),
            _ => Err(missing(op)),
        }
    }

    /// Eigenvalues `w: [.., n]`, rising, and eigenvectors `V: [.., n, n]` (columns, largest element positive) of a symmetric `[.., n, n]`:
    /// `A = V diag(w) V^T`. The gradient of the vectors is an error where eigenvalues are equal.
    pub fn eigh(&self) -> Result<(Tensor, Tensor)> {
        let op = "eigh";
        let (batch, n) = square(op, self)?;
        let a = symmetric(op, self)?;
        let total = n + n * n;
        let packed = each(
            op,
            &[&a],
            batch,
            [n * n],
            total,
            10 * n * n * n,
            move |x, out| cpu::eigh(x[0], n, out),
        )?;
        let packed = from_f64(packed, &with(batch, &[total]), self.dtype())?.data;
        let saved = packed.clone();
        let pieces = move |packed: &Tensor| unpack(packed, &[&[n], &[n, n]]);
        let packed = record(op, packed, &[&a], move |ctx, g| {
            let (wv, g) = (pieces(&ctx.output(&saved))?, pieces(g)?);
            let [w, v, gw, gv] = [&wv[0], &wv[1], &g[0], &g[1]];
            // dA = V (diag(gw) + F * V^T gV) V^T
            let mut left = v.mul(&columns(gw)?)?;
            if !is_constant_zero(gv)? {
                let turns = v.t()?.matmul(gv)?.mul(&inverse_gaps(op, w)?)?;
                left = left.add(&v.matmul(&turns)?)?;
            }
            Ok(vec![Some(left.matmul(&v.t()?)?)])
        })?;
        let mut pieces = pieces(&packed)?.into_iter();
        match (pieces.next(), pieces.next()) {
            (Some(w), Some(v)) => Ok((w, v)),
            _ => Err(missing(op)),
        }
    }

    /// `A = U diag(s) V^T` of `[.., m, n]`, reduced: `U: [.., m, k]`, `s: [.., k]` falling, `V^T: [.., k, n]`, `k = min(m, n)`; the largest
    /// element of each column of `U` is positive. The gradient of the vectors is an error where singular values are equal.
    pub fn svd(&self) -> Result<(Tensor, Tensor, Tensor)> {
        let op = "svd";
        let (batch, m, n) = matrix(op, self)?;
        let k = m.min(n);
        let total = m * k + k + k * n;
        let packed = each(
            op,
            &[self],
            batch,
            [m * n],
            total,
            10 * m * n * k,
            move |x, out| cpu::svd(x[0], m, n, out),
        )?;
        let packed = from_f64(packed, &with(batch, &[total]), self.dtype())?.data;
        let saved = packed.clone();
        let pieces = move |packed: &Tensor| unpack(packed, &[&[m, k], &[k], &[k, n]]);
        let packed = record(op, packed, &[self], move |ctx, g| {
            let (usv, g) = (pieces(&ctx.output(&saved))?, pieces(g)?);
            Ok(vec![Some(svd_gradient(op, &usv, &g)?)])
        })?;
        let mut pieces = pieces(&packed)?.into_iter();
        match (pieces.next(), pieces.next(), pieces.next()) {
            (Some(u), Some(s), Some(vt)) => Ok((u, s, vt)),
            _ => Err(missing(op)),
        }
    }
}

/// `dA = U [J S + S K + diag(gs)] V^T + (I - U U^T) gU S^-1 V^T + U S^-1 gV^T (I - V V^T)`, with `J = F * (U^T gU - gU^T U)`,
/// `K = F * (V^T gV - gV^T V)`, `F[i, j] = 1 / (s_j^2 - s_i^2)`.
fn svd_gradient(op: &'static str, usv: &[Tensor], g: &[Tensor]) -> Result<Tensor> {
    let ([u, s, vt], [gu, gs, gvt]) = (usv, g) else {
        return Err(missing(op));
    };
    let mut inner = u.mul(&columns(gs)?)?.matmul(vt)?;
    if is_constant_zero(gu)? && is_constant_zero(gvt)? {
        return Ok(inner);
    }
    let (m, n, k) = (u.dim(-2)?, vt.dim(-1)?, s.dim(-1)?);
    let gaps = inverse_gaps(op, &s.sqr()?)?;
    let skew = |x: Tensor| x.sub(&x.t()?)?.mul(&gaps);
    let j = skew(u.t()?.matmul(gu)?)?.mul(&columns(s)?)?;
    let kk = skew(vt.matmul(&gvt.t()?)?)?.mul(&s.unsqueeze(-1)?)?;
    inner = inner.add(&u.matmul(&j.add(&kk)?)?.matmul(vt)?)?;
    if m > k {
        let outside = gu.sub(&u.matmul(&u.t()?.matmul(gu)?)?)?;
        inner = inner.add(&outside.div(&columns(s)?)?.matmul(vt)?)?;
    }
    if n > k {
        let outside = gvt.sub(&gvt.matmul(&vt.t()?)?.matmul(vt)?)?;
        inner = inner.add(&u.div(&columns(s)?)?.matmul(&outside)?)?;
    }
    Ok(inner)
}

fn missing(op: &'static str) -> Error {
    let detail = "a result is missing".into();
    Error::Value { op, detail }
}
