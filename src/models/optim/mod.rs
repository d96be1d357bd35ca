//! Optimizers: a file each with its options, the names of its states and its step. Clipping,
//! schedules, groups, moving averages and state on disk are shared parts here.
//!
//! Conventions: `g` gradient, `p` parameter, `k` the step from 1. A step is one fused pass over flat
//! slices ([`rhapsode_tensor::ops::update`]). Every rule works with its state in 32 bits or in 8 ([`Common`]).

mod adagrad;
mod adam;
mod ademamix;
mod choice;
mod clip;
mod common;
mod ema;
mod kept;
mod lamb;
mod lars;
mod lion;
mod quantized;
mod rmsprop;
mod rule;
mod schedule;
mod sgd;
mod state;
mod target;
mod working;

pub use adagrad::AdagradOptions;
pub use adam::{AdamOptions, AdamWOptions};
pub use ademamix::AdEmaMixOptions;
pub use choice::{Choice, Kind};
pub use clip::{clip_grad_norm, grad_norm};
pub use common::{CodeName, Codes, Common, REFERENCE, RoundingName};
pub use ema::{Ema, ramp};
pub use lamb::LambOptions;
pub use lars::LarsOptions;
pub use lion::LionOptions;
pub use quantized::{
    CodeOptions, QuantizeOptions, Quantized, codebook, quantization_error, quantize,
};
pub use rmsprop::RmsPropOptions;
pub use rule::{Rule, RuleOn, StateKind, StepInput};
pub use schedule::{SHAPES, Schedule, ScheduleOptions, Shape};
pub use sgd::{MomentumOptions, SgdOptions};
pub use state::KIND as STATE_KIND;
pub use working::{Group, Optimizer};

/// Every optimizer. To be in the list is to be bound, documented and tested.
pub const ALL: &[Kind] = &[
    sgd::SGD,
    sgd::MOMENTUM,
    adam::ADAM,
    adam::ADAMW,
    lion::LION,
    rmsprop::RMSPROP,
    adagrad::ADAGRAD,
    lamb::LAMB,
    lars::LARS,
    ademamix::ADEMAMIX,
];
