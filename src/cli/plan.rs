//! `novic plan`: what an experiment would do.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::print::print;
use super::{CliError, Exit, complete, experiment};
use crate::runner::{Plan, plan_json, plan_text};
use crate::stages;

/// Show what an experiment would do, without doing it
///
/// For every stage: whether its output is in the store, whether earlier work
/// can be resumed, what changed since it was last made, how long it will take,
/// and what is missing from outside with its address and size. Tables and plots
/// follow the stages: whether they are up to date, or which stages they wait
/// for. Looks only; nothing is written, loaded or fetched. A blocked plan is no
/// error.
///
///   novic plan experiments/quickstart.toml
///   novic plan experiments/ye2.toml train.accum_factor=8 --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PlanArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Read external files again although they seem unchanged
    #[arg(long)]
    paranoid: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan of an experiment.
pub fn cmd_plan(args: &PlanArgs) -> Result<Exit, CliError> {
    let experiment = experiment::load(&args.file, &args.overrides)?;
    experiment::check_cells(&experiment)?;
    experiment::warn_of_needs(&experiment, None);
    let plan = Plan::of(&experiment, &stages::registry(), args.paranoid)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    if args.json {
        print(&format!("{:#}\n", plan_json(&plan)))
    } else {
        print(&plan_text(&plan))
    }
}
