//! Networks and what they are made of. Every network keeps its parameters in one flat buffer.

mod attention;
mod chain;
mod container;
mod conv;
mod fit;
mod gru;
pub mod guest;
mod init;
mod layer;
mod linear;
mod list;
pub mod loss;
mod mlp;
mod net;
mod norm;
mod shape;
mod time;
mod time_embedding;
mod unet;

pub use attention::Attention;
pub use container::{Custom, Forward, Residual, Sequential};
pub use conv::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Size};
pub use fit::{LossFunction, NetFitOptions};
pub use gru::Gru;
pub use init::{Fill, Init, linear as init_linear, normal as init_normal};
pub(crate) use layer::draw;
pub use layer::{Build, Layer, Module, Pass, Plan, Row};
pub use linear::{Embedding, Linear, StableEmbedding};
pub use list::{ALL, Kind};
pub use loss::{LossKind, Reduction};
pub use mlp::{Mlp, MlpOptions};
pub use net::{KIND, Net};
pub use norm::{Dropout, GroupNorm, LayerNorm, RmsNorm};
pub use shape::{AvgPool2d, Flatten, GlobalAvgPool, MaxPool2d, Reshape, Upsample};
pub use time::{TimeFeatures, time_features};
pub use time_embedding::{Frequencies, TimeEmbedding};
pub use unet::Unet;

use crate::{Error, Result};

/// Refuses what is no finite number from 0 on.
pub(crate) fn at_least_zero(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::option(
        key,
        format!("must be a finite number >= 0, got {value}"),
    ))
}

use rhapsode_tensor::ops::linear::Activation as Kernel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands after a linear layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x sigmoid(x)` (swish).
    #[default]
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

impl From<Activation> for Kernel {
    fn from(act: Activation) -> Self {
        match act {
            Activation::Identity => Kernel::Identity,
            Activation::Relu => Kernel::Relu,
            Activation::Silu => Kernel::Silu,
            Activation::Gelu => Kernel::Gelu,
            Activation::Tanh => Kernel::Tanh,
            Activation::Sigmoid => Kernel::Sigmoid,
            Activation::Softplus => Kernel::Softplus,
        }
    }
}

impl Activation {
    /// Its name in scripts.
    pub fn name(self) -> &'static str {
        let kernel = Kernel::from(self);
        let mut all = Kernel::ALL.iter();
        all.find(|(_, act)| *act == kernel)
            .map_or("", |(name, _)| name)
    }

    /// The activation of a name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_string())).ok()
    }
}
