//! A service that misbehaves in every way it can: no line is lost, none is sent
//! twice, and the run never fails.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::server::{KEY, Server, said};

const ROWS: u64 = 30;

/// A run that sends in several requests.
fn script(id: &str) -> Value {
    let part = || [json!({ "repeat": ROWS / 3 }), json!({ "sleep": 0.3 })];
    let mut events: Vec<Value> = [part(), part(), part()].concat();
    events.insert(0, json!({ "print": "begun" }));
    events.push(json!({ "print": "done", "stderr": true }));
    json!({
        "settings": {
            "flush_interval": 0.2, "retry_min": 0.1, "request_timeout": 2,
            "upload_timeout": 2, "finish_timeout": 60,
        },
        "run": { "id": id, "project": "p", "entity": "tester" },
        "events": events,
    })
}

fn assert_complete(run: &Value, what: &str) {
    assert_eq!(run["state"], "finished", "{what}");
    let rows = run["history"].as_array().expect("rows");
    let values: Vec<_> = rows.iter().map(|row| row["i"].as_u64()).collect();
    let expected: Vec<_> = (0..3).flat_map(|_| (0..ROWS / 3).map(Some)).collect();
    assert_eq!(values, expected, "{what}");
    let steps: Vec<_> = rows.iter().map(|row| row["_step"].as_u64()).collect();
    assert_eq!(steps, (0..ROWS).map(Some).collect::<Vec<_>>(), "{what}");
    assert_eq!(run["log"].as_array().map(Vec::len), Some(2), "{what}");
    assert_eq!(run["gaps"], json!([]), "{what}");
    let overlaps = run["overlaps"].as_array().into_iter().flatten();
    for overlap in overlaps {
        assert_eq!(overlap[3], "same", "{what}: {overlap}");
    }
    assert_eq!(run["uploaded"].as_array().map(Vec::len), Some(4), "{what}");
}

#[test]
fn every_fault_is_survived_without_loss() {
    let faults = [
        json!({ "action": "status", "status": 500 }),
        json!({ "action": "status", "status": 503, "body": "<html>no</html>" }),
        json!({ "action": "status", "status": 429, "headers": { "Retry-After": "1" } }),
        json!({ "action": "status", "status": 408 }),
        json!({ "action": "status", "status": 413 }),
        json!({ "action": "hang", "seconds": 4 }),
        json!({ "action": "reset" }),
        json!({ "action": "reset_after" }),
        json!({ "action": "slow", "seconds": 1 }),
        json!({ "action": "drip", "bytes_per_second": 2 }),
        json!({ "action": "truncate" }),
        json!({ "action": "garbage" }),
        json!({ "action": "disk_full" }),
    ];
    let mut rules = Vec::new();
    let mut ids = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        for kind in ["graphql", "file_stream", "storage"] {
            // A full disk is an error of GraphQL, which is a refusal; only lines
            // can be sent in smaller parts.
            let refused = match kind {
                "graphql" => fault["action"] == "disk_full" || fault["status"] == 413,
                "storage" => fault["status"] == 413,
                _ => false,
            };
            if refused {
                continue;
            }
            let id = format!("{kind}-{number}");
            let mut rule = fault.clone();
            rule["kind"] = json!(kind);
            rule["run"] = json!(id);
            rule["count"] = json!(2);
            rules.push(rule);
            ids.push((id, fault.to_string()));
        }
    }
    let server = Server::start(&Value::from(rules));
    thread::scope(|scope| {
        for (id, fault) in &ids {
            let server = &server;
            scope.spawn(move || {
                let dir = tempfile::tempdir().expect("a folder");
                let output = server.replay(dir.path(), &script(id));
                assert!(output.status.success(), "{id} {fault}: {}", said(&output));
            });
        }
    });
    let runs = server.runs();
    for (id, fault) in &ids {
        assert_complete(&runs[format!("tester/p/{id}")], &format!("{id} {fault}"));
    }
    let used = server
        .log()
        .iter()
        .filter(|e| !e["fault"].is_null())
        .count();
    assert!(used >= ids.len(), "{used} faults of {} came", ids.len());
}

#[test]
fn a_service_that_never_answers_is_left_when_the_time_is_over() {
    let server = Server::start(&json!([{ "kind": "any", "action": "hang" }]));
    let dir = tempfile::tempdir().expect("a folder");
    let mut slow = script("hung");
    // Far longer than a test may take.
    slow["settings"]["request_timeout"] = json!(3600);
    slow["settings"]["finish_timeout"] = json!(0.5);
    let output = server.replay(dir.path(), &slow);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("32 rows and lines"),
        "{}",
        said(&output)
    );
    server.post("/_faults", &json!([]));
    let sync = server.novic(dir.path(), &["sync", "store"]).output();
    let sync = sync.expect("novic starts");
    assert!(sync.status.success(), "{}", said(&sync));
    assert_complete(&server.runs()["tester/p/hung"], "hung");
}

