//! The tensor.
