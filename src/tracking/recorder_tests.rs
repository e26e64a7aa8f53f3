//! Tests of whole records: written, killed, refused by the disk, read back.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::store::{Project, child};

use super::*;

fn project(dir: &Path) -> Project {
    Project::locate(dir, None, None)
}

fn start(dir: &Path) -> RunRecorder {
    let start = RunStart {
        experiment: "test".into(),
        command: vec!["novic".into(), "run".into()],
        overrides: vec!["a=1".into()],
        config: json!({ "a": 1 }),
        ..Default::default()
    };
    RunRecorder::start(&project(dir), start).unwrap()
}

fn end(exit_code: u8) -> RunEnd {
    RunEnd {
        exit_code,
        reason: "over".into(),
    }
}

#[test]
fn what_is_recorded_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = start(dir.path());
    let (id, run_dir) = (run.id().to_string(), run.dir().to_path_buf());
    run.event(Event::StageQueued {
        stage: "train".into(),
        kind: "nothing".into(),
        key: "k".into(),
    });
    run.event(Event::StageStarted {
        stage: "train".into(),
        resumed: false,
    });
    let log = run.stage("train");
    log.row(&[
        ("chunk", 1u64.into()),
        ("loss", Value::Null),
        ("name", "a".into()),
    ]);
    log.row(&[
        ("chunk", 2u64.into()),
        ("loss", 0.25.into()),
        ("name", "b".into()),
    ]);
    log.row(&[("epoch", 1u64.into()), ("saved_loss", f64::INFINITY.into())]);
    run.console(Some("train"), Level::Warn, "careful");
    let (runs, errors) = list_runs(&project(dir.path())).unwrap();
    assert!(errors.is_empty());
    run.flush().unwrap();
    assert!(runs.is_empty() || runs[0].state == RunState::Running);
    assert_eq!(
        list_runs(&project(dir.path())).unwrap().0[0].state,
        RunState::Running
    );
    run.event(Event::StageFinished {
        stage: "train".into(),
        outcome: StageOutcome::Done,
        seconds: 1.5,
        message: None,
        results: json!({ "top1": 0.5 }),
    });
    assert!(!run.outputs().unwrap().join("index.html").exists());
    run.finish(end(0)).unwrap();

    let record = read_record(&run_dir).unwrap();
    assert_eq!(record.header.run, id);
    assert_eq!(record.config, json!({ "a": 1 }));
    assert_eq!(record.torn_bytes, 0);
    assert_eq!(record.end, Some(end(0)));
    assert_eq!(record.console().next().unwrap().1.text, "careful");
    let metrics = &record.metrics["train"];
    assert_eq!(metrics.len(), 3);
    assert_eq!(metrics.points(), 8);
    assert_eq!(metrics.curve("chunk", "loss"), [(2.0, 0.25)]);
    assert_eq!(metrics.last("name"), Some(Value::Text("b".into())));
    assert_eq!(
        metrics.last("saved_loss").unwrap().to_json(),
        json!("Infinity")
    );
    let rows = metrics.rows();
    assert_eq!(
        rows.iter().map(|row| row.position).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(rows[0].time_us >= record.header.started_ms * 1000);

    let (overview, found) = find_run(&project(dir.path()), "latest").unwrap();
    assert_eq!(
        (overview.run.as_str(), found),
        (id.as_str(), run_dir.clone())
    );
    assert_eq!(overview.state, RunState::Finished);
    assert_eq!(overview.stages[0].results, json!({ "top1": 0.5 }));
    // The index can be made again from the record.
    std::fs::remove_file(run_dir.join("summary.json")).unwrap();
    assert_eq!(
        find_run(&project(dir.path()), &id[5..]).unwrap().0,
        overview
    );
    let error = find_run(&project(dir.path()), &id.replace("ovod", "ovdo"))
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("is it `{id}`?")), "{error}");
}

#[test]
fn an_entry_carries_its_metrics_over_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metrics.novic");
    let row = |log: &StageLog, step: u64| log.row(&[("step", step.into())]);
    let steps = || {
        read_metrics(&file)
            .unwrap()
            .curve("step", "step")
            .iter()
            .map(|p| p.0)
            .collect::<Vec<_>>()
    };

    let run = start(dir.path());
    let log = run.stage_with_file("train", &file).unwrap();
    (0..3).for_each(|step| row(&log, step));
    let checkpoint = log.position().unwrap();
    assert_eq!(checkpoint, 3);
    (3..5).for_each(|step| row(&log, step));
    log.close().unwrap();
    drop(run);
    assert_eq!(steps(), [0.0, 1.0, 2.0, 3.0, 4.0]);

    // Goes on at the checkpoint.
    let run = start(dir.path());
    let log = run.stage_with_file("train", &file).unwrap();
    log.rewind(checkpoint);
    row(&log, 30);
    log.close().unwrap();
    assert_eq!(steps(), [0.0, 1.0, 2.0, 30.0]);
    let id = run.id().to_string();
    drop(run);
    let (overview, run_dir) = find_run(&project(dir.path()), &id).unwrap();
    assert_eq!(overview.state, RunState::Failed);
    assert_eq!(
        read_record(&run_dir).unwrap().metrics["train"].rows()[0].position,
        3
    );

    // Begins again without saying so.
    let run = start(dir.path());
    let log = run.stage_with_file("train", &file).unwrap();
    row(&log, 7);
    log.close().unwrap();
    assert_eq!(steps(), [7.0]);
    run.finish(end(0)).unwrap();
}

