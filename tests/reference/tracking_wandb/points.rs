//! Points of sweeps with their mirrors, and what a run that was killed left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Server, said};

/// A command on the shrunken quick start.
fn tiny(server: &Server, dir: &Path, command: &[&str], more: &[&str]) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/tiny.toml");
    let mut arguments = command.to_vec();
    arguments.extend([
        file.to_str().expect("a path"),
        "tracking.wandb.mode=online",
        "tracking.entity=tester",
        "tracking.wandb.flush_interval=0.1",
        "tracking.wandb.heartbeat_interval=0.1",
        "tracking.wandb.retry_min=0.05",
    ]);
    arguments.extend(more);
    server.novic(dir, &arguments)
}

/// A folder with the picture that the quick start looks at.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("extras/demo/fox.png");
    std::fs::create_dir(dir.path().join("demo")).expect("a folder");
    std::fs::copy(picture, dir.path().join("demo/fox.png")).expect("a picture");
    dir
}

fn all(server: &Server) -> Vec<Value> {
    let runs = server.runs();
    let runs = runs.as_object().expect("runs");
    runs.values().cloned().collect()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn of_kind<'a>(runs: &'a [Value], kind: &str) -> Vec<&'a Value> {
    runs.iter().filter(|run| run["jobType"] == kind).collect()
}

#[test]
fn points_of_sweeps_are_mirrored_while_they_run() {
    let server = Server::start(&json!([]));
    let dir = folder();
    let sweep = |name: &str, norms: &str, kind: &str| {
        let kind = format!("launcher.kind={kind}");
        let norms = format!("noise.vec_norm={norms}");
        let more = [norms.as_str(), "--name", name, kind.as_str()];
        let output = tiny(&server, dir.path(), &["sweep", "run"], &more).output();
        let output = output.expect("novic starts");
        assert!(output.status.success(), "{}", said(&output));
    };
    sweep("both", "1,1.5", "local");
    let runs = all(&server);
    assert_eq!(of_kind(&runs, "train").len(), 2);
    assert_eq!(of_kind(&runs, "eval_cls_decoding").len(), 2);
    for run in &runs {
        assert_eq!(run["state"], "finished", "{run}");
        assert_eq!(run["group"], "both");
    }
    let trained = of_kind(&runs, "train");
    let mut norms: Vec<_> = trained
        .iter()
        .map(|run| run["config"]["noise_vec_norm"]["value"].to_string())
        .collect();
    norms.sort();
    assert_eq!(norms, ["1.0", "1.5"]);
    for run in &trained {
        let rows = run["history"].as_array().expect("rows");
        assert!(
            rows.iter()
                .filter(|row| row["chunk_time"].is_number())
                .count()
                == 3
        );
    }
    // What is done is not mirrored again.
    let requests = server.log().len();
    sweep("both", "1,1.5", "processes");
    assert_eq!(server.log().len(), requests);
    // Processes of their own know where to send, too.
    sweep("apart", "2,2.5", "processes");
    let runs = all(&server);
    let apart = runs.iter().filter(|run| run["group"] == "apart");
    assert!(apart.clone().all(|run| run["state"] == "finished"));
    assert_eq!(apart.filter(|run| run["jobType"] == "train").count(), 2);
}

/// Points and stages have the same trouble, which is said once.
#[test]
fn trouble_of_many_stages_is_said_once() {
    let refused = json!([{
        "kind": "graphql", "action": "status", "status": 401, "body": "{\"error\": \"no\"}",
    }]);
    let server = Server::start(&refused);
    let dir = folder();
    let more = ["noise.vec_norm=1,1.5", "--name", "refused"];
    let output = tiny(&server, dir.path(), &["sweep", "run"], &more).output();
    let output = output.expect("novic starts");
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(server.log().len() > 2, "{text}");
    let warning = format!("Weights & Biases at {} does not accept the key", server.url);
    assert_eq!(text.matches(&warning).count(), 1, "{text}");
    // Nor is it said for each that there is no key.
    let dir = folder();
    let mut run = tiny(&server, dir.path(), &["run"], &["--until", "drawings"]);
    run.env("HOME", dir.path()).env_remove("WANDB_API_KEY");
    let output = run.output().expect("novic starts");
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("there is no API key").count(), 1, "{text}");
}

