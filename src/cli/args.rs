//! The command line: subcommands, options and how their values are read.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rhapsode_script::log::Format;

/// Compose experiments with generative and sequence models, interactively.
///
/// Without a subcommand, the REPL starts.
#[derive(Debug, Parser)]
#[command(name = "rhapsode", version, max_term_width = 100)]
pub struct Cli {
    /// What to do; nothing starts the REPL.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a script or a notebook; a script's figures, metrics and manifest go to a folder, a notebook's outputs into it
    Run(RunArgs),
    /// Make a script of a notebook, or a notebook of a script
    Convert(ConvertArgs),
    /// Find misspelt names, options and values in a script or notebook without running it
    Check(CheckArgs),
    /// Run the experiments of the papers and write one table of what was expected and what was measured
    Reproduce(ReproduceArgs),
    /// Measure what this machine can do and how near the main operations come, in about 20 seconds
    Bench,
    /// Show the reference of a name, or the list of modules
    Doc {
        /// A function, method or module, e.g. flow::rectified; or a question in quotation marks
        name: Option<String>,
        /// Write the whole reference as pages of HTML to a folder
        #[arg(long, value_name = "DIR", conflicts_with = "name")]
        html: Option<PathBuf>,
    },
    /// Install the Jupyter kernel, or remove it
    Kernel {
        /// What to do
        #[command(subcommand)]
        command: KernelCommand,
    },
}

/// What `rhapsode kernel` does.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Make Jupyter offer the kernel; one of that name is replaced
    Install {
        /// Which and where
        #[command(flatten)]
        spec: SpecArgs,
        /// What launchers show
        #[arg(long, value_name = "TEXT", default_value = "Rhapsode")]
        display_name: String,
    },
    /// Make Jupyter forget the kernel
    Uninstall {
        /// Which and where
        #[command(flatten)]
        spec: SpecArgs,
    },
    /// Be the kernel: Jupyter runs this
    Start {
        /// The file in which Jupyter says where to listen
        connection_file: PathBuf,
    },
}

/// Which kernel, and where.
#[derive(Args, Debug)]
pub struct SpecArgs {
    /// For this user (what happens without any of the three)
    #[arg(long, conflicts_with_all = ["sys_prefix", "prefix"])]
    pub user: bool,
    /// For the Python environment that is active
    #[arg(long, conflicts_with = "prefix")]
    pub sys_prefix: bool,
    /// Below a folder: DIR/share/jupyter/kernels
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// Name of the kernel, e.g. for `jupyter console --kernel NAME`
    #[arg(long, default_value = "rhapsode")]
    pub name: String,
}

/// What `rhapsode check` takes.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The script (.rhai) or notebook (.ipynb); `-` reads a script from standard input
    pub file: PathBuf,
    /// Run it with three steps of every training and `progress` loop, and forecast time and memory
    #[arg(long)]
    pub cost: bool,
    /// Give the script's arg("KEY", ..) a value for --cost; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting, requires = "cost")]
    pub settings: Vec<(String, String)>,
}

/// What `rhapsode convert` takes.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// The notebook (.ipynb) or the script (.rhai), whose cells begin with `// %%`
    pub from: PathBuf,
    /// What is made of it: a script or a notebook, by its ending
    pub to: PathBuf,
    /// Replace the file if it is there
    #[arg(long, short)]
    pub force: bool,
}

/// What `rhapsode run` takes.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The script (.rhai; `-` reads it from standard input), or the notebook (.ipynb), whose outputs are written into it
    pub file: PathBuf,
    /// Give arg("KEY", ..) a value, in a notebook also the variable KEY of the cell with the tag `parameters`; may be
    /// repeated, the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Seed of all random streams
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Device of the session's tensors: cpu, cuda, cuda:1 or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// Folder of figures, metrics and manifest [default: runs/SCRIPT-DATE-TIME, made when there
    /// is something to write]; of a notebook the file (.ipynb) or folder to write it to [default: itself]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How metrics are written to the folder: jsonl, csv, tensorboard, several with commas [default: jsonl]
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', value_parser = parse_format)]
    pub log: Vec<Format>,
    /// No live bars and no drawings in the terminal, only what the script prints and a line a result
    #[arg(long, short)]
    pub quiet: bool,
}

/// What `rhapsode reproduce` takes.
#[derive(Args, Debug)]
pub struct ReproduceArgs {
    /// Which methods, e.g. stochastic-interpolants [default: every script that makes a report]
    #[arg(value_name = "SLUG")]
    pub slugs: Vec<String>,
    /// Folder of the scripts
    #[arg(long, value_name = "DIR", default_value = "scripts")]
    pub scripts: PathBuf,
    /// Give the scripts' arg("KEY", ..) a value, e.g. scale=full; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Folder of reproduce.json, reproduce.md and a folder a script
    #[arg(long, value_name = "DIR", default_value = "reproduce")]
    pub out: PathBuf,
}

/// Reads the name of a format.
fn parse_format(text: &str) -> Result<Format, String> {
    let named = Format::ALL
        .into_iter()
        .find(|format| format.name() == text.trim());
    named.ok_or_else(|| {
        let names = Format::ALL.map(Format::name).join(", ");
        format!("expected one of {names}")
    })
}

/// Reads `key=value`; the value may itself hold `=`.
fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_string(), value.to_string()))
        }
        _ => Err(format!("expected key=value, got `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_need_a_key_and_an_equals_sign() {
        assert_eq!(parse_setting("lr=1e-3"), Ok(("lr".into(), "1e-3".into())));
        assert_eq!(parse_setting("name=a=b"), Ok(("name".into(), "a=b".into())));
        assert_eq!(parse_setting("empty="), Ok(("empty".into(), String::new())));
        assert_eq!(
            parse_setting("lr"),
            Err("expected key=value, got `lr`".into())
        );
        assert_eq!(
            parse_setting("=3"),
            Err("expected key=value, got `=3`".into())
        );
    }

    #[test]
    fn formats_of_logs_have_names() {
        assert_eq!(parse_format("csv"), Ok(Format::Csv));
        assert_eq!(
            parse_format("xml"),
            Err("expected one of jsonl, csv, tensorboard".into())
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