/// Not a test by itself: what the killed process does.
#[test]
fn child_logs_for_ever() {
    let Some(dir) = child::dir() else { return };
    let run = start(&dir);
    let log = run
        .stage_with_file("train", &dir.join("metrics.novic"))
        .unwrap();
    let begun = Instant::now();
    for step in 0u64.. {
        log.row(&[
            ("step", step.into()),
            ("wall_ms", (begun.elapsed().as_millis() as u64).into()),
        ]);
        if step == 2000 {
            println!("\nunder way");
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_killed_run_is_readable_and_known_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = child::spawn("tracking::recorder_tests::child_logs_for_ever", dir.path());
    let _lines = child::wait_for(&mut process, "under way");
    let (running, _) = find_run(&project(dir.path()), "latest").unwrap();
    assert_eq!(running.state, RunState::Running);
    child::kill(process);
    let (overview, run_dir) = find_run(&project(dir.path()), "latest").unwrap();
    assert!(
        matches!(overview.state, RunState::Vanished { .. }),
        "{:?}",
        overview.state
    );
    assert!(
        overview
            .state
            .to_string()
            .starts_with("ended without a word")
    );
    let record = read_record(&run_dir).unwrap();
    let rows = record.metrics["train"].rows();
    assert!(rows.len() > 1000, "{}", rows.len());
    assert!(
        rows.iter()
            .enumerate()
            .all(|(at, row)| row.position == at as u64),
        "no row is missing"
    );
    assert_eq!(
        read_metrics(&dir.path().join("metrics.novic"))
            .unwrap()
            .names()
            .len(),
        2
    );

    // The next run is none the worse for it.
    let run = start(dir.path());
    let log = run
        .stage_with_file("train", &dir.path().join("metrics.novic"))
        .unwrap();
    log.rewind(500);
    log.row(&[("step", 500u64.into())]);
    log.close().unwrap();
    run.finish(end(0)).unwrap();
    assert_eq!(
        read_metrics(&dir.path().join("metrics.novic"))
            .unwrap()
            .len(),
        501
    );
}

/// Not a test by itself: a process whose files may not grow for a while.
#[test]
fn child_meets_a_full_disk() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(dir) = child::dir() else { return };
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), ignored).unwrap();
    let run = start(&dir);
    let log = run.stage("train");
    run.flush().unwrap();
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(4096),
            ..unlimited
        },
    )
    .unwrap();
    for step in 0..5000u64 {
        log.row(&[("step", step.into()), ("noise", (step as f64).sin().into())]);
    }
    let error = run.flush().unwrap_err().to_string();
    assert!(error.contains("record.novic"), "{error}");
    assert!(run.trouble().is_some());
    for step in 5000..6000u64 {
        log.row(&[("step", step.into()), ("noise", 0.0.into())]);
    }
    setrlimit(Resource::Fsize, unlimited).unwrap();
    run.finish(end(0)).unwrap();
}

#[test]
fn a_full_disk_is_reported_and_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let process = child::spawn(
        "tracking::recorder_tests::child_meets_a_full_disk",
        dir.path(),
    );
    let output = process.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let (overview, run_dir) = find_run(&project(dir.path()), "latest").unwrap();
    assert_eq!(overview.state, RunState::Finished);
    assert_eq!(read_record(&run_dir).unwrap().metrics["train"].len(), 6000);
}

/// 100,000 rows of ten values; the times are printed, only the size is a test.
#[test]
fn a_million_points_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let run = start(dir.path());
    let run_dir = run.dir().to_path_buf();
    let log = run.stage("train");
    let begun = Instant::now();
    let mut noise = 1u64;
    for step in 0..100_000u64 {
        let mut value = || {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            Value::Number((noise >> 11) as f64 / (1u64 << 53) as f64)
        };
        let row = [
            ("batch", Value::from(step)),
            ("sample", Value::from(step * 512)),
            ("lr", Value::Number(1e-3 * (step as f64 / 1e5).cos())),
            ("loss", value()),
            ("top1", value()),
            ("top1_max", value()),
            ("batch_top1", value()),
            ("grad_norm_min", value()),
            ("grad_norm_mean", value()),
            ("grad_norm_max", value()),
        ];
        log.row(&row);
    }
    let logged = begun.elapsed();
    run.finish(end(0)).unwrap();
    let durable = begun.elapsed();
    let bytes = std::fs::metadata(run_dir.join("record.novic"))
        .unwrap()
        .len();
    let begun = Instant::now();
    let record = read_record(&run_dir).unwrap();
    let read = begun.elapsed();
    println!(
        "1,000,000 points: {:.3} us per point on the logging thread, durable after {durable:?}, {bytes} bytes, read in {read:?}",
        logged.as_secs_f64()
    );
    assert_eq!(record.metrics["train"].points(), 1_000_000);
    assert!(bytes <= 20_000_000, "{bytes}");
}
