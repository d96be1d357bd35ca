//! Data on disk: a file a format. Readers check a header against the file and the memory before they take
//! anything; writers write beside and rename.
//!
//! | file | what it becomes |
//! |---|---|
//! | [`csv`], [`parquet`] | a [`Table`](super::Table) |
//! | [`npy`] | a tensor; `.npz` named tensors |
//! | [`safetensors`] | named tensors and metadata |
//! | [`idx`] | a tensor, or the images and labels of MNIST |
//! | [`image`] | PNG: `[channels, height, width]` in 0..1 |

pub mod csv;
pub mod idx;
pub mod image;
pub mod npy;
pub mod parquet;
pub(crate) mod raw;
pub mod safetensors;

#[cfg(test)]
mod tests;
