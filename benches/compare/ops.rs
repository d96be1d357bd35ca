//! Rows of single operations. Every call makes its result anew, as a script does; nothing is recorded, except
//! where the row says "and back".

use std::{error::Error, hint::black_box};

use rhapsode_models::optim::{self, Optimizer};
use rhapsode_tensor::{
    DType, Result, Tensor, grad, no_grad,
    ops::{conv::Conv, update::sum_squares},
    random::Stream,
};
use serde_json::json;

use super::{Row, Work};

/// Sizes of the elementwise rows.
const SIZES: [(&str, usize); 2] = [("1M", 1 << 20), ("16M", 1 << 24)];

type Inputs = [Tensor; 3];
type Apply = fn(&Inputs) -> Result<Tensor>;

const ELEMENTWISE: &[(&str, Apply)] = &[
    ("exp", |x| x[0].exp()),
    ("ln", |x| x[2].log()),
    ("sin", |x| x[0].sin()),
    ("cos", |x| x[0].cos()),
    ("tanh", |x| x[0].tanh()),
    ("sigmoid", |x| x[0].sigmoid()),
    ("silu", |x| x[0].silu()),
    ("gelu", |x| x[0].gelu()),
    ("erf", |x| x[0].erf()),
    ("softplus", |x| x[0].softplus()),
    ("sqrt", |x| x[2].sqrt()),
    ("add", |x| x[0].add(&x[1])),
    ("mul", |x| x[0].mul(&x[1])),
    ("a*b+c", |x| x[0].mul(&x[1])?.add(&x[2])),
    ("2x+1", |x| x[0].affine(2.0, 1.0)),
];

/// On `[n / 1024, 1024]`.
const ROWWISE: &[(&str, Apply)] = &[
    ("softmax", |x| x[0].softmax(-1)),
    ("log_softmax", |x| x[0].log_softmax(-1)),
    ("sum of all", |x| x[0].sum_all()),
    ("sum over last", |x| x[0].sum(&[-1])),
    ("sum over first", |x| x[0].sum(&[0])),
    ("mean over last", |x| x[0].mean(&[-1])),
    ("max over last", |x| x[0].max(-1)),
    ("max over first", |x| x[0].max(0)),
    ("transpose copy", |x| x[0].t()?.contiguous()),
    ("add a row", |x| x[0].add(&x[1].narrow(0, 0, 1)?)),
    ("add a column", |x| x[0].add(&x[1].narrow(1, 0, 1)?)),
];

fn draw(name: &str, shape: &[usize]) -> Result<Tensor> {
    Stream::new(0, name).randn(shape, DType::F32)
}

fn inputs(n: usize) -> Result<Inputs> {
    let shape = [n / 1024, 1024];
    let positive = draw("c", &shape)?.abs()?.affine(1.0, 1e-3)?;
    Ok([draw("a", &shape)?, draw("b", &shape)?, positive])
}

/// Work without a history.
fn forward(f: impl Fn() -> Result<Tensor> + 'static) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(no_grad(&f)?);
        }
        Ok(())
    })
}

/// Value and gradients of the sum of all.
fn back(inputs: Vec<Tensor>, f: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            let y = f(&inputs)?;
            let xs: Vec<&Tensor> = inputs.iter().collect();
            black_box(grad(&y, &xs, false)?);
        }
        Ok(())
    })
}

/// All rows of operations.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for &(name, apply) in ELEMENTWISE.iter().chain(ROWWISE) {
        for (size, n) in SIZES {
            rows.push(Row::new(format!("{name} {size}"), move || {
                let x = inputs(n)?;
                Ok(forward(move || apply(&x)))
            }));
        }
    }
    rows.extend(norms());
    rows.extend(chains());
    rows.extend(products());
    rows.extend([
        adamw("AdamW 25M", None, false),
        adamw("AdamW 25M, a NaN refused", None, false),
        adamw("AdamW 25M, clip, EMA", Some(1.0), true),
    ]);
    rows
}

