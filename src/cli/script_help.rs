//! `rhapsode run FILE --help`: what a script says about itself and what `--set` can tell it.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use rhapsode_script::{ScriptArg, Session, SessionOptions};

use crate::{error::Error, files, screen::Screen, table};

/// The script whose help is wanted, when a command line asks for one.
pub fn wanted(arguments: &[OsString]) -> Option<PathBuf> {
    let words: Vec<&str> = arguments
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .collect();
    let (&"run", rest) = words.split_first()? else {
        return None;
    };
    let asks = rest.iter().any(|word| matches!(*word, "--help" | "-h"));
    let takes_value = |word: &str| matches!(word, "--set" | "--seed" | "--device" | "--out");
    let mut before = "";
    let mut file = None;
    for word in rest {
        if !word.starts_with('-') && !takes_value(before) {
            file = file.or(Some(*word));
        }
        before = word;
    }
    file.filter(|_| asks).map(PathBuf::from)
}

/// Shows it.
pub fn run(file: &std::path::Path) -> Result<ExitCode, Error> {
    let source = files::read_script(file)?;
    let session = Session::new(SessionOptions::default());
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let (comment, args) = session.script_args(&source);
    if !comment.trim().is_empty() {
        screen.prose(comment.trim());
        screen.lines("\n");
    }
    screen.lines(&listing(&args));
    screen.lines("\n`rhapsode run --help` lists the options of the program.");
    Ok(screen.close()?.unwrap_or(ExitCode::SUCCESS))
}

fn listing(args: &[ScriptArg]) -> String {
    if args.is_empty() {
        return "This script asks for nothing with `arg(name, default)`.".into();
    }
    let rows: Vec<Vec<String>> = args
        .iter()
        .map(|arg| {
            let kind = if arg.kind.is_empty() {
                String::new()
            } else {
                format!("{} ", arg.kind)
            };
            let mut about = vec![arg.help.clone()];
            if !arg.allowed.is_empty() {
                about.push(format!("one of {}", arg.allowed.join(", ")));
            }
            about.push(match &arg.range {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, Some(most)) => format!("at most {most}"),
                (None, None) => String::new(),
            });
            about.retain(|part| !part.is_empty());
            vec![
                format!("--set {}=...", arg.name),
                format!("{kind}= {}", arg.default),
                about.join("; "),
            ]
        })
        .collect();
    format!("Settings\n\n{}", table::indented(&rows).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_found_among_the_options() {
        let of = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            wanted(&words).map(|path| path.display().to_string())
        };
        assert_eq!(of("rhapsode run a.rhai --help"), Some("a.rhai".into()));
        assert_eq!(of("rhapsode run --seed 3 -h b.rhai"), Some("b.rhai".into()));
        assert_eq!(of("rhapsode run --help"), None);
        assert_eq!(of("rhapsode run a.rhai"), None);
        assert_eq!(of("rhapsode doc --help"), None);
    }
}
