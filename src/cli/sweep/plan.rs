//! `novic sweep plan`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::execute::surroundings;
use super::named::failed;
use super::preview::Preview;
use super::run::prepare;
use crate::cli::print::print;
use crate::cli::{CliError, Exit, complete};
use crate::stages;

/// Show what a sweep would do, without doing it
///
/// The number of points and what they share, how many are done, how long the
/// others will take, and the points one by one. Looks only; nothing is written.
///
///   novic sweep plan sweeps/noise.toml
///   novic sweep plan experiments/quickstart.toml 'noise.vec_norm=range(1,4,0.5)' --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepPlanArgs {
    /// Sweep file or experiment file
    file: PathBuf,
    /// Values for all points, or several values that become an axis
    #[arg(value_name = "KEY=VALUES", add = ArgValueCompleter::new(complete::overrides))]
    arguments: Vec<String>,
    /// Name of the sweep, instead of the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Show what it would be with changes of the experiment
    #[arg(long)]
    update: bool,
    /// List all points
    #[arg(long)]
    all: bool,
    /// Points at the same time, for the time it will take
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan of a sweep.
pub(super) fn cmd_sweep_plan(args: &SweepPlanArgs) -> Result<Exit, CliError> {
    let sweep = prepare(
        &args.file,
        &args.arguments,
        args.name.as_deref(),
        args.update,
    )?;
    let mut graph = sweep.graph(&stages::registry()).map_err(failed)?;
    graph.expect(&sweep.project.store()).map_err(failed)?;
    let preview = Preview::of(&sweep, &graph, surroundings(&sweep, args.jobs)?.0);
    match args.json {
        true => print(&format!("{:#}\n", preview.json())),
        false => print(&preview.text(args.all)),
    }
}
