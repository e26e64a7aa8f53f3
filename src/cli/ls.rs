//! `novic ls`: the runs of a project.

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::print::print;
use super::{CliError, Exit};
use crate::runner::time_text;
use crate::store::Project;
use crate::tracking::{RunOverview, StageOutcome, list_runs};

/// List the runs of this project
///
/// The newest come last. A run whose process is gone is shown as what it is,
/// at once and from any process; nothing is ever left "running".
///
///   novic ls
///   novic ls --last 100 --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct LsArgs {
    /// How many of the newest runs to list; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the runs of the project.
pub fn cmd_ls(args: &LsArgs) -> Result<Exit, CliError> {
    let failed = |error| CliError::from_error(Exit::Failed, &error);
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let (runs, errors) = list_runs(&project).map_err(failed)?;
    for error in &errors {
        eprintln!("warning: {error}");
    }
    let hidden = if args.last == 0 {
        0
    } else {
        runs.len().saturating_sub(args.last)
    };
    let shown = &runs[hidden..];
    if args.json {
        let runs: Vec<_> = shown.iter().map(|run| json!(run)).collect();
        return print(&format!("{:#}\n", json!(runs)));
    }
    if runs.is_empty() {
        return print(&format!("no runs in {}\n", project.home().display()));
    }
    let mut text = if hidden > 0 {
        format!("{hidden} older runs; --last 0 lists all\n")
    } else {
        String::new()
    };
    text.push_str(&table(shown));
    print(&text)
}

fn table(runs: &[RunOverview]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["run", "experiment", "time", "stages", "state"]);
    for run in runs {
        table.add_row([
            run.run.clone(),
            run.experiment.clone(),
            time_text(std::time::Duration::from_secs_f64(run.seconds())),
            stages_text(run),
            run.state.to_string(),
        ]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().trim_start_matches(' ').to_owned())
        .collect();
    format!("{}\n", lines.join("\n"))
}

/// Which stage is at work or went wrong, else how many are done.
fn stages_text(run: &RunOverview) -> String {
    let all = run.stages.len();
    let good = |outcome| matches!(outcome, StageOutcome::Done | StageOutcome::UpToDate);
    let done = run
        .stages
        .iter()
        .filter(|stage| stage.outcome.is_some_and(good))
        .count();
    let failed = run
        .stages
        .iter()
        .find(|stage| stage.outcome == Some(StageOutcome::Failed));
    let at_work = run
        .stages
        .iter()
        .find(|stage| stage.started && stage.outcome.is_none());
    match (failed, at_work) {
        (Some(stage), _) => format!("{done}/{all}, {} failed", stage.name),
        (None, Some(stage)) => match &stage.progress {
            Some((done_units, Some(total), _)) if *total > 0 => {
                let percent = (*done_units).min(*total).saturating_mul(100) / total;
                format!("{done}/{all}, {} at {percent} %", stage.name)
            }
            _ => format!("{done}/{all}, {}", stage.name),
        },
        (None, None) => format!("{done}/{all}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::tracking::{RunState, StageOverview};

    use super::*;

    fn run(number: u32, state: RunState, stages: Vec<StageOverview>) -> RunOverview {
        RunOverview {
            format: 1,
            run: format!("ovod_20261124_17050{number}"),
            experiment: "quickstart".into(),
            title: String::new(),
            started_ms: 0,
            last_ms: 65_400,
            outputs: "outputs".into(),
            state,
            exit_code: None,
            reason: None,
            stages,
        }
    }

    fn stage(name: &str, outcome: Option<StageOutcome>) -> StageOverview {
        StageOverview {
            name: name.into(),
            kind: "train".into(),
            key: String::new(),
            outcome,
            started: true,
            progress: Some((30, Some(120), "samples".into())),
            seconds: 0.0,
            message: None,
            results: json!(null),
        }
    }

    #[test]
    fn runs_are_listed_with_what_became_of_them() {
        let done = || stage("cache", Some(StageOutcome::UpToDate));
        let runs = [
            run(
                1,
                RunState::Finished,
                vec![done(), stage("train", Some(StageOutcome::Done))],
            ),
            run(
                2,
                RunState::Failed,
                vec![done(), stage("train", Some(StageOutcome::Failed))],
            ),
            run(
                3,
                RunState::Vanished { last_ms: 0 },
                vec![done(), stage("train", None)],
            ),
        ];
        let days = regex::Regex::new("[0-9]+ days").unwrap();
        insta::assert_snapshot!(days.replace(&table(&runs), "N days"), @r"
        run                   experiment    time  stages              state
        ovod_20261124_170501  quickstart  1m 05s  2/2                 finished
        ovod_20261124_170502  quickstart  1m 05s  1/2, train failed   failed
        ovod_20261124_170503  quickstart  1m 05s  1/2, train at 25 %  ended without a word N days ago
        ");
    }
}
