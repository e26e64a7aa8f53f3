//! One file per command: parse, call, print.

mod config;
mod error;
mod ls;
mod nouns;
mod plan;
mod print;
mod show;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config::{ConfigArgs, cmd_config, report};
pub use error::{CliError, Exit};
pub use ls::{LsArgs, cmd_ls};
pub use nouns::{NounsArgs, cmd_nouns};
pub use plan::{PlanArgs, cmd_plan};
pub use show::{ShowArgs, cmd_show};

/// Experiments with NOVIC: classify pictures without candidate labels.
///
/// An experiment file says what to do, `novic run FILE` does what is not done
/// yet, and tables and pages come out of the records.
#[derive(Debug, Parser)]
#[command(name = "novic", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Config(ConfigArgs),
    Ls(LsArgs),
    Nouns(NounsArgs),
    Plan(PlanArgs),
    Show(ShowArgs),
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result: Result<Exit, CliError> = match cli.command {
        Command::Config(args) => cmd_config(&args),
        Command::Ls(args) => cmd_ls(&args),
        Command::Nouns(args) => cmd_nouns(&args),
        Command::Plan(args) => cmd_plan(&args),
        Command::Show(args) => cmd_show(&args),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            error.print();
            ExitCode::from(error.exit as u8)
        }
    }
}
