//! What the recorded runs left at the server: scripts that say the same leave
//! the same, while the run is at work, late, and through the log of the
//! official program.

use std::fs;
use std::path::Path;
use std::thread;

use novic::tracking::wandb::{config_values, framing, plain, records};
use serde_json::{Map, Value, json};

use super::server::{Server, python, said, tool};
use super::{final_runs, recordings};

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// A value without what depends on time.
fn timeless(row: &Value) -> Map<String, Value> {
    let mut row = object(row);
    row.retain(|name, _| !matches!(name.as_str(), "_timestamp" | "_runtime" | "_wandb"));
    row
}

/// A console line without its time: whether it is an error, and its text.
fn line(text: &Value) -> (bool, String) {
    let text = text.as_str().unwrap_or_default();
    let error = text.strip_prefix("ERROR ");
    let (_, said) = error.unwrap_or(text).split_once(' ').unwrap_or_default();
    (error.is_some(), said.to_owned())
}

/// The script of a run that ends in this state.
fn script(run: &Value) -> Value {
    let mut events = Vec::new();
    for text in list(&run["log"]) {
        let (stderr, text) = line(&text);
        events.push(json!({ "print": text, "stderr": stderr }));
    }
    for row in list(&run["history"]) {
        let mut values = timeless(&row);
        let step = values.remove("_step");
        events.push(json!({ "log": { "step": step, "values": values } }));
    }
    for event in list(&run["events"]) {
        let values: Map<String, Value> = timeless(&event)
            .into_iter()
            .map(|(name, value)| (name.trim_start_matches("system.").to_owned(), value))
            .collect();
        events.push(json!({ "stats": values }));
    }
    let mut summary = timeless(&run["summary"]);
    summary.remove("_step");
    events.push(json!({ "summary": summary }));
    events.push(json!({ "exit": run["exitcode"] }));
    json!({
        "settings": { "flush_interval": 0.2, "finish_timeout": 20, "request_timeout": 10 },
        "run": {
            "id": run["name"], "project": run["project"], "entity": run["entity"],
            "name": run["displayName"], "group": run["group"], "job_type": run["jobType"],
            "tags": run["tags"], "notes": run["notes"],
            "config": config_values(&object(&run["config"])),
        },
        "events": events,
    })
}

/// Numbers may be whole in one place and not in the other.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn assert_same(found: impl Into<Value>, expected: impl Into<Value>, what: &str) {
    let (found, expected) = (found.into(), expected.into());
    assert!(
        same(&found, &expected),
        "{what}\nfound    {found}\nexpected {expected}"
    );
}

/// Compares a run at the server with a recorded one.
fn compare(found: &Value, expected: &Value, what: &str) {
    for field in [
        "state",
        "exitcode",
        "complete",
        "displayName",
        "tags",
        "notes",
        "group",
        "jobType",
    ] {
        let what = format!("{what}: {field}");
        assert_same(found[field].clone(), expected[field].clone(), &what);
    }
    let config = |run: &Value| config_values(&object(&run["config"]));
    assert_same(config(found), config(expected), &format!("{what}: config"));
    let rows = |run: &Value| -> Value {
        let rows = list(&run["history"]);
        rows.iter().map(|row| Value::from(timeless(row))).collect()
    };
    assert_same(rows(found), rows(expected), &format!("{what}: history"));
    let samples = |run: &Value| -> Value {
        let samples = list(&run["events"]);
        samples
            .iter()
            .map(|sample| Value::from(timeless(sample)))
            .collect()
    };
    assert_same(
        samples(found),
        samples(expected),
        &format!("{what}: events"),
    );
    let lines = |run: &Value| list(&run["log"]).iter().map(line).collect::<Vec<_>>();
    assert_eq!(lines(found), lines(expected), "{what}: log");
    let summary = timeless(&found["summary"]);
    for (key, value) in timeless(&expected["summary"]) {
        let has = summary.get(&key).cloned().unwrap_or_default();
        assert_same(has, value, &format!("{what}: summary.{key}"));
    }
    assert_same(found["gaps"].clone(), json!([]), &format!("{what}: gaps"));
    assert_same(
        found["overlaps"].clone(),
        json!([]),
        &format!("{what}: overlaps"),
    );
    let rows = list(&found["history"]);
    let every = |name: &str| rows.iter().all(|row| row[name].is_number());
    assert!(every("_timestamp") && every("_runtime"), "{what}: times");
}

fn key_of(run: &Value) -> String {
    let part = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}/{}", part("entity"), part("project"), part("name"))
}

#[test]
fn what_recorded_runs_left_is_left_by_ours() {
    for (name, recording) in recordings() {
        let server = Server::start(&json!([]));
        let runs = final_runs(&recording);
        for run in &runs {
            let dir = tempfile::tempdir().expect("a folder");
            let output = server.replay(dir.path(), &script(run));
            let status = output.status.code().map(i64::from);
            assert_eq!(
                status,
                run["exitcode"].as_i64(),
                "{name}: {}",
                said(&output)
            );
            let found = &server.runs()[key_of(run)];
            compare(found, run, &name);
            for file in [
                "config.yaml",
                "output.log",
                "wandb-metadata.json",
                "wandb-summary.json",
            ] {
                assert!(found["files"].get(file).is_some(), "{name}: {file}");
                assert!(
                    list(&found["uploaded"]).contains(&json!(file)),
                    "{name}: {file}"
                );
            }
        }
    }
}

