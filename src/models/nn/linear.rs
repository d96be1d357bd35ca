//! The linear layer, the multilayer perceptron as a layer, and activations.

use rhapsode_tensor::{Tensor, ops::linear};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Activation, Build, Fill, Init, MlpOptions, Module, Pass, mlp};
use crate::Result;
use crate::checks::at_least_one;

/// Options of a linear layer: `act(x W^T + b)`, `[.., inputs] -> [.., outputs]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Linear {
    /// Size of the input (at least 1; default 1).
    pub inputs: usize,
    /// Size of the output (at least 1; default 1).
    pub outputs: usize,
    /// Whether a bias is added (default true).
    pub bias: bool,
    /// What stands after it, in the same pass (default "identity").
    pub activation: Activation,
    /// How the weights begin (default "uniform", PyTorch's).
    pub init: Init,
}

impl Default for Linear {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            bias: true,
            activation: Activation::Identity,
            init: Init::default(),
        }
    }
}

impl Linear {
    /// From sizes, the rest as by default.
    pub fn of(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            ..Self::default()
        }
    }
}

impl Module for Linear {
    fn validate(&self) -> Result<()> {
        at_least_one("inputs", self.inputs)?;
        at_least_one("outputs", self.outputs)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let (n, m) = (self.inputs, self.outputs);
        build.param("weight", &[m, n], self.init.weight(n, m));
        if self.bias {
            build.param("bias", &[m], self.init.bias(n));
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        pass.last(x, self.inputs)?;
        let weight = pass.param()?;
        if self.bias {
            let bias = pass.param()?;
            return Ok(linear::linear(x, weight, bias, self.activation.into())?);
        }
        // The fused kernel adds a bias in the same pass: zeros cost nothing.
        let zeros = Tensor::zeros(&[self.outputs], weight.dtype())?;
        Ok(linear::linear(x, weight, &zeros, self.activation.into())?)
    }
}

impl Module for MlpOptions {
    fn validate(&self) -> Result<()> {
        MlpOptions::validate(self)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        for (i, pair) in self.sizes().windows(2).enumerate() {
            let (n, m) = (pair[0], pair[1]);
            build.param(&format!("{i}.weight"), &[m, n], Init::Uniform.weight(n, m));
            build.param(&format!("{i}.bias"), &[m], Init::Uniform.bias(n));
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        pass.last(x, self.inputs)?;
        let (params, first) = pass.place();
        pass.skip(2 * (self.hidden.len() + 1));
        mlp::forward(self, params, first, x)
    }
}

impl Module for Activation {
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, _: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        Ok(linear::Activation::from(*self).apply(x)?)
    }
}

/// Options of an embedding: a learned vector for each of `vocab` whole numbers, `[..] -> [.., size]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    /// How many numbers have a vector: 0 to vocab - 1 (at least 1; default 1).
    pub vocab: usize,
    /// Size of a vector (at least 1; default 1).
    pub size: usize,
    /// Deviation of the normal numbers with which the vectors begin (finite, >= 0; default 1, PyTorch's).
    pub deviation: f64,
    /// Whether optimizers keep its state in 32 bits, whatever their `bits` (default false).
    pub keep_32bit: bool,
}

impl Default for Embedding {
    fn default() -> Self {
        Self {
            vocab: 1,
            size: 1,
            deviation: 1.0,
            keep_32bit: false,
        }
    }
}

/// The rows of a table at whole numbers `x: [..]`.
fn look_up(pass: &Pass, table: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (vocab, size) = (table.dims()[0], table.dims()[1]);
    let index = x.to_ints("embedding")?;
    if let Some(bad) = index.iter().find(|i| !(0..vocab as i64).contains(i)) {
        return Err(pass.refuse(format!("whole numbers in 0..{vocab} (found {bad})"), x));
    }
    let index = Tensor::from_vec(index, &[x.len()])?;
    let shape: Vec<usize> = x.dims().iter().copied().chain([size]).collect();
    Ok(table.index_select(0, &index)?.reshape(&shape)?)
}

impl Module for Embedding {
    fn validate(&self) -> Result<()> {
        at_least_one("vocab", self.vocab)?;
        at_least_one("size", self.size)?;
        super::at_least_zero("deviation", self.deviation)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let fill = Fill::Normal(self.deviation);
        build.table("weight", [self.vocab, self.size], fill, self.keep_32bit);
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let table = pass.param()?;
        look_up(pass, table, x)
    }
}

/// Options of a stable embedding: an embedding that begins uniform (Xavier) and goes through layer norm, so that
/// 8-bit optimizers do not meet its extreme gradients, and whose table keeps its optimizer state in 32 bits, whatever the
/// optimizer's `bits` (Dettmers et al. 2021, arXiv 2110.02861). `[..] -> [.., size]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StableEmbedding {
    /// How many numbers have a vector: 0 to vocab - 1 (at least 1; default 1).
    pub vocab: usize,
    /// Size of a vector (at least 1; default 1).
    pub size: usize,
}

impl Default for StableEmbedding {
    fn default() -> Self {
        Self { vocab: 1, size: 1 }
    }
}

impl Module for StableEmbedding {
    fn validate(&self) -> Result<()> {
        at_least_one("vocab", self.vocab)?;
        at_least_one("size", self.size)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let (vocab, size) = (self.vocab, self.size);
        let fill = Init::Xavier.weight(vocab, size);
        build.table("weight", [vocab, size], fill, true);
        build.param("norm.weight", &[size], Fill::Constant(1.0));
        build.param("norm.bias", &[size], Fill::Constant(0.0));
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let (table, weight, bias) = (pass.param()?, pass.param()?, pass.param()?);
        Ok(look_up(pass, table, x)?.layer_norm(weight, bias, 1e-5)?)
    }
}