#[test]
fn a_point_that_is_stopped_at_the_service_leaves_the_others_alone() {
    let server = Server::start(&json!([]));
    let dir = folder();
    let more = [
        "noise.vec_norm=1,1.5",
        "--name",
        "stopped",
        "stage.train.train.max_chunks=100000",
        "stage.train.train.max_epochs=100000",
    ];
    let child = tiny(&server, dir.path(), &["sweep", "run"], &more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("novic starts");
    let mut stopped: Vec<String> = Vec::new();
    while stopped.len() < 2 {
        let next = || {
            let runs = all(&server);
            let begun = runs.iter().find(|run| {
                let rows = run["history"].as_array().map_or(0, Vec::len);
                let name = run["name"].as_str().unwrap_or_default();
                rows > 2 && !stopped.iter().any(|known| known == name)
            });
            begun.map(|run| run["name"].as_str().expect("an id").to_owned())
        };
        until("a training", || next().is_some());
        let name = next().expect("a run");
        let path = format!("tester/novic/{name}");
        server.post("/_set", &json!({ "run": path, "stopped": true }));
        stopped.push(name);
    }
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for run in all(&server) {
        assert_eq!(run["state"], "finished", "{run}");
    }
    let left = dir.path().join(".novic/store/train/.partial");
    let left = std::fs::read_dir(left).expect("partial work").count();
    assert!(left > 1, "each point has its checkpoint");
}

#[test]
fn what_a_killed_run_left_is_sent_by_the_same_command() {
    let down = json!([{ "kind": "file_stream", "action": "status", "status": 503 }]);
    let server = Server::start(&down);
    let dir = tempfile::tempdir().expect("a folder");
    let run = || tiny(&server, dir.path(), &["run"], &["--until", "train"]);
    let mut child = run()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("novic starts");
    // The stage is over, and its mirror is not.
    let store = dir.path().join(".novic/store/train");
    until("a trained model", || {
        let entries = std::fs::read_dir(&store).into_iter().flatten().flatten();
        let mut entries = entries.map(|entry| entry.path().join("entry.json"));
        entries.any(|entry| entry.is_file())
    });
    child.kill().expect("it is killed");
    child.wait().expect("it is over");
    let known = all(&server);
    assert!(known.iter().all(|run| run["state"] != "finished"));
    server.post("/_faults", &json!([]));
    let output = run().output().expect("novic starts");
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).to_lowercase().contains("up to date"),
        "{}",
        said(&output)
    );
    let runs = all(&server);
    assert_eq!(runs.len(), 1);
    assert_eq!(
        (&runs[0]["state"], &runs[0]["gaps"]),
        (&json!("finished"), &json!([]))
    );
    let rows = runs[0]["history"].as_array().expect("rows");
    assert_eq!(
        rows.iter()
            .filter(|row| row["chunk_time"].is_number())
            .count(),
        3
    );
    // There is nothing more to send.
    let requests = server.log().len();
    assert!(run().output().expect("novic starts").status.success());
    assert_eq!(server.log().len(), requests);
}

#[test]
fn mirrors_of_one_run_are_sent_together() {
    let server = Server::start(&json!([]));
    let dir = folder();
    let offline = ["tracking.wandb.mode=offline"];
    let output = tiny(&server, dir.path(), &["run"], &offline).output();
    let output = output.expect("novic starts");
    assert!(output.status.success(), "{}", said(&output));
    assert!(all(&server).is_empty());
    let arguments = ["sync", "--run", "latest", "--json"];
    let output = server.novic(dir.path(), &arguments).output();
    let output = output.expect("novic starts");
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told = told["runs"].as_array().expect("a list");
    assert!(told.len() > 1, "{told:?}");
    for mirror in told {
        assert_eq!(mirror["outcome"], "complete", "{mirror}");
    }
    assert!(all(&server).iter().all(|run| run["state"] == "finished"));
    // All of it once more, for the official program, if that is insisted on.
    let arguments = ["sync", "--to-offline", "upload"];
    let output = server.novic(dir.path(), &arguments).output();
    assert!(output.expect("novic starts").status.success());
    assert!(!dir.path().join("upload").exists());
    let arguments = ["sync", "--to-offline", "upload", "--force"];
    let output = server.novic(dir.path(), &arguments).output();
    assert!(output.expect("novic starts").status.success());
    let written = std::fs::read_dir(dir.path().join("upload")).expect("a folder");
    assert_eq!(written.count(), told.len());
}

#[test]
fn a_run_that_must_have_its_mirror_does_not_start_without() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let run = |resume: &str, strict: &str| {
        let resume = format!("tracking.wandb.resume={resume}");
        let strict = format!("tracking.wandb.strict={strict}");
        let more = [
            "--until",
            "train",
            "tracking.wandb.run_id=mine",
            &resume,
            &strict,
        ];
        let output = tiny(&server, dir.path(), &["run"], &more).output();
        output.expect("novic starts")
    };
    let missing = run("must", "true");
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    let text = said(&missing);
    assert!(
        text.contains("run mine-train does not exist in novic"),
        "{text}"
    );
    assert!(
        !dir.path().join(".novic/runs").exists(),
        "nothing was begun"
    );
    // Without it, the run goes on and says so.
    let warned = run("must", "false");
    assert!(warned.status.success(), "{}", said(&warned));
    assert!(
        said(&warned).contains("the local record goes on"),
        "{}",
        said(&warned)
    );
}
