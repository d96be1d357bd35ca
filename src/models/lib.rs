//! The model library: a folder a family, a file a method.
//!
//! A plain Rust library: it knows no script, no plot and no terminal.
pub mod observe;
