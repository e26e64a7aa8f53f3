//! Running a search, and showing what it found.

use serde_json::json;

use super::execute::{ROWS, SweepOptions, ask, in_process, results_text, surroundings};
use super::left::Left;
use super::named::failed;
use super::preview::{Preview, ahead};
use crate::cli::mirror::say_on_stderr;
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::config::schema::LauncherKind;
use crate::runner::mirror::MirrorEndings;
use crate::runner::sweep::{Pruner, Sweep, SweepResults, SweepSummary, units};
use crate::runner::{Interrupt, Registry, Slots};
use crate::stages;
use crate::tracking::refresh_index;

/// Runs a search until its trials are used up.
pub(super) fn search(mut sweep: Sweep, options: &SweepOptions) -> Result<Exit, CliError> {
    let registry = stages::registry();
    let (slots, launcher) = surroundings(&sweep, options.jobs)?;
    if launcher.kind != LauncherKind::Local {
        return Err(CliError::usage(
            "a search runs on this machine: use launcher.kind=local",
        ));
    }
    preview(&sweep, &registry, slots, options)?;
    let lease = sweep.begin().map_err(failed)?;
    let interrupt = Interrupt::of_signals().map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    let prune = sweep
        .header
        .search
        .as_ref()
        .and_then(|search| search.prune.clone());
    let pruner = prune
        .map(|prune| Pruner::new(&prune, &sweep.folder))
        .transpose()
        .map_err(failed)?;
    let mirrors = MirrorEndings::new(say_on_stderr());
    let left = Left::start(&sweep, &registry, mirrors.say());
    let mut summary = SweepSummary::default();
    let mut measured = false;
    loop {
        measured = measured || is_measured(&sweep, &registry)?;
        let round = sweep.next_trials(slots.jobs, &registry).map_err(failed)?;
        if round.is_empty() {
            break;
        }
        sweep.save().map_err(failed)?;
        let graph = sweep.graph_of(&round, &registry).map_err(failed)?;
        let units = units(&graph, &round);
        let beside = (pruner.as_ref(), &mirrors);
        let done = in_process(&sweep, &units, slots, &interrupt, beside, options)?;
        for (place, point) in round.iter().enumerate() {
            if let Some(why) = graph.blockage(place) {
                eprintln!("{:>12} {point}: {why}", "BLOCKED");
            }
        }
        summary.outcomes.extend(done.outcomes);
        summary.seconds += done.seconds;
        if interrupt.is_raised() {
            sweep.folder.forget_stop();
            left.finish(&mirrors);
            eprintln!("stopped; the same command goes on where it stopped");
            return Ok(Exit::Interrupted);
        }
    }
    left.finish(&mirrors);
    lease
        .remove()
        .map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    let _ = refresh_index(&sweep.project);
    let graph = sweep.graph(&registry).map_err(failed)?;
    let results = SweepResults::collect(&sweep, &graph, &sweep.project.store()).map_err(failed)?;
    if options.json {
        let value = json!({"outcomes": summary.outcomes, "results": results.to_json(&sweep)});
        print(&format!("{value:#}\n"))?;
    } else {
        print(&results_text(&sweep, &results, Some(ROWS)))?;
    }
    Ok(match results.best() {
        Some(_) => Exit::Success,
        None => Exit::Failed,
    })
}

/// Shows what the search will do, and asks if that is much.
fn preview(
    sweep: &Sweep,
    registry: &Registry,
    slots: Slots,
    options: &SweepOptions,
) -> Result<(), CliError> {
    let graph = sweep.graph(registry).map_err(failed)?;
    let ahead = ahead(sweep, &graph, registry)?;
    let preview = Preview::of(sweep, &graph, slots).map_err(failed)?;
    let preview = preview.with_ahead(ahead.as_ref());
    if !options.json {
        eprintln!("{}", preview.text(false));
    }
    ask(sweep, preview.to_run(), options)
}

/// Whether a trial has what the search goes by.
///
/// # Errors
/// Trials are done, and none has it: the search would find nothing.
fn is_measured(sweep: &Sweep, registry: &Registry) -> Result<bool, CliError> {
    let graph = sweep.graph(registry).map_err(failed)?;
    let store = sweep.project.store();
    let results = SweepResults::collect(sweep, &graph, &store).map_err(failed)?;
    let missing = results.unmeasured(&graph, &store).map_err(failed)?;
    // The first is what it goes by.
    match missing.into_iter().find(|(place, _)| *place == 0) {
        Some((_, text)) => Err(CliError::failed(text)),
        None => Ok(results.best().is_some()),
    }
}
