//! `rhapsode doc`: the reference in the terminal.

use std::process::ExitCode;

use rhapsode_script::{Session, SessionOptions};

use crate::{error::Error, screen::Screen};

/// Shows the help on a name; without one, the list of modules.
pub fn run(name: Option<&str>) -> Result<ExitCode, Error> {
    let session = Session::new(SessionOptions::default());
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let code = match session.help(name.unwrap_or("")) {
        Ok(help) => {
            screen.lines(&help.text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen.complain(&error);
            ExitCode::FAILURE
        }
    };
    Ok(screen.close()?.unwrap_or(code))
}