/// The recorded runs by way of the directory for the official program: its
/// records say what the run said.
#[test]
fn offline_directories_say_what_the_runs_said() {
    for (name, recording) in recordings() {
        for run in final_runs(&recording) {
            let dir = tempfile::tempdir().expect("a folder");
            let server = Server::start(&json!([]));
            let mut script = script(&run);
            script["settings"]["mode"] = json!("offline");
            let output = server.replay(dir.path(), &script);
            assert!(server.log().is_empty(), "{name}: offline is offline");
            let text = said(&output);
            let log = offline_log(&dir.path().join("outputs"))
                .unwrap_or_else(|| panic!("{name}: no log\n{text}"));
            let bytes = fs::read(&log).expect("a log");
            let (found, fault) = framing::records(&bytes);
            assert_eq!(fault, None, "{name}");
            let records: Vec<Value> = found
                .iter()
                .map(|record| records::decode(record).expect("a record"))
                .collect();
            // The reference reader reads the same.
            let dump = python()
                .arg(tool("wandb_offline.py"))
                .arg("dump")
                .arg(&log)
                .output();
            let dump = dump.expect("python3 starts");
            assert!(dump.status.success(), "{name}: {}", said(&dump));
            let dumped: Vec<Value> = String::from_utf8_lossy(&dump.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            assert_eq!(dumped, records, "{name}");
            compare_records(&records, &run, &name);
        }
    }
}

fn offline_log(outputs: &Path) -> Option<std::path::PathBuf> {
    let mut open = vec![outputs.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "wandb") {
                return Some(path);
            }
        }
    }
    None
}

fn items(list: &Value) -> Map<String, Value> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| {
            let key = item["key"].as_str().expect("a key").to_owned();
            let value = item["value_json"].as_str().expect("a value");
            (key, serde_json::from_str(value).expect("JSON"))
        })
        .collect()
}

fn compare_records(records: &[Value], run: &Value, name: &str) {
    let all = |kind: &str| {
        records
            .iter()
            .filter_map(|r| r.get(kind).cloned())
            .collect::<Vec<_>>()
    };
    assert!(records[0].get("header").is_some(), "{name}: header first");
    assert!(records[1].get("run").is_some(), "{name}: run second");
    assert!(
        records.last().and_then(|r| r.get("exit")).is_some(),
        "{name}: exit last"
    );
    let head = &records[1]["run"];
    assert_eq!(head["run_id"], run["name"], "{name}");
    let config = config_values(&object(&run["config"]));
    assert_same(
        items(&head["config"]["update"]),
        config,
        &format!("{name}: config"),
    );
    let rows: Value = all("history")
        .iter()
        .map(|history| {
            let row = items(&history["item"]);
            assert_eq!(
                row["_step"],
                json!(history["step"]["num"].as_u64().unwrap_or(0)),
                "{name}"
            );
            Value::from(timeless(&Value::from(row)))
        })
        .collect();
    let expected: Value = list(&run["history"])
        .iter()
        .map(|row| Value::from(timeless(row)))
        .collect();
    assert_same(rows, expected, &format!("{name}: history"));
    let lines: Vec<(bool, String)> = all("output_raw")
        .iter()
        .map(|output| {
            let text = output["line"].as_str().expect("a line");
            (
                output.get("output_type").is_none(),
                text.trim_end_matches('\n').to_owned(),
            )
        })
        .collect();
    let expected: Vec<_> = list(&run["log"]).iter().map(line).collect();
    assert_eq!(lines, expected, "{name}: log");
    assert_eq!(
        all("stats").len(),
        list(&run["events"]).len(),
        "{name}: events"
    );
    let exit = &records[records.len() - 1]["exit"];
    let code = exit["exit_code"].as_i64().unwrap_or(0);
    assert_eq!(Some(code), run["exitcode"].as_i64(), "{name}");
}

