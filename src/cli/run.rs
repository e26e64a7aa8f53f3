//! `novic run`: do what an experiment says and has not been done yet.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::book::{exit_of, write_page};
use super::experiment::check_cells;
use super::hub::fetch_missing;
use super::mirror::say_on_stderr;
use super::print::print;
use super::{CliError, Exit, complete, experiment, guard};
use crate::config::schema::LauncherKind;
use crate::config::{Experiment, Request, recorded_experiment};
use crate::reports::experiment::{CellFailure, ExperimentReport};
use crate::reports::render;
use crate::runner::mirror;
use crate::runner::{
    Display, Execution, Hooks, Interrupt, LineDisplay, Plan, Retries, RunSummary, RunningHooks,
    Selection, Slots, StageDeath, StepResult, TerminalDisplay, done_in_runs, execute, make_cells,
    plan_text, result_text, unread_by_chosen,
};
use crate::stages;
use crate::store::Project;
use crate::tracking::wandb::{LateMirrors, Mirrors, Say, Wanted, check_strict, each_once, unsent};
use crate::tracking::{
    Environment, RunRecord, RunRecorder, RunStart, StageOutcome, find_run, read_record,
    refresh_index,
};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Do what an experiment says and has not been done yet
///
/// Runs the stages whose outputs are not in the store, resumes what was
/// interrupted, records everything, makes the experiment's tables and plots where
/// they are not up to date, prints the tables and writes the page, whose path is
/// the last line. Ctrl-C once stops at the next safe
/// point, twice at once; the same command goes on.
///
///   novic run experiments/quickstart.toml
///   novic run experiments/quickstart.toml noise.vec_norm=2.0 train.max_epochs=5
///   novic run experiments/ye2.toml --only train --keep-going
///   novic run --from-run 170509 noise.vec_norm=1.5
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// Experiment file
    #[arg(required_unless_present = "from_run")]
    file: Option<PathBuf>,
    /// Changes of values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Run what an old run recorded, whatever its file says now
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    from_run: Option<String>,
    #[command(flatten)]
    options: RunOptions,
}

/// How an experiment is run.
#[derive(Clone, Debug, Args)]
pub(super) struct RunOptions {
    /// Only these stages (their inputs must be there)
    #[arg(long, value_name = "STAGE", value_delimiter = ',', add = ArgValueCompleter::new(complete::stages))]
    only: Vec<String>,
    /// Only these stages and those after them
    #[arg(long, value_name = "STAGE", value_delimiter = ',', add = ArgValueCompleter::new(complete::stages))]
    from: Vec<String>,
    /// Only these stages and those before them
    #[arg(long, value_name = "STAGE", value_delimiter = ',', add = ArgValueCompleter::new(complete::stages))]
    until: Vec<String>,
    /// Run these stages again although nothing changed
    #[arg(long, value_name = "STAGE", value_delimiter = ',', add = ArgValueCompleter::new(complete::stages))]
    force: Vec<String>,
    /// Run all stages again although nothing changed
    #[arg(long)]
    force_all: bool,
    /// Go on with what does not depend on a stage that failed or is blocked
    #[arg(long)]
    keep_going: bool,
    /// Start nothing more when a stage failed (the default)
    #[arg(long, conflicts_with = "keep_going")]
    fail_fast: bool,
    /// Try stages that fail again, so often at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    retries: u32,
    /// Seconds before the first of these attempts; doubles each time, up to a minute
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, allow_negative_numbers = true)]
    retry_pause: f64,
    /// Run so many stages at the same time where they do not need each other, within `[slots]`
    #[arg(long, short, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    jobs: Option<usize>,
    /// Read external files again although they seem unchanged
    #[arg(long)]
    paranoid: bool,
    /// Fetch what is missing (models, data sets, dictionaries) before anything starts
    #[arg(long)]
    download: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RunOptions {
    /// Whether there may be something left to do when a stage fails.
    fn goes_on(&self) -> bool {
        self.keep_going || self.retries > 0
    }
}

