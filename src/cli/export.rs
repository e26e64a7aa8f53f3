//! `novic export`: the metrics of a run for other programs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::{CliError, Exit, complete};
use crate::store::{Project, write_file};
use crate::tracking::{Metrics, Value, find_run, read_record};

/// Write the metrics of a run for other programs
///
/// One file per stage. CSV has a row per logged row, with its number within the
/// stage, its time and one column per name; cells without a value are empty.
///
///   novic export latest
///   novic export 170509 --stage train --output curves/
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExportArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// Only this stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Format of the files
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Directory; by default the run's `outputs/<run id>/metrics`
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
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
        .unwrap_or_else(|| run.outputs.join("metrics"));
    let wanted = |stage: &str| args.stage.as_ref().is_none_or(|only| only == stage);
    let mut written = Vec::new();
    for (stage, metrics) in record.metrics.iter().filter(|(stage, _)| wanted(stage)) {
        std::fs::create_dir_all(&folder).map_err(|error| {
            CliError::failed(format!("failed to make {}: {error}", folder.display()))
        })?;
        let path = folder.join(format!("{stage}.csv"));
        let Format::Csv = args.format;
        write_file(&path, csv(metrics).as_bytes()).map_err(|error| failed(&error))?;
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

/// All rows in the order of logging.
fn csv(metrics: &Metrics) -> String {
    let names: BTreeSet<&str> = metrics.names();
    let mut text = String::from("row,time_us");
    for name in &names {
        text.push(',');
        text.push_str(&field(name));
    }
    text.push('\n');
    for row in metrics.rows() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{},{}", row.position, row.time_us);
        for name in &names {
            text.push(',');
            let value = row.values.iter().find(|(other, _)| other == name);
            if let Some((_, value)) = value {
                text.push_str(&cell(value));
            }
        }
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => field(text),
        value => match value.to_json() {
            serde_json::Value::String(text) => text,
            json => field(&json.to_string()),
        },
    }
}

/// A text with quotes where CSV needs them (RFC 4180).
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::tracking::{RunEnd, RunRecorder, RunStart};

    use super::*;

    #[test]
    fn rows_with_different_names_share_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        let log = run.stage("train");
        log.row(&[("loss", 0.5.into()), ("note", "a, \"b\"".into())]);
        log.row(&[("loss", f64::NAN.into()), ("step", 2u64.into())]);
        log.row(&[("loss", Value::Null)]);
        run.finish(RunEnd {
            exit_code: 0,
            reason: String::new(),
        })
        .unwrap();
        let (_, dir) = find_run(&project, "latest").unwrap();
        let record = read_record(&dir).unwrap();
        let text = csv(&record.metrics["train"]);
        let without_time: Vec<_> = text
            .lines()
            .map(|line| {
                let mut parts = line.splitn(3, ',');
                let row = parts.next().unwrap();
                format!("{row} {}", parts.nth(1).unwrap())
            })
            .collect();
        assert_eq!(
            without_time,
            [
                "row loss,note,step",
                "0 0.5,\"a, \"\"b\"\"\",",
                "1 NaN,,2",
                "2 ,,"
            ]
        );
    }
}
