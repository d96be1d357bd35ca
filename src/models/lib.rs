//! The model library: a folder a family, a file a method.
//!
//! A plain Rust library: it knows no script, no plot and no terminal.
//!
//! - [`flow`]: flows between distributions
//! - [`nn`], [`optim`], [`train`], [`ode`]: what methods are built from
//! - [`data`], [`metric`]: what they learn from, and how they are judged
//! - [`log`]: metrics on disk, as JSONL, CSV and for TensorBoard
//! - [`observe`]: how long work reports and is stopped
//! - [`mod@bench`]: how near the main operations come to the machine's limits
//! - [`native`]: options that are no data
//! - [`checkpoint`], [`files`]: models on disk, files that are either old or new

pub mod bench;
pub mod checkpoint;
mod checks;
pub mod data;
mod error;
pub mod files;
pub mod flow;
pub mod live;
pub mod log;
pub mod metric;
pub mod native;
pub mod nn;
pub mod observe;
pub mod ode;
pub mod optim;
pub mod reference;
pub mod train;

pub use error::{Error, Result};
