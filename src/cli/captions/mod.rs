//! `novic captions`: caption files.

mod check;
mod generate;

use clap::{Args, Subcommand};

use super::{CliError, Exit};

/// Write captions, and look into caption files
#[derive(Debug, Args)]
pub struct CaptionsArgs {
    #[command(subcommand)]
    command: CaptionsCommand,
}

#[derive(Debug, Subcommand)]
enum CaptionsCommand {
    Generate(Box<generate::GenerateArgs>),
    Check(check::CheckArgs),
}

/// Runs `novic captions`.
pub fn cmd_captions(args: &CaptionsArgs) -> Result<Exit, CliError> {
    match &args.command {
        CaptionsCommand::Generate(args) => generate::generate(args),
        CaptionsCommand::Check(args) => check::check(args),
    }
}