/// A time in seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let time = Duration::try_from_secs_f64(seconds);
    time.map(|_| seconds).map_err(|error| error.to_string())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one stage must run at a time".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs an experiment.
pub fn cmd_run(args: &RunArgs) -> Result<Exit, CliError> {
    let mut overrides = args.overrides.clone();
    let mut options = args.options.clone();
    let experiment = match (&args.from_run, &args.file) {
        (Some(run), first) => {
            // Without a file, the first word is an override too.
            if let Some(file) = first.as_ref().filter(|first| first.is_file()) {
                return Err(CliError::usage(format!(
                    "--from-run takes no file ({}): the experiment is in the record of the run",
                    file.display()
                )));
            }
            let first = first.iter().map(|first| first.display().to_string());
            overrides = first.chain(overrides).collect();
            let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
            let project = Project::find(None).map_err(|error| failed(&error))?;
            let (_, dir) = find_run(&project, run)
                .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
            let record = read_record(&dir).map_err(|error| failed(&error))?;
            let experiment = recorded(&record, &overrides)?;
            if !selection(&options).is_partial() {
                options.only = same_stages(&record, &experiment);
            }
            if !options.only.is_empty() && !options.json && !guard::is_child() {
                eprintln!("only {}, as in that run", options.only.join(", "));
            }
            experiment
        }
        (None, Some(file)) => experiment::load(file, &overrides)?,
        (None, None) => return Err(CliError::usage("name an experiment file")),
    };
    run_experiment(&experiment, &overrides, &options)
}

/// The stages that a run was to do, where it was told to leave some out.
fn same_stages(record: &RunRecord, experiment: &Experiment) -> Vec<String> {
    let stages = record.overview().stages;
    let of = |name: &str| {
        let mut names = stages.iter().map(|stage| stage.name.split('@').next());
        names.any(|stage| stage == Some(name))
    };
    let left_out = experiment.stages.iter().any(|stage| !of(&stage.name));
    let known = |name: &String| {
        let stage = name.split('@').next();
        experiment
            .stages
            .iter()
            .any(|of| Some(of.name.as_str()) == stage)
    };
    let names = stages.iter().map(|stage| stage.name.clone());
    // Without any, nothing was recorded of what it was to do.
    match left_out {
        true => names.filter(known).collect(),
        false => Vec::new(),
    }
}

/// The experiment that a run recorded, with overrides.
pub(super) fn recorded(record: &RunRecord, overrides: &[String]) -> Result<Experiment, CliError> {
    let name = &record.header.experiment;
    let file = record.header.file.clone().unwrap_or_else(|| name.into());
    let request = Request {
        file,
        text: Some(recorded_experiment(&record.config)),
        ..Request::default()
    };
    experiment::load_request(&request.overrides(overrides))
}

