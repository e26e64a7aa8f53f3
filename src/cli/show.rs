//! `novic show`: one run.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Map, Value, json};

use super::mirror;
use super::print::print;
use super::records::printable;
use super::{CliError, Exit, complete};
use crate::runner::time_text;
use crate::store::Project;
use crate::tracking::{
    Level, RunOverview, RunRecord, RunState, StageOutcome, StageOverview, find_run, plain,
    read_record,
};

/// Longest text of a value that is shown; tables are longer.
const LONGEST_VALUE: usize = 60;

/// Show what a run did
///
/// Its state, command, machine, stages with their times, last metrics and
/// warnings. Runs that were killed are readable up to their last moment.
///
///   novic show latest
///   novic show ovod_20261124_170509 --json
///   novic show 170509 --console
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ShowArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// Print only the lines that the run showed
    #[arg(long, conflicts_with = "json")]
    console: bool,
    /// Print only how the sources differed from their commit
    #[arg(long, conflicts_with_all = ["json", "console"])]
    patch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints one run.
pub fn cmd_show(args: &ShowArgs) -> Result<Exit, CliError> {
    let failed = |error| CliError::from_error(Exit::Failed, &error);
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let (overview, dir) =
        find_run(&project, &args.run).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    let record = read_record(&dir);
    if let RunState::Unreadable { what } = &overview.state
        && record.is_err()
    {
        return Err(CliError::failed(format!(
            "{run} is unreadable: {what}, see {}; `novic rm {run}` removes it",
            dir.display(),
            run = overview.run
        )));
    }
    let record = record.map_err(failed)?;
    if args.json {
        let mut json = to_json(&overview, &record);
        json["wandb"] = mirror::to_json(&dir);
        print(&format!("{json:#}\n"))
    } else if args.console {
        print(&printable(&console_text(&record)))
    } else if args.patch {
        let patch = record.git.as_ref().and_then(|git| git.patch.as_deref());
        let patch = patch.unwrap_or_default();
        match io::stdout().is_terminal() {
            true => print(&printable(patch)),
            false => print(patch),
        }
    } else {
        print(&printable(
            &(text(&overview, &record) + &mirror::text(&dir)),
        ))
    }
}

