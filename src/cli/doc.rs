//! `rhapsode doc`: the reference in the terminal, or as pages of HTML.

use std::{path::Path, process::ExitCode};

use rhapsode_script::{Session, SessionOptions};

use crate::{error::Error, files, screen::Screen, table};

/// Shows the help on a name; without one, what there is.
pub fn run(name: Option<&str>) -> Result<ExitCode, Error> {
    let session = Session::new(SessionOptions::default());
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let code = match name.map(|name| session.help(name)) {
        None => {
            screen.prose(&contents(&session));
            ExitCode::SUCCESS
        }
        Some(Ok(help)) => {
            screen.prose(&help.text);
            ExitCode::SUCCESS
        }
        Some(Err(error)) => {
            screen.complain(&error);
            ExitCode::FAILURE
        }
    };
    Ok(screen.close()?.unwrap_or(code))
}

/// Writes the reference as pages of HTML; the folder is made.
pub fn write(folder: &Path) -> Result<ExitCode, Error> {
    let session = Session::new(SessionOptions::default());
    let pages = session.pages();
    std::fs::create_dir_all(folder).map_err(|source| Error::Write {
        path: folder.to_path_buf(),
        source,
    })?;
    for page in &pages {
        files::write(&folder.join(&page.file), page.html.as_bytes())?;
    }
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let first = folder.join("index.html");
    screen.lines(&format!(
        "{} pages; begin with {}",
        pages.len(),
        first.display()
    ));
    Ok(screen.close()?.unwrap_or(ExitCode::SUCCESS))
}

/// The modules with a line on each: what completion offers where nothing is typed yet.
fn contents(session: &Session) -> String {
    let all = session.complete("", 0).items;
    let modules = all.iter().filter(|item| item.kind == "module");
    let rows: Vec<Vec<String>> = modules
        .map(|item| {
            vec![
                item.text.trim_end_matches(':').to_string(),
                item.detail.clone(),
            ]
        })
        .collect();
    format!(
        "Modules\n\n{}\n`rhapsode doc NAME` shows what is in one, or explains a function.\n",
        table::indented(&rows)
    )
}
