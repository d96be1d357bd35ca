//! Flows between distributions: a file a method, and what they share.
//!
//! Time runs from 0 (the base, noise) to 1 (data) in every method. What all share: the interface of a velocity
//! ([`field`]), coefficients of processes ([`path`]), conversions between fields ([`convert`]) and between schedules
//! ([`schedule`]), samples
//! ([`mod@sample`]), likelihoods ([`likelihood`]), couplings ([`coupling`]), and what is asked of a model before one trusts it
//! ([`verify`]).

pub mod convert;
pub mod coupling;
pub mod field;
pub mod interpolant;
pub mod likelihood;
pub mod loss;
pub mod mixture;
pub mod path;
pub mod rectified;
pub mod reflow;
pub mod sample;
pub mod schedule;
pub mod search;
pub mod steer;
pub mod timestep;
mod training;
mod velocity;
pub mod verify;

pub use coupling::Coupling;
pub use field::{FunctionField, SharedFlow, VelocityField, VelocityFn};
pub use interpolant::Interpolant;
pub use likelihood::LogProbOptions;
pub use path::PATHS;
pub use rectified::RectifiedFlow;
pub use sample::SampleOptions;
pub use training::FitOptions;
pub use velocity::{NetKind, VelocityNet, VelocityOptions};
