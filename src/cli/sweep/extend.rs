//! `novic sweep extend`.

use clap::Args;

use super::execute::{SweepOptions, execute};
use super::named::{failed, open};
use crate::cli::{CliError, Exit};
use crate::stages;

/// Add points to a sweep and run them; the others are left alone
///
/// Every point is added again with the new values of a key, or with new seeds.
/// A sweep also grows when its file gets more values and is run again. A search
/// goes on when its file gets more trials.
///
///   novic sweep extend noise noise.vec_norm=4,5
///   novic sweep extend noise seeds=4,5
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepExtendArgs {
    /// Name of the sweep, or its file
    sweep: String,
    /// New values of a key, or seeds
    #[arg(value_name = "KEY=VALUES", required = true)]
    arguments: Vec<String>,
    /// Only add the points
    #[arg(long)]
    no_run: bool,
    #[command(flatten)]
    options: SweepOptions,
}

/// Extends a sweep.
pub(super) fn cmd_sweep_extend(args: &SweepExtendArgs) -> Result<Exit, CliError> {
    let mut sweep = open(&args.sweep)?;
    let added = sweep
        .extend(&args.arguments, &stages::registry())
        .map_err(failed)?;
    eprintln!("{added} points added to {}", sweep.header.name);
    if args.no_run {
        let lease = sweep.begin().map_err(failed)?;
        lease
            .remove()
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        return Ok(Exit::Success);
    }
    execute(sweep, &args.options)
}
