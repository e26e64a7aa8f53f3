//! Running the points of a sweep that are not done, and showing what came out.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::display::SweepLines;
use super::left::Left;
use super::named::failed;
use super::preview::Preview;
use super::search;
use super::table::{number, table};
use crate::cli::mirror::say_on_stderr;
use crate::cli::print::print;
use crate::cli::run::{at_least_one, seconds};
use crate::cli::{CliError, Exit};
use crate::config::schema::{Launcher, LauncherKind};
use crate::reports::render;
use crate::runner::launcher::{Processes, slurm};
use crate::runner::mirror::MirrorEndings;
use crate::runner::sweep::{
    Graph, Pruner, Sweep, SweepResults, SweepSummary, Unit, Workbench, run_units, units,
};
use crate::runner::{Display, Interrupt, Retries, Slots, time_text};
use crate::stages;
use crate::tracking::{StageOutcome, refresh_index};

/// Rows of the table at the end.
pub(super) const ROWS: usize = 20;

/// How the points of a sweep are run.
#[derive(Debug, Args)]
pub(super) struct SweepOptions {
    /// Run without asking, however many points there are
    #[arg(long, short)]
    pub yes: bool,
    /// Run so many points at the same time, within `[slots]`
    #[arg(long, short, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub retries: RetryOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Whether and when what fails is tried again.
#[derive(Debug, Args)]
pub(super) struct RetryOptions {
    /// Try stages that fail again, so often at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub retries: u32,
    /// Seconds before the first of these attempts; doubles each time, up to a minute
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, allow_negative_numbers = true)]
    pub retry_pause: f64,
}

impl RetryOptions {
    /// As arguments of a job.
    fn arguments(&self) -> Vec<String> {
        vec![
            format!("--retries={}", self.retries),
            format!("--retry-pause={}", self.retry_pause),
        ]
    }

    pub fn retries(&self) -> Retries {
        Retries {
            count: self.retries,
            pause: Duration::from_secs_f64(self.retry_pause),
            deaths: Vec::new(),
        }
    }
}

/// The room that a sweep has on this machine, and where it runs.
pub(super) fn surroundings(
    sweep: &Sweep,
    jobs: Option<usize>,
) -> Result<(Slots, Launcher), CliError> {
    Ok(match sweep.first_experiment().map_err(failed)? {
        Some(experiment) => (Slots::of(&experiment.slots, jobs), experiment.launcher),
        None => (Slots::default(), Launcher::default()),
    })
}

/// Gives pieces of work to the cluster, except those that it has already.
fn submit(
    sweep: &Sweep,
    units: &[Unit],
    launcher: &Launcher,
    options: &SweepOptions,
) -> Result<Exit, CliError> {
    let pieces = slurm::submitted(&sweep.folder).map_err(failed)?;
    let active: BTreeMap<String, String> = pieces
        .into_iter()
        .filter(|piece| piece.state.as_ref().is_some_and(|state| state.active))
        .map(|piece| (piece.spec.unit, piece.element))
        .collect();
    let arguments = options.retries.arguments();
    let arrays = slurm::submit(sweep, units, &active, launcher, &arguments).map_err(failed)?;
    let name = &sweep.header.name;
    if options.json {
        return print(&format!(
            "{:#}\n",
            json!({"sweep": name, "submitted": arrays})
        ));
    }
    for array in &arrays {
        let jobs = if array.count == 1 { "job" } else { "jobs" };
        eprintln!(
            "{:>12} [{:>8}] {} {jobs}",
            "SUBMITTED", array.job, array.count
        );
    }
    if arrays.is_empty() {
        eprintln!("{name}: all that is left to do is in the queue already");
    }
    eprintln!(
        "`novic sweep status {name} --wait` waits for them, `novic sweep cancel {name}` ends them"
    );
    Ok(Exit::Success)
}

