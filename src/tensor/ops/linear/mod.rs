//! A linear layer with its activation in one operation: `y = act(x W^T + b)`.
//!
//! `x: [.., in]`, `W: [out, in]`, `b: [out]`, `y: [.., out]`. The forward pass keeps `act'(z)` instead of
//! `z`, so that the backward pass is one multiplication, the column sums of the bias and two
//! products. As separate operations the same layer makes five passes over `[.., out]` forward and
//! as many backward (measured on a 3-256-256-256-2 network: candle 4 to 6 times slower than
//! PyTorch, fused faster than it).

mod cpu;
pub(super) mod kernels;

use crate::{
    Error, Result, Tensor,
    tape::{self, record},
    with_real,
};

/// What stands after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
    /// `x Phi(x)`, exact.
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `ln(1 + e^x)`.
    Softplus,
}

impl Activation {
    /// All of them with their names in scripts.
    pub const ALL: &[(&str, Activation)] = &[
        ("identity", Activation::Identity),
        ("relu", Activation::Relu),
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
        ("softplus", Activation::Softplus),
    ];

    /// The activation as an operation of its own.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Identity => Ok(x.clone()),
            Activation::Relu => x.relu(),
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Softplus => x.softplus(),
        }
    }
}

/// The plain composition that the fused form must equal: `act(x W^T + b)`.
pub fn reference(x: &Tensor, weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Tensor> {
    act.apply(&x.matmul(&weight.t()?)?.add(bias)?)
}

/// `act(x W^T + b)` for `x: [.., in]`, `weight: [out, in]`, `bias: [out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Tensor> {
    let (inputs, outputs) = check(x, weight, bias)?;
    let mut shape = x.dims().to_vec();
    let rows = x.len() / inputs.max(1);
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let keep = [x, weight, bias].iter().any(|t| t.is_tracked()) && tape::is_recording();
    let (y, slope) = with_real!("linear", x.dtype(), T => {
        cpu::forward::<T>([&x.data, &weight.data, &bias.data], [rows, inputs, outputs], &shape, act, keep)
    })?;
    let saved = [x.data.clone(), weight.data.clone(), bias.data.clone()];
    record("linear", y, &[x, weight, bias], move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |t| reference(&t[0], &t[1], &t[2], act));
        }
        let needs = [ctx.needs(0), ctx.needs(1), ctx.needs(2)];
        let [x, w, _] = &saved;
        with_real!("linear", g.dtype(), T => {
            cpu::backward::<T>([x, w, &g.data], slope.as_ref(), [rows, inputs, outputs], needs)
        })
    })
}

fn check(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<(usize, usize)> {
    let fits = match (x.dims().last(), weight.dims()) {
        (Some(&n), &[outputs, inputs]) => n == inputs && bias.dims() == [outputs],
        _ => false,
    };
    if !fits {
        let detail = format!(
            "expected x [.., in], weight [out, in], bias [out], got {:?}, {:?}, {:?}",
            x.dims(),
            weight.dims(),
            bias.dims()
        );
        return Err(Error::Shape {
            op: "linear",
            detail,
        });
    }
    for other in [weight, bias] {
        if other.dtype() != x.dtype() {
            return Err(Error::DType {
                op: "linear",
                expected: x.dtype().as_str(),
                got: other.dtype(),
            });
        }
    }
    Ok((weight.dims()[1], weight.dims()[0]))
}
