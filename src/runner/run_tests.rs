//! Tests of whole plans: made, executed, stopped, killed, shared.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::config::{Experiment, Request};
use crate::store::{Entry, Project, append_line, child, write_file};
use crate::tracking::{Level, RunRecorder, RunStart, StageOutcome, read_metrics};

use super::*;

/// Counts its steps in a chain of hashes, as training would: it keeps its state
/// at every tenth step and goes on from there.
struct Chain;

impl StageKind for Chain {
    fn name(&self) -> &'static str {
        "train"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["train.max_chunks", "train.lr"]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        append_line(&context.project().home().join("executions"), context.name())?;
        let total = context.config().train.max_chunks as u64;
        let state_path = context.work().join("state.json");
        let log = context.metrics()?;
        let (mut done, mut hash) = match fs::read(&state_path) {
            Ok(text) => {
                let (done, hash, position): (u64, u64, u64) = serde_json::from_slice(&text)?;
                log.rewind(position);
                (done, hash)
            }
            Err(_) => (0, context.seed()),
        };
        context.begin("steps", done, Some(total));
        while done < total {
            hash = (hash ^ done)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(17);
            done += 1;
            log.row(&[("step", done.into()), ("hash", (hash as f64).into())]);
            context.advance(1);
            if done % 10 == 0 || context.is_interrupted() {
                let state = (done, hash, log.position()?);
                write_file(&state_path, &serde_json::to_vec(&state)?)?;
                context.check_interrupt()?;
            }
            thread::sleep(Duration::from_micros(300));
        }
        fs::write(context.out().join("hash"), hash.to_string())?;
        Ok(StageOutput::of(json!({ "hash": hash })))
    }
}

/// Joins what its inputs found out.
struct Join;

impl StageKind for Join {
    fn name(&self) -> &'static str {
        "merge_caches"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["merge"]
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let mut all = String::new();
        for input in context.inputs() {
            let text = fs::read_to_string(input.entry.file("hash")?)?;
            (0..input.repeat).for_each(|_| all.push_str(&format!("{text}\n")));
        }
        fs::write(context.out().join("all"), &all)?;
        context.note(&format!("{} lines", all.lines().count()));
        Ok(StageOutput {
            results: json!({ "lines": all.lines().count() }),
            parked: None,
        })
    }
}

/// Fails, or panics with `eval.debug`.
struct Fails;

impl StageKind for Fails {
    fn name(&self) -> &'static str {
        "eval"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["eval.debug"]
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        assert!(!context.config().eval.debug, "on purpose");
        Err(StageError::failed("the numbers are bad"))
    }
}

/// Needs the file `captions.path`.
struct Needs;

impl StageKind for Needs {
    fn name(&self) -> &'static str {
        "cache_captions"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["captions"]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let path = query
            .project
            .working_dir()
            .join(&query.config.captions.path);
        let (role, name) = ("captions", "captions dataset");
        if path.exists() {
            let identity = query.hashes.file(&path)?;
            return Ok(vec![Resource::present(role, name, Some(path), identity)]);
        }
        let missing = MissingResource {
            id: Some("captions-v1".into()),
            source: "https://example.org/captions.json".into(),
            bytes: Some(35_000_000),
        };
        Ok(vec![Resource::absent(role, name, Some(path), missing)])
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let path = context.resources()[0].path.clone().unwrap();
        fs::copy(path, context.out().join("hash"))?;
        Ok(StageOutput::default())
    }
}

/// Fails at its first two attempts.
struct Flaky;

impl StageKind for Flaky {
    fn name(&self) -> &'static str {
        "test_embed_cache"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let attempts = context.project().home().join("attempts");
        append_line(&attempts, "one more")?;
        match fs::read_to_string(attempts)?.lines().count() {
            count @ 1..3 => Err(StageError::failed(format!("attempt {count} fails"))),
            _ => Ok(StageOutput::default()),
        }
    }
}

/// Waits until all stages of its kind are at work.
struct Meets;

impl StageKind for Meets {
    fn name(&self) -> &'static str {
        "test_data_loader"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &["test.print", "test.training"]
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let here = context.project().home().join("here");
        append_line(&here, context.name())?;
        let begun = Instant::now();
        while fs::read_to_string(&here)?.lines().count() < context.config().test.print {
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(StageError::failed("nobody else came"));
            }
            thread::yield_now();
        }
        Ok(StageOutput::default())
    }
}