fn text(overview: &RunOverview, record: &RunRecord) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:>11}  {value}");
        }
    };
    let header = &record.header;
    line("run", &header.run);
    let title = if header.title.is_empty() {
        String::new()
    } else {
        format!(": {}", header.title)
    };
    line("experiment", &format!("{}{title}", header.experiment));
    let reason = overview
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    line("state", &format!("{}{reason}", overview.state));
    if let RunState::Vanished { .. } = overview.state
        && let Some(heartbeat) = overview.field("heartbeat")
    {
        let heartbeat = plain(&heartbeat).replace('T', " ");
        line("", &format!("last heartbeat at {heartbeat}"));
    }
    line("started", &moment(&header.started));
    line(
        "time",
        &time_text(Duration::from_secs_f64(overview.seconds())),
    );
    line("command", &header.command.join(" "));
    line("in", &header.working_dir.display().to_string());
    if header.outputs.is_dir() {
        line("outputs", &header.outputs.display().to_string());
    }
    let hash = record.program_hash.as_deref().unwrap_or_default();
    let hash = hash.get(..12).map(|hash| format!(" ({hash})"));
    line(
        "program",
        &format!("novic {}{}", header.program, hash.unwrap_or_default()),
    );
    if let Some(git) = &record.git {
        let dirty = if git.dirty { ", with changes" } else { "" };
        line(
            "sources",
            &format!("{} on {}{dirty}", git.commit, git.branch),
        );
    }
    if let Some(machine) = &record.environment {
        let gpus = machine.gpus.iter().map(|gpu| format!(", {gpu}"));
        line(
            "machine",
            &format!(
                "{}, {}, {} threads{}",
                machine.host,
                machine.cpu,
                machine.threads,
                gpus.collect::<String>()
            ),
        );
        line("built with", &machine.toolchain);
    }
    line("tags", &overview.tags.join(", "));
    line(
        "note",
        &overview.note.replace('\n', &format!("\n{:13}", "")),
    );
    if record.damaged_bytes > 0 {
        line(
            "record",
            &format!(
                "damaged: {} bytes in the middle cannot be read; the rest is shown",
                record.damaged_bytes
            ),
        );
    }
    if record.torn_bytes > 0 {
        line(
            "record",
            &format!("torn: its last {} bytes are incomplete", record.torn_bytes),
        );
    }
    out.push('\n');
    let width = overview
        .stages
        .iter()
        .map(|stage| stage.name.chars().count())
        .max()
        .unwrap_or(0);
    for stage in &overview.stages {
        let time = time_text(Duration::try_from_secs_f64(stage.seconds).unwrap_or_default());
        let _ = writeln!(
            out,
            "{:>11}  {time:>8}  {:width$}  {}",
            stage_word(stage, &overview.state),
            stage.name,
            stage.kind
        );
        if let Some(message) = &stage.message {
            let _ = writeln!(
                out,
                "{:23}{}",
                "",
                message.replace('\n', &format!("\n{:23}", ""))
            );
        }
        let mut detail = |text: &str| {
            if !text.is_empty() {
                let _ = writeln!(out, "{:23}{text}", "");
            }
        };
        detail(stage.results["summary"].as_str().unwrap_or_default());
        let results = stage.results.as_object().into_iter().flatten();
        let results = results.map(|(name, value)| (name.as_str(), value.clone()));
        detail(&short_values(
            results.filter(|(name, _)| *name != "summary"),
        ));
        if let Some(metrics) = record.metrics.get(&stage.name) {
            let names = metrics.names().into_iter();
            detail(&short_values(names.filter_map(|name| {
                Some((name, metrics.last(name)?.to_json()))
            })));
        }
    }
    let warnings = record
        .console()
        .filter(|(_, line)| line.level >= Level::Warn);
    for (at, (_, line)) in warnings.enumerate() {
        if at == 0 {
            out.push('\n');
        }
        let stage = line
            .stage
            .as_ref()
            .map(|stage| format!("{stage}: "))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "{:>11}  {stage}{}",
            if line.level == Level::Warn {
                "warning"
            } else {
                "error"
            },
            line.text
        );
    }
    out
}

/// `name=value` of all that is short; tables are for `--json`.
fn short_values<'a>(values: impl Iterator<Item = (&'a str, Value)>) -> String {
    let is_simple = |value: &Value| !value.is_null() && !value.is_object() && !value.is_array();
    let texts = values
        .filter(|(_, value)| is_simple(value))
        .map(|(name, value)| (name, plain(&value)))
        .filter(|(_, text)| text.chars().count() <= LONGEST_VALUE && !text.contains('\n'));
    let texts: Vec<_> = texts.map(|(name, text)| format!("{name}={text}")).collect();
    texts.join(" ")
}

/// A moment in local time to the second.
fn moment(text: &str) -> String {
    let zoned = text.parse::<jiff::Zoned>();
    zoned.map_or_else(
        |_| text.to_owned(),
        |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

fn stage_word(stage: &StageOverview, run: &RunState) -> &'static str {
    match stage.outcome {
        Some(StageOutcome::Done) => "done",
        Some(StageOutcome::UpToDate) => "up to date",
        Some(StageOutcome::Failed) => "failed",
        Some(StageOutcome::Interrupted) => "stopped",
        Some(StageOutcome::Blocked) => "blocked",
        Some(StageOutcome::Skipped) => "skipped",
        None if stage.started && *run != RunState::Running => "broken off",
        None if stage.started => "at work",
        None => "queued",
    }
}

fn console_text(record: &RunRecord) -> String {
    let mut out = String::new();
    for (time_us, line) in record.console() {
        let stage = line
            .stage
            .as_ref()
            .map(|stage| format!("{stage}: "))
            .unwrap_or_default();
        let level = match line.level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let _ = writeln!(
            out,
            "[{level:>5}][{:10.3}] {stage}{}",
            time_us as f64 / 1e6,
            line.text
        );
    }
    out
}

fn to_json(overview: &RunOverview, record: &RunRecord) -> Value {
    let metrics: Map<String, Value> = record
        .metrics
        .iter()
        .map(|(stage, metrics)| {
            let last: Map<String, Value> = metrics
                .names()
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), metrics.last(name)?.to_json())))
                .collect();
            (
                stage.clone(),
                json!({ "rows": metrics.len(), "points": metrics.points(), "last": last }),
            )
        })
        .collect();
    json!({
        "overview": overview,
        "header": record.header,
        "config": record.config,
        "environment": record.environment,
        "git": record.git,
        "program_hash": record.program_hash,
        "metrics": metrics,
        "console": record.console().map(|(_, line)| json!(line)).collect::<Vec<_>>(),
        "torn_bytes": record.torn_bytes,
        "damaged_bytes": record.damaged_bytes,
    })
}