#[test]
fn a_key_that_is_refused_is_a_warning_for_runs_and_code_4_for_sync() {
    let server = Server::start(&json!([{
        "kind": "graphql", "action": "status", "status": 401,
        "body": format!("{{\"error\": \"invalid key {KEY}\"}}"),
    }]));
    let dir = tempfile::tempdir().expect("a folder");
    let output = server.replay(dir.path(), &script("refused"));
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("warning: ") && text.contains("invalid key [key]"),
        "{text}"
    );
    // Asked once: a refused key stays refused.
    assert_eq!(server.log().len(), 1);
    let sync = |key: Option<&str>| {
        let mut command = server.novic(dir.path(), &["sync", "store"]);
        command.env("HOME", dir.path()).env_remove("WANDB_API_KEY");
        command.envs(key.map(|key| ("WANDB_API_KEY", key)));
        let output = command.output().expect("novic starts");
        (output.status.code(), said(&output))
    };
    let (code, text) = sync(Some(KEY));
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains(&server.url), "{text}");
    assert_eq!(text.matches("invalid key").count(), 1, "{text}");
    let (code, text) = sync(None);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("WANDB_API_KEY") && text.contains(".netrc"),
        "{text}"
    );
    // The key is nowhere but in the environment, and netrc holds one as well.
    server.post("/_faults", &json!([]));
    let netrc = format!("machine 127.0.0.1 login user password {KEY}\n");
    fs::write(dir.path().join(".netrc"), netrc).expect("a netrc");
    let (code, text) = sync(None);
    assert_eq!(code, Some(0), "{text}");
    assert_complete(&server.runs()["tester/p/refused"], "refused");
    assert!(!text.contains(KEY), "{text}");
    assert_no_key(&dir.path().join("store"));
}

/// An error in an answer that went well: with the address, without a status that
/// says nothing.
#[test]
fn refusals_are_told_as_people_need_them() {
    let server = Server::start(&json!([{
        "kind": "graphql", "action": "graphql_error", "message": "project p is closed",
    }]));
    let dir = tempfile::tempdir().expect("a folder");
    let output = server.replay(dir.path(), &script("closed"));
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let expected = format!(
        "Weights & Biases at {} does not take the run: project p is closed; the local record",
        server.url
    );
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("(200)"), "{text}");
    let arguments = ["format-wandb", "--wandb", "tracking.project=p"];
    let output = server.novic(dir.path(), &arguments).output();
    let text = said(&output.expect("novic starts"));
    let expected = format!("{}: project p is closed", server.url);
    assert!(text.contains(&expected), "{text}");
    // Both names in one: with the way out, before anything is recorded.
    let mut both = script("both");
    both["run"]["project"] = json!("lab/p");
    let dir = tempfile::tempdir().expect("a folder");
    let output = server.replay(dir.path(), &both);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let parts = r#"write "entity": "lab", "project": "p""#;
    assert!(text.contains(parts), "{text}");
    assert!(!dir.path().join("store").exists());
}

/// No file of a folder holds the key.
fn assert_no_key(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_no_key(&path);
        } else {
            let bytes = fs::read(&path).expect("a file");
            let has = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
            assert!(!has, "{} holds the key", path.display());
        }
    }
}

/// Storage that never works delays the files, not the end of the run.
#[test]
fn files_come_later_than_the_end() {
    let server = Server::start(&json!([{
        "kind": "storage", "action": "status", "status": 500,
    }]));
    let dir = tempfile::tempdir().expect("a folder");
    let mut script = script("bare");
    script["settings"]["finish_timeout"] = json!(3);
    let output = server.replay(dir.path(), &script);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("are not uploaded"),
        "{}",
        said(&output)
    );
    let run = &server.runs()["tester/p/bare"];
    assert_eq!(
        (run["state"].as_str(), &run["uploaded"]),
        (Some("finished"), &json!([]))
    );
    server.post("/_faults", &json!([]));
    let sync = server.novic(dir.path(), &["sync", "store"]).output();
    let sync = sync.expect("novic starts");
    assert!(sync.status.success(), "{}", said(&sync));
    assert_complete(&server.runs()["tester/p/bare"], "bare");
}