/// Norms and losses with their gradients, on `[n / 1024, 1024]`.
fn norms() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, n) in SIZES {
        rows.push(Row::new(format!("randn {size}"), move || {
            let stream = Stream::new(0, "rows");
            Ok(forward(move || stream.randn(&[n], DType::F32)))
        }));
    }
    let n = 1 << 20;
    let weights = || -> Result<[Tensor; 2]> { Ok([draw("w", &[1024])?, draw("v", &[1024])?]) };
    rows.push(Row::new("layer norm 1M", move || {
        let ([x, ..], [w, b]) = (inputs(n)?, weights()?);
        Ok(forward(move || x.layer_norm(&w, &b, 1e-5)))
    }));
    rows.push(Row::new("layer norm and back 1M", move || {
        let ([x, ..], [w, b]) = (inputs(n)?, weights()?);
        let all = [x, w, b].map(|t| t.param());
        let all = all.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(back(all, |x| {
            x[0].layer_norm(&x[1], &x[2], 1e-5)?.sqr()?.sum_all()
        }))
    }));
    rows.push(Row::new("rms norm 1M", move || {
        let ([x, ..], [w, _]) = (inputs(n)?, weights()?);
        Ok(forward(move || x.rms_norm(&w, 1e-5)))
    }));
    rows.push(Row::new("group norm 1M", || {
        let (x, w) = (draw("x", &[16, 64, 32, 32])?, draw("w", &[64])?);
        Ok(forward(move || x.group_norm(8, &w, &w, 1e-5)))
    }));
    rows.push(Row::new("group norm and back 1M", || {
        let x = [draw("x", &[16, 64, 32, 32])?, draw("w", &[64])?].map(|t| t.param());
        let x = x.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(back(x, |x| {
            x[0].group_norm(8, &x[1], &x[1], 1e-5)?.sqr()?.sum_all()
        }))
    }));
    rows.push(Row::new("cross entropy and back 1M", || {
        let x = draw("x", &[1024, 1024])?.param()?;
        let labels = Stream::new(0, "labels").randint(0, 1024, &[1024])?;
        Ok(back(vec![x], move |x| x[0].cross_entropy(&labels)))
    }));
    rows.push(Row::new("mean squared error and back 1M", move || {
        let [x, y, _] = inputs(n)?;
        Ok(back(vec![x.param()?], move |x| x[0].mse(&y)))
    }));
    rows
}

/// What the tape costs: a hundred operations on four elements.
fn chains() -> Vec<Row> {
    let chain = |x: &Tensor| (0..100).try_fold(x.clone(), |h, _| h.affine(1.5, 0.0));
    vec![
        Row::new("tape: 100 nodes", move || {
            let x = Tensor::zeros(&[4], DType::F32)?.param()?;
            Ok(Box::new(move |times| {
                for _ in 0..times {
                    black_box(chain(&x)?);
                }
                Ok(())
            }))
        }),
        Row::new("tape: 100 nodes and back", move || {
            let x = Tensor::zeros(&[4], DType::F32)?.param()?;
            Ok(back(vec![x], move |x| chain(&x[0])?.sum_all()))
        }),
    ]
}

/// Matrix products and convolutions.
fn products() -> Vec<Row> {
    let mut rows = Vec::new();
    for n in [64, 128, 256, 512, 1024, 2048] {
        rows.push(Row::new(format!("matmul {n}"), move || {
            let (a, b) = (draw("a", &[n, n])?, draw("b", &[n, n])?);
            Ok(forward(move || a.matmul(&b)))
        }));
    }
    rows.push(Row::new("matmul a b^T 512", || {
        let (a, b) = (draw("a", &[512, 512])?, draw("b", &[512, 512])?);
        Ok(forward(move || a.matmul(&b.t()?)))
    }));
    rows.push(Row::new("matmul batched 64 x 256x64x256", || {
        let (a, b) = (draw("a", &[64, 256, 64])?, draw("b", &[64, 64, 256])?);
        Ok(forward(move || a.matmul(&b)))
    }));
    let conv = Conv {
        padding: [1, 1],
        ..Conv::default()
    };
    rows.push(Row::new("conv2d 3x3, 64 to 64, 16x28x28", move || {
        let (x, w) = (draw("x", &[16, 64, 28, 28])?, draw("w", &[64, 64, 3, 3])?);
        Ok(forward(move || x.conv2d(&w, None, &conv)))
    }));
    rows.push(Row::new(
        "conv2d and back 3x3, 64 to 64, 16x28x28",
        move || {
            let x = [draw("x", &[16, 64, 28, 28])?, draw("w", &[64, 64, 3, 3])?].map(|t| t.param());
            let x = x.into_iter().collect::<Result<Vec<_>>>()?;
            Ok(back(x, move |x| {
                x[0].conv2d(&x[1], None, &conv)?.sqr()?.sum_all()
            }))
        },
    ));
    rows
}

/// A step of AdamW over 25.2 million parameters, alone or with clipping and a moving average.
fn adamw(name: &str, clip: Option<f64>, average: bool) -> Row {
    const N: usize = 24 * (1024 * 1024 + 1024);
    Row::new(
        name,
        move || -> std::result::Result<Work, Box<dyn Error>> {
            let kind = optim::Kind::find("adamw")?;
            let choice = kind.make(json!({ "lr": 1e-3, "clip": clip }))?;
            let params = draw("p", &[N])?;
            let mean = average.then(|| params.copy()).transpose()?;
            let mut optimizer = Optimizer::new(choice, vec![params])?;
            let grads = [Some(draw("g", &[N])?.affine(1e-2, 0.0)?)];
            black_box(
                grads[0]
                    .as_ref()
                    .map(|g| g.with_slice::<f32, _>("g", sum_squares)),
            );
            Ok(Box::new(move |times| {
                for _ in 0..times {
                    let mean = mean.as_ref().map(|e| (e, 0.999));
                    black_box(optimizer.step(&grads, mean)?);
                }
                Ok(())
            }))
        },
    )
}