#[cfg(test)]
mod tests {
    use crate::tracking::{Event, RunEnd, RunRecorder, RunStart};

    use super::*;

    #[test]
    fn a_run_is_shown_with_its_stages_metrics_and_warnings() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let start = RunStart {
            experiment: "quickstart".into(),
            title: "The first one".into(),
            command: vec!["novic".into(), "run".into(), "quickstart.toml".into()],
            ..Default::default()
        };
        let run = RunRecorder::start(&project, start).unwrap();
        for (stage, kind) in [("train", "train"), ("worlds", "infer")] {
            run.event(Event::StageQueued {
                stage: stage.into(),
                kind: kind.into(),
                key: "k".into(),
            });
        }
        run.stage("train")
            .row(&[("chunk", 3u64.into()), ("loss", 0.25.into())]);
        run.console(Some("train"), Level::Warn, "the last batch was small");
        let finished = |stage: &str, outcome, message: Option<&str>| Event::StageFinished {
            stage: stage.into(),
            outcome,
            seconds: 12.34,
            message: message.map(str::to_owned),
            results: json!({ "summary": "the best one", "top1": 80.5, "table": [[1, 2]] }),
        };
        run.event(finished("train", StageOutcome::Done, None));
        run.event(finished(
            "worlds",
            StageOutcome::Failed,
            Some("no pictures\nin extras/world"),
        ));
        run.finish(RunEnd {
            exit_code: 1,
            reason: "1 done, 1 failed".into(),
        })
        .unwrap();
        let (overview, dir) = find_run(&project, "latest").unwrap();
        let record = read_record(&dir).unwrap();
        let all = text(&overview, &record);
        let changing =
            regex::Regex::new("(?m)^ *(run|started|time|in|machine|program|built with)  .*\n")
                .unwrap();
        insta::assert_snapshot!(changing.replace_all(&all, ""), @r"
        experiment  quickstart: The first one
             state  failed (1 done, 1 failed)
           command  novic run quickstart.toml

              done     12.3s  train   train
                              the best one
                              top1=80.5
                              chunk=3 loss=0.25
            failed     12.3s  worlds  infer
                              no pictures
                              in extras/world
                              the best one
                              top1=80.5

           warning  train: the last batch was small
        ");
        let console = console_text(&record);
        assert!(
            console.starts_with("[ WARN][")
                && console.ends_with("train: the last batch was small\n"),
            "{console}"
        );
        let json = to_json(&overview, &record);
        assert_eq!(json["metrics"]["train"]["last"]["loss"], 0.25);
        assert_eq!(json["overview"]["state"]["state"], "failed");
        assert_eq!(json["damaged_bytes"], 0);
    }

    #[test]
    fn the_last_heartbeat_and_damage_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        run.finish(RunEnd {
            exit_code: 0,
            reason: String::new(),
        })
        .unwrap();
        let (mut overview, dir) = find_run(&project, "latest").unwrap();
        let mut record = read_record(&dir).unwrap();
        assert!(!text(&overview, &record).contains("heartbeat"));
        overview.state = RunState::Vanished {
            last_ms: overview.last_ms,
        };
        record.damaged_bytes = 50;
        let shown = text(&overview, &record);
        let heartbeat = plain(&overview.field("heartbeat").unwrap()).replace('T', " ");
        for part in [
            "ended without a word",
            format!("last heartbeat at {heartbeat}").as_str(),
            "damaged: 50 bytes in the middle",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert!(!shown.contains("torn"), "{shown}");
    }
}
