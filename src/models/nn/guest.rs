//! Guests from files: the weights of a PyTorch `nn.Sequential` of linear layers or convolutions as one frozen
//! candle module, so that a pretrained classifier can be a reward or a feature network.
//!
//! PyTorch names the parameters of a sequential by the place of the layer: `0.weight, 0.bias, 2.weight, ..`, with
//! a prefix such as `net.` or not. The layers without parameters are not in the file: they come from the options.

use rhapsode_tensor::{
    Tensor,
    guest::{Frozen, Guest},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Activation;
use crate::{Error, Result, checkpoint::Checkpoint, checks::at_least_one};

/// Options of a guest from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuestOptions {
    /// The shape of one sample, e.g. `[64]` or `[1, 8, 8]` (must be given).
    pub input: Vec<usize>,
    /// What stands between the layers of the file (default "relu", as is usual there).
    pub activation: Option<Activation>,
    /// What stands before the numbers of the layers in the names, e.g. "net." (default "").
    pub prefix: String,
    /// Stride of the convolutions (at least 1; default 1).
    pub stride: Option<usize>,
    /// Padding of the convolutions (default 0).
    pub padding: usize,
}

/// The layers of a file in the order of their numbers: weights `[out, in]` or `[out, in, kh, kw]`, and biases.
fn layers(checkpoint: &Checkpoint, prefix: &str) -> Result<Vec<(Tensor, Option<Tensor>)>> {
    let refuse = |message: String| Error::Value {
        what: "guest",
        message,
    };
    let find = |name: &str| {
        let mut all = checkpoint.tensors.iter();
        all.find(|(n, _)| n == name).map(|(_, t)| t.clone())
    };
    let mut numbers = Vec::new();
    for (name, _) in &checkpoint.tensors {
        let Some(rest) = name.strip_prefix(prefix) else {
            continue;
        };
        let number = rest.split_once('.').and_then(|(number, part)| {
            let number = number.parse::<usize>().ok()?;
            matches!(part, "weight" | "bias").then_some((number, part))
        });
        match number {
            Some((number, "weight")) => numbers.push(number),
            Some(_) => {}
            None => {
                return Err(refuse(format!(
                    "tensor `{name}` is no `<number>.weight` or `.bias` of a sequential of linear layers and convolutions"
                )));
            }
        }
    }
    numbers.sort_unstable();
    if numbers.is_empty() {
        let names: Vec<&str> = checkpoint
            .tensors
            .iter()
            .take(5)
            .map(|(n, _)| n.as_str())
            .collect();
        return Err(refuse(format!(
            "the file has no tensor `{prefix}<number>.weight`; it begins with {}",
            names.join(", ")
        )));
    }
    let layer = |number: usize| {
        let weight = find(&format!("{prefix}{number}.weight"));
        let weight = weight.filter(|w| matches!(w.rank(), 2 | 4)).ok_or_else(|| {
            refuse(format!(
                "`{prefix}{number}.weight` is no weight [out, in] of a linear layer nor [out, in, kh, kw] of a convolution"
            ))
        })?;
        Ok((weight, find(&format!("{prefix}{number}.bias"))))
    };
    numbers.into_iter().map(layer).collect()
}

/// The frozen network of a file. Errors when the file holds something else, the layers do not fit one another and
/// the input, or the gradient of the module is not right.
pub fn load(checkpoint: &Checkpoint, options: &GuestOptions) -> Result<Guest> {
    if options.input.is_empty() || options.input.contains(&0) {
        return Err(Error::option(
            "input",
            format!(
                "must be the shape of one sample, e.g. [64], got {:?}",
                options.input
            ),
        ));
    }
    let stride = options.stride.unwrap_or(1);
    at_least_one("stride", stride)?;
    let layers = layers(checkpoint, &options.prefix)?;
    let dtype = layers
        .first()
        .map_or(rhapsode_tensor::DType::F32, |(w, _)| w.dtype());
    let frozen = Frozen {
        activation: options.activation.unwrap_or(Activation::Relu).into(),
        layers,
        stride,
        padding: options.padding,
    };
    let shape = [&[2], options.input.as_slice()].concat();
    let sample = rhapsode_tensor::random::Stream::new(0, "guest").randn(&shape, dtype)?;
    Ok(Guest::new(frozen.module()?, &sample)?)
}
