//! `novic sweep run`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::execute::{SweepOptions, execute};
use super::named::failed;
use crate::cli::{CliError, Exit, complete};
use crate::runner::sweep::{Preparation, Sweep, SweepRequest, is_name};
use crate::stages;

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
    /// Sweep file or experiment file
    file: PathBuf,
    /// Values for all points, or several values that become an axis
    #[arg(value_name = "KEY=VALUES", add = ArgValueCompleter::new(complete::overrides))]
    arguments: Vec<String>,
    /// Name of the sweep, instead of the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take changes of the experiment into all points, which then run again
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    options: SweepOptions,
}

/// Runs a sweep.
pub(super) fn cmd_sweep_run(args: &SweepRunArgs) -> Result<Exit, CliError> {
    let sweep = prepare(
        &args.file,
        &args.arguments,
        args.name.as_deref(),
        args.update,
    )?;
    execute(sweep, &args.options)
}

/// The sweep of a file and arguments.
pub(super) fn prepare(
    file: &std::path::Path,
    arguments: &[String],
    name: Option<&str>,
    update: bool,
) -> Result<Sweep, CliError> {
    if let Some(name) = name.filter(|name| !is_name(name)) {
        return Err(CliError::usage(format!(
            "`{name}` cannot be the name of a sweep: use letters, digits, `.`, `_` and `-`"
        )));
    }
    let request = SweepRequest::load(file, arguments).map_err(|error| failed(error.into()))?;
    let preparation = Preparation {
        name: name.map(str::to_owned),
        update,
    };
    Sweep::prepare(request, &preparation, &stages::registry()).map_err(failed)
}