/// Runs an experiment that is loaded.
pub(super) fn run_experiment(
    experiment: &Experiment,
    overrides: &[String],
    args: &RunOptions,
) -> Result<Exit, CliError> {
    if experiment.launcher.kind == LauncherKind::Slurm && !guard::is_child() {
        eprintln!(
            "warning: this run is done here; `novic sweep run {}` submits it to SLURM",
            experiment.file.display()
        );
    }
    // A moment ago the parent read those files.
    let paranoid = args.paranoid && !guard::is_child();
    let mut plan = make_plan(experiment, paranoid)?;
    if args.download && fetch_missing(&plan)? {
        plan = make_plan(experiment, paranoid)?;
    }
    // Tables with mistakes should not wait for the end of a long run.
    check_cells(experiment)?;
    let mut selection = selection(args);
    let chosen = selection
        .stages(&plan)
        .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    if selection.is_partial() {
        let is_chosen = |stage: &str| chosen.contains(stage);
        let unread = unread_by_chosen(experiment, &stages::registry(), is_chosen);
        super::experiment::warn(&unread);
    }
    super::experiment::warn_of_needs(experiment, args.jobs);
    if plan.is_up_to_date() && args.force.is_empty() && !args.force_all {
        let own = plan
            .own_run()
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        // What other experiments made is recorded once as what this one uses, all
        // of it.
        selection = Selection::default();
        if own.is_some() || plan.steps().is_empty() {
            if !args.json {
                eprintln!("{}: {}", experiment.file.display(), nothing_to_do(&plan));
            }
            if let Some(late) = late_mirrors(experiment, &plan, &[], say_on_stderr()) {
                late.finish();
            }
            let run = own.as_ref().map(|run| run.run.as_str());
            return show_results(args, experiment, &plan, run, &RunSummary::up_to_date(&plan));
        }
    }
    if !args.keep_going
        && plan.steps().iter().any(crate::runner::Step::is_blocked)
        && !selection.is_partial()
    {
        return Err(CliError::report(
            Exit::Failed,
            format!(
                "{}\nerror: the experiment is blocked: get what is missing (`--download` does, where an \
                 address is known), or use --keep-going",
                plan_text(&plan)
            ),
        ));
    }
    // So that the child reads nothing again. Where that cannot be written, it will
    // say so.
    let _ = plan
        .project()
        .create_cache()
        .and_then(|()| plan.hashes().save());
    if let Some(code) = guard::as_parent(args.goes_on()) {
        return Ok(Exit::As(code));
    }
    let (id, summary, stopped_remotely) = run(args, overrides, experiment, &plan, selection)?;
    if let Ok(usual) = Project::find(None)
        && usual.home() != plan.project().home()
    {
        let home = plan.project().home().display();
        eprintln!("recorded elsewhere: `NOVIC_HOME={home} novic ls` lists such runs");
    }
    let exit = match summary.exit_code() {
        0 => Exit::Success,
        3 => Exit::SomeInputsFailed,
        130 => Exit::Interrupted,
        _ => Exit::Failed,
    };
    if exit == Exit::Interrupted && stopped_remotely {
        eprintln!("stopped at Weights & Biases; the same command goes on where it stopped");
        return Ok(Exit::Success);
    }
    if exit == Exit::Interrupted {
        eprintln!("interrupted; the same command goes on where it stopped");
        return Ok(exit);
    }
    let plan = make_plan(experiment, false)?;
    let shown = show_results(args, experiment, &plan, Some(&id), &summary)?;
    Ok(match exit {
        Exit::Success | Exit::SomeInputsFailed if shown != Exit::Success => shown,
        exit => exit,
    })
}

/// Why there is nothing to run.
fn nothing_to_do(plan: &Plan) -> &'static str {
    match (plan.steps().is_empty(), plan.is_all_up_to_date()) {
        (true, _) => "there are no stages, so there is nothing to run",
        (false, true) => "everything is up to date",
        (false, false) => "all stages are up to date",
    }
}

fn selection(args: &RunOptions) -> Selection {
    Selection {
        only: args.only.clone(),
        from: args.from.clone(),
        until: args.until.clone(),
        force: args.force.clone(),
        force_all: args.force_all,
        done: Vec::new(),
    }
}

fn make_plan(experiment: &Experiment, paranoid: bool) -> Result<Plan, CliError> {
    Plan::of(experiment, &stages::registry(), paranoid)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))
}

/// What earlier processes of this command died of.
fn deaths(project: &Project) -> Result<Vec<StageDeath>, CliError> {
    let failed = |error| CliError::from_error(Exit::Failed, &error);
    let killed = guard::killed_runs();
    if let Some(last) = killed.last()
        && StageDeath::in_runs(project, slice::from_ref(last))
            .map_err(failed)?
            .is_empty()
    {
        return Err(CliError::failed(
            "the process was killed while no stage was at work, so it is not started again",
        ));
    }
    StageDeath::in_runs(project, &killed).map_err(failed)
}

