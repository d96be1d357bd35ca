//! The multilayer perceptron: `x -> act(W x + b) -> ... -> W x + b`.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, ops::loss::RowLoss, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Activation, chain::Chain, init_linear};
use crate::{Error, Result, checks::at_least_one};

/// Options of a multilayer perceptron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlpOptions {
    /// Size of the input (at least 1; default 1).
    pub inputs: usize,
    /// Size of the output (at least 1; default 1).
    pub outputs: usize,
    /// Sizes of the hidden layers (default [128, 128]).
    pub hidden: Vec<usize>,
    /// What stands after each hidden layer (default "silu").
    pub activation: Activation,
}

impl Default for MlpOptions {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            hidden: vec![128, 128],
            activation: Activation::default(),
        }
    }
}

impl MlpOptions {
    /// Refuses impossible sizes.
    pub fn validate(&self) -> Result<()> {
        at_least_one("inputs", self.inputs)?;
        at_least_one("outputs", self.outputs)?;
        self.hidden
            .iter()
            .try_for_each(|&n| at_least_one("hidden", n))
    }

    /// Sizes from input to output.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        [self.inputs]
            .into_iter()
            .chain(self.hidden.iter().copied())
            .chain([self.outputs])
            .collect()
    }
}

/// A multilayer perceptron.
#[derive(Clone)]
pub struct Mlp {
    options: MlpOptions,
    params: Arc<Params>,
    first: usize,
}

impl Mlp {
    /// A network with fresh parameters.
    pub fn new(options: MlpOptions, seed: u64, dtype: DType) -> Result<Self> {
        options.validate()?;
        let params = Arc::new(Params::new(Self::initial(&options, "", seed, dtype)?)?);
        Ok(Self {
            options,
            params,
            first: 0,
        })
    }

    /// Initial parameters named `<prefix><layer>.weight` and `.bias`, for networks that have other
    /// parameters in the same buffer too.
    pub(crate) fn initial(
        options: &MlpOptions,
        prefix: &str,
        seed: u64,
        dtype: DType,
    ) -> Result<Vec<(String, Tensor)>> {
        let mut values = Vec::new();
        for (i, pair) in options.sizes().windows(2).enumerate() {
            let stream = Stream::new(Stream::new(seed, "mlp").at(i as u64).seed(), "init");
            let (weight, bias) = init_linear(pair[0], pair[1], stream, dtype)?;
            values.push((format!("{prefix}{i}.weight"), weight));
            values.push((format!("{prefix}{i}.bias"), bias));
        }
        Ok(values)
    }

    /// A network over parameters that lie in a larger buffer, its own from slot `first`.
    pub(crate) fn over(options: MlpOptions, params: Arc<Params>, first: usize) -> Self {
        Self {
            options,
            params,
            first,
        }
    }

    /// The same network with other values for its parameters.
    #[must_use]
    pub fn with(&self, params: Arc<Params>) -> Self {
        Self {
            params,
            ..self.clone()
        }
    }

    /// What it was made with.
    pub fn options(&self) -> &MlpOptions {
        &self.options
    }

    /// Its parameters.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// `[.., inputs] -> [.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        forward(&self.options, &self.params, self.first, x)
    }

    /// The mean loss of the rows of the output, in one pass with its gradients where the network qualifies.
    pub fn loss(&self, x: &Tensor, target: &Tensor, loss: RowLoss) -> Result<Tensor> {
        check(&self.options, x)?;
        Chain::of_mlp(&self.options).loss(&self.params, self.first, x, target, loss)
    }

    /// Whether it goes through all layers at once, tile by tile.
    pub fn is_fused(&self) -> bool {
        Chain::of_mlp(&self.options).is_fused(self.params.dtype())
    }
}

/// `[.., inputs] -> [.., outputs]` with the parameters from slot `first`.
pub(crate) fn forward(
    options: &MlpOptions,
    params: &Params,
    first: usize,
    x: &Tensor,
) -> Result<Tensor> {
    check(options, x)?;
    Chain::of_mlp(options).forward(params, first, x)
}

/// Refuses inputs of another size.
fn check(options: &MlpOptions, x: &Tensor) -> Result<()> {
    if x.dims().last() == Some(&options.inputs) {
        return Ok(());
    }
    Err(Error::Shape {
        what: "mlp input",
        expected: format!("[.., {}]", options.inputs),
        got: x.dims().to_vec(),
    })
}
