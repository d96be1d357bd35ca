//! `rhapsode check NOTEBOOK`: what is wrong with the cells, without running them.

use rhapsode_script::{Diagnostic, Session};

use super::{
    document::{Kind, Notebook},
    run::MAY_FAIL,
};
use crate::error::Error;

/// The findings in the cells of code, but for those that are expected to fail; places count the cells that would be run.
pub fn check(session: &Session, path: &std::path::Path) -> Result<Vec<Diagnostic>, Error> {
    let notebook = Notebook::read(path)?;
    let is_run =
        |cell: &&super::document::Cell| cell.kind() == Kind::Code && !cell.source.trim().is_empty();
    let run: Vec<_> = notebook.cells.iter().filter(is_run).collect();
    let sources: Vec<String> = run.iter().map(|cell| cell.source.clone()).collect();
    let name = path.display().to_string();
    let may_fail = run
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.has_tag(MAY_FAIL));
    let may_fail: Vec<String> = may_fail
        .map(|(i, _)| format!("{name}, cell {}", i + 1))
        .collect();
    let mut findings = session.check_cells(&name, &sources);
    findings.retain(|finding| {
        let place = finding.place.as_ref();
        !place.is_some_and(|place| may_fail.contains(&place.source))
    });
    Ok(findings)
}
