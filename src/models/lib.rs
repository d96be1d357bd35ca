//! The model library: a folder a family, a file a method.
//!
//! A plain Rust library: it knows no script, no plot and no terminal.
//!
//! - [`flow`]: flows between distributions
//! - [`nn`], [`optim`], [`train`], [`ode`]: what methods are built from
//! - [`data`], [`metric`]: what they learn from, and how they are judged
//! - [`observe`]: how long work reports and is stopped
//! - [`checkpoint`], [`files`]: models on disk, files that are either old or new

pub mod data;
mod error;
pub mod metric;
pub mod observe;

pub use error::{Error, Result};
