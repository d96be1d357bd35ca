//! The Jupyter kernel: the wire protocol over a [`rhapsode_script::Session`], and the kernelspec.
//!
//! It will know sockets and messages and no Rhai type. Empty for now: the seam is the
//! `Frontend` trait of `rhapsode-script`, which the kernel implements once.
