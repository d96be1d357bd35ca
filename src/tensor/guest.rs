//! Guests: any candle module (`candle_nn` layers, models of candle-transformers, a closure over candle
//! tensors) as one frozen operation of our tape.
//!
//! The value is the module's; the gradient with respect to the input comes from candle's own backward
//! inside the node. The module's weights do not train. candle loses gradients without a word where a
//! layer uses a fused kernel without a backward (`LayerNorm` with a bias, `RmsNorm`, `softmax_last_dim`,
//! rotary embeddings: what is upstream gets nothing or a part), so a guest is probed when it is
//! made: candle's gradient is held against a finite difference.

use std::sync::Arc;

use candle_core::{Module, Var};
use candle_nn::{Conv2d, Conv2dConfig, Linear};

use crate::{DType, Error, Result, Tensor, ops::linear::Activation, random::Stream, tape::record};

/// A frozen candle module; clones share it.
#[derive(Clone)]
pub struct Guest {
    module: Arc<dyn Module + Send + Sync>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Guest")
    }
}

/// Step of the finite difference, relative to the size of the input: for f32 near the cube root of its
/// precision.
fn step_of(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-5 } else { 5e-3 }
}

impl Guest {
    /// Wraps a module. `sample` is an input of the kind that it will get (shape and dtype): at it the
    /// gradient is probed along three directions. Errors when candle has no gradient for the module or a wrong one.
    pub fn new(module: impl Module + Send + Sync + 'static, sample: &Tensor) -> Result<Self> {
        let guest = Self {
            module: Arc::new(module),
        };
        guest.probe(&sample.detach())?;
        Ok(guest)
    }

    /// The module's value at `x`, differentiable in `x`. A second derivative is refused.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.module.forward(x.candle())?.detach();
        let (module, saved) = (self.module.clone(), x.candle().clone());
        record("guest", y, &[x], move |ctx, g| {
            if ctx.create_graph() {
                return Err(Error::NoGradient {
                    op: "guest",
                    detail: "a candle module has first derivatives only",
                });
            }
            Ok(vec![Some(pulled(&*module, &saved, g)?)])
        })
    }

    /// Candle's gradient against finite differences.
    fn probe(&self, x: &Tensor) -> Result<()> {
        let y = Tensor::from_candle(self.module.forward(x.candle())?.detach());
        if y.dtype() != x.dtype() {
            return Err(Error::DType {
                op: "guest",
                expected: x.dtype().as_str(),
                got: y.dtype(),
            });
        }
        // A random weighting of the outputs: no part of the gradient may cancel.
        let stream = Stream::new(7, "guest");
        let weight = stream.randn(y.dims(), y.dtype())?;
        let gradient = pulled(&*self.module, x.candle(), &weight)?;
        let scale = x.detach().norm_all()?.item()? / (x.len().max(1) as f64).sqrt();
        let step = step_of(x.dtype()) * if scale > 0.0 { scale } else { 1.0 };
        let value = |x: &Tensor| -> Result<f64> {
            let y = Tensor::from_candle(self.module.forward(x.candle())?.detach());
            y.to_dtype(DType::F64)?
                .mul(&weight.to_dtype(DType::F64)?)?
                .sum_all()?
                .item()
        };
        for index in 1..4 {
            let direction = stream.at(index).randn(x.dims(), x.dtype())?;
            let by_candle = gradient.mul(&direction)?.sum_all()?.item()?;
            let ahead = value(&x.add(&direction.affine(step, 0.0)?)?)?;
            let behind = value(&x.add(&direction.affine(-step, 0.0)?)?)?;
            let measured = (ahead - behind) / (2.0 * step);
            // Wide: kinks of a relu and f32 rounding pass; a layer that is cut off does not.
            let size = gradient.norm_all()?.item()?.max(measured.abs());
            if !by_candle.is_finite() || (by_candle - measured).abs() > 0.15 * size + 1e-6 {
                return Err(Error::NoGradient {
                    op: "guest",
                    detail: "candle's gradient of this module is not that of its values: a layer in it cuts the graph (candle's LayerNorm with bias, RmsNorm, softmax_last_dim and rotary embeddings do)",
                });
            }
        }
        Ok(())
    }
}

/// `g^T dy/dx` by candle's backward.
fn pulled(module: &dyn Module, x: &candle_core::Tensor, g: &Tensor) -> Result<Tensor> {
    let x = Var::from_tensor(x)?;
    let y = module.forward(x.as_tensor())?;
    let weighted = (y * g.candle())?.sum_all()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where candle's gradients are used: probed when the guest is made"
    )]
    let grads = weighted.backward()?;
    match grads.get(x.as_tensor()) {
        Some(gradient) => Ok(Tensor::from_candle(gradient.contiguous()?)),
        None => Err(Error::NoGradient {
            op: "guest",
            detail: "candle gives no gradient for the input of this module: a layer in it cuts the graph (candle's LayerNorm with bias, RmsNorm, softmax_last_dim and rotary embeddings do)",
        }),
    }
}

/// What a frozen network of linear layers and convolutions is made of.
pub struct Frozen {
    /// Weights `[out, in]` (linear) or `[out, in, kh, kw]` (convolution) and biases `[out]`, in order.
    pub layers: Vec<(Tensor, Option<Tensor>)>,
    /// What stands between two layers.
    pub activation: Activation,
    /// Stride of the convolutions.
    pub stride: usize,
    /// Padding of the convolutions.
    pub padding: usize,
}

impl Frozen {
    /// The layers of `candle_nn` one after the other: the activation between two, images flattened before the first
    /// linear layer after a convolution. Errors for weights of another rank. (`candle_nn::Sequential` is not
    /// `Send`, hence the list.)
    pub fn module(&self) -> Result<impl Module + Send + Sync + 'static> {
        type Part = Box<dyn Module + Send + Sync>;
        let mut network: Vec<Part> = Vec::new();
        let mut images = false;
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            if i > 0 {
                let act = self.activation;
                network.push(Box::new(candle_nn::func(move |x| activate(act, x))));
            }
            let (weight, bias) = (
                weight.candle().clone(),
                bias.as_ref().map(|b| b.candle().clone()),
            );
            match weight.rank() {
                2 => {
                    if images {
                        network.push(Box::new(candle_nn::func(|x| x.flatten_from(1))));
                    }
                    images = false;
                    network.push(Box::new(Linear::new(weight, bias)));
                }
                4 => {
                    images = true;
                    let config = Conv2dConfig {
                        stride: self.stride,
                        padding: self.padding,
                        ..Default::default()
                    };
                    network.push(Box::new(Conv2d::new(weight, bias, config)));
                }
                _ => {
                    let detail = format!(
                        "expected a weight [out, in] or [out, in, kh, kw], got {:?}",
                        weight.dims()
                    );
                    return Err(Error::Shape {
                        op: "guest",
                        detail,
                    });
                }
            }
        }
        Ok(move |x: &candle_core::Tensor| {
            let mut h = x.clone();
            for part in &network {
                h = part.forward(&h)?;
            }
            Ok(h)
        })
    }
}

/// An activation by candle's operations, those that have a gradient there.
fn activate(act: Activation, x: &candle_core::Tensor) -> candle_core::Result<candle_core::Tensor> {
    match act {
        Activation::Identity => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
        // max(x, 0) + ln(1 + e^-|x|)
        Activation::Softplus => x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?,
    }
}
