//! `novic cache`: look into embedding caches, check, convert and merge them.

mod convert;
mod diff;
mod info;
mod merge;
mod records;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{CliError, Exit};
use crate::cache::{Cache, CacheError, CacheFile, EmbedderSignature, OpenOptions};
use crate::embedders::Embedder;

/// Look into embedding caches, check, convert and merge them
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    Info(info::InfoArgs),
    Verify(verify::VerifyArgs),
    Head(records::HeadArgs),
    Sample(records::SampleArgs),
    Diff(diff::DiffArgs),
    Convert(convert::ConvertArgs),
    Merge(merge::MergeArgs),
}

/// Runs `novic cache`.
pub fn cmd_cache(args: &CacheArgs) -> Result<Exit, CliError> {
    match &args.command {
        CacheCommand::Info(args) => info::info(args),
        CacheCommand::Verify(args) => verify::verify(args),
        CacheCommand::Head(args) => records::head(args),
        CacheCommand::Sample(args) => records::sample(args),
        CacheCommand::Diff(args) => diff::diff(args),
        CacheCommand::Convert(args) => convert::convert(args),
        CacheCommand::Merge(args) => merge::merge(args),
    }
}

/// A cache whose rows can be read, whoever wrote it.
fn open(path: &Path) -> Result<Cache, CliError> {
    let file = CacheFile::open_any(path, OpenOptions::default()).map_err(failed)?;
    file.enter_as_is().map_err(failed)
}

/// The embedder of a specification and what caches store of it.
pub(super) fn embedder(spec: &str) -> Result<(Embedder, EmbedderSignature), CliError> {
    let usage = |error| CliError::from_error(Exit::Usage, &error);
    let spec = spec.parse().map_err(usage)?;
    let embedder =
        Embedder::open(&spec).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let signature = EmbedderSignature::of_embedder(&embedder);
    Ok((embedder, signature))
}

fn failed(error: CacheError) -> CliError {
    CliError::from_error(Exit::Failed, &error)
}

/// Refuses an output that is one of the inputs.
fn check_output(out: &Path, inputs: &[PathBuf]) -> Result<(), CliError> {
    let Ok(real) = out.canonicalize() else {
        return Ok(());
    };
    match inputs
        .iter()
        .any(|input| input.canonicalize().is_ok_and(|input| input == real))
    {
        true => Err(failed(CacheError::OutputIsInput {
            path: out.to_owned(),
        })),
        false => Ok(()),
    }
}
