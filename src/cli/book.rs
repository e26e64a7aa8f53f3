//! `novic book`: the page of an experiment.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::print::print;
use super::{CliError, Exit, complete, experiment};
use crate::reports::experiment::ExperimentReport;
use crate::runner::Plan;
use crate::stages;
use crate::tracking;

/// Write the page of an experiment from what has been done so far
///
/// One self-contained HTML file: prose, results, pictures, curves, stages with
/// their state, configuration. Nothing is run; stages whose outputs no longer
/// belong to the file are marked. Prints the path of the page.
///
///   novic book experiments/quickstart.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BookArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the page of an experiment.
pub fn cmd_book(args: &BookArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let experiment = experiment::load(&args.file, &args.overrides)?;
    let plan = Plan::of(&experiment, &stages::registry(), false).map_err(|error| failed(&error))?;
    let report = ExperimentReport::collect(&experiment, &plan).map_err(|error| failed(&error))?;
    let Some(run) = report.newest_run() else {
        return Err(CliError::failed(format!(
            "no stage of this experiment has been run yet; run it with `novic run {}`",
            args.file.display()
        )));
    };
    let page = write_page(&report, &plan, run)?;
    if args.json {
        print(&format!(
            "{:#}\n",
            serde_json::json!({ "page": page, "run": run })
        ))
    } else {
        print(&format!("{}\n", page.display()))
    }
}

/// Writes `outputs/<run>/index.html` and returns its path, relative to the
/// working directory where possible.
pub(super) fn write_page(
    report: &ExperimentReport<'_>,
    plan: &Plan,
    run: &str,
) -> Result<PathBuf, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let facts = tracking::find_run(plan.project(), run)
        .map(|(overview, _)| facts(&overview))
        .unwrap_or_default();
    let notebook = report
        .notebook(run, &facts)
        .map_err(|error| failed(&error))?;
    let folder = plan.project().outputs_dir().join(run);
    let path = folder.join("index.html");
    std::fs::create_dir_all(&folder)
        .and_then(|()| notebook.write(&path))
        .map_err(|error| {
            CliError::failed(format!("failed to write {}: {error}", path.display()))
        })?;
    let relative = path.strip_prefix(plan.project().working_dir());
    Ok(relative.map_or_else(|_| path.clone(), PathBuf::from))
}

/// Run, time and program in one line.
fn facts(overview: &tracking::RunOverview) -> String {
    let start = i64::try_from(overview.started_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map(|time| {
            time.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M")
                .to_string()
        })
        .unwrap_or_default();
    format!(
        "{} · {start} · novic {}",
        overview.run,
        env!("CARGO_PKG_VERSION")
    )
}