/// Runs pieces of work in this process.
pub(super) fn in_process(
    sweep: &Sweep,
    units: &[Unit],
    slots: Slots,
    interrupt: &Interrupt,
    (pruner, mirrors): (Option<&Arc<Pruner>>, &MirrorEndings),
    options: &SweepOptions,
) -> Result<SweepSummary, CliError> {
    let registry = stages::registry();
    let retries = options.retries.retries();
    let bench = Workbench::new(sweep, &registry, retries, mirrors.clone());
    let reporter = SweepLines::new(sweep, units.len());
    let work = |place: usize, interrupt: &Interrupt, display: &mut dyn Display| {
        let unit = &units[place].spec;
        let Some(pruner) = pruner.filter(|_| unit.uses == 1) else {
            return bench.work(unit, interrupt, None, display);
        };
        let watched = pruner.watch(unit.point, interrupt);
        let watch = Some(watched.watch.clone());
        let mut line = bench.work(unit, &watched.interrupt, watch, display)?;
        if watched.is_ended() && line.outcome == StageOutcome::Interrupted {
            line.pruned = true;
            sweep.folder.add_outcome(&line)?;
        }
        Ok(line)
    };
    let summary = run_units(units, slots, interrupt, &sweep.folder, &reporter, &work);
    let summary = summary.map_err(failed)?;
    for warning in bench.finish().map_err(failed)? {
        eprintln!("warning: {warning}");
    }
    Ok(summary)
}

/// Runs pieces of work in processes of their own.
fn in_processes(
    sweep: &Sweep,
    units: &[Unit],
    slots: Slots,
    interrupt: &Interrupt,
    options: &SweepOptions,
) -> Result<SweepSummary, CliError> {
    let processes = Processes::new(sweep, units, options.retries.arguments(), slots.gpus);
    let processes = processes.map_err(failed)?;
    let reporter = SweepLines::new(sweep, units.len());
    let work = |place: usize, interrupt: &Interrupt, _: &mut dyn Display| {
        processes.work(place, &units[place], interrupt)
    };
    run_units(units, slots, interrupt, &sweep.folder, &reporter, &work).map_err(failed)
}

/// Runs what is not done, and shows the results.
pub(super) fn execute(mut sweep: Sweep, options: &SweepOptions) -> Result<Exit, CliError> {
    if sweep.header.search.is_some() {
        return search::search(sweep, options);
    }
    let registry = stages::registry();
    let mut graph = sweep.graph(&registry).map_err(failed)?;
    graph.expect(&sweep.project.store()).map_err(failed)?;
    let (slots, launcher) = surroundings(&sweep, options.jobs)?;
    let to_run = {
        let preview = Preview::of(&sweep, &graph, slots).map_err(failed)?;
        if !options.json {
            eprintln!("{}", preview.text(false));
        }
        ask(&sweep, preview.to_run(), options)?;
        preview.to_run()
    };
    let lease = sweep.begin().map_err(failed)?;
    let numbers: Vec<usize> = sweep.active().collect();
    let units = units(&graph, &numbers);
    let mirrors = MirrorEndings::new(say_on_stderr());
    let left = Left::of(&sweep, &graph, mirrors.say());
    if units.is_empty() {
        left.finish(&mirrors);
        lease
            .remove()
            .map_err(|e| CliError::from_error(Exit::Failed, &e))?;
        return show(&sweep, &graph, None, to_run, options);
    }
    if launcher.kind == LauncherKind::Slurm {
        let submitted = submit(&sweep, &units, &launcher, options);
        left.finish(&mirrors);
        lease
            .remove()
            .map_err(|e| CliError::from_error(Exit::Failed, &e))?;
        return submitted;
    }
    let interrupt = Interrupt::of_signals().map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    let summary = match launcher.kind {
        LauncherKind::Processes => in_processes(&sweep, &units, slots, &interrupt, options)?,
        _ => in_process(&sweep, &units, slots, &interrupt, (None, &mirrors), options)?,
    };
    left.finish(&mirrors);
    lease
        .remove()
        .map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    // Of use to later lists only.
    let _ = refresh_index(&sweep.project);
    if summary.interrupted {
        sweep.folder.forget_stop();
        eprintln!("stopped; the same command goes on where it stopped");
        return Ok(Exit::Interrupted);
    }
    let graph = sweep.graph(&registry).map_err(failed)?;
    show(&sweep, &graph, Some(&summary), to_run, options)
}

