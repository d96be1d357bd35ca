//! `rhapsode convert`: a notebook as a script, and a script as a notebook.

use std::{path::Path, process::ExitCode};

use rhapsode_script::nearest;

use super::{document::Notebook, percent};
use crate::{args::ConvertArgs, error::Error, files};

/// Converts by the endings of the two files.
pub fn convert(args: &ConvertArgs) -> Result<ExitCode, Error> {
    let (from, to) = (ending(&args.from)?, ending(&args.to)?);
    if from == to {
        return Err(Error::Convert {
            path: args.to.clone(),
            reason: format!("both files are .{from}"),
        });
    }
    if args.to.exists() && !args.force {
        return Err(Error::Occupied {
            path: args.to.clone(),
        });
    }
    match to {
        "rhai" => {
            let notebook = Notebook::read(&args.from)?;
            files::write(&args.to, percent::script(&notebook).as_bytes())?;
        }
        _ => {
            let text = files::read_script(&args.from)?;
            let mut notebook =
                percent::notebook(&text).map_err(|(line, reason)| Error::Convert {
                    path: args.from.clone(),
                    reason: format!("line {line}: {reason}"),
                })?;
            notebook.complete();
            notebook.write(&args.to)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a file is, by its ending.
fn ending(path: &Path) -> Result<&'static str, Error> {
    const ENDINGS: [&str; 2] = ["ipynb", "rhai"];
    let given = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or("");
    let known = ENDINGS.into_iter().find(|ending| *ending == given);
    known.ok_or_else(|| Error::Convert {
        path: path.to_path_buf(),
        reason: match nearest(given, ENDINGS) {
            Some(near) => format!("expected .ipynb or .rhai, did you mean .{near}?"),
            None => "expected .ipynb or .rhai".into(),
        },
    })
}
