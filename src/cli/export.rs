//! `novic export`: the metrics of a run for other programs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::{CliError, Exit, complete};
use crate::store::{Project, publish_file};
use crate::tracking::{ExportFormat, find_run, read_record, write_metrics};

/// Write the metrics of a run for other programs
///
/// One file per stage. CSV and Parquet have a row per logged row, with its
/// number within the stage, its time and one column per name. Event files for
/// TensorBoard have the numbers; each stage is a run there.
///
///   novic export latest
///   novic export 170509 --stage train --format parquet --output curves/
///   novic export latest --format tensorboard --step chunk
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExportArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// Only this stage
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::stages_of_run))]
    stage: Option<String>,
    /// Format of the files
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// TensorBoard's step: this column; by default rows are counted
    #[arg(long, value_name = "COLUMN")]
    step: Option<String>,
    /// Directory; by default the run's `outputs/<run id>/metrics`, or `tensorboard`
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Parquet,
    Tensorboard,
}

impl Format {
    fn folder(self) -> &'static str {
        match self {
            Format::Csv | Format::Parquet => "metrics",
            Format::Tensorboard => "tensorboard",
        }
    }

    /// Path of a stage's file within the folder; `start` of the run in s since
    /// 1970.
    fn file(self, stage: &str, start: u64) -> PathBuf {
        match self {
            Format::Csv => format!("{stage}.csv").into(),
            Format::Parquet => format!("{stage}.parquet").into(),
            // What TensorBoard looks for.
            Format::Tensorboard => {
                PathBuf::from(stage).join(format!("events.out.tfevents.{start}.novic"))
            }
        }
    }
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> ExportFormat {
        match format {
            Format::Csv => ExportFormat::Csv,
            Format::Parquet => ExportFormat::Parquet,
            Format::Tensorboard => ExportFormat::TensorBoard,
        }
    }
}

/// Exports the metrics of a run.
pub fn cmd_export(args: &ExportArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let project = Project::find(None).map_err(|error| failed(&error))?;
    let (run, dir) =
        find_run(&project, &args.run).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    let record = read_record(&dir).map_err(|error| failed(&error))?;
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| run.outputs.join(args.format.folder()));
    if let Some(step) = &args.step
        && !record
            .metrics
            .values()
            .any(|metrics| metrics.names().contains(step.as_str()))
    {
        let names = record.metrics.values().flat_map(|metrics| metrics.names());
        let names: BTreeSet<&str> = names.collect();
        let names: Vec<&str> = names.into_iter().collect();
        return Err(CliError::usage(match names.is_empty() {
            true => format!("{} has no metrics, so no column `{step}`", run.run),
            false => format!(
                "{} has no column `{step}`; it has {}",
                run.run,
                names.join(", ")
            ),
        }));
    }
    let wanted = |stage: &str| args.stage.as_ref().is_none_or(|only| only == stage);
    let mut written = Vec::new();
    for (stage, metrics) in record.metrics.iter().filter(|(stage, _)| wanted(stage)) {
        let path = folder.join(args.format.file(stage, run.started_ms / 1000));
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            publish_file(&path, |file| {
                write_metrics(metrics, args.format.into(), args.step.as_deref(), file)
            })
        };
        write().map_err(|error| {
            CliError::failed(format!("failed to write {}: {error}", path.display()))
        })?;
        written.push(path);
    }
    if written.is_empty() {
        let stages: Vec<_> = record.metrics.keys().map(String::as_str).collect();
        return Err(CliError::usage(match (&args.stage, stages.is_empty()) {
            (Some(stage), false) => format!(
                "{} has no metrics of a stage `{stage}`; it has those of {}",
                run.run,
                stages.join(", ")
            ),
            _ => format!("{} has no metrics", run.run),
        }));
    }
    if args.json {
        return print(&format!("{:#}\n", json!({ "files": written })));
    }
    let lines: Vec<_> = written
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    print(&format!("{}\n", lines.join("\n")))
}