/// Executes the plan under a new run; its id, how it went, and whether somebody
/// at Weights & Biases ended it.
fn run(
    args: &RunOptions,
    overrides: &[String],
    experiment: &Experiment,
    plan: &Plan,
    mut selection: Selection,
) -> Result<(String, RunSummary, bool), CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let deaths = deaths(plan.project())?;
    selection.done =
        done_in_runs(plan.project(), &guard::killed_runs()).map_err(|error| failed(&error))?;
    let strict = mirror::wanted(experiment, plan, &selection, Path::new(""));
    check_strict(&plan.project().runs_dir(), &strict).map_err(|error| failed(&error))?;
    let interrupt = Interrupt::of_signals().map_err(|error| failed(&error))?;
    let hooks = Hooks::of(&experiment.hooks);
    let recorder = RunRecorder::start(
        plan.project(),
        RunStart {
            experiment: experiment.info.name.clone().unwrap_or_default(),
            title: experiment.info.title.clone().unwrap_or_default(),
            file: experiment.file.is_file().then(|| experiment.file.clone()),
            command: std::env::args().collect(),
            overrides: overrides.to_vec(),
            config: crate::config::experiment_json(experiment, false),
            watch: hooks.as_ref().map(Hooks::watch),
            surroundings: None,
            without_samples: false,
        },
    )
    .map_err(|error| failed(&error))?;
    guard::tell_parent(recorder.dir());
    let hooks = hooks.map(|hooks| {
        let outputs = plan.project().outputs_dir().join(recorder.id().as_str());
        hooks.start(serde_json::json!({
            "run": recorder.id().as_str(),
            "experiment": experiment.info.name,
            "host": Environment::capture().host,
            "outputs": outputs,
        }))
    });
    let outputs = plan.project().outputs_dir().join(recorder.id().as_str());
    let mirrored = mirror::wanted(experiment, plan, &selection, &outputs);
    let (say, said) = say();
    let raise = interrupt.clone();
    let stop = Arc::new(move || raise.raise());
    let late = late_mirrors(experiment, plan, &mirrored, say.clone());
    let mirrors = Mirrors::start(recorder.dir(), mirrored, say, stop);
    // For lists of many runs; of no use to this one, and no failure of it.
    let project = plan.project().clone();
    let index = thread::Builder::new()
        .name("index of runs".into())
        .spawn(move || refresh_index(&project));
    let registry = stages::registry();
    let execution = Execution {
        plan,
        registry: &registry,
        recorder: &recorder,
        interrupt: &interrupt,
        selection,
        keep_going: args.keep_going,
        retries: Retries {
            count: args.retries,
            pause: Duration::from_secs_f64(args.retry_pause),
            deaths,
        },
        slots: Slots::of(&experiment.slots, args.jobs),
    };
    let mut display: Box<dyn Display> = if io::stderr().is_terminal() {
        Box::new(TerminalDisplay::new())
    } else {
        Box::new(LineDisplay::new(io::stderr(), LINE_EVERY))
    };
    let executed = execute(&execution, display.as_mut());
    // Before this run adds itself, so that its line is not lost.
    if let Ok(index) = index {
        let _ = index.join();
    }
    let id = recorder.id().to_string();
    // A record that ends in another way closes itself, which the hooks wait for.
    let ended = executed
        .map_err(|error| failed(&error))
        .and_then(|summary| {
            recorder
                .finish(summary.end())
                .map_err(|error| failed(&error))?;
            Ok((id, summary))
        });
    let stopped_remotely = mirrors.is_stop_requested();
    if let Some(late) = &late {
        late.hurry();
    }
    mirrors.finish(&outputs.join("wandb"));
    if let Some(late) = late {
        late.finish();
    }
    for line in said
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
    {
        eprintln!("{line}");
    }
    for warning in hooks.into_iter().flat_map(RunningHooks::wait) {
        eprintln!("warning: {warning}");
    }
    ended.map(|(id, summary)| (id, summary, stopped_remotely))
}

