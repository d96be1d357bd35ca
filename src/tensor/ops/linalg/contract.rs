//! What the contract holds of linear algebra. Matrices are made well conditioned first; several results become one.

use super::super::{ANY, Op, Shapes};
use crate::{Result, Tensor};

const SQUARE: &[Shapes] = &[&[&[3, 3]], &[&[2, 4, 4]], &[&[1, 1]], &[&[0, 3, 3]]];

/// `x + 4 I`: far from singular.
fn shifted(x: &Tensor) -> Result<Tensor> {
    x.add(&Tensor::eye(x.dim(-1)?, x.dtype())?.affine(6.0, 0.0)?)
}

/// `x x^T + I`.
fn positive(x: &Tensor) -> Result<Tensor> {
    x.matmul(&x.t()?)?.add(&Tensor::eye(x.dim(-1)?, x.dtype())?)
}

/// Several results as one of shape `[.., total]`.
fn joined(x: &Tensor, parts: &[&Tensor]) -> Result<Tensor> {
    let batch = &x.dims()[..x.rank() - 2];
    let flat = |p: &&Tensor| {
        let len = p.dims()[batch.len()..].iter().product();
        p.reshape(&super::with(batch, &[len]))
    };
    let parts = parts.iter().map(flat).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts.iter().collect::<Vec<_>>(), -1)
}

const fn op(
    name: &'static str,
    shapes: &'static [Shapes],
    apply: fn(&[Tensor]) -> Result<Tensor>,
) -> Op {
    Op {
        name,
        apply,
        shapes,
        domain: ANY,
    }
}

/// All of them.
pub(in super::super) const SOLVE: Op = op(
    "solve",
    &[
        &[&[3, 3], &[3, 2]],
        &[&[2, 3, 3], &[3]],
        &[&[4, 4], &[2, 4, 1]],
        &[&[0, 3, 3], &[0, 3, 2]],
    ],
    |x| shifted(&x[0])?.solve(&x[1]),
);
/// See [`SOLVE`].
pub(in super::super) const INV: Op = op("inv", SQUARE, |x| shifted(&x[0])?.inv());
/// See [`SOLVE`].
pub(in super::super) const DET: Op = op("det", &[&[&[3, 3]], &[&[2, 2, 2]]], |x| {
    shifted(&x[0])?.affine(0.3, 0.0)?.det()
});
/// See [`SOLVE`].
pub(in super::super) const SLOGDET: Op =
    op("slogdet", SQUARE, |x| Ok(shifted(&x[0])?.slogdet()?.1));
/// See [`SOLVE`].
pub(in super::super) const CHOLESKY: Op = op("cholesky", SQUARE, |x| positive(&x[0])?.cholesky());
/// See [`SOLVE`].
pub(in super::super) const QR: Op = op("qr", &[&[&[3, 3]], &[&[2, 5, 3]], &[&[2, 4]]], |x| {
    let (q, r) = x[0].qr()?;
    joined(&x[0], &[&q, &r])
});
/// See [`SOLVE`].
pub(in super::super) const EIGH: Op = op("eigh", &[&[&[3, 3]], &[&[2, 4, 4]]], |x| {
    let a = x[0]
        .add(&x[0].t()?)?
        .add(&Tensor::arange(0.0, 3.0, x[0].dim(-1)?, x[0].dtype())?.diag_embed()?)?;
    let (w, v) = a.eigh()?;
    joined(&x[0], &[&w, &v])
});
const RECTANGLES: &[Shapes] = &[&[&[3, 3]], &[&[2, 4, 3]], &[&[2, 5]]];
/// See [`SOLVE`].
pub(in super::super) const SVD: Op = op("svd", RECTANGLES, |x| {
    let n = x[0].dim(-1)?;
    let apart = Tensor::arange(3.0, 3.0, n, x[0].dtype())?
        .diag_embed()?
        .narrow(0, 0, x[0].dim(-2)?.min(n))?;
    let missing = x[0].dim(-2)? - apart.dim(0)?;
    let (u, s, vt) = x[0].add(&apart.pad(0, 0, missing)?)?.svd()?;
    joined(&x[0], &[&u, &s, &vt])
});
/// See [`SOLVE`].
pub(in super::super) const LSTSQ: Op = op(
    "lstsq",
    &[
        &[&[4, 3], &[4, 2]],
        &[&[2, 4], &[2]],
        &[&[2, 3, 3], &[2, 3, 1]],
    ],
    |x| {
        let (m, n) = (x[0].dim(-2)?, x[0].dim(-1)?);
        let k = m.min(n);
        let eye = Tensor::eye(k, x[0].dtype())?
            .affine(6.0, 0.0)?
            .pad(0, 0, m - k)?
            .pad(1, 0, n - k)?;
        x[0].add(&eye)?.lstsq(&x[1])
    },
);
/// See [`SOLVE`].
pub(in super::super) const PINV: Op = op("pinv", &[&[&[4, 2]], &[&[2, 2, 3]]], |x| {
    let (m, n) = (x[0].dim(-2)?, x[0].dim(-1)?);
    let k = m.min(n);
    x[0].add(
        &Tensor::eye(k, x[0].dtype())?
            .affine(6.0, 0.0)?
            .pad(0, 0, m - k)?
            .pad(1, 0, n - k)?,
    )?
    .pinv()
});
/// See [`SOLVE`].
pub(in super::super) const MATRIX_EXP: Op = op("matrix_exp", SQUARE, |x| {
    x[0].affine(0.5, 0.0)?.matrix_exp()
});
const MATRICES: &[Shapes] = &[&[&[3, 5]], &[&[2, 4, 3]], &[&[4, 4]], &[&[0, 4]]];
/// See [`SOLVE`].
pub(in super::super) const DIAGONAL: Op = op("diagonal", MATRICES, |x| x[0].diagonal());
/// See [`SOLVE`].
pub(in super::super) const DIAG_EMBED: Op = op("diag_embed", MATRICES, |x| x[0].diag_embed());
/// See [`SOLVE`].
pub(in super::super) const TRACE: Op = op("trace", MATRICES, |x| x[0].trace());
/// See [`SOLVE`].
pub(in super::super) const TRIL: Op = op("tril", MATRICES, |x| x[0].tril(-1));
/// See [`SOLVE`].
pub(in super::super) const TRIU: Op = op("triu", MATRICES, |x| x[0].triu(1));
/// See [`SOLVE`].
pub(in super::super) const OUTER: Op = op("outer", &[&[&[3], &[67]], &[&[0], &[2]]], |x| {
    x[0].outer(&x[1])
});
/// See [`SOLVE`].
pub(in super::super) const CROSS: Op = op("cross", &[&[&[3], &[3]], &[&[4, 3], &[3]]], |x| {
    x[0].cross(&x[1], -1)
});
/// See [`SOLVE`].
pub(in super::super) const KRON: Op = op(
    "kron",
    &[&[&[2, 3], &[4, 1]], &[&[2, 2, 3], &[2, 2]]],
    |x| x[0].kron(&x[1]),
);
