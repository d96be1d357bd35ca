//! Flows between distributions: a file a method, and what they share.
//!
//! Time runs from 0 (the base, noise) to 1 (data) in every method.

pub mod coupling;
pub mod likelihood;
pub mod rectified;
mod velocity;

pub use coupling::Coupling;
pub use likelihood::LogProbOptions;
pub use rectified::RectifiedFlow;
pub use velocity::{NetKind, VelocityNet, VelocityOptions};

use rhapsode_tensor::Tensor;

use crate::Result;

/// Anything that has a velocity can be sampled, steered, searched, scored.
pub trait VelocityField {
    /// The velocity at `x: [n, dim]` and times `t: [n]`, of the shape of `x`; differentiable in `x`.
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor>;
    /// Size of one sample.
    fn dim(&self) -> usize;
}
