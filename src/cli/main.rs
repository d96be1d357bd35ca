//! The program: the REPL, the runner of scripts, the reference in the terminal, the Jupyter kernel.
//!
//! Thin: what the language does is `rhapsode-script`'s; here is what a terminal and a command line need.

mod args;
mod bench;
mod check;
mod doc;
mod error;
mod files;
mod kernel;
mod notebook;
mod progress;
mod repl;
mod reproduce;
mod run;
mod screen;
mod script_help;
mod signals;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Tensors of a few kilobytes come and go in every step; the system's allocator gives them back too eagerly.
#[global_allocator]
static ALLOCATOR: rhapsode_script::Staggered<mimalloc::MiMalloc> =
    rhapsode_script::Staggered(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(file) = script_help::wanted(&arguments) {
        return finish(script_help::run(&file));
    }
    finish(match Cli::parse().command {
        None => repl::run(),
        Some(Command::Run(args)) if notebook::is_notebook(&args.file) => notebook::run(&args),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Reproduce(args)) => reproduce::run(&args),
        Some(Command::Convert(args)) => notebook::convert(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Bench) => bench::run(),
        Some(Command::Doc {
            html: Some(folder), ..
        }) => doc::write(&folder),
        Some(Command::Doc { name, .. }) => doc::run(name.as_deref()),
        Some(Command::Kernel { command }) => kernel::run(&command),
    })
}

/// The exit code; what went wrong is told.
fn finish(done: Result<ExitCode, error::Error>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprint!("{}", error.render(console::colors_enabled_stderr()));
        ExitCode::FAILURE
    })
}