/// Sends what earlier runs of the same stages left unsent, beside those that are
/// `wanted` now.
fn late_mirrors(
    experiment: &Experiment,
    plan: &Plan,
    wanted: &[Wanted],
    say: Say,
) -> Option<LateMirrors> {
    let keys = mirror::sent_late(experiment, plan, wanted);
    let states = match unsent(&plan.project().runs_dir(), &keys) {
        Ok(states) => states,
        Err(error) => {
            say(&format!("warning: {error}"));
            return None;
        }
    };
    LateMirrors::start(states, say)
}

/// Says things at once, or, where a terminal shows the run, keeps them until its
/// end; each once.
fn say() -> (Say, Arc<Mutex<Vec<String>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let terminal = io::stderr().is_terminal();
    let say = Arc::new(move |text: &str| match terminal {
        true => keeps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned()),
        false => eprintln!("{text}"),
    });
    (each_once(say), kept)
}

/// Makes tables and plots that are not up to date, prints the tables, writes
/// the page and prints its path last.
fn show_results(
    args: &RunOptions,
    experiment: &Experiment,
    plan: &Plan,
    run: Option<&str>,
    summary: &RunSummary,
) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let report = ExperimentReport::collect(experiment, plan).map_err(|error| failed(&error))?;
    let cells = make_cells(
        experiment,
        plan,
        &stages::registry(),
        run.unwrap_or_default(),
    );
    let cells = cells.map_err(|error| failed(&error))?;
    if !args.json {
        let ran = summary.count(StageOutcome::UpToDate) < summary.steps.len();
        let news = |cell: &&StepResult| ran || cell.outcome != StageOutcome::UpToDate;
        for cell in cells.iter().filter(news) {
            eprintln!("{}", result_text(cell, io::stderr().is_terminal()));
        }
    }
    let (tables, _) = report.good_tables();
    let (page, failures) = match run {
        Some(id) => match write_page(&report, plan, id) {
            Ok((page, failures)) => (Some(page), failures),
            // Nothing new is lost, as in a project that one may only read.
            Err(error) if summary.count(StageOutcome::UpToDate) == summary.steps.len() => {
                eprintln!("warning: the page is left as it is: {}", error.message());
                (None, Vec::new())
            }
            Err(error) => return Err(error),
        },
        None => (None, Vec::new()),
    };
    let mut exit = match cells
        .iter()
        .any(|cell| cell.outcome == StageOutcome::Failed)
    {
        true => Exit::Failed,
        false => Exit::Success,
    };
    // Those that are not kept are looked at by the page alone.
    let unkept = |failure: &CellFailure| {
        let of = |cell: &&StepResult| cell.name == failure.cell && cell.entry.is_none();
        let cell = cells.iter().find(of);
        cell.is_some_and(|cell| cell.outcome == StageOutcome::Done)
    };
    let failures: Vec<CellFailure> = failures.into_iter().filter(unkept).collect();
    if exit_of(&failures) != Exit::Success {
        exit = Exit::Failed;
    }
    if args.json {
        let value = serde_json::json!({
            "run": run,
            "summary": summary.to_json(),
            "cells": cells.iter().map(StepResult::to_json).collect::<Vec<_>>(),
            "tables": tables.iter().map(render::json).collect::<Vec<_>>(),
            "page": page,
        });
        print(&format!("{value:#}\n"))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for table in tables.iter().filter(|table| table.rows().next().is_some()) {
        text.push('\n');
        text.push_str(&render::text(table, render::Style::Terminal));
    }
    if let Some(page) = page {
        text.push_str(&format!("\n{}\n", page.display()));
    }
    print(&text)?;
    Ok(exit)
}