/// Asks before many points are run.
pub(super) fn ask(sweep: &Sweep, to_run: usize, options: &SweepOptions) -> Result<(), CliError> {
    if options.yes || to_run <= sweep.ask_above {
        return Ok(());
    }
    let question = format!("{to_run} points are to be run");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage(format!(
            "{question}, more than ask_above = {}; add --yes",
            sweep.ask_above
        )));
    }
    eprint!("{question}. Go on? [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    match matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        true => Ok(()),
        false => Err(CliError::usage("nothing was run")),
    }
}

/// Shows the table, the best point and the counts.
fn show(
    sweep: &Sweep,
    graph: &Graph,
    summary: Option<&SweepSummary>,
    to_run: usize,
    options: &SweepOptions,
) -> Result<Exit, CliError> {
    let store = sweep.project.store();
    let results = SweepResults::collect(sweep, graph, &store).map_err(failed)?;
    let preview = Preview::of(sweep, graph, Slots::default()).map_err(failed)?;
    let unfinished = (0..graph.points.len())
        .filter(|place| !graph.is_done(*place))
        .count();
    let exit = match unfinished {
        0 => Exit::Success,
        _ => Exit::Failed,
    };
    if options.json {
        let value = json!({
            "summary": summary.map(|summary| json!({
                "outcomes": summary.outcomes,
                "seconds": summary.seconds,
            })),
            "unfinished": unfinished,
            "results": results.to_json(sweep),
        });
        print(&format!("{value:#}\n"))?;
        return Ok(exit);
    }
    print(&results_text(sweep, &results, Some(ROWS)))?;
    for (_, missing) in results.unmeasured(graph, &store).map_err(failed)? {
        eprintln!("warning: {missing}");
    }
    match summary {
        None if unfinished == 0 => eprintln!("{}: everything is up to date", sweep.header.name),
        None => eprintln!("{}: {unfinished} points are blocked", sweep.header.name),
        Some(summary) => {
            let time = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
            let blocked = (0..graph.points.len())
                .filter(|place| graph.blockage(*place).is_some())
                .count();
            eprintln!(
                "{:>12} [{:>8}] {} of {to_run} points done{}{}",
                "Summary",
                time_text(time),
                to_run.saturating_sub(preview.to_run()),
                match summary.count(StageOutcome::Failed) {
                    0 => String::new(),
                    failed => format!(", {failed} failed; the same command tries them again"),
                },
                match blocked {
                    0 => String::new(),
                    blocked => format!(", {blocked} cannot run: `novic sweep status` says why"),
                }
            );
        }
    }
    Ok(exit)
}

/// The table, and the best point below it.
pub(super) fn results_text(sweep: &Sweep, results: &SweepResults, rows: Option<usize>) -> String {
    let mut table = table(sweep, results);
    let all = table.rows().count();
    if let Some(rows) = rows {
        for group in &mut table.groups {
            group.rows.truncate(rows);
        }
    }
    let mut text = render::text(&table, render::Style::Terminal);
    if table.rows().count() < all {
        text.push_str(&format!(
            "and {} more: novic sweep results {}\n",
            all - table.rows().count(),
            sweep.header.name
        ));
    }
    if let Some(best) = best_text(sweep, results) {
        let group = results.best().into_iter();
        let mut points = group.flat_map(|group| &group.points);
        let run = points.find_map(|point| point.run.as_deref());
        let run = run.map(|run| format!(" ({run})")).unwrap_or_default();
        text.push_str(&format!("\nbest: {best}{run}\n"));
    }
    text
}

/// The best point: `drawings.top1 = 81.2 at noise.vec_norm=2`.
pub(super) fn best_text(sweep: &Sweep, results: &SweepResults) -> Option<String> {
    let best = results.best()?;
    let line = &sweep.points[best.first()];
    let settings = match line.settings.is_empty() {
        true => "the experiment as it is".to_owned(),
        false => line.settings.join(" "),
    };
    let value = number(best.means[0]?);
    Some(format!("{} = {value} at {settings}", results.metrics[0]))
}
