//! Reading runs back: the questions of the recording, asked by ours.

use novic::tracking::wandb::{RemoteRun, RunQuery};
use serde_json::{Map, Value, json};

use super::server::Server;
use super::{final_runs, recordings};

/// A client for a server that takes every key of this length.
fn client(server: &Server) -> novic::tracking::wandb::Client {
    use novic::tracking::wandb::{ApiKey, Client};
    let key = ApiKey::new(super::server::KEY);
    Client::new(&server.url, None, key).expect("a client")
}

/// A server with runs of a recording's kind: those of `final_runs`, and one
/// that does not fulfil its conditions.
fn server_with(runs: &[Value]) -> Server {
    let server = Server::start(&json!([]));
    for run in runs {
        let dir = tempfile::tempdir().expect("a folder");
        let rows = run["history"].as_array().cloned().unwrap_or_default();
        let events = rows.iter().map(|row| {
            let mut values = row.as_object().cloned().unwrap_or_default();
            let step = values.remove("_step");
            json!({ "log": { "step": step, "values": values } })
        });
        let config = run["config"].as_object().cloned().unwrap_or_default();
        let config: Map<String, Value> = config
            .iter()
            .filter(|(key, _)| *key != "_wandb")
            .map(|(key, entry)| (key.clone(), entry["value"].clone()))
            .collect();
        let mut events: Vec<Value> = events.collect();
        events.push(json!({ "exit": run["exitcode"] }));
        let script = json!({
            "settings": { "flush_interval": 0.2 },
            "run": {
                "id": run["name"], "project": run["project"], "entity": run["entity"],
                "config": config,
            },
            "events": events,
        });
        server.replay(dir.path(), &script);
    }
    server
}

#[test]
fn the_questions_of_the_recording_have_its_answers() {
    let mut asked = 0;
    for (name, recording) in recordings() {
        let requests = recording["requests"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let lists: Vec<&Value> = requests
            .iter()
            .filter(|request| request["variables"].get("filters").is_some())
            .collect();
        if lists.is_empty() {
            continue;
        }
        // The recording removes a run in the end; it is one that fails the
        // conditions.
        let mut runs = final_runs(&recording);
        let mut other = runs[0].clone();
        other["name"] = json!("another1");
        other["exitcode"] = json!(1);
        runs.push(other);
        let server = server_with(&runs);
        let client = client(&server);
        for request in lists {
            asked += 1;
            let variables = &request["variables"];
            let text = variables["filters"].as_str().unwrap_or("{}");
            let query = RunQuery {
                entity: variables["entity"].as_str().map(str::to_owned),
                project: variables["project"].as_str().expect("a project").to_owned(),
                filters: serde_json::from_str(text).expect("filters"),
                order: variables["order"].as_str().map(str::to_owned),
            };
            let found = client.runs(&query).expect("runs");
            let edges = request["response"]["data"]["project"]["runs"]["edges"].as_array();
            let nodes: Vec<Value> = edges
                .expect("runs")
                .iter()
                .map(|e| e["node"].clone())
                .collect();
            let ids = |nodes: &[Value]| -> Vec<String> {
                nodes
                    .iter()
                    .map(|n| n["name"].as_str().unwrap_or("?").to_owned())
                    .collect()
            };
            let found_ids: Vec<String> = found.iter().map(|run| run.id.clone()).collect();
            assert_eq!(found_ids, ids(&nodes), "{name}");
            for (run, node) in found.iter().zip(&nodes) {
                check_run(&client, &query, run, node, &runs, &name);
            }
        }
        let unknown = client.run(None, "no such project", "x");
        assert!(unknown.is_err(), "{name}: a run that is not there");
    }
    assert!(asked > 0, "no recording lists runs");
}

fn check_run(
    client: &novic::tracking::wandb::Client,
    query: &RunQuery,
    run: &RemoteRun,
    node: &Value,
    runs: &[Value],
    name: &str,
) {
    assert_eq!(node["state"], run.state, "{name}");
    let entity = query.entity.as_deref();
    let again = client
        .run(entity, &query.project, &run.id)
        .expect("the run");
    assert_eq!(again, *run, "{name}");
    let state = runs
        .iter()
        .find(|state| state["name"] == run.id)
        .expect("its state");
    for (key, value) in state["config"].as_object().expect("a configuration") {
        if key != "_wandb" {
            assert_eq!(run.config.get(key), value.get("value"), "{name}: {key}");
        }
    }
    let expected = state["history"].as_array().expect("rows");
    let rows = client
        .history(entity, &query.project, run, &[])
        .expect("rows");
    assert_eq!(rows.len(), expected.len(), "{name}");
    for (row, expected) in rows.iter().zip(expected) {
        let expected = expected.as_object().expect("a row");
        for (key, value) in expected.iter().filter(|(key, _)| !key.starts_with('_')) {
            assert_eq!(row[key].as_f64(), value.as_f64(), "{name}: {key}");
        }
        assert_eq!(row["_step"], expected["_step"], "{name}");
    }
    // Rows that have all keys.
    let keys: Vec<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
    for key in keys {
        let with = client
            .history(entity, &query.project, run, &[&key])
            .expect("rows");
        let has = rows.iter().filter(|row| row.contains_key(&key)).count();
        assert_eq!(with.len(), has, "{name}: {key}");
    }
    let files = client
        .files(entity, &query.project, &run.id, &[])
        .expect("files");
    let metadata = files.iter().find(|file| file.name == "wandb-metadata.json");
    let metadata = metadata.expect("the metadata");
    let content = client.file_content(metadata).expect("its content");
    assert_eq!(content.len() as u64, metadata.bytes, "{name}");
    let metadata: Value = serde_json::from_slice(&content).expect("JSON");
    assert!(
        metadata["host"].is_string() && metadata["args"].is_array(),
        "{name}"
    );
}

/// A history longer than a page, with holes between its steps.
#[test]
fn long_histories_are_read_completely() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let script = json!({
        "settings": { "flush_interval": 0.2, "max_request_bytes": 20_000 },
        "run": { "id": "long", "project": "p", "entity": "tester" },
        "events": [
            { "repeat": 2500 },
            { "log": { "step": 9000, "values": { "i": -1 } } },
            { "log": { "values": { "i": -2 } } },
        ],
    });
    server.replay(dir.path(), &script);
    let client = client(&server);
    let run = client.run(Some("tester"), "p", "long").expect("the run");
    let rows = client
        .history(Some("tester"), "p", &run, &["i"])
        .expect("rows");
    assert_eq!(rows.len(), 2502);
    assert_eq!(
        (rows[2499]["i"].as_i64(), rows[2501]["_step"].as_i64()),
        (Some(2499), Some(9001))
    );
    let largest = server
        .log()
        .iter()
        .filter(|entry| entry["kind"] == "file_stream")
        .filter_map(|entry| entry["bytes"].as_u64())
        .max();
    assert!(largest.is_some_and(|bytes| bytes <= 20_000), "{largest:?}");
}

