//! The commands of the REPL: a table of name, help and function.

use std::{path::Path, time::Duration};

use rhapsode_script::nearest;
use rustyline::completion::Pair;

use super::Repl;
use crate::{error::Error, files, progress::duration_text, table};

/// Whether the REPL goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// The user wants to leave.
    Quit,
}

/// One command.
pub struct Command {
    /// What is typed after the colon.
    pub name: &'static str,
    /// What it takes, as the help shows it.
    pub arguments: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Does it.
    pub run: fn(&mut Repl, &str) -> Result<Flow, Error>,
}

/// All commands.
pub const ALL: &[Command] = &[
    Command {
        name: "help",
        arguments: "[NAME]",
        help: "lists the commands, or shows help on a name, like ?NAME",
        run: help,
    },
    Command {
        name: "vars",
        arguments: "",
        help: "lists the variables with type, value and size",
        run: vars,
    },
    Command {
        name: "time",
        arguments: "CODE",
        help: "runs code and says how long it took",
        run: time,
    },
    Command {
        name: "save",
        arguments: "FILE",
        help: "writes the cells that worked as a script; :save! replaces a file",
        run: save,
    },
    Command {
        name: "save!",
        arguments: "FILE",
        help: "like :save, and replaces the file if it is there",
        run: replace,
    },
    Command {
        name: "load",
        arguments: "FILE",
        help: "runs a script in this session",
        run: load,
    },
    Command {
        name: "reset",
        arguments: "",
        help: "forgets all variables and functions",
        run: reset,
    },
    Command {
        name: "quit",
        arguments: "",
        help: "leaves, as Ctrl-D does",
        run: quit,
    },
];

/// Runs a command by its name.
pub fn run(repl: &mut Repl, name: &str, arguments: &str) -> Result<Flow, Error> {
    match ALL.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(repl, arguments),
        None => {
            let nearest = nearest(name, ALL.iter().map(|command| command.name));
            Err(Error::Command {
                name: name.to_string(),
                nearest,
            })
        }
    }
}

/// The commands that begin like this, for Tab.
pub fn complete(prefix: &str) -> Vec<Pair> {
    let fitting = ALL
        .iter()
        .filter(|command| command.name.starts_with(prefix));
    fitting
        .map(|command| Pair {
            display: format!(":{:10} {}", command.name, command.help),
            replacement: format!(":{}", command.name),
        })
        .collect()
}

fn help(repl: &mut Repl, name: &str) -> Result<Flow, Error> {
    if !name.is_empty() {
        repl.help(name);
        return Ok(Flow::Continue);
    }
    let commands = ALL.iter().filter(|command| command.name != "save!");
    let mut rows: Vec<Vec<String>> = commands
        .map(|c| vec![format!(":{} {}", c.name, c.arguments), c.help.to_string()])
        .collect();
    for (keys, what) in [
        (
            "?NAME  NAME?",
            "help on a function, method or module, e.g. ?plot",
        ),
        ("Tab", "completes names, and option keys inside #{ }"),
        (
            "Enter",
            "runs the cell when it is complete; two empty lines run it as it is",
        ),
        (
            "Ctrl-C",
            "stops the running cell, what was learned stays; at the prompt, clears the line",
        ),
        ("Ctrl-R", "searches the history"),
    ] {
        rows.push(vec![keys.to_string(), what.to_string()]);
    }
    repl.screen.lines(&table::render(&rows));
    Ok(Flow::Continue)
}

fn vars(repl: &mut Repl, _: &str) -> Result<Flow, Error> {
    let variables = repl.shared.session().variables();
    let text = if variables.is_empty() {
        "no variables yet".to_string()
    } else {
        table::variables(&variables)
    };
    repl.screen.lines(&text);
    Ok(Flow::Continue)
}

fn time(repl: &mut Repl, code: &str) -> Result<Flow, Error> {
    if code.is_empty() {
        return Err(Error::Argument {
            command: "time",
            what: "code to run",
        });
    }
    let took: Duration = repl.execute(code);
    repl.screen.lines(&format!("took {}", duration_text(took)));
    Ok(Flow::Continue)
}

fn save(repl: &mut Repl, file: &str) -> Result<Flow, Error> {
    if Path::new(file).exists() && !file.is_empty() {
        return Err(Error::Exists { path: file.into() });
    }
    replace(repl, file)
}

fn replace(repl: &mut Repl, file: &str) -> Result<Flow, Error> {
    if file.is_empty() {
        return Err(Error::Argument {
            command: "save",
            what: "a file name",
        });
    }
    files::write(Path::new(file), repl.log.script().as_bytes())?;
    repl.screen
        .lines(&format!("{} cells in {file}", repl.log.len()));
    Ok(Flow::Continue)
}

fn load(repl: &mut Repl, file: &str) -> Result<Flow, Error> {
    if file.is_empty() {
        return Err(Error::Argument {
            command: "load",
            what: "a file name",
        });
    }
    repl.load(Path::new(file))?;
    Ok(Flow::Continue)
}

fn reset(repl: &mut Repl, _: &str) -> Result<Flow, Error> {
    repl.shared.session().reset();
    repl.log.clear();
    repl.screen.lines("forgot all variables and functions");
    Ok(Flow::Continue)
}

fn quit(_: &mut Repl, _: &str) -> Result<Flow, Error> {
    Ok(Flow::Quit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_prefix() {
        let names = |prefix| {
            complete(prefix)
                .into_iter()
                .map(|pair| pair.replacement)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("sa"), [":save", ":save!"]);
        assert_eq!(names("").len(), ALL.len());
        assert!(names("xyz").is_empty());
    }

    #[test]
    fn every_command_says_what_it_does_in_one_line() {
        for command in ALL {
            assert!(
                !command.help.is_empty() && command.help.len() <= 80,
                "{}",
                command.name
            );
            assert!(
                !command.help.ends_with('.') && !command.help.contains('\n'),
                "{}",
                command.name
            );
        }
    }
}
