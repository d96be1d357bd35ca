//! A whole multilayer perceptron in one operation: a tile of rows goes through all layers, and back, while it stays
//! in the second-level cache.
//!
//! ```text
//! h_0 = x,   h_i = act_i(h_(i-1) W_i^T + b_i)
//! ```
//!
//! [`forward`] is the network without a history, for sampling and evaluation; [`loss`] a loss of
//! its output, whose gradients come in the same pass. Layer by layer the same step reads and writes every activation
//! several times from main memory (a training step of 3-256-256-256-2 at batch 4096: 60% of the time went there).
//!
//! Rows are cut into groups whose number does not depend on the threads, and the gradients of the groups are added
//! in their order; so results do not depend on the threads either.

mod cpu;
mod net;

use super::{
    linear::{Activation, linear},
    loss::RowLoss,
    paths::NETWORK,
};
use crate::{
    DType, Error, Result, Tensor,
    tape::{self, record},
    with_real,
};

/// A layer `act(x W^T + b)`; `weight: [out, in]`, `bias: [out]`.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// W.
    pub weight: &'a Tensor,
    /// b.
    pub bias: &'a Tensor,
    /// What stands behind it.
    pub act: Activation,
}

/// Sizes and activations of a network.
#[derive(Clone, Debug)]
struct Plan {
    /// From input to output.
    sizes: Vec<usize>,
    acts: Vec<Activation>,
}

impl Plan {
    /// Numbers of all weights and biases.
    fn len(&self) -> usize {
        self.sizes.windows(2).map(|s| (s[0] + 1) * s[1]).sum()
    }

    fn widest(&self) -> usize {
        self.sizes.iter().copied().max().unwrap_or(1)
    }
}

/// Widest layer for which a tile of rows still stays in the cache.
const WIDEST: usize = 1024;

/// Most parameters: each group of rows has a gradient of its own.
const MOST: usize = 1 << 20;

/// Whether a network of these sizes (input to output) and this dtype goes this way.
pub fn qualifies(sizes: &[usize], dtype: DType) -> bool {
    let parameters: usize = sizes.windows(2).map(|s| (s[0] + 1) * s[1]).sum();
    matches!(dtype, DType::F32 | DType::F64)
        && sizes.len() > 2
        && sizes.iter().all(|n| (1..=WIDEST).contains(n))
        && parameters <= MOST
}

/// The plan of layers that fit each other and go this way.
fn plan(x: &Tensor, layers: &[Layer]) -> Option<Plan> {
    let mut sizes = vec![*x.dims().last()?];
    for layer in layers {
        let &[outputs, inputs] = layer.weight.dims() else {
            return None;
        };
        let same = layer.weight.dtype() == x.dtype() && layer.bias.dtype() == x.dtype();
        if Some(&inputs) != sizes.last() || layer.bias.dims() != [outputs] || !same {
            return None;
        }
        sizes.push(outputs);
    }
    let acts = layers.iter().map(|layer| layer.act).collect();
    // Under watch every layer is an operation of its own, which can be named.
    (qualifies(&sizes, x.dtype()) && !x.is_empty() && !tape::is_watching())
        .then_some(Plan { sizes, acts })
}

/// The plain composition: layer after layer.
pub fn reference(x: &Tensor, layers: &[Layer]) -> Result<Tensor> {
    layers.iter().try_fold(x.clone(), |h, layer| {
        linear(&h, layer.weight, layer.bias, layer.act)
    })
}

/// The output `[.., out]` at `x: [.., in]`; the whole network at once where nothing is recorded.
pub fn forward(x: &Tensor, layers: &[Layer]) -> Result<Tensor> {
    let tracked = |layer: &Layer| layer.weight.is_tracked() || layer.bias.is_tracked();
    let recorded = tape::is_recording() && (x.is_tracked() || layers.iter().any(tracked));
    let plan = plan(x, layers).filter(|_| !recorded);
    NETWORK.take(plan.is_some());
    let Some(plan) = plan else {
        return reference(x, layers);
    };
    let data = data_of(layers);
    let y = with_real!("mlp", x.dtype(), T => cpu::forward::<T>(&plan, &x.data, &data))?;
    Ok(Tensor::from_candle(y))
}

/// The mean loss of the rows of `net(x)` against `target: [.., out]`, shape `[]`; with gradients for `x` and the layers.
pub fn loss(x: &Tensor, target: &Tensor, layers: &[Layer], loss: RowLoss) -> Result<Tensor> {
    let plan = plan(x, layers).filter(|plan| {
        let (outputs, rows) = (plan.sizes[plan.sizes.len() - 1], x.len() / plan.sizes[0]);
        // The gradient of the target is the plain path's.
        let plain = target.is_tracked() || target.dtype() != x.dtype() || !tape::is_recording();
        !plain && target.dims().last() == Some(&outputs) && target.len() == rows * outputs
    });
    NETWORK.take(plan.is_some());
    let Some(plan) = plan else {
        return of_rows(loss, &reference(x, layers)?, target);
    };
    let data = data_of(layers);
    let wants_x = x.is_tracked();
    let (value, flat, dx) = with_real!("mlp", x.dtype(), T => {
        cpu::loss::<T>(&plan, [&x.data, &target.data], &data, loss, wants_x)
    })?;
    let inputs: Vec<&Tensor> = [x]
        .into_iter()
        .chain(layers.iter().flat_map(|l| [l.weight, l.bias]))
        .collect();
    let saved: Vec<candle_core::Tensor> = inputs.iter().map(|t| t.data.clone()).collect();
    let target = target.clone();
    record("mlp", value, &inputs, move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |inputs| {
                of_rows(loss, &again(&plan, inputs)?, &target)
            });
        }
        let scale = g.item()?;
        let scaled = |t: Tensor| match scale {
            1.0 => Ok(t),
            scale => t.affine(scale, 0.0),
        };
        let mut grads = Vec::with_capacity(saved.len());
        grads.push(dx.clone().map(&scaled).transpose()?);
        let flat = scaled(flat.clone())?;
        let mut start = 0;
        for parameter in &saved[1..] {
            let view = flat.data.narrow(0, start, parameter.elem_count())?;
            start += parameter.elem_count();
            grads.push(Some(Tensor::from_candle(view.reshape(parameter.dims())?)));
        }
        Ok(grads)
    })
}

/// A loss of outputs `[.., out]`: a row is one of `out` numbers, whatever stands before.
fn of_rows(loss: RowLoss, y: &Tensor, target: &Tensor) -> Result<Tensor> {
    match y.dims() {
        [.., out] if y.rank() != 2 && y.dims() == target.dims() => {
            let flat = [y.len() / (*out).max(1), *out];
            loss.of(&y.reshape(&flat)?, &target.reshape(&flat)?)
        }
        _ => loss.of(y, target),
    }
}

/// The network again, from its saved inputs.
fn again(plan: &Plan, inputs: &[Tensor]) -> Result<Tensor> {
    let Some((x, parameters)) = inputs.split_first() else {
        return Err(Error::Value {
            op: "mlp",
            detail: "has no input".into(),
        });
    };
    let mut layers = parameters.chunks_exact(2).zip(&plan.acts);
    layers.try_fold(x.clone(), |h, (pair, act)| {
        linear(&h, &pair[0], &pair[1], *act)
    })
}

fn data_of(layers: &[Layer]) -> Vec<candle_core::Tensor> {
    let data = |layer: &Layer| [layer.weight.data.clone(), layer.bias.data.clone()];
    layers.iter().flat_map(data).collect()
}