#[test]
fn tables_are_made_of_runs_at_the_service() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let stores = crate::golden::json("reports", "runs.json");
    let mut models = Vec::new();
    for run in stores["main"].as_array().expect("runs") {
        let action = run["config"]["action"].as_str().expect("an action");
        if !action.starts_with("eval") || run["state"] != "finished" {
            continue;
        }
        let rows = run["history"].as_array().expect("a history");
        let events = rows.iter().map(|row| {
            let mut values = row.as_object().cloned().expect("a row");
            if let (Some(folder), Some(name)) = (
                values.get("Eval/model_dir").and_then(Value::as_str),
                values.get("Eval/model_name").and_then(Value::as_str),
            ) {
                models.push(format!("{folder}/{name}"));
            }
            let step = values.remove("_step");
            json!({ "log": { "step": step, "values": values } })
        });
        let script = json!({
            "settings": { "flush_interval": 0.1 },
            "run": {
                "id": run["id"], "project": "novic", "entity": "tester", "config": run["config"],
            },
            "events": events.collect::<Vec<_>>(),
        });
        let output = server.replay(dir.path(), &script);
        assert!(output.status.success(), "{}", super::server::said(&output));
    }
    assert!(!models.is_empty());

    let words = ["format-wandb", "--wandb", "--type", "eval_gen_cls_v1"];
    let table = |more: &[&str]| {
        let words = [&words[..], more].concat();
        server.novic(dir.path(), &words)
    };
    let output = table(&["tracking.entity=tester"]).output();
    let output = output.expect("novic starts");
    assert!(output.status.success(), "{}", super::server::said(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    let shown: Vec<&str> = printed
        .split(['|', ' ', '\n'])
        .filter(|word| word.starts_with("ovod_"))
        .collect();
    assert!(!shown.is_empty(), "{printed}");
    assert!(
        shown
            .iter()
            .all(|shown| models.iter().any(|model| model == shown)),
        "{printed}"
    );
    let refused = table(&["tracking.entity=tester"])
        .env_remove("WANDB_API_KEY")
        .env("NETRC", dir.path().join("none"))
        .output()
        .expect("novic starts");
    assert_eq!(refused.status.code(), Some(4));
}
