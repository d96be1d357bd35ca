//! `rhapsode doc`: the reference in the terminal.

use std::process::ExitCode;

use rhapsode_script::{Session, SessionOptions};

use crate::{error::Error, screen::Screen, table};

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
