//! `novic why`: why a stage is to run.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::print::print;
use super::{CliError, Exit, complete, experiment};
use crate::runner::{Plan, Why, why_json, why_text};
use crate::stages;

/// Show why a stage is to run, and what goes stale with it
///
/// What changed since the last output of the stage, or since a table or plot was
/// last made: values with the file and
/// line or the override that set them, external files, the program. Changes of
/// inputs are followed back to what changed for them. Looks only.
///
///   novic why experiments/quickstart.toml train
///   novic why experiments/quickstart.toml train noise.vec_norm=2.0 --json
///   novic why experiments/quickstart.toml table.summary
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct WhyArgs {
    /// Experiment file
    file: PathBuf,
    /// Stage, table or plot
    #[arg(add = ArgValueCompleter::new(complete::stages))]
    stage: String,
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

/// Prints why a stage is to run.
pub fn cmd_why(args: &WhyArgs) -> Result<Exit, CliError> {
    let experiment = experiment::load(&args.file, &args.overrides)?;
    experiment::check_cells(&experiment)?;
    let plan = Plan::of(&experiment, &stages::registry(), args.paranoid)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let found = Why::of(&experiment, &plan, &args.stage)
        .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    if args.json {
        let all: Vec<_> = found.iter().map(why_json).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(all)));
    }
    let texts: Vec<_> = found.iter().map(why_text).collect();
    print(&texts.join("\n"))
}
