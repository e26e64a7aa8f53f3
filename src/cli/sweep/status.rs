//! `novic sweep status`.

use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::named::{failed, open};
use super::preview::{Preview, unit_of};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::Slots;
use crate::runner::sweep::{OutcomeLine, Sweep};
use crate::stages;
use crate::store::LeaseState;
use crate::tracking::StageOutcome;

/// Time between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Show how far a sweep is
///
/// From any process and at any time: which points are done, running, waiting or
/// failed, and why. With `--wait`, returns when nothing runs any more; the exit
/// code is 0 if all points are done, else 1.
///
///   novic sweep status noise
///   novic sweep status noise --wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepStatusArgs {
    /// Name of the sweep, or its file
    sweep: String,
    /// Wait until nothing runs any more
    #[arg(long)]
    wait: bool,
    /// List all points
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints how far a sweep is.
pub(super) fn cmd_sweep_status(args: &SweepStatusArgs) -> Result<Exit, CliError> {
    let mut sweep = open(&args.sweep)?;
    if args.wait {
        while is_running(&sweep)? {
            thread::sleep(LOOK_EVERY);
        }
        sweep = open(&args.sweep)?;
    }
    let mut graph = sweep.graph(&stages::registry()).map_err(failed)?;
    graph.expect(&sweep.project.store()).map_err(failed)?;
    let outcomes = sweep.folder.outcomes().map_err(failed)?;
    let preview = Preview::of(&sweep, &graph, Slots::default());
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
    if args.json {
        let mut value = preview.json();
        value["running_by"] = json!(holder);
        value["failures"] = json!(failures);
        print(&format!("{value:#}\n"))?;
    } else {
        let mut text = preview.text(args.all);
        match &holder {
            Some(holder) => text.push_str(&format!("\nit is being run by {holder}\n")),
            None => text.push_str("\nnothing is running\n"),
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

/// Whether some process works at the sweep.
fn is_running(sweep: &Sweep) -> Result<bool, CliError> {
    let state = sweep.folder.holder(&sweep.project).map_err(failed)?;
    Ok(matches!(state, LeaseState::Held(_)))
}
