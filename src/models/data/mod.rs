//! What models learn from: data sets, and how data are split, scaled and dealt out.
//!
//! - [`toy`]: 2-D sets, drawn afresh for every seed; all of them in [`TOY`]
//! - [`digits()`]: real handwritten digits, 8x8, shipped with the program
//! - [`split()`]: parts for training and for judging
//! - [`standardize()`]: zero mean and unit deviation, and back
//! - [`Batches`]: the one sampler of minibatches
//! - [`mod@format`]: CSV, Parquet, NumPy, safetensors, idx and PNG files; [`Table`] for those with columns
//! - [`stream`]: minibatches of files that memory does not hold
//!
//! Nothing here keeps a generator: a [`Stream`](rhapsode_tensor::random::Stream) says which draw.

mod batches;
mod digits;
pub mod format;
mod split;
mod standardize;
pub mod stream;
mod table;
pub mod toy;

pub use batches::Batches;
pub use digits::{Digits, digits};
pub use split::{Parts, split, stratified};
pub use standardize::{Standardized, standardize};
pub use stream::{FileStream, StreamOptions};
pub use table::{Column, Table, Values};
pub use toy::{TOY, Toy, ToyOptions};
