//! `rhapsode kernel`: installs the Jupyter kernel, removes it, and is it.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use rhapsode_kernel::{
    Options, Server,
    spec::{self, Name, Place},
};
use rhapsode_script::{Session, SessionOptions};

use crate::{
    args::{KernelCommand, SpecArgs},
    error::Error,
    files, signals,
};

/// Does what a subcommand says.
pub fn run(command: &KernelCommand) -> Result<ExitCode, Error> {
    match command {
        KernelCommand::Install { spec, display_name } => install(spec, display_name),
        KernelCommand::Uninstall { spec } => uninstall(spec),
        KernelCommand::Start { connection_file } => {
            // Before any other thread starts: they inherit it.
            let blocked = signals::block(signals::Policy::Cell);
            let server = Server::bind(Options {
                connection_file,
                history: files::data_folder().map(|folder| folder.join("kernel-history.jsonl")),
                log: Arc::new(tell),
            })?;
            blocked.watch(server.interrupter());
            server.serve(|| Session::new(SessionOptions::default()))?;
            // Cells that did not stop in time are left behind.
            std::process::exit(0);
        }
    }
}

/// What the kernel tells goes to the log of whoever has started it.
fn tell(message: &str) {
    // Nobody reads it: no harm.
    let _ = writeln!(io::stderr().lock(), "rhapsode kernel: {message}");
}

fn install(args: &SpecArgs, display_name: &str) -> Result<ExitCode, Error> {
    let program = std::env::current_exe().map_err(|source| Error::Stream {
        what: "find this program",
        source,
    })?;
    let folder = spec::install(&place(args), &name(args, display_name), &program)?;
    done(&format!(
        "installed the kernel `{}` in {}",
        args.name,
        folder.display()
    ))
}

fn uninstall(args: &SpecArgs) -> Result<ExitCode, Error> {
    let folder = spec::uninstall(&place(args), &name(args, ""))?;
    done(&format!(
        "removed the kernel `{}` from {}",
        args.name,
        folder.display()
    ))
}

fn place(args: &SpecArgs) -> Place {
    match &args.prefix {
        Some(prefix) => Place::Prefix(prefix.clone()),
        None if args.sys_prefix && !args.user => Place::Environment,
        None => Place::User,
    }
}

fn name(args: &SpecArgs, display: &str) -> Name {
    Name {
        name: args.name.clone(),
        display: display.to_string(),
    }
}

fn done(line: &str) -> Result<ExitCode, Error> {
    let written = writeln!(io::stdout().lock(), "{line}");
    written.map_err(|source| Error::Stream {
        what: "write to standard output",
        source,
    })?;
    Ok(ExitCode::SUCCESS)
}
