//! What keeps a kernel from starting, or from being installed.

use std::{io, path::PathBuf};

use thiserror::Error;

/// What keeps a kernel from starting, or from being installed.
#[derive(Debug, Error)]
pub enum Error {
    /// The connection file cannot be used.
    #[error("the connection file `{}`: {reason}", path.display())]
    Connection {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A port cannot be listened to.
    #[error("cannot listen on {url}: {reason}")]
    Bind {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// The system gives no thread or pipe.
    #[error("the system gives the kernel no {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A kernelspec's name is none.
    #[error("`{name}` is no name of a kernel: letters, digits, `.`, `_` and `-` are")]
    Name {
        /// What was given.
        name: String,
    },
    /// There is no folder to install into.
    #[error("cannot tell where kernels are: {reason}")]
    Nowhere {
        /// Why.
        reason: &'static str,
    },
    /// A file of a kernelspec cannot be written or removed.
    #[error("cannot {what} `{}`: {reason}", path.display())]
    File {
        /// `write`, `read` or `remove`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A kernel of that name is not installed there.
    #[error("there is no kernel `{name}` in `{}`", folder.display())]
    Missing {
        /// Its name.
        name: String,
        /// Where.
        folder: PathBuf,
    },
    /// The kernel of that name is another program's.
    #[error("the kernel in `{}` is not ours: it starts `{program}`", folder.display())]
    Foreign {
        /// Where.
        folder: PathBuf,
        /// What it starts.
        program: String,
    },
}
