//! `novic sweep results`.

use clap::{Args, ValueEnum};

use super::execute::results_text;
use super::named::{failed, open};
use super::table::{csv, table};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::reports::render;
use crate::runner::sweep::SweepResults;
use crate::stages;

/// Show what the points of a sweep came to
///
/// A row for each set of values with mean and standard deviation over the seeds,
/// the best first if the sweep has a metric. Repeats that are missing are shown
/// as `2/3`.
///
///   novic sweep results noise
///   novic sweep results noise --format csv > noise.csv
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepResultsArgs {
    /// Name of the sweep, or its file
    sweep: String,
    /// Form of the table
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Show these metrics (STAGE.FIELD or STAGE.FIELD@DATASET) instead of the file's
    #[arg(long, value_name = "METRIC")]
    show: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Md,
    Csv,
    Json,
}

/// Prints the results of a sweep.
pub(super) fn cmd_sweep_results(args: &SweepResultsArgs) -> Result<Exit, CliError> {
    let mut sweep = open(&args.sweep)?;
    for text in &args.show {
        if let Err(expected) = text.parse::<crate::runner::sweep::Metric>() {
            return Err(CliError::usage(format!("--show {text}: {expected}")));
        }
    }
    if !args.show.is_empty() {
        sweep.header.show.clone_from(&args.show);
    }
    let graph = sweep.graph(&stages::registry()).map_err(failed)?;
    let store = sweep.project.store();
    let results = SweepResults::collect(&sweep, &graph, &store).map_err(failed)?;
    match (args.json, args.format) {
        (true, _) | (_, Form::Json) => print(&format!("{:#}\n", results.to_json(&sweep))),
        (_, Form::Text) => print(&results_text(&sweep, &results, None)),
        (_, Form::Md) => print(&render::markdown(&table(&sweep, &results))),
        (_, Form::Csv) => print(&csv(&sweep, &results)),
    }
}
