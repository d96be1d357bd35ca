//! Convolutions and their transposes over one or two axes, as PyTorch's `conv1d`, `conv2d`,
//! `conv_transpose1d`, `conv_transpose2d`.
//!
//! With stride `s`, padding `p`, dilation `d` (here along one axis):
//!
//! ```text
//! y[n, o, i] = b[o] + sum_{c, k} w[o, c, k] x[n, c, s i + d k - p],    zero outside of x
//! size of y  = floor((size + 2 p - d (k - 1) - 1) / s) + 1
//! ```
//!
//! With `groups` > 1, inputs and outputs fall into as many blocks of channels, joined block by block.
//! The value is linear in `x` and in `w`, so there are three operations: the convolution `F(x, w)`, its
//! transpose in `x`, `B(y, w)`, and its transpose in `w`, `W(x, y)`. The gradients of each are the two others, so
//! every derivative of any order is one of them. (candle's gradient of a dilated or strided
//! convolution is wrong.)

mod alone;
mod blocks;
mod columns;
mod cpu;
mod geometry;
mod mirror;
mod winograd;

use self::geometry::Geometry;
use super::{ANY, Op};
use crate::{Result, Tensor, tape::record, with_real};

/// How a convolution over `N` axes walks; PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv<const N: usize> {
    /// Steps between outputs. Default: 1.
    pub stride: [usize; N],
    /// Zeros before and after. Default: 0.
    pub padding: [usize; N],
    /// Steps between the elements of the kernel. Default: 1.
    pub dilation: [usize; N],
    /// Blocks of channels that do not see each other; divides both numbers of channels. Default: 1.
    pub groups: usize,
}

impl<const N: usize> Default for Conv<N> {
    fn default() -> Self {
        Self {
            stride: [1; N],
            padding: [0; N],
            dilation: [1; N],
            groups: 1,
        }
    }
}

/// How a transposed convolution over `N` axes walks: it undoes the shape of [`Conv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose<const N: usize> {
    /// The convolution whose shape is undone.
    pub conv: Conv<N>,
    /// Places added at the end of each axis, as several sizes have the same convolved size; less than
    /// the stride or the dilation. Default: 0.
    pub output_padding: [usize; N],
}

impl<const N: usize> Default for ConvTranspose<N> {
    fn default() -> Self {
        Self {
            conv: Conv::default(),
            output_padding: [0; N],
        }
    }
}

impl Tensor {
    /// The convolution of `x: [n, c, l]` with `weight: [out, c / groups, k]`, plus `bias: [out]`: `[n, out, l']`.
    pub fn conv1d(&self, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv<1>) -> Result<Tensor> {
        let geometry = Geometry::of("conv1d", self, weight, bias, conv)?;
        convolve(geometry, &self.unsqueeze(2)?, &weight.unsqueeze(2)?, bias)?.squeeze(2)
    }

    /// The convolution of `x: [n, c, h, w]` with `weight: [out, c / groups, kh, kw]`, plus `bias: [out]`:
    /// `[n, out, h', w']`.
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv<2>) -> Result<Tensor> {
        let geometry = Geometry::of("conv2d", self, weight, bias, conv)?;
        convolve(geometry, self, weight, bias)
    }

    /// The transposed convolution of `x: [n, c, l]` with `weight: [c, out / groups, k]`, plus `bias: [out]`:
    /// `[n, out, (l - 1) s - 2 p + d (k - 1) + 1 + output_padding]`.
    pub fn conv_transpose1d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        conv: &ConvTranspose<1>,
    ) -> Result<Tensor> {
        let geometry = Geometry::of_transpose("conv_transpose1d", self, weight, bias, conv)?;
        transposed(geometry, &self.unsqueeze(2)?, &weight.unsqueeze(2)?, bias)?.squeeze(2)
    }

    /// The transposed convolution of `x: [n, c, h, w]` with `weight: [c, out / groups, kh, kw]`, plus
    /// `bias: [out]`; the sizes are those of [`Tensor::conv_transpose1d`] along each axis.
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        conv: &ConvTranspose<2>,
    ) -> Result<Tensor> {
        let geometry = Geometry::of_transpose("conv_transpose2d", self, weight, bias, conv)?;
        transposed(geometry, self, weight, bias)
    }
}

/// `F(x, w) + b`: `x: [n, c, h, w]` and `w: [out, c / groups, kh, kw]` to `[n, out, h', w']`.
fn convolve(geo: Geometry, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let b = bias.map(|b| &b.data);
    let y = with_real!(geo.op, x.dtype(), T => cpu::forward::<T>(&geo, &x.data, &w.data, b))?;
    let (x_data, w_data) = (x.data.clone(), w.data.clone());
    record(geo.op, y, &inputs(x, w, bias), move |ctx, g| {
        let (x, w) = (ctx.input(0, &x_data), ctx.input(1, &w_data));
        let dx = ctx.needs(0).then(|| transposed(geo, g, &w, None));
        let dw = ctx.needs(1).then(|| weights(geo, &x, g));
        let db = ctx.needs(2).then(|| channel_sums(g));
        Ok(vec![dx.transpose()?, dw.transpose()?, db.transpose()?])
    })
}

