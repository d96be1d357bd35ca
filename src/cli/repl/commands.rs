//! The commands of the REPL, which are about the program: a table of name, help and function. What is about the session is
//! a magic, `%vars`, and has that one implementation; `:vars` is another spelling of it.

use std::path::Path;

use rhapsode_script::{magic_names, nearest};
use rustyline::completion::Pair;

use super::Repl;
use crate::{error::Error, files, table};

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
        help: "runs a script in this session, like %run; :save then writes its text",
        run: load,
    },
    Command {
        name: "quit",
        arguments: "",
        help: "leaves, as Ctrl-D does",
        run: quit,
    },
];

/// Whether a command is given code: the magics that are.
pub fn takes_code(name: &str) -> bool {
    matches!(name, "time" | "timeit")
}

/// Runs a command by its name.
pub fn run(repl: &mut Repl, name: &str, arguments: &str) -> Result<Flow, Error> {
    if let Some(command) = ALL.iter().find(|command| command.name == name) {
        return (command.run)(repl, arguments);
    }
    if magic_names().any(|magic| magic == name) {
        repl.execute(&format!("%{name} {arguments}"));
        return Ok(Flow::Continue);
    }
    let commands = ALL.iter().map(|command| command.name);
    Err(Error::Command {
        name: name.to_string(),
        nearest: nearest(name, commands.chain(magic_names())),
    })
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
        repl.execute(&format!("?{name}"));
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
        (
            "%vars  !ls  %%bash",
            "what else a cell can ask for: %lsmagic lists it",
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
