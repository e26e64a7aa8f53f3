//! `novic sweep plan`.

use clap::Args;

use super::execute::surroundings;
use super::named::failed;
use super::of_file::SweepOfFile;
use super::preview::{Preview, ahead};
use crate::cli::print::print;
use crate::cli::run::at_least_one;
use crate::cli::{CliError, Exit};
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
    #[command(flatten)]
    sweep: SweepOfFile,
    /// List all points
    #[arg(long)]
    all: bool,
    /// Points at the same time, for the time it will take
    #[arg(long, short, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan of a sweep.
pub(super) fn cmd_sweep_plan(args: &SweepPlanArgs) -> Result<Exit, CliError> {
    let sweep = args.sweep.prepare()?;
    let registry = stages::registry();
    let mut graph = sweep.graph(&registry).map_err(failed)?;
    graph.expect(&sweep.project.store()).map_err(failed)?;
    let ahead = ahead(&sweep, &graph, &registry)?;
    let preview = Preview::of(&sweep, &graph, surroundings(&sweep, args.jobs)?.0);
    let preview = preview.map_err(failed)?.with_ahead(ahead.as_ref());
    match args.json {
        true => print(&format!("{:#}\n", preview.json())),
        false => print(&preview.text(args.all)),
    }
}