/// `B(y, w) + b`: `y: [n, out, h', w']` and `w: [out, c / groups, kh, kw]` to `[n, c, h, w]`.
fn transposed(geo: Geometry, y: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let b = bias.map(|b| &b.data);
    let x = with_real!(geo.op, y.dtype(), T => cpu::transposed::<T>(&geo, &y.data, &w.data, b))?;
    let (y_data, w_data) = (y.data.clone(), w.data.clone());
    record(geo.op, x, &inputs(y, w, bias), move |ctx, g| {
        let (y, w) = (ctx.input(0, &y_data), ctx.input(1, &w_data));
        let dy = ctx.needs(0).then(|| convolve(geo, g, &w, None));
        let dw = ctx.needs(1).then(|| weights(geo, g, &y));
        let db = ctx.needs(2).then(|| channel_sums(g));
        Ok(vec![dy.transpose()?, dw.transpose()?, db.transpose()?])
    })
}

/// `W(x, y)`: `x: [n, c, h, w]` and `y: [n, out, h', w']` to `[out, c / groups, kh, kw]`.
fn weights(geo: Geometry, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let w = with_real!(geo.op, x.dtype(), T => cpu::weights::<T>(&geo, &x.data, &y.data))?;
    let (x_data, y_data) = (x.data.clone(), y.data.clone());
    record(geo.op, w, &[x, y], move |ctx, g| {
        let (x, y) = (ctx.input(0, &x_data), ctx.input(1, &y_data));
        let dx = ctx.needs(0).then(|| transposed(geo, &y, g, None));
        let dy = ctx.needs(1).then(|| convolve(geo, &x, g, None));
        Ok(vec![dx.transpose()?, dy.transpose()?])
    })
}

fn inputs<'a>(x: &'a Tensor, w: &'a Tensor, bias: Option<&'a Tensor>) -> Vec<&'a Tensor> {
    [x, w].into_iter().chain(bias).collect()
}

/// The gradient of a bias: sums over all but the channels, planes (in one piece) first.
fn channel_sums(g: &Tensor) -> Result<Tensor> {
    g.sum(&[2, 3])?.sum(&[0])
}

const ONE_D: Conv<1> = Conv {
    stride: [2],
    padding: [1],
    dilation: [1],
    groups: 1,
};
const UNEVEN: Conv<2> = Conv {
    stride: [2, 1],
    padding: [1, 2],
    dilation: [1, 2],
    groups: 1,
};
const GROUPED: Conv<2> = Conv {
    stride: [1, 2],
    padding: [1, 0],
    dilation: [2, 1],
    groups: 2,
};

/// What the contract holds: plain, strided with dilation, in groups, channel by channel, empty.
pub(super) const CONV1D: Op = Op {
    name: "conv1d",
    apply: |x| x[0].conv1d(&x[1], x.get(2), &ONE_D),
    shapes: &[
        &[&[2, 3, 7], &[4, 3, 3], &[4]],
        &[&[1, 2, 67], &[3, 2, 5]],
        &[&[0, 2, 5], &[3, 2, 3], &[3]],
    ],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV1D_DEPTHWISE: Op = Op {
    name: "conv1d, each channel alone",
    apply: |x| {
        x[0].conv1d(
            &x[1],
            x.get(2),
            &Conv {
                groups: 3,
                dilation: [2],
                padding: [3],
                ..Conv::default()
            },
        )
    },
    shapes: &[&[&[2, 3, 7], &[3, 1, 4], &[3]], &[&[2, 3, 7], &[6, 1, 3]]],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV2D: Op = Op {
    name: "conv2d",
    apply: |x| x[0].conv2d(&x[1], x.get(2), &Conv::default()),
    shapes: &[
        &[&[2, 3, 5, 6], &[4, 3, 3, 2], &[4]],
        &[&[2, 3, 3, 4], &[5, 3, 1, 1], &[5]],
    ],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV2D_UNEVEN: Op = Op {
    name: "conv2d, strided and dilated",
    apply: |x| x[0].conv2d(&x[1], x.get(2), &UNEVEN),
    shapes: &[
        &[&[2, 2, 6, 5], &[3, 2, 3, 3], &[3]],
        &[&[1, 1, 4, 7], &[2, 1, 2, 3]],
    ],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV2D_GROUPED: Op = Op {
    name: "conv2d in groups",
    apply: |x| x[0].conv2d(&x[1], x.get(2), &GROUPED),
    shapes: &[&[&[2, 4, 5, 5], &[6, 2, 2, 3], &[6]]],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV_TRANSPOSE1D: Op = Op {
    name: "conv_transpose1d",
    apply: |x| {
        x[0].conv_transpose1d(
            &x[1],
            x.get(2),
            &ConvTranspose {
                conv: ONE_D,
                output_padding: [1],
            },
        )
    },
    shapes: &[&[&[2, 3, 5], &[3, 4, 3], &[4]], &[&[1, 2, 9], &[2, 1, 4]]],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV_TRANSPOSE2D: Op = Op {
    name: "conv_transpose2d",
    apply: |x| {
        x[0].conv_transpose2d(
            &x[1],
            x.get(2),
            &ConvTranspose {
                conv: UNEVEN,
                output_padding: [1, 0],
            },
        )
    },
    shapes: &[&[&[2, 3, 3, 4], &[3, 2, 3, 3], &[2]]],
    domain: ANY,
};
/// See [`CONV1D`].
pub(super) const CONV_TRANSPOSE2D_GROUPED: Op = Op {
    name: "conv_transpose2d in groups",
    apply: |x| {
        x[0].conv_transpose2d(
            &x[1],
            x.get(2),
            &ConvTranspose {
                conv: GROUPED,
                ..Default::default()
            },
        )
    },
    shapes: &[
        &[&[1, 4, 3, 4], &[4, 3, 2, 3], &[6]],
        &[&[1, 2, 3, 3], &[2, 1, 2, 2]],
    ],
    domain: ANY,
};
