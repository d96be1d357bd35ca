//! Every operation on tensors: a file for a group that belongs together, forward and backward side
//! by side; a folder for a fused operation with kernels of its own.
//!
//! [`ALL`] lists the differentiable ones with sample shapes. To be in the list is to be tested:
//! `tests/contract.rs` holds each against finite differences in f64 (also second derivatives), f32
//! against f64, and strided, broadcast, empty and odd-length inputs.

mod arrange;
mod binary;
mod combine;
pub mod conv;
mod einsum;
mod elementary;
mod fft;
pub mod gru;
mod index;
mod linalg;
pub mod linear;
mod logic;
pub mod long_conv;
pub mod loss;
pub(crate) mod matmul;
pub mod mlp;
mod norm;
pub mod paths;
pub mod pooling;
pub mod quantize;
mod reduce;
pub mod resize;
pub mod s4d;
mod scan;
mod scatter;
pub mod selective_scan;
mod shape;
mod softmax;
mod sort;
mod unary;
pub mod update;

pub use binary::broadcast_shape;
pub use combine::scaled_rms;
pub use loss::mse_reference;

use crate::{Result, Tensor};
use linear::Activation;

/// Shapes of the inputs of one call.
pub type Shapes = &'static [&'static [usize]];

/// A differentiable operation as the contract test sees it.
pub struct Op {
    /// Its name; a second entry of one operation says which case it is.
    pub name: &'static str,
    /// Applies it to inputs of one of the sample shapes.
    pub apply: fn(&[Tensor]) -> Result<Tensor>,
    /// Sample shapes: plain, odd-length, broadcast, empty.
    pub shapes: &'static [Shapes],
    /// Inputs are drawn from this interval, on which the operation is smooth.
    pub domain: (f64, f64),
}

const ONE: &[Shapes] = &[&[&[3, 5]], &[&[67]], &[&[]], &[&[0, 4]], &[&[2, 3, 4]]];
const TWO: &[Shapes] = &[
    &[&[3, 5], &[3, 5]],
    &[&[67], &[67]],
    &[&[4, 1], &[3]],
    &[&[2, 3, 4], &[4]],
    &[&[5], &[2, 5]],
    &[&[3, 5], &[]],
    &[&[1], &[2, 2]],
    &[&[2, 1, 4], &[3, 1]],
    &[&[0, 4], &[4]],
];
const ROWS: &[Shapes] = &[&[&[3, 5]], &[&[2, 67]], &[&[2, 3, 4]], &[&[4, 1]]];
const ANY: (f64, f64) = (-2.0, 2.0);
const POSITIVE: (f64, f64) = (0.3, 2.5);

const fn one(name: &'static str, domain: (f64, f64), apply: fn(&[Tensor]) -> Result<Tensor>) -> Op {
    Op {
        name,
        apply,
        shapes: ONE,
        domain,
    }
}

const fn two(name: &'static str, domain: (f64, f64), apply: fn(&[Tensor]) -> Result<Tensor>) -> Op {
    Op {
        name,
        apply,
        shapes: TWO,
        domain,
    }
}

const fn rows(name: &'static str, apply: fn(&[Tensor]) -> Result<Tensor>) -> Op {
    Op {
        name,
        apply,
        shapes: ROWS,
        domain: ANY,
    }
}

