//! `novic images`: building image sets.

mod sample;
mod wiki;

use clap::{Args, Subcommand};

use super::{CliError, Exit};

/// Build image sets: lead pictures of an encyclopaedia, samples of folders
#[derive(Debug, Args)]
pub struct ImagesArgs {
    #[command(subcommand)]
    command: ImagesCommand,
}

#[derive(Debug, Subcommand)]
enum ImagesCommand {
    Wiki(Box<wiki::WikiArgs>),
    Sample(Box<sample::SampleArgs>),
}

/// Runs `novic images`.
pub fn cmd_images(args: &ImagesArgs) -> Result<Exit, CliError> {
    match &args.command {
        ImagesCommand::Wiki(args) => wiki::wiki(args),
        ImagesCommand::Sample(args) => sample::sample_images(args),
    }
}
