//! Notebooks without Jupyter: run, checked, and converted to scripts and back.

mod check;
mod convert;
mod document;
mod outputs;
mod parameters;
mod percent;
mod run;

pub use check::check;
pub use convert::convert;
pub use run::run;

use std::path::Path;

/// Whether a path is that of a notebook.
pub fn is_notebook(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "ipynb")
}