/// Every differentiable operation.
pub const ALL: &[Op] = &[
    one("neg", ANY, |x| x[0].neg()),
    one("exp", ANY, |x| x[0].exp()),
    one("log", POSITIVE, |x| x[0].log()),
    one("sqrt", POSITIVE, |x| x[0].sqrt()),
    one("recip", POSITIVE, |x| x[0].recip()),
    one("sqr", ANY, |x| x[0].sqr()),
    one("abs", ANY, |x| x[0].abs()),
    one("sign", ANY, |x| x[0].sign()),
    one("sin", ANY, |x| x[0].sin()),
    one("cos", ANY, |x| x[0].cos()),
    one("tanh", ANY, |x| x[0].tanh()),
    one("sigmoid", ANY, |x| x[0].sigmoid()),
    one("relu", ANY, |x| x[0].relu()),
    one("silu", ANY, |x| x[0].silu()),
    one("softplus", ANY, |x| x[0].softplus()),
    one("gelu", ANY, |x| x[0].gelu()),
    one("erf", ANY, |x| x[0].erf()),
    one("affine", ANY, |x| x[0].affine(1.7, -0.3)),
    one("pow by a number", POSITIVE, |x| x[0].powf(1.3)),
    one("pow by 3", ANY, |x| x[0].powf(3.0)),
    one("clamp", ANY, |x| x[0].clamp(-0.7, 1.1)),
    one("sum of all", ANY, |x| x[0].sum_all()),
    one("mean of all", ANY, |x| {
        if x[0].is_empty() {
            x[0].sum_all()
        } else {
            x[0].mean_all()
        }
    }),
    one("norm of all", ANY, |x| x[0].norm_all()),
    two("add", ANY, |x| x[0].add(&x[1])),
    two("sub", ANY, |x| x[0].sub(&x[1])),
    two("mul", ANY, |x| x[0].mul(&x[1])),
    two("div", POSITIVE, |x| x[0].div(&x[1])),
    two("pow", POSITIVE, |x| x[0].pow(&x[1])),
    two("maximum", ANY, |x| x[0].maximum(&x[1])),
    two("minimum", ANY, |x| x[0].minimum(&x[1])),
    two("where", ANY, |x| {
        Tensor::where_cond(
            &x[0].detach().gt(&Tensor::zeros(&[], x[0].dtype())?)?,
            &x[0],
            &x[1],
        )
    }),
    one("floor", ANY, |x| x[0].floor()),
    one("ceil", ANY, |x| x[0].ceil()),
    one("round", ANY, |x| x[0].round()),
    one("trunc", ANY, |x| x[0].trunc()),
    one("tan", (-1.0, 1.0), |x| x[0].tan()),
    one("asin", (-0.8, 0.8), |x| x[0].asin()),
    one("acos", (-0.8, 0.8), |x| x[0].acos()),
    one("atan", ANY, |x| x[0].atan()),
    one("sinh", ANY, |x| x[0].sinh()),
    one("cosh", ANY, |x| x[0].cosh()),
    one("log1p", POSITIVE, |x| x[0].log1p()),
    one("expm1", ANY, |x| x[0].expm1()),
    one("log2", POSITIVE, |x| x[0].log2()),
    one("log10", POSITIVE, |x| x[0].log10()),
    one("rsqrt", POSITIVE, |x| x[0].rsqrt()),
    one("prod of all", ANY, |x| x[0].prod_all()),
    one("nan_to_num", ANY, |x| x[0].nan_to_num(0.0, 1.0, -1.0)),
    one("masked_fill", ANY, |x| {
        x[0].masked_fill(&x[0].gt(&Tensor::scalar(0.5, x[0].dtype())?)?, 0.0)
    }),
    two("atan2", POSITIVE, |x| x[0].atan2(&x[1])),
    two("remainder", POSITIVE, |x| x[0].remainder(&x[1])),
    two("fmod", POSITIVE, |x| x[0].fmod(&x[1])),
    two("floor_divide", POSITIVE, |x| x[0].floor_divide(&x[1])),
    two("lerp", ANY, |x| {
        x[0].lerp(&x[1], &Tensor::scalar(0.25, x[0].dtype())?)
    }),
    rows("cumsum", |x| x[0].cumsum(-1)),
    rows("cumsum along the first axis", |x| x[0].cumsum(0)),
    rows("cumprod", |x| {
        x[0].narrow(-1, 0, 1 + 3 * usize::from(x[0].dim(-1)? > 1))?
            .cumprod(-1)
    }),
    rows("cumprod with a zero", |x| {
        let first = x[0].narrow(-1, 0, 1)?;
        let zero = first.sub(&first)?;
        Tensor::cat(&[&first, &zero, &first], -1)?.cumprod(-1)
    }),
    rows("prod", |x| x[0].prod(0)),
    rows("sort", |x| Ok(x[0].sort(-1, true)?.0)),
    rows("topk", |x| Ok(x[0].topk(1, 0, true)?.0)),
    rows("median", |x| x[0].median(-1)),
    rows("quantile", |x| x[0].quantile(0.3, -1)),
    rows("norm with p = 3", |x| x[0].norm_p(3.0, -1)),
    rows("norm with p = 1", |x| x[0].norm_p(1.0, 0)),
    rows("norm with p = infinity", |x| x[0].norm_p(f64::INFINITY, 0)),
    rows("roll", |x| x[0].roll(-2, -1)),
    rows("tile", |x| x[0].tile(&[2, 1, 3])),
    rows("repeat_interleave", |x| x[0].repeat_interleave(3, 0)),
    rows("split", |x| {
        Tensor::cat(&x[0].split(2, -1)?.iter().rev().collect::<Vec<_>>(), -1)
    }),
    rows("movedim", |x| x[0].movedim(0, -1)),
    rows("transpose", |x| x[0].transpose(0, -1)),
    rows("flatten", |x| x[0].flatten(0, 1)),
    rows("masked_select", |x| {
        x[0].masked_select(&x[0].gt(&Tensor::scalar(0.0, x[0].dtype())?)?)
    }),
    Op {
        name: "assign",
        // Place 1 is written twice.
        apply: |x| x[0].put(&Tensor::from_vec(vec![1i64, 4, 1], &[3])?, &x[1]),
        shapes: &[&[&[2, 5], &[3]], &[&[67], &[3]]],
        domain: ANY,
    },
    Op {
        name: "scatter",
        apply: |x| x[0].scatter(0, &Tensor::from_vec(vec![1i64, 0, 2, 1], &[2, 2])?, &x[1]),
        shapes: &[&[&[3, 2], &[2, 2]]],
        domain: ANY,
    },
    Op {
        name: "scatter_add",
        apply: |x| x[0].scatter_add(0, &Tensor::from_vec(vec![1i64, 0, 1, 1], &[2, 2])?, &x[1]),
        shapes: &[&[&[3, 2], &[2, 2]]],
        domain: ANY,
    },
    Op {
        name: "index_add",
        apply: |x| x[0].index_add(0, &Tensor::from_vec(vec![1i64, -1, 1], &[3])?, &x[1]),
        shapes: &[&[&[3, 2], &[3, 2]], &[&[4], &[3]]],
        domain: ANY,
    },
    Op {
        name: "embedding",
        apply: |x| x[0].embedding(&Tensor::from_vec(vec![2i64, 0, 2, 1], &[2, 2])?),
        shapes: &[&[&[3, 5]]],
        domain: ANY,
    },
    rows("sum", |x| x[0].sum(&[-1])),
    rows("sum over the first axis", |x| x[0].sum(&[0])),
    Op {
        name: "sum over two axes",
        apply: |x| x[0].sum(&[0, 2]),
        shapes: &[&[&[2, 3, 4]], &[&[3, 2, 67]]],
        domain: ANY,
    },
    rows("mean", |x| x[0].mean(&[1])),
    Op {
        name: "variance",
        apply: |x| x[0].variance(Some(&[0])),
        shapes: &[&[&[3, 5]], &[&[7, 2]]],
        domain: ANY,
    },
    Op {
        name: "std of all",
        apply: |x| x[0].std(None),
        shapes: &[&[&[3, 5]], &[&[7]]],
        domain: ANY,
    },
    rows("max", |x| x[0].max(-1)),
    rows("min", |x| x[0].min(0)),
    rows("logsumexp", |x| x[0].logsumexp(-1)),
    rows("logsumexp over the first axis", |x| x[0].logsumexp(0)),
    rows("norm", |x| x[0].norm(1)),
    rows("softmax", |x| x[0].softmax(-1)),
    rows("softmax over the first axis", |x| x[0].softmax(0)),
    rows("log_softmax", |x| x[0].log_softmax(1)),
    Op {
        name: "cross_entropy",
        apply: |x| x[0].cross_entropy(&Tensor::from_vec(vec![2i64, 0, 1], &[3])?),
        shapes: &[&[&[3, 5]]],
        domain: ANY,
    },
    Op {
        name: "layer_norm",
        apply: |x| x[0].layer_norm(&x[1], &x[2], 1e-5),
        shapes: &[&[&[3, 5], &[5], &[5]], &[&[2, 2, 67], &[67], &[67]]],
        domain: ANY,
    },
    Op {
        name: "rms_norm",
        apply: |x| x[0].rms_norm(&x[1], 1e-5),
        shapes: &[&[&[3, 5], &[5]], &[&[2, 67], &[67]]],
        domain: ANY,
    },
    Op {
        name: "group_norm",
        apply: |x| x[0].group_norm(2, &x[1], &x[2], 1e-5),
        shapes: &[&[&[2, 4, 3], &[4], &[4]], &[&[1, 6, 5, 3], &[6], &[6]]],
        domain: ANY,
    },
    Op {
        name: "gru",
        apply: |x| gru::scan(&x[0], &x[1], &x[2], &x[3]),
        shapes: &[
            &[&[2, 4, 6], &[2, 2], &[6, 2], &[6]],
            &[&[1, 1, 9], &[1, 3], &[9, 3], &[9]],
        ],
        domain: ANY,
    },
    Op {
        name: "matmul",
        apply: |x| x[0].matmul(&x[1]),
        shapes: &[
            &[&[3, 5], &[5, 2]],
            &[&[67, 3], &[3, 9]],
            &[&[2, 3, 4], &[2, 4, 5]],
            &[&[3, 2, 2, 3], &[1, 2, 3, 2]],
            &[&[2, 3, 4], &[4, 5]],
            &[&[3, 4], &[2, 4, 5]],
            &[&[2, 1, 3, 4], &[3, 4, 2]],
            &[&[4], &[4, 3]],
            &[&[2, 4], &[4]],
            &[&[0, 3], &[3, 2]],
            &[&[2, 0], &[0, 3]],
        ],
        domain: ANY,
    },
    rows("reshape", |x| x[0].reshape(&[x[0].len()])),
    rows("t", |x| x[0].t()),
    Op {
        name: "permute",
        apply: |x| x[0].permute(&[2, 0, 1]),
        shapes: &[&[&[2, 3, 4]]],
        domain: ANY,
    },
    rows("unsqueeze", |x| x[0].unsqueeze(1)),
    Op {
        name: "squeeze",
        apply: |x| x[0].squeeze(0),
        shapes: &[&[&[1, 5]]],
        domain: ANY,
    },
    Op {
        name: "broadcast_to",
        apply: |x| x[0].broadcast_to(&[2, 3, 4]),
        shapes: &[&[&[3, 1]], &[&[4]], &[&[]]],
        domain: ANY,
    },
    Op {
        name: "narrow",
        apply: |x| x[0].narrow(1, 1, 2),
        shapes: &[&[&[3, 5]], &[&[2, 3, 4]]],
        domain: ANY,
    },
    rows("pad", |x| x[0].pad(-1, 2, 1)),
    rows("contiguous", |x| x[0].t()?.contiguous()),
    rows("flip", |x| x[0].flip(1)),
    Op {
        name: "cat",
        apply: |x| Tensor::cat(&[&x[0], &x[1]], 1),
        shapes: &[
            &[&[3, 5], &[3, 2]],
            &[&[2, 3, 4], &[2, 1, 4]],
            &[&[2, 0], &[2, 3]],
        ],
        domain: ANY,
    },
    Op {
        name: "stack",
        apply: |x| Tensor::stack(&[&x[0], &x[1]], -1),
        shapes: &[&[&[3, 5], &[3, 5]]],
        domain: ANY,
    },
    Op {
        name: "index_select",
        apply: |x| x[0].index_select(0, &Tensor::from_vec(vec![2i64, 0, 2, -1], &[4])?),
        shapes: &[&[&[3, 5]], &[&[3]]],
        domain: ANY,
    },
    Op {
        name: "gather",
        apply: |x| x[0].gather(1, &Tensor::from_vec(vec![2i64, 2, 0, 1], &[2, 2])?),
        shapes: &[&[&[2, 5]]],
        domain: ANY,
    },
    Op {
        name: "select",
        apply: |x| x[0].select(0, -1),
        shapes: &[&[&[3, 5]], &[&[4]]],
        domain: ANY,
    },
    Op {
        name: "mse",
        apply: |x| x[0].mse(&x[1]),
        shapes: &[&[&[3, 5], &[3, 5]], &[&[67], &[67]]],
        domain: ANY,
    },
    Op {
        name: "combine",
        apply: |x| Tensor::combine(&[(0.5, &x[0]), (-2.0, &x[1]), (1.5, &x[0])]),
        shapes: &[&[&[3, 5], &[3, 5]], &[&[67], &[67]], &[&[0, 2], &[0, 2]]],
        domain: ANY,
    },
    linear_op("linear", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Identity)
    }),
    linear_op("linear + relu", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Relu)
    }),
    linear_op("linear + silu", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Silu)
    }),
    linear_op("linear + gelu", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Gelu)
    }),
    linear_op("linear + tanh", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Tanh)
    }),
    linear_op("linear + sigmoid", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Sigmoid)
    }),
    linear_op("linear + softplus", |x| {
        linear::linear(&x[0], &x[1], &x[2], Activation::Softplus)
    }),
    Op {
        name: "mse of an mlp",
        apply: |x| {
            let layer = |i: usize, act| mlp::Layer {
                weight: &x[i],
                bias: &x[i + 1],
                act,
            };
            let target = Tensor::full(0.3, &[x[0].dim(0)?, x[5].dim(0)?], x[0].dtype())?;
            let layers = [layer(2, Activation::Silu), layer(4, Activation::Identity)];
            mlp::loss(&x[0].add(&x[1])?, &target, &layers, loss::RowLoss::Square)
        },
        shapes: &[
            &[&[5, 3], &[3], &[19, 3], &[19], &[2, 19], &[2]],
            &[&[67, 11], &[11], &[17, 11], &[17], &[9, 17], &[9]],
        ],
        domain: ANY,
    },
    conv::CONV1D,
    conv::CONV1D_DEPTHWISE,
    conv::CONV2D,
    conv::CONV2D_UNEVEN,
    conv::CONV2D_GROUPED,
    conv::CONV_TRANSPOSE1D,
    conv::CONV_TRANSPOSE2D,
    conv::CONV_TRANSPOSE2D_GROUPED,
    pooling::MAX_POOL1D,
    pooling::MAX_POOL2D,
    pooling::AVG_POOL1D,
    pooling::AVG_POOL2D,
    pooling::ADAPTIVE_AVG_POOL,
    resize::UPSAMPLE_NEAREST,
    resize::UPSAMPLE_LINEAR,
    resize::PIXEL_SHUFFLE,
    resize::PAD_CONSTANT,
    resize::PAD_REFLECT,
    resize::PAD_REPLICATE,
    resize::PAD_CIRCULAR,
    fft::FFT,
    fft::IFFT,
    fft::RFFT,
    fft::IRFFT,
    fft::IRFFT_ODD,
    fft::COMPLEX_MUL,
    fft::COMPLEX_DIV,
    fft::COMPLEX_EXP,
    fft::COMPLEX_ABS,
    fft::CONJ,
    einsum::EINSUM_BATCHED,
    einsum::EINSUM_THREE,
    einsum::EINSUM_DIAGONAL,
    einsum::EINSUM_ELLIPSIS,
    linalg::SOLVE,
    linalg::INV,
    linalg::DET,
    linalg::SLOGDET,
    linalg::CHOLESKY,
    linalg::QR,
    linalg::EIGH,
    linalg::SVD,
    linalg::LSTSQ,
    linalg::PINV,
    linalg::MATRIX_EXP,
    linalg::DIAGONAL,
    linalg::DIAG_EMBED,
    linalg::TRACE,
    linalg::TRIL,
    linalg::TRIU,
    linalg::OUTER,
    linalg::CROSS,
    linalg::KRON,
    s4d::ZOH,
    s4d::BILINEAR,
    s4d::FREE,
    s4d::STEPS,
    long_conv::LONG_CONV,
    long_conv::WITHOUT_SKIP,
    selective_scan::PLAIN,
    selective_scan::WHOLE,
    selective_scan::STATE,
];

const fn linear_op(name: &'static str, apply: fn(&[Tensor]) -> Result<Tensor>) -> Op {
    let shapes: &[Shapes] = &[
        &[&[3, 5], &[4, 5], &[4]],
        &[&[7, 3], &[19, 3], &[19]],
        &[&[2, 3, 17], &[2, 17], &[2]],
        &[&[0, 5], &[4, 5], &[4]],
    ];
    Op {
        name,
        apply,
        shapes,
        domain: ANY,
    }
}
