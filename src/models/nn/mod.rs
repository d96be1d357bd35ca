//! Networks and what they are made of. Every network keeps its parameters in one flat buffer.

mod init;
mod mlp;
mod time;

pub use init::{linear as init_linear, normal as init_normal};
pub(crate) use mlp::positive;
pub use mlp::{Mlp, MlpOptions};
pub use time::{TimeFeatures, time_features};

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
