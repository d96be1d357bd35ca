//! What can go wrong with a tensor. Messages name the operation, what was expected and what came.

use std::{fmt, sync::Arc};

use crate::DType;

/// The result of a tensor operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit.
    #[error("{op}: {detail}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Both shapes and what differs.
        detail: String,
    },
    /// A dtype that the operation does not take.
    #[error("{op}: expected {expected}, got {}", got.as_str())]
    DType {
        /// The operation.
        op: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What came.
        got: DType,
    },
    /// An index outside of its axis.
    #[error("{op}: index {index} is out of range for size {size}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index.
        index: i64,
        /// The size of the axis.
        size: usize,
    },
    /// An axis that is not there.
    #[error("{op}: axis {axis} is out of range for shape {shape:?}")]
    Axis {
        /// The operation.
        op: &'static str,
        /// The axis as given.
        axis: i64,
        /// The shape.
        shape: Vec<usize>,
    },
    /// An impossible argument.
    #[error("{op}: {detail}")]
    Value {
        /// The operation.
        op: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// More memory than there is.
    #[error("{} needed for a tensor, {} available", memory(*.needed), memory(*.available))]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// NaN or infinity came out of an operation while non-finite values were watched for.
    #[error("{what} of {op} is {value}")]
    NonFinite {
        /// The operation.
        op: &'static str,
        /// `the value` or `the gradient`.
        what: &'static str,
        /// `NaN`, `inf` or `-inf`.
        value: &'static str,
    },
    /// A gradient was asked for that does not exist.
    #[error("{op}: {detail}")]
    NoGradient {
        /// The operation.
        op: &'static str,
        /// Why.
        detail: &'static str,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
    /// candle refused.
    #[error("{0}")]
    Candle(String),
    /// A function that the caller gave failed.
    #[error("{0}")]
    Callback(Callback),
}

/// The error of a function that the caller gave, e.g. of a script's closure: it passes through the
/// library unchanged, and who gave the function finds it again with [`Callback::get`].
#[derive(Clone, Debug)]
pub struct Callback(Arc<dyn std::error::Error + Send + Sync>);

impl Callback {
    /// Wraps it.
    pub fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The wrapped error, when it is of this type.
    pub fn get<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Callback {
    /// The same error, not an equal one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        // candle appends a backtrace when RUST_BACKTRACE is set; the first line is the message.
        let text = error.to_string();
        Error::Candle(text.lines().next().unwrap_or("").to_string())
    }
}

/// Bytes for people: `1.5 GB`.
pub(crate) fn memory(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}
