//! What can go wrong in the model library. Fields, not prose; the script layer adds the place.

use std::path::PathBuf;

/// The result of model code.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the model library.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An option with an impossible value. `key` is its name in the options map, dotted when nested.
    #[error("option `{key}`: {message}")]
    Option {
        /// The option.
        key: String,
        /// What is wrong, with what was expected and what came.
        message: String,
    },
    /// Data of the wrong shape.
    #[error("{what}: expected {expected}, got {got:?}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The shape that is taken.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An input that does not fit a layer of a network.
    #[error("layer {layer}: expected input {expected}, got {got:?}")]
    Layer {
        /// Where in the network, and its kind: `layers.2 (linear)`.
        layer: String,
        /// The shape that is taken.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An impossible value elsewhere.
    #[error("{what}: {message}")]
    Value {
        /// Which input.
        what: &'static str,
        /// What is wrong, with what was expected and what came.
        message: String,
    },
    /// NaN or infinity in a loss or gradient: the run stopped, the model is as after step `step - 1`.
    #[error("{what} became {value} at step {step}, first in operation `{op}`")]
    Numeric {
        /// The step that failed.
        step: u64,
        /// `the loss` or `the gradient`.
        what: &'static str,
        /// `NaN`, `inf` or `-inf`.
        value: &'static str,
        /// The operation whose value or gradient was the first non-finite one.
        op: String,
    },
    /// A solver that cannot go on.
    #[error("{what} at t = {t}: {message}")]
    Stuck {
        /// The solver.
        what: &'static str,
        /// The time that it has reached.
        t: f64,
        /// What is wrong there.
        message: String,
        /// What to do about it; may be empty.
        remedy: &'static str,
    },
    /// A file or folder.
    #[error("{}: {message}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The user stopped it before anything could be kept.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation refused.
    #[error(transparent)]
    Tensor(rhapsode_tensor::Error),
}

impl From<rhapsode_tensor::Error> for Error {
    fn from(error: rhapsode_tensor::Error) -> Self {
        match error {
            rhapsode_tensor::Error::Interrupted => Error::Interrupted,
            other => Error::Tensor(other),
        }
    }
}

impl Error {
    /// An option with an impossible value.
    pub fn option(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Option {
            key: key.into(),
            message: message.into(),
        }
    }

    /// What a function that the caller gave has failed with, to pass through the library unchanged.
    pub fn callback(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Error::Tensor(rhapsode_tensor::Error::Callback(
            rhapsode_tensor::Callback::new(error),
        ))
    }
}