pub(super) fn registry() -> Registry {
    Registry::new(&[
        &Nothing, &Chain, &Join, &Fails, &Needs, &Deaf, &Flaky, &Meets,
    ])
}

pub(super) const EXPERIMENT: &str = r#"
[experiment]
title = "A chain"

[stage.first]
kind = "train"
train.max_chunks = 30

[stage.second]
kind = "train"
train.max_chunks = 40

[stage.joined]
kind = "merge_caches"
inputs = ["first", { stage = "second", repeat = 2 }]
"#;

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new(text: &str) -> Bench {
        let bench = Bench {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.write(text);
        bench
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(self.dir.path().join("test.toml"), text).unwrap();
    }

    pub(super) fn plan(&self) -> Plan {
        plan_in(self.dir.path())
    }

    pub(super) fn run_with(
        &self,
        display: &mut dyn Display,
        change: impl FnOnce(&mut Execution<'_>),
    ) -> RunSummary {
        run_in(self.dir.path(), display, change)
    }

    pub(super) fn run(&self) -> RunSummary {
        self.run_with(&mut Quiet, |_| {})
    }

    fn outcomes(&self) -> Vec<(String, StageOutcome)> {
        outcomes(&self.run())
    }

    pub(super) fn executions(&self) -> usize {
        fs::read_to_string(self.dir.path().join(".novic/executions"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

fn outcomes(summary: &RunSummary) -> Vec<(String, StageOutcome)> {
    summary
        .steps
        .iter()
        .map(|step| (step.name.clone(), step.outcome))
        .collect()
}

pub(super) fn project_in(dir: &Path) -> Project {
    Project::locate(dir, None, None)
}

pub(super) fn experiment_in(dir: &Path, overrides: &[&str]) -> Experiment {
    let request = Request {
        environment: Vec::new(),
        ..Request::new(dir.join("test.toml"))
    };
    Experiment::load(&request.overrides(overrides.iter().copied()))
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn plan_in(dir: &Path) -> Plan {
    let experiment = experiment_in(dir, &[]);
    Plan::in_project(&experiment, &registry(), project_in(dir), false).unwrap()
}

fn run_in(
    dir: &Path,
    display: &mut dyn Display,
    change: impl FnOnce(&mut Execution<'_>),
) -> RunSummary {
    run_until(dir, &Interrupt::new(), display, change)
}

fn run_until(
    dir: &Path,
    interrupt: &Interrupt,
    display: &mut dyn Display,
    change: impl FnOnce(&mut Execution<'_>),
) -> RunSummary {
    let plan = plan_in(dir);
    let recorder = RunRecorder::start(plan.project(), RunStart::default()).unwrap();
    let mut execution = Execution {
        plan: &plan,
        registry: &registry(),
        recorder: &recorder,
        interrupt,
        selection: Selection::default(),
        keep_going: false,
        retries: Retries::default(),
        slots: Slots::default(),
    };
    change(&mut execution);
    let summary = execute(&execution, display).unwrap();
    recorder.finish(summary.end()).unwrap();
    summary
}

fn hash_of(entry: &Entry) -> String {
    fs::read_to_string(entry.file("hash").unwrap()).unwrap()
}

#[test]
fn planning_writes_nothing_and_running_does_it_once() {
    let bench = Bench::new(EXPERIMENT);
    let plan = bench.plan();
    assert!(
        plan.steps()
            .iter()
            .all(|step| matches!(step.state, StepState::WillRun))
    );
    assert!(!bench.dir.path().join(".novic").exists());
    let summary = bench.run();
    assert_eq!(summary.exit_code(), 0);
    assert_eq!(summary.count(StageOutcome::Done), 3);
    assert_eq!(
        summary.step("joined").unwrap().results(),
        &json!({ "lines": 3 })
    );
    let metrics = summary
        .step("first")
        .unwrap()
        .entry
        .as_ref()
        .unwrap()
        .file("metrics.novic")
        .unwrap();
    assert_eq!(read_metrics(&metrics).unwrap().len(), 30);
    let plan = bench.plan();
    assert!(plan.is_up_to_date());
    assert_eq!(bench.run().count(StageOutcome::UpToDate), 3);
    assert_eq!(bench.executions(), 2);
}

#[test]
fn only_what_a_change_concerns_runs_again_and_old_results_come_back() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    // A value nobody reads, a comment, a title.
    bench.write(
        &format!("# hello\n{EXPERIMENT}\n[model]\nlayers = 3\n").replace("A chain", "Another"),
    );
    assert!(bench.plan().is_up_to_date());
    bench.write(&EXPERIMENT.replace("max_chunks = 40", "max_chunks = 41"));
    let plan = bench.plan();
    let states: Vec<_> = plan.steps().iter().map(Step::is_up_to_date).collect();
    assert_eq!(states, [true, false, false]);
    let change = &plan.steps()[1].changes.as_ref().unwrap()[0];
    assert_eq!(change.to_string(), "train.max_chunks 40 → 41");
    let changes = plan.steps()[2].changes.as_deref().unwrap();
    assert!(
        matches!(changes, [Change::Input { stage, from: Some(from), to: Some(to) }]
            if stage == "second" && from != to),
        "{changes:?}"
    );
    assert!(plan.steps()[1].expected.is_some());
    assert_eq!(bench.run().count(StageOutcome::Done), 2);
    bench.write(EXPERIMENT);
    assert!(bench.plan().is_up_to_date());
}

#[test]
fn seeds_run_what_depends_on_them_once_each() {
    let text = EXPERIMENT
        .replace("[experiment]", "[experiment]\nseeds = [1, 2, 3]")
        .replace(
            "[stage.second]\nkind = \"train\"",
            "[stage.shared]\nkind = \"train\"\nrun.seed = 9\n\n[stage.second]\nkind = \"nothing\"",
        );
    let text = text
        .replace("train.max_chunks = 40\n", "")
        .replace(", { stage = \"second\", repeat = 2 }", "");
    let bench = Bench::new(&text);
    let plan = bench.plan();
    let names: Vec<_> = plan.steps().iter().map(|step| step.name.as_str()).collect();
    let expected = [
        "first@1", "first@2", "first@3", "shared", "second@1", "second@2", "second@3", "joined@1",
        "joined@2", "joined@3",
    ];
    assert_eq!(names, expected);
    let keys: std::collections::HashSet<_> =
        plan.steps().iter().map(|step| step.id.clone()).collect();
    assert_eq!(keys.len(), 10);
    assert_eq!(plan.steps()[9].inputs, [StepInput { step: 2, repeat: 1 }]);
    let summary = bench.run();
    assert_eq!(summary.count(StageOutcome::Done), 10);
    let hashes: std::collections::HashSet<_> = summary.steps[..3]
        .iter()
        .map(|step| hash_of(step.entry.as_ref().unwrap()))
        .collect();
    assert_eq!(hashes.len(), 3);
    // One seed less changes nothing else.
    bench.write(&text.replace("[1, 2, 3]", "[1, 3]"));
    assert!(bench.plan().is_up_to_date());
}

const FAILING: &str = r#"
[stage.bad]
kind = "eval"

[stage.after]
kind = "merge_caches"
inputs = ["bad"]

[stage.good]
kind = "train"
train.max_chunks = 5
"#;

#[test]
fn failures_stop_the_run_or_only_what_needs_them() {
    let bench = Bench::new(FAILING);
    let of = |outcomes: [StageOutcome; 3]| {
        ["bad", "good", "after"]
            .map(str::to_owned)
            .into_iter()
            .zip(outcomes)
            .collect::<std::collections::HashMap<_, _>>()
    };
    let found = |summary: &RunSummary| {
        outcomes(summary)
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>()
    };
    let summary = bench.run();
    assert_eq!(
        found(&summary),
        of([
            StageOutcome::Failed,
            StageOutcome::Skipped,
            StageOutcome::Skipped
        ])
    );
    assert_eq!(summary.exit_code(), 1);
    let summary = bench.run_with(&mut Quiet, |execution| execution.keep_going = true);
    assert_eq!(
        found(&summary),
        of([
            StageOutcome::Failed,
            StageOutcome::Done,
            StageOutcome::Skipped
        ])
    );
    let plan = bench.plan();
    assert!(matches!(&plan.steps()[0].state, StepState::Failed(partial) if partial.attempts == 2));
    assert!(plan_text(&plan).contains("the numbers are bad"));
    bench.write("[stage.bad]\nkind = \"eval\"\neval.debug = true\n");
    let summary = bench.run();
    assert_eq!(
        summary.steps[0].message.as_deref(),
        Some("it panicked: on purpose")
    );
}

#[test]
fn a_missing_resource_blocks_and_its_content_is_part_of_the_key() {
    let text = r#"
[stage.captions]
kind = "cache_captions"
captions.path = "captions.json"

[stage.joined]
kind = "merge_caches"
inputs = ["captions"]

[stage.other]
kind = "nothing"
"#;
    let bench = Bench::new(text);
    let plan = bench.plan();
    assert_eq!(plan.missing().len(), 1);
    assert!(
        plan.steps()[0].is_blocked()
            && plan.steps()[1].is_blocked()
            && !plan.steps()[2].is_blocked()
    );
    let (text, json) = (plan_text(&plan), plan_json(&plan));
    assert!(
        text.contains(
            "(https://example.org/captions.json, 35 MB); get it with `novic hub get captions-v1`"
        ),
        "{text}"
    );
    assert_eq!(
        json["steps"][0]["blockages"][0]["missing"]["id"],
        "captions-v1"
    );
    let summary = bench.run();
    assert_eq!(summary.exit_code(), 1);
    assert_eq!(
        summary.count(StageOutcome::Skipped),
        1,
        "nothing runs while something is blocked"
    );
    let summary = bench.run_with(&mut Quiet, |execution| execution.keep_going = true);
    assert_eq!(summary.count(StageOutcome::Done), 1);
    let file = bench.dir.path().join("captions.json");
    fs::write(&file, "one").unwrap();
    assert_eq!(bench.run().exit_code(), 0);
    fs::write(&file, "two").unwrap();
    let plan = bench.plan();
    assert_eq!(
        plan.steps()[0].changes,
        Some(vec![Change::Resource {
            role: "captions".into(),
            path: Some(file.clone()),
        }])
    );
    fs::rename(&file, bench.dir.path().join("moved.json")).unwrap();
    fs::write(bench.dir.path().join("moved.json"), "one").unwrap();
    bench.write(
        &fs::read_to_string(bench.dir.path().join("test.toml"))
            .unwrap()
            .replace("captions.json", "moved.json"),
    );
    assert_eq!(
        bench.plan().steps()[0].changes.as_ref().unwrap().len(),
        1,
        "the path is a value it reads"
    );
}

/// What a child process does: runs the experiment of its directory.
#[test]
fn child_runs_the_experiment() {
    let Some(dir) = child::dir() else { return };
    let summary = run_in(&dir, &mut Quiet, |_| {});
    assert_eq!(summary.exit_code(), 0, "{summary:?}");
}

fn spawn(bench: &Bench) -> std::process::Child {
    child::spawn(
        "runner::run_tests::child_runs_the_experiment",
        bench.dir.path(),
    )
}

const LONG: &str = "[stage.long]\nkind = \"train\"\ntrain.max_chunks = 1000\n";

/// The result without interruptions, and its metrics.
fn undisturbed() -> (String, Vec<(f64, f64)>) {
    let bench = Bench::new(LONG);
    let summary = bench.run();
    result(&summary)
}

fn result(summary: &RunSummary) -> (String, Vec<(f64, f64)>) {
    let entry = summary.steps[0].entry.as_ref().unwrap();
    entry.check_content().unwrap();
    let metrics = read_metrics(&entry.file("metrics.novic").unwrap()).unwrap();
    (hash_of(entry), metrics.curve("step", "hash"))
}

#[test]
fn kills_at_any_moment_change_nothing() {
    let expected = undisturbed();
    let bench = Bench::new(LONG);
    let mut kills = 0;
    let wanted: u32 = std::env::var("NOVIC_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10);
    let mut wait_ms = 1;
    while kills < wanted && !bench.plan().is_up_to_date() {
        let process = spawn(&bench);
        // Spread over the start, the work and the end of the process.
        wait_ms = (wait_ms * 5 / 3 + 1) % 350;
        thread::sleep(Duration::from_millis(wait_ms));
        child::kill(process);
        kills += 1;
    }
    let summary = bench.run();
    assert_eq!(summary.exit_code(), 0);
    assert!(result(&summary) == expected, "after {kills} kills");
    let (runs, errors) = crate::tracking::list_runs(&project_in(bench.dir.path())).unwrap();
    assert!(errors.is_empty());
    assert!(
        runs.iter()
            .all(|run| run.state != crate::tracking::RunState::Running)
    );
}

/// Interrupts the run when a stage first says how far it is.
struct RaiseAtProgress(Interrupt);

impl Display for RaiseAtProgress {
    fn begin(&mut self, _plan: &Plan) {}
    fn stage_started(&mut self, _step: &Step, _resumed: bool) {}
    fn stage_waits(&mut self, _step: &Step, _holder: &str) {}
    fn stage_progress(&mut self, _stage: &str, _progress: &ProgressView) {
        self.0.raise();
    }
    fn stage_finished(&mut self, _report: &StageReport) {}
    fn line(&mut self, _stage: Option<&str>, _level: Level, _text: &str) {}
    fn end(&mut self, _summary: &RunSummary) {}
}

#[test]
fn an_interrupt_stops_cleanly_and_the_next_run_goes_on() {
    let expected = undisturbed();
    let bench = Bench::new(LONG);
    let interrupt = Interrupt::new();
    let mut display = RaiseAtProgress(interrupt.clone());
    let summary = run_until(bench.dir.path(), &interrupt, &mut display, |_| {});
    assert_eq!(summary.exit_code(), 130);
    assert_eq!(summary.steps[0].outcome, StageOutcome::Interrupted);
    let plan = bench.plan();
    let StepState::Resumable(partial) = &plan.steps()[0].state else {
        panic!("{plan:?}")
    };
    assert!(partial.progress.as_ref().unwrap().done > 0);
    assert!(plan_text(&plan).contains("of 1,000 steps done"));
    assert!(result(&bench.run()) == expected);
}

/// Does not listen to interrupts.
struct Deaf;

impl StageKind for Deaf {
    fn name(&self) -> &'static str {
        "infer"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        println!("\nat work");
        while !context.is_interrupted() {
            thread::sleep(Duration::from_millis(1));
        }
        println!("\nheard it");
        thread::sleep(Duration::from_secs(60));
        Ok(StageOutput::default())
    }
}

const DEAF: &str = "[stage.deaf]\nkind = \"infer\"\n";

/// What a child process does: runs the experiment as the program would.
#[test]
fn child_runs_until_signals_stop_it() {
    let Some(dir) = child::dir() else { return };
    let interrupt = Interrupt::of_signals().unwrap();
    println!("\nlistening");
    let summary = run_until(&dir, &interrupt, &mut Quiet, |_| {});
    std::process::exit(summary.exit_code().into());
}

fn interrupt_process(process: &std::process::Child) {
    let pid = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn ctrl_c_once_stops_at_a_safe_point() {
    let bench = Bench::new(&LONG.replace("1000", "1000000"));
    let name = "runner::run_tests::child_runs_until_signals_stop_it";
    let mut process = child::spawn(name, bench.dir.path());
    let _lines = child::wait_for(&mut process, "listening");
    while !bench.dir.path().join(".novic/executions").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    interrupt_process(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert!(matches!(
        bench.plan().steps()[0].state,
        StepState::Resumable(_)
    ));
    let (runs, _) = crate::tracking::list_runs(&project_in(bench.dir.path())).unwrap();
    assert_eq!(runs[0].state, crate::tracking::RunState::Interrupted);
}

#[test]
fn ctrl_c_twice_stops_at_once() {
    let bench = Bench::new(DEAF);
    let name = "runner::run_tests::child_runs_until_signals_stop_it";
    let mut process = child::spawn(name, bench.dir.path());
    let mut lines = child::wait_for(&mut process, "at work");
    interrupt_process(&process);
    child::wait_for_line(&mut lines, "heard it");
    interrupt_process(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));
}

#[test]
fn two_processes_share_the_work_of_one_stage() {
    let bench = Bench::new(LONG);
    let processes = [spawn(&bench), spawn(&bench)];
    for process in processes {
        assert!(process.wait_with_output().unwrap().status.success());
    }
    assert_eq!(bench.executions(), 1);
    assert!(bench.plan().is_up_to_date());
}

#[test]
fn a_stage_in_progress_is_shown_as_such() {
    let bench = Bench::new(DEAF);
    let name = "runner::run_tests::child_runs_until_signals_stop_it";
    let mut process = child::spawn(name, bench.dir.path());
    let _lines = child::wait_for(&mut process, "at work");
    let plan = bench.plan();
    child::kill(process);
    let StepState::Busy(holder) = &plan.steps()[0].state else {
        panic!("{plan:?}")
    };
    assert!(holder.note.starts_with("ovod_"), "{holder}");
    assert!(
        matches!(bench.plan().steps()[0].state, StepState::Resumable(_)),
        "nothing is left locked"
    );
}

#[test]
fn damage_is_found_and_made_again() {
    let bench = Bench::new(EXPERIMENT);
    let summary = bench.run();
    let file = summary.steps[0]
        .entry
        .as_ref()
        .unwrap()
        .file("hash")
        .unwrap();
    fs::write(&file, "").unwrap();
    let plan = bench.plan();
    assert!(
        plan_text(&plan).contains("its output is damaged"),
        "{}",
        plan_text(&plan)
    );
    assert_eq!(
        bench.outcomes(),
        [
            ("first", StageOutcome::Done),
            ("second", StageOutcome::UpToDate),
            ("joined", StageOutcome::UpToDate)
        ]
        .map(|(name, outcome)| (name.to_owned(), outcome))
    );
}

#[test]
fn steps_can_be_chosen_and_forced() {
    let bench = Bench::new(EXPERIMENT);
    let choose = |change: fn(&mut Selection)| {
        let mut selection = Selection::default();
        change(&mut selection);
        outcomes(&bench.run_with(&mut Quiet, |execution| execution.selection = selection))
    };
    let is = |found: Vec<(String, StageOutcome)>, expected: &[(&str, StageOutcome)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), *outcome))
            .collect();
        assert_eq!(found, expected);
    };
    use StageOutcome::{Done, Skipped, UpToDate};
    is(
        choose(|s| s.only = vec!["joined".into()]),
        &[("joined", Skipped)],
    );
    is(
        choose(|s| s.until = vec!["first".into()]),
        &[("first", Done)],
    );
    is(
        choose(|s| s.from = vec!["second".into()]),
        &[("second", Done), ("joined", Done)],
    );
    is(
        choose(|s| s.only = vec!["joined".into()]),
        &[("joined", UpToDate)],
    );
    is(
        choose(|s| {
            s.until = vec!["second".into()];
            s.force = vec!["second".into()];
        }),
        &[("second", Done)],
    );
    let plan = bench.plan();
    let error = |selection: Selection| selection.stages(&plan).unwrap_err().to_string();
    assert_eq!(
        error(Selection {
            only: vec!["secnd".into()],
            ..Default::default()
        }),
        "there is no stage `secnd`; did you mean `second`? the experiment has first, second, \
         joined"
    );
    let nothing = error(Selection {
        only: vec!["first".into()],
        from: vec!["joined".into()],
        ..Default::default()
    });
    assert!(nothing.contains("choose no stage"), "{nothing}");
}

/// A writer whose text the test can look at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a run prints, with all times as zero.
fn printed(bench: &Bench) -> String {
    let out = Shared::default();
    let mut display = LineDisplay::new(out.clone(), Duration::from_secs(3600));
    bench.run_with(&mut display, |execution| execution.keep_going = true);
    display.line(None, Level::Warn, "and a warning");
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let times = regex::Regex::new(r"[0-9]+\.[0-9]s").unwrap();
    let guesses = regex::Regex::new(r"\((under|about) [^)]*\)").unwrap();
    guesses
        .replace_all(&times.replace_all(&text, "0.0s"), "(about …)")
        .into_owned()
}

#[test]
fn a_run_prints_a_line_per_stage() {
    let bench = Bench::new(EXPERIMENT);
    insta::assert_snapshot!(printed(&bench), @r"
    Running test: A chain
      START [        ] first
       DONE [    0.0s] first
      START [        ] second
       DONE [    0.0s] second
      START [        ] joined
       note joined: 3 lines
       DONE [    0.0s] joined
    Summary [    0.0s] 3 done
    warning and a warning
    ");
    insta::assert_snapshot!(printed(&bench), @r"
       Running test: A chain
    UP TO DATE 3 stages, nothing to do
       warning and a warning
    ");
    bench.write(&format!("{EXPERIMENT}{FAILING}"));
    insta::assert_snapshot!(printed(&bench), @r"
       Running test: A chain
    UP TO DATE [        ] first
    UP TO DATE [        ] second
    UP TO DATE [        ] joined
         START [        ] bad
        FAILED [    0.0s] bad
                            the numbers are bad
       SKIPPED [        ] after
                            its input `bad` has no output
         START [        ] good (about …)
          DONE [    0.0s] good
       Summary [    0.0s] 1 done, 3 up to date, 1 failed, 1 skipped
        FAILED [    0.0s] bad
                            the numbers are bad
       warning and a warning
    ");
}

#[test]
fn a_plan_is_a_line_per_stage() {
    let bench = Bench::new(&format!(
        "{EXPERIMENT}\n[stage.world]\nkind = \"eval_cls\"\ninputs = [\"first\"]\n"
    ));
    let keys = regex::Regex::new("[0-9a-f]{8}").unwrap();
    insta::assert_snapshot!(keys.replace_all(&plan_text(&bench.plan()), "<key>"), @r"
    test: A chain

       will run  first   train         <key>
       will run  second  train         <key>
       will run  joined  merge_caches  <key>
        blocked  world   eval_cls      ––––––––
                 this program has no stage kind `eval_cls`

    3 to run, 1 blocked
    ");
}

/// 200 stages in a chain; the times are printed, nothing is asserted of them.
#[test]
fn two_hundred_stages_cost_little() {
    let mut text = String::new();
    for at in 0..200 {
        text.push_str(&format!(
            "[stage.s{at}]\nkind = \"nothing\"\nrun.seed = {}\n",
            at + 1
        ));
        if at > 0 {
            text.push_str(&format!("inputs = [\"s{}\"]\n", at - 1));
        }
    }
    let bench = Bench::new(&text);
    let timed = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    let plan = timed(&mut || assert_eq!(bench.plan().steps().len(), 200));
    let first = timed(&mut || assert_eq!(bench.run().count(StageOutcome::Done), 200));
    let again = timed(&mut || assert!(bench.plan().is_up_to_date()));
    let nothing = timed(&mut || assert_eq!(bench.run().count(StageOutcome::UpToDate), 200));
    println!(
        "200 stages: first plan {plan:?}, first run {first:?}, plan {again:?}, run with nothing to do {nothing:?}"
    );
}

#[test]
fn the_registry_checks_what_kinds_read() {
    registry().check().unwrap();
}

#[test]
fn what_fails_is_tried_again_as_often_as_it_may() {
    let bench = Bench::new("[stage.flaky]\nkind = \"test_embed_cache\"\n");
    let run = |count| {
        let retries = Retries {
            count,
            pause: Duration::from_millis(1),
            deaths: Vec::new(),
        };
        bench.run_with(&mut Quiet, |execution| execution.retries = retries)
    };
    let failed = run(0);
    let message = failed.step("flaky").unwrap().message.as_deref();
    assert_eq!(message, Some("attempt 1 fails"));
    assert_eq!(run(1).count(StageOutcome::Done), 1);
    let attempts = fs::read_to_string(bench.dir.path().join(".novic/attempts")).unwrap();
    assert_eq!(attempts.lines().count(), 3);
}

#[test]
fn stages_that_do_not_need_each_other_run_at_the_same_time() {
    let stage = |name: &str, training: bool| {
        format!(
            "[stage.{name}]\nkind = \"test_data_loader\"\ntest.print = 2\ntest.training = {training}\n"
        )
    };
    let text = format!("{}{}", stage("a", true), stage("b", false));
    let bench = Bench::new(&text);
    let summary = bench.run_with(&mut Quiet, |execution| execution.slots.jobs = 2);
    assert_eq!(summary.exit_code(), 0, "{:?}", summary.steps);
    let bench = Bench::new(EXPERIMENT);
    let summary = bench.run_with(&mut Quiet, |execution| execution.slots.jobs = 4);
    let names: Vec<_> = summary
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["first", "second", "joined"]);
    assert_eq!(summary.count(StageOutcome::Done), 3);
}
