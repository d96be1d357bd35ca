//! What models learn from: data sets, and how data are split, scaled and dealt out.
//!
//! - [`toy`]: 2-D sets, drawn afresh for every seed; all of them in [`TOY`]
//! - [`digits()`]: real handwritten digits, 8x8, shipped with the program
//! - [`split()`]: parts for training and for judging
//! - [`standardize()`]: zero mean and unit deviation, and back
//! - [`Batches`]: the one sampler of minibatches
//!
//! Nothing here keeps a generator: a [`Stream`](rhapsode_tensor::random::Stream) says which draw.

mod batches;
mod digits;
mod split;
mod standardize;
pub mod toy;

pub use batches::Batches;
pub use digits::{Digits, digits};
pub use split::{Parts, split};
pub use standardize::{Standardized, standardize};
pub use toy::{TOY, Toy, ToyOptions};
