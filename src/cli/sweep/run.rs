//! `novic sweep run`.

use clap::Args;

use super::execute::{SweepOptions, execute};
use super::of_file::SweepOfFile;
use crate::cli::{CliError, Exit};

/// Run the points of a sweep that are not done yet
///
/// Shows first how many points there are, what they share and how long it will
/// take, and asks if they are many. What several points share is made once; a
/// point that fails leaves the others alone. At the end comes a table, and the
/// best point if the sweep has a metric. Ctrl-C once stops at the next safe
/// point; the same command goes on.
///
/// FILE is a sweep file, or an experiment file together with arguments that have
/// several values: `a,b`, `choice(a,b)`, `range(start,stop,step)`. `seeds=1,2,3`
/// repeats every point.
///
///   novic sweep run sweeps/noise.toml
///   novic sweep run sweeps/noise.toml train.max_epochs=4 --name noise-long
///   novic sweep run experiments/quickstart.toml noise.vec_norm=1,2,3.25 seeds=1,2
///   novic sweep run sweeps/noise.toml launcher.kind=slurm --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepRunArgs {
    #[command(flatten)]
    sweep: SweepOfFile,
    #[command(flatten)]
    options: SweepOptions,
}

/// Runs a sweep.
pub(super) fn cmd_sweep_run(args: &SweepRunArgs) -> Result<Exit, CliError> {
    execute(args.sweep.prepare()?, &args.options)
}
