//! `rhapsode check NOTEBOOK`: what is wrong with the cells, without running them.

use rhapsode_script::{Diagnostic, Session};

use super::document::{Kind, Notebook};
use crate::error::Error;

/// The findings in the cells of code; places count all of the notebook's cells of code, as they would be run.
pub fn check(session: &Session, path: &std::path::Path) -> Result<Vec<Diagnostic>, Error> {
    let notebook = Notebook::read(path)?;
    let code = notebook.cells.iter().filter(|cell| cell.kind() == Kind::Code);
    let cells: Vec<String> = code
        .map(|cell| cell.source.clone())
        .filter(|source| !source.trim().is_empty())
        .collect();
    Ok(session.check_cells(&path.display().to_string(), &cells))
}