/// Logs of the reference data, told as scripts, leave what the official program
/// left when it uploaded them.
#[test]
fn logs_leave_what_their_upload_left() {
    for (name, recording) in recordings() {
        for run in final_runs(&recording) {
            let id = run["name"].as_str().expect("a run id");
            let log = super::files(".wandb");
            let is_its = |path: &&std::path::PathBuf| {
                path.file_name()
                    .is_some_and(|file| *file == *format!("run-{id}.wandb"))
            };
            let Some(log) = log.iter().find(is_its) else {
                continue;
            };
            let (records, _) = framing::records(&fs::read(log).expect("a log"));
            let mut events = Vec::new();
            let (mut open, mut exit) = (String::new(), json!(0));
            let mut head = Value::Null;
            for record in records {
                let record = records::decode(&record).expect("a record");
                if let Some(run) = record.get("run") {
                    head = run.clone();
                }
                if let Some(history) = record.get("history") {
                    let mut values = timeless(&Value::from(row_items(&history["item"])));
                    let step = values.remove("_step");
                    events.push(json!({ "log": { "step": step, "values": values } }));
                }
                if let Some(output) = record.get("output_raw") {
                    // Lines come in pieces.
                    open.push_str(output["line"].as_str().expect("a text"));
                    if let Some(text) = open.strip_suffix('\n') {
                        let stderr = output.get("output_type").is_none();
                        events.push(json!({ "print": text, "stderr": stderr }));
                        open.clear();
                    }
                }
                if let Some(stats) = record.get("stats") {
                    events.push(json!({ "stats": row_items(&stats["item"]) }));
                }
                if let Some(config) = record.get("config") {
                    events.push(json!({ "config": row_items(&config["update"]) }));
                }
                if let Some(summary) = record.get("summary") {
                    let mut values = timeless(&Value::from(row_items(&summary["update"])));
                    values.remove("_step");
                    events.push(json!({ "summary": values }));
                }
                if let Some(end) = record.get("exit") {
                    exit = json!(end["exit_code"].as_u64().unwrap_or(0));
                }
            }
            events.push(json!({ "exit": exit }));
            let mut config = row_items(&head["config"]["update"]);
            config.remove("_wandb");
            let script = json!({
                "settings": { "flush_interval": 0.2, "finish_timeout": 20 },
                "run": {
                    "id": id, "project": head["project"], "entity": run["entity"],
                    "name": head["display_name"], "group": head["run_group"],
                    "job_type": head["job_type"], "tags": head["tags"], "notes": head["notes"],
                    "config": config,
                },
                "events": events,
            });
            let server = Server::start(&json!([]));
            let dir = tempfile::tempdir().expect("a folder");
            let output = server.replay(dir.path(), &script);
            let found = &server.runs()[key_of(&run)];
            assert!(!found.is_null(), "{name}: {}", said(&output));
            compare(found, &run, &name);
        }
    }
}

fn row_items(list: &Value) -> Map<String, Value> {
    let mut row = Map::new();
    for item in list.as_array().into_iter().flatten() {
        let value = item["value_json"].as_str().unwrap_or("null");
        let value: Value = serde_json::from_str(value).expect("JSON");
        let path: Vec<&str> = match item["nested_key"].as_array() {
            Some(path) => path.iter().filter_map(Value::as_str).collect(),
            None => vec![item["key"].as_str().expect("a key")],
        };
        let (last, folders) = path.split_last().expect("a key");
        let mut at = &mut row;
        for folder in folders {
            let inner = at.entry(*folder).or_insert_with(|| json!({}));
            at = inner.as_object_mut().expect("an object");
        }
        at.insert((*last).to_owned(), value);
    }
    row
}

/// The same with a server that is away at first: `novic sync` leaves the same,
/// for all runs of a store at once, and a second time sends nothing.
#[test]
fn what_was_not_sent_is_sent_late() {
    let runs: Vec<(String, Value)> = recordings()
        .into_iter()
        .flat_map(|(name, recording)| {
            final_runs(&recording)
                .into_iter()
                .map(move |run| (name.clone(), run))
        })
        .collect();
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    thread::scope(|scope| {
        for (number, (_, run)) in runs.iter().enumerate() {
            let (server, dir) = (&server, dir.path());
            scope.spawn(move || {
                let mut script = script(run);
                script["settings"]["finish_timeout"] = json!(0);
                script["settings"]["retry_min"] = json!(60);
                let file = format!("script{number}.json");
                fs::write(dir.join(&file), script.to_string()).expect("a script");
                let arguments = ["replay", &file, "--store", "store"];
                let output = server
                    .novic(dir, &arguments)
                    .env("WANDB_BASE_URL", "http://127.0.0.1:9")
                    .output()
                    .expect("novic starts");
                assert!(said(&output).contains("novic sync"), "{}", said(&output));
            });
        }
    });
    assert!(server.log().is_empty());
    let dry = server
        .novic(dir.path(), &["sync", "store", "--dry-run", "--json"])
        .output();
    let dry = dry.expect("novic starts");
    assert!(dry.status.success(), "{}", said(&dry));
    let waiting: Value = serde_json::from_slice(&dry.stdout).expect("JSON");
    assert_eq!(list(&waiting["runs"]).len(), runs.len());
    assert!(server.log().is_empty(), "a dry run sends nothing");
    let sync = || {
        server
            .novic(dir.path(), &["sync", "store"])
            .output()
            .expect("novic starts")
    };
    let output = sync();
    assert!(output.status.success(), "{}", said(&output));
    let found = server.runs();
    for (name, run) in &runs {
        compare(&found[key_of(run)], run, name);
    }
    let requests = server.log().len();
    let again = sync();
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(server.log().len(), requests, "a second time sends nothing");
    let config = server.log().into_iter().map(|entry| entry.to_string());
    assert!(!config.collect::<String>().contains(super::server::KEY));
    assert_eq!(plain("\u{1b}[1mx"), "x");
}
