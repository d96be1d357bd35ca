//! The one [`Tensor`] of the house: candle storage, our own autograd tape, fused CPU kernels and
//! seeded randomness.
//!
//! candle-core gives storage, dtypes, layouts, devices and safetensors. We own what was measured
//! to be wrong or slow there: gradients (silently wrong for a dozen operations), random numbers
//! (the CPU generator cannot be seeded), and the hot elementwise, reduction and linear kernels.
//!
//! - [`tape`]: gradients: [`grad`], [`vjp`], [`jvp`], [`no_grad`]
//! - [`ops`]: every operation, with its value and gradient contract in [`ops::ALL`]
//! - [`random`]: Philox streams, the same for any number of threads
//! - [`params`]: the parameters of a model in one flat buffer
//! - [`mod@simd`], [`pool`]: instruction sets chosen at run time, one fork-join pool
//! - [`guest`]: candle modules as frozen operations
//! - [`limits`]: what the machine can do at most
//! - [`memory`], [`interrupt`]: what keeps a script from killing or blocking the process

mod dtype;
mod error;
mod gate;
pub mod guest;
pub mod interrupt;
mod layout;
pub mod limits;
pub mod memory;
pub mod ops;
pub mod params;
pub mod pool;
pub mod random;
mod repr;
pub mod simd;
mod statistics;
pub mod tape;
mod tensor;

pub use candle_core::Device;
pub use dtype::DType;
pub use error::{Callback, Error, Result};
pub use statistics::Statistics;
pub use tape::{grad, grad_or_zero, is_recording, jvp, no_grad, vjp};
pub use tensor::{Real, Tensor};
