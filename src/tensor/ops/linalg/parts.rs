//! Diagonals, triangles, traces and products that make matrices.

use super::with;
use crate::{DType, Error, Result, Tensor, memory};

/// `[m, n]`: 1 where `keep(row, column)`.
fn mask(m: usize, n: usize, keep: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
    let count = memory::count("mask", &[m, n])?;
    memory::ensure(count, 1)?;
    let values = (0..count).map(|i| u8::from(keep(i / n, i % n))).collect();
    Tensor::from_vec::<u8>(values, &[m, n])
}

impl Tensor {
    /// The diagonal of the last two axes, `[.., m, n]` to `[.., min(m, n)]`.
    pub fn diagonal(&self) -> Result<Tensor> {
        let [batch @ .., m, n] = self.dims() else {
            let detail = format!("expected [.., m, n], got shape {:?}", self.dims());
            return Err(Error::Shape {
                op: "diagonal",
                detail,
            });
        };
        let k = *m.min(n);
        let index = Tensor::from_vec((0..k as i64).collect(), &[k, 1])?
            .broadcast_to(&with(batch, &[k, 1]))?;
        self.narrow(-2, 0, k)?.gather(-1, &index)?.squeeze(-1)
    }

    /// The matrices whose diagonals the last axis is and that are zero elsewhere, `[.., n]` to `[.., n, n]`.
    pub fn diag_embed(&self) -> Result<Tensor> {
        let n = self.dim(-1)?;
        let zero = Tensor::zeros(&[], self.dtype())?;
        Tensor::where_cond(&mask(n, n, |i, j| i == j)?, &self.unsqueeze(-1)?, &zero)
    }

    /// A vector as a diagonal matrix; the diagonal of a matrix.
    pub fn diag(&self) -> Result<Tensor> {
        match self.rank() {
            1 => self.diag_embed(),
            2 => self.diagonal(),
            _ => {
                let detail = format!(
                    "expected a vector or a matrix, got shape {:?} (diagonal() and diag_embed() take batches)",
                    self.dims()
                );
                Err(Error::Shape { op: "diag", detail })
            }
        }
    }

    /// The sum of the diagonal, `[.., n, n]` to `[..]`.
    pub fn trace(&self) -> Result<Tensor> {
        self.diagonal()?.sum(&[-1])
    }

    /// The lower triangle of the last two axes, zero above diagonal `k` (0: the main one, 1: the one above it).
    pub fn tril(&self, k: i64) -> Result<Tensor> {
        self.triangle("tril", |i, j| j as i64 <= (i as i64).saturating_add(k))
    }

    /// The upper triangle of the last two axes, zero below diagonal `k`.
    pub fn triu(&self, k: i64) -> Result<Tensor> {
        self.triangle("triu", |i, j| j as i64 >= (i as i64).saturating_add(k))
    }

    fn triangle(&self, op: &'static str, keep: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
        let [.., m, n] = *self.dims() else {
            let detail = format!("expected [.., m, n], got shape {:?}", self.dims());
            return Err(Error::Shape { op, detail });
        };
        Tensor::where_cond(&mask(m, n, keep)?, self, &Tensor::zeros(&[], self.dtype())?)
    }

    /// `y[i, j] = a[i] b[j]` of two vectors.
    pub fn outer(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || other.rank() != 1 {
            let detail = format!(
                "expected two vectors, got {:?} and {:?}",
                self.dims(),
                other.dims()
            );
            return Err(Error::Shape {
                op: "outer",
                detail,
            });
        }
        self.unsqueeze(1)?.mul(&other.unsqueeze(0)?)
    }

    /// The cross product along an axis of size 3; other axes broadcast.
    pub fn cross(&self, other: &Tensor, axis: i64) -> Result<Tensor> {
        for x in [self, other] {
            if x.dims()[x.axis("cross", axis)?] != 3 {
                let detail = format!(
                    "axis {axis} of {:?} and {:?} must have size 3",
                    self.dims(),
                    other.dims()
                );
                return Err(Error::Shape {
                    op: "cross",
                    detail,
                });
            }
        }
        if self.dtype() == DType::BF16 && other.dtype() == DType::BF16 {
            let wide = other.to_dtype(DType::F32)?;
            return self.wide(|x| x.cross(&wide, axis));
        }
        let turn = |x: &Tensor, order: [i64; 3]| {
            x.index_select(axis, &Tensor::from_vec(order.to_vec(), &[3])?)
        };
        let (next, last) = ([1, 2, 0], [2, 0, 1]);
        let plus = turn(self, next)?.mul(&turn(other, last)?)?;
        plus.sub(&turn(self, last)?.mul(&turn(other, next)?)?)
    }

    /// The Kronecker product of `[.., m, n]` and `[.., p, q]`: `[.., m p, n q]`; leading axes broadcast.
    pub fn kron(&self, other: &Tensor) -> Result<Tensor> {
        let ([a @ .., m, n], [b @ .., p, q]) = (self.dims(), other.dims()) else {
            let detail = format!(
                "expected two matrices, got {:?} and {:?}",
                self.dims(),
                other.dims()
            );
            return Err(Error::Shape { op: "kron", detail });
        };
        let (m, n, p, q) = (*m, *n, *p, *q);
        let left = self.reshape(&with(a, &[m, 1, n, 1]))?;
        let product = left.mul(&other.reshape(&with(b, &[1, p, 1, q]))?)?;
        let batch = &product.dims()[..product.rank() - 4];
        product.reshape(&with(batch, &[m * p, n * q]))
    }
}
