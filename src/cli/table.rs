//! `novic table`: the tables of an experiment.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::print::print;
use super::{CliError, Exit, complete, experiment};
use crate::reports::experiment::ExperimentReport;
use crate::reports::table;
use crate::runner::Plan;
use crate::stages;

/// Print the tables of an experiment from what has been done so far
///
/// Nothing is run. Cells without values show that their stage has not been
/// run with the present configuration.
///
///   novic table experiments/quickstart.toml
///   novic table experiments/quickstart.toml --name summary --format md
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TableArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Only this table
    #[arg(long)]
    name: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON (the same as --format json)
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Md,
    Csv,
    Html,
    Json,
}

/// Prints tables.
pub fn cmd_table(args: &TableArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let experiment = experiment::load(&args.file, &args.overrides)?;
    let plan = Plan::of(&experiment, &stages::registry(), false).map_err(|error| failed(&error))?;
    let report = ExperimentReport::collect(&experiment, &plan).map_err(|error| failed(&error))?;
    let tables = report
        .tables(args.name.as_deref())
        .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    if tables.is_empty() {
        return Err(CliError::usage(match &args.name {
            Some(name) => format!("{} has no table `{name}`", args.file.display()),
            None => format!("{} has no tables", args.file.display()),
        }));
    }
    let format = if args.json { Format::Json } else { args.format };
    let texts: Vec<String> = match format {
        Format::Text => tables
            .iter()
            .map(|t| table::text(t, table::Style::Terminal))
            .collect(),
        Format::Md => tables.iter().map(table::markdown).collect(),
        Format::Csv => tables.iter().map(table::csv).collect(),
        Format::Html => tables
            .iter()
            .map(|t| table::html(t).into_string())
            .collect(),
        Format::Json => {
            let values: Vec<_> = tables.iter().map(table::json).collect();
            return print(&format!("{:#}\n", serde_json::Value::from(values)));
        }
    };
    print(&texts.join("\n"))
}
