//! A real training with its mirror: killed and resumed, stopped by the service.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};

use super::server::{Server, said};

/// `novic run` of the shrunken quick start up to its training.
fn training(server: &Server, dir: &Path, more: &[&str]) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/tiny.toml");
    let mut arguments = vec![
        "run",
        file.to_str().expect("a path"),
        "--until",
        "train",
        "tracking.wandb.mode=online",
        "tracking.entity=tester",
        "tracking.wandb.flush_interval=0.1",
        "tracking.wandb.heartbeat_interval=0.1",
    ];
    arguments.extend(more);
    server.novic(dir, &arguments)
}

/// The only run at the server.
fn only_run(server: &Server) -> Option<Value> {
    let runs = server.runs();
    let runs = runs.as_object().expect("runs");
    assert!(runs.len() <= 1, "{:?}", runs.keys());
    runs.values().next().cloned()
}

fn rows(run: &Value) -> Vec<Value> {
    run["history"].as_array().cloned().unwrap_or_default()
}

/// Waits until the run at the server is as wished.
fn wait_for(server: &Server, wished: impl Fn(&Value) -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !only_run(server).as_ref().is_some_and(&wished) {
        assert!(
            Instant::now() < until,
            "it never comes: {:?}",
            only_run(server)
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// So many chunks that a training is not over when its first rows arrive.
const CHUNKS: u32 = 200;

#[test]
fn a_killed_training_goes_on_with_its_run() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let longer = format!("stage.train.train.max_chunks={CHUNKS}");
    let longer = [longer.as_str()];
    let mut child = training(&server, dir.path(), &longer)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("novic starts");
    wait_for(&server, |run| rows(run).len() > 3);
    child.kill().expect("it is killed");
    child.wait().expect("it is over");
    let output = training(&server, dir.path(), &longer).output();
    let output = output.expect("novic starts");
    assert!(output.status.success(), "{}", said(&output));
    let run = only_run(&server).expect("a run");
    assert_eq!(
        (&run["state"], &run["gaps"]),
        (&json!("finished"), &json!([]))
    );
    assert_eq!(
        (&run["jobType"], &run["project"]),
        (&json!("train"), &json!("novic"))
    );
    let found = rows(&run);
    let steps: Vec<_> = found.iter().map(|row| row["_step"].as_u64()).collect();
    let expected: Vec<_> = (0..found.len() as u64).map(Some).collect();
    assert_eq!(steps, expected);
    let chunks: Vec<_> = found
        .iter()
        .filter(|row| !row["chunk_time"].is_null())
        .map(|row| row["chunk"].as_f64())
        .collect();
    assert_eq!(
        chunks,
        (1..=CHUNKS).map(|n| Some(f64::from(n))).collect::<Vec<_>>()
    );
    for key in ["lr", "loss", "top1", "top1_max", "sample", "batch"] {
        assert!(run["summary"][key].is_number(), "{key}: {}", run["summary"]);
    }
    let config = &run["config"];
    let name = config["hydra_name"]["value"].as_str().expect("a name");
    assert!(name.starts_with("ovod_"), "{name}");
    assert_eq!(config["action"]["value"], "train");
    assert!(config["wandb_project"].is_null() && config["batch_size"]["value"].is_number());
    // The same once more has nothing to mirror.
    let requests = server.log().len();
    let again = training(&server, dir.path(), &longer).output();
    assert!(again.expect("novic starts").status.success());
    assert_eq!(server.log().len(), requests);
}

#[test]
fn a_stop_at_the_service_saves_and_ends_well() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let long = [
        "stage.train.train.max_chunks=100000",
        "stage.train.train.max_epochs=100000",
    ];
    let child = training(&server, dir.path(), &long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("novic starts");
    wait_for(&server, |run| rows(run).len() > 2);
    let run = only_run(&server).expect("a run");
    let path = format!("tester/novic/{}", run["name"].as_str().expect("an id"));
    server.post("/_set", &json!({ "run": path, "stopped": true }));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("stopped at Weights & Biases"),
        "{}",
        said(&output)
    );
    let run = only_run(&server).expect("a run");
    assert_eq!(
        (&run["state"], &run["exitcode"]),
        (&json!("finished"), &json!(0))
    );
    let partial = dir.path().join(".novic/store/train/.partial");
    let left = fs::read_dir(partial).expect("partial work").count();
    assert!(left > 0, "a checkpoint is saved");
}
