//! `novic sweep status`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::list::{SweepList, Work, work_of};
use super::named::{failed, open};
use super::preview::{Preview, ahead, unit_of};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::Slots;
use crate::runner::launcher::slurm::{self, Submitted};
use crate::runner::sweep::{Graph, OutcomeLine, Sweep, SweepError, SweepFolder, units};
use crate::stages;
use crate::store::{LeaseState, Project};
use crate::tracking::StageOutcome;

/// Time between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_SELDOM: Duration = Duration::from_secs(2);

/// Show how far a sweep is, or how far all are
///
/// From any process and at any time: which points are done, running, waiting or
/// failed, and why. Without a name, all sweeps of the project, a line each, with
/// the best point. With `--wait`, returns when nothing runs any more; the exit
/// code is 0 if all points are done, else 1.
///
///   novic sweep status
///   novic sweep status noise
///   novic sweep status noise --wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepStatusArgs {
    /// Name of the sweep, or its file; by default all sweeps
    sweep: Option<String>,
    /// Wait until nothing runs any more
    #[arg(long)]
    wait: bool,
    /// List all points
    #[arg(long, requires = "sweep")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints how far a sweep is, or how far all are.
pub(super) fn cmd_sweep_status(args: &SweepStatusArgs) -> Result<Exit, CliError> {
    match &args.sweep {
        Some(name) => one(args, name),
        None => all(args),
    }
}

/// Prints how far the sweeps of the project are.
fn all(args: &SweepStatusArgs) -> Result<Exit, CliError> {
    let project = Project::find(None).map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    if args.wait {
        wait(|| {
            let mut work = SweepFolder::names(&project).into_iter().map(|name| {
                let folder = SweepFolder::of(&project, &name);
                work_of(&folder, &project)
            });
            work.try_fold(false, |any, work| Ok(any || work? != Work::None))
        })?;
    }
    let list = SweepList::of(&project);
    match args.json {
        true => print(&format!("{:#}\n", list.to_json()))?,
        false => print(&list.text())?,
    };
    Ok(match list.is_readable() && (!args.wait || list.is_done()) {
        true => Exit::Success,
        false => Exit::Failed,
    })
}

/// Waits until nothing runs any more.
fn wait(is_running: impl Fn() -> Result<bool, SweepError>) -> Result<(), CliError> {
    let mut pause = LOOK_EVERY;
    while is_running().map_err(failed)? {
        thread::sleep(pause);
        // The cluster has better things to do than to answer.
        pause = (pause * 2).min(LOOK_SELDOM);
    }
    Ok(())
}

/// Prints how far a sweep is.
fn one(args: &SweepStatusArgs, name: &str) -> Result<Exit, CliError> {
    let mut sweep = open(name)?;
    if args.wait {
        wait(|| Ok(work_of(&sweep.folder, &sweep.project)? != Work::None))?;
        sweep = open(name)?;
    }
    let registry = stages::registry();
    let mut graph = sweep.graph(&registry).map_err(failed)?;
    graph.expect(&sweep.project.store()).map_err(failed)?;
    let outcomes = sweep.folder.outcomes().map_err(failed)?;
    let ahead = ahead(&sweep, &graph, &registry)?;
    let preview = Preview::of(&sweep, &graph, Slots::default());
    let preview = preview.map_err(failed)?.with_ahead(ahead.as_ref());
    let holder = match sweep.folder.holder(&sweep.project).map_err(failed)? {
        LeaseState::Held(holder) => {
            Some(holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string()))
        }
        _ => None,
    };
    let failures: Vec<&OutcomeLine> = sweep
        .active()
        .enumerate()
        .filter(|(place, _)| !graph.is_done(*place))
        .filter_map(|(_, point)| outcomes.get(&unit_of(point)))
        .filter(|line| line.message.is_some())
        .collect();
    let pieces = slurm::submitted(&sweep.folder).map_err(failed)?;
    let open = open_units(&sweep, &graph);
    let pieces: Vec<&Submitted> = pieces
        .iter()
        .filter(|piece| open.contains(&piece.spec.unit))
        .collect();
    // Jobs that ended without a word of their own.
    let lost: Vec<&&Submitted> = pieces
        .iter()
        .filter(|piece| !piece.state.as_ref().is_some_and(|state| state.active))
        .filter(|piece| {
            let said = outcomes.get(&piece.spec.unit);
            said.is_none_or(|line| line.at_ms < piece.submitted_ms)
        })
        .collect();
    if args.json {
        let mut value = preview.json();
        value["running_by"] = json!(holder);
        value["jobs"] = pieces.iter().map(|piece| job_json(piece)).collect();
        value["lost"] = lost.iter().map(|piece| job_json(piece)).collect();
        value["failures"] = json!(failures);
        print(&format!("{value:#}\n"))?;
    } else {
        let mut text = preview.text(args.all);
        let queue = queue_text(&pieces);
        match &holder {
            Some(holder) => text.push_str(&format!("\nit is being run by {holder}\n")),
            None if queue.is_empty() => text.push_str("\nnothing is running\n"),
            None => text.push_str(&format!("\njobs: {queue}\n")),
        }
        for piece in lost {
            let how = match &piece.state {
                Some(state) if state.reason.is_empty() => state.state.clone(),
                Some(state) => format!("{} ({})", state.state, state.reason),
                None => "it ended without a word".to_owned(),
            };
            text.push_str(&format!(
                "{}: job {}: {how}; see {}\n",
                piece.spec.label(),
                piece.element,
                log_of(&sweep, piece).display()
            ));
        }
        for line in failures {
            let word = match line.outcome {
                StageOutcome::Skipped => "skipped",
                StageOutcome::Blocked => "blocked",
                StageOutcome::Interrupted => "stopped",
                _ => "failed",
            };
            let message = line.message.as_deref().unwrap_or_default();
            let run = line.run.as_deref().unwrap_or("no run");
            text.push_str(&format!("{}: {word} in {run}: {message}\n", line.unit));
        }
        print(&text)?;
    }
    let all_done = (0..graph.points.len()).all(|place| graph.is_done(place));
    Ok(match !args.wait || all_done {
        true => Exit::Success,
        false => Exit::Failed,
    })
}

/// Names of the pieces of work that are not done.
fn open_units(sweep: &Sweep, graph: &Graph) -> BTreeSet<String> {
    let numbers: Vec<usize> = sweep.active().collect();
    let units = units(graph, &numbers).into_iter();
    units.map(|unit| unit.spec.unit).collect()
}

/// How many jobs are in which state, such as `2 running, 5 pending (Dependency)`.
fn queue_text(pieces: &[&Submitted]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for piece in pieces {
        if let Some(state) = piece.state.as_ref().filter(|state| state.active) {
            let word = state.state.to_lowercase();
            let what = match state.reason.as_str() {
                "" => word,
                reason => format!("{word} ({reason})"),
            };
            *counts.entry(what).or_default() += 1;
        }
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    counts.join(", ")
}

fn log_of(sweep: &Sweep, piece: &Submitted) -> PathBuf {
    let name = format!("logs/{}.log", piece.element);
    sweep.folder.dir().join(name)
}

fn job_json(piece: &Submitted) -> Value {
    let state = piece.state.as_ref();
    json!({
        "unit": piece.spec.unit,
        "job": piece.element,
        "state": state.map(|state| &state.state),
        "reason": state.map(|state| &state.reason),
    })
}
