//! What the framework itself costs, beside its bars:
//!
//! ```text
//! cargo bench --bench framework -- [RUNS]
//! ```
//!
//! Times are the best of several tries. `RUNS` is the number of runs that are
//! made and listed (10,000).

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use novic::config::schema;
use novic::config::{Experiment, Request};
use novic::runner::{
    Execution, Interrupt, Nothing, Plan, Quiet, Registry, Retries, Selection, Slots, execute,
};
use novic::store::Project;
use novic::tracking::{
    Event, Filter, RunEnd, RunEndings, RunRecorder, RunStart, StageOutcome, list_runs, read_record,
};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let runs: usize = args.next().map_or(Ok(10_000), |arg| arg.parse())?;
    compose()?;
    stages()?;
    points()?;
    many_runs(runs)
}

fn report(what: &str, time: Duration, bar: &str) {
    println!(
        "{what:<44} {:>10.2} ms   bar {bar}",
        time.as_secs_f64() * 1e3
    );
}

fn best<T>(
    tries: usize,
    mut work: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..tries {
        let begun = Instant::now();
        work()?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

/// A file in which ten stages give every key of the schema.
fn compose() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    let mut keys = 0;
    for stage in 0..10 {
        writeln!(text, "[stage.s{stage}]\nkind = \"nothing\"")?;
        for key in schema::keys().iter().filter(|key| key.path != "run.action") {
            let default = (key.default)();
            if !default.is_null() {
                writeln!(text, "{} = {default}", key.path)?;
                keys += 1;
            }
        }
    }
    let request = Request {
        file: "bench.toml".into(),
        text: Some(text),
        ..Request::default()
    };
    let time = best(20, || Ok(Experiment::load(&request)?))?;
    report(&format!("compose and validate {keys} keys"), time, "15 ms");
    Ok(())
}

fn stages() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for stage in 0..200 {
        writeln!(
            text,
            "[stage.s{stage}]\nkind = \"nothing\"\nrun.seed = {}",
            stage + 1
        )?;
    }
    let registry = Registry::new(&[&Nothing]);
    let mut first = Duration::MAX;
    let mut again = Duration::MAX;
    for _ in 0..3 {
        let dir = tempfile::tempdir()?;
        let request = Request {
            file: "bench.toml".into(),
            text: Some(text.clone()),
            ..Request::default()
        };
        first = first.min(best(1, || run(&request, dir.path(), &registry))?);
        again = again.min(best(5, || {
            let plan = plan(&request, dir.path(), &registry)?;
            assert!(plan.is_up_to_date());
            Ok(())
        })?);
    }
    report("200 stages of kind nothing, first run", first, "4000 ms");
    report("the same, nothing to do", again, "50 ms");
    Ok(())
}

fn plan(request: &Request, dir: &Path, registry: &Registry) -> Result<Plan, Box<dyn Error>> {
    let experiment = Experiment::load(request)?;
    let project = Project::locate(dir, None, None);
    Ok(Plan::in_project(&experiment, registry, project, false)?)
}

fn run(request: &Request, dir: &Path, registry: &Registry) -> Result<(), Box<dyn Error>> {
    let plan = plan(request, dir, registry)?;
    let recorder = RunRecorder::start(plan.project(), RunStart::default())?;
    let execution = Execution {
        plan: &plan,
        registry,
        recorder: &recorder,
        interrupt: &Interrupt::new(),
        selection: Selection::default(),
        keep_going: false,
        retries: Retries::default(),
        slots: Slots::default(),
    };
    let summary = execute(&execution, &mut Quiet)?;
    assert_eq!(summary.exit_code(), 0);
    recorder.finish(summary.end())?;
    Ok(())
}

fn points() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let project = Project::locate(dir.path(), None, None);
    let names: Vec<String> = (0..10).map(|at| format!("metric{at}")).collect();
    let begun = Instant::now();
    let recorder = RunRecorder::start(&project, RunStart::default())?;
    let log = recorder.stage("train");
    for step in 0..100_000u64 {
        let value = |at: usize| ((step as f64) * 0.37 + at as f64).sin() as f32;
        let row: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), value(at).into()))
            .collect();
        log.row(&row);
    }
    let logged = begun.elapsed();
    let path = recorder.dir().to_owned();
    recorder.finish(RunEnd {
        exit_code: 0,
        reason: String::new(),
    })?;
    report("1,000,000 points, logged", logged, "2000 ms (2 µs each)");
    report("the same, to the durable end", begun.elapsed(), "1000 ms");
    let bytes = fs::metadata(path.join("record.novic"))?.len();
    println!(
        "{:<44} {:>10.2} MB   bar 20 MB",
        "their record",
        bytes as f64 / 1e6
    );
    let time = best(3, || Ok(read_record(&path)?))?;
    report("read back", time, "500 ms");
    Ok(())
}

fn many_runs(count: usize) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let project = Project::locate(dir.path(), None, None);
    let begun = Instant::now();
    let mut endings = RunEndings::default();
    for number in 0..count {
        let rate = 0.001 * number as f64;
        let start = RunStart {
            experiment: "bench".into(),
            config: json!({"config": {"train": {"lr": {"init": rate}}}, "stages": []}),
            ..Default::default()
        };
        let recorder = RunRecorder::start(&project, start)?;
        recorder.event(Event::StageQueued {
            stage: "train".into(),
            kind: "train".into(),
            key: String::new(),
        });
        recorder.event(Event::StageFinished {
            stage: "train".into(),
            outcome: StageOutcome::Done,
            seconds: 1.0,
            message: None,
            results: json!({"loss": rate}),
        });
        let end = RunEnd {
            exit_code: 0,
            reason: "1 done".into(),
        };
        endings.finish(recorder, end)?;
    }
    endings.wait()?;
    report(
        &format!("create {count} runs, all on the disk"),
        begun.elapsed(),
        "10000 ms for 10,000",
    );
    let time = best(5, || Ok(list_runs(&project)?))?;
    report("load all of them", time, "300 ms for 10,000");
    let filter: Filter = "train.lr.init < 0.5 and loss > 0.01".parse()?;
    let time = best(5, || {
        let (runs, _) = list_runs(&project)?;
        let found = runs
            .iter()
            .filter(|run| filter.matches(*run))
            .take(10)
            .count();
        assert!(found > 0 || count < 100);
        Ok(())
    })?;
    report(
        "the first ten that fulfil a filter",
        time,
        "100 ms for 10,000",
    );
    Ok(())
}
