//! Settings of the connection and of metrics, and what they make of a run.

use serde_json::{Value, json};

use super::server::{Server, TlsFront, said, tool};

/// A short run.
fn script(settings: &Value, run: &Value, rows: &[Value]) -> Value {
    let events: Vec<Value> = rows
        .iter()
        .map(|values| json!({ "log": { "values": values } }))
        .collect();
    let mut all = json!({
        "settings": { "flush_interval": 0.1, "retry_min": 0.05, "finish_timeout": 5 },
        "run": { "id": "r1", "project": "p", "entity": "tester" },
        "events": events,
    });
    for (part, more) in [("settings", settings), ("run", run)] {
        let fields = more.as_object().into_iter().flatten();
        for (name, value) in fields {
            all[part][name] = value.clone();
        }
    }
    all
}

#[test]
fn metrics_are_defined_and_summed_up() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().expect("a folder");
    let rules = [
        "loss by sample min last",
        "val/* by epoch max",
        "noisy none",
    ];
    let rows = [
        json!({ "epoch": 1, "sample": 10, "loss": 3.0 }),
        json!({ "loss": 1.0, "val/top1": 40.0, "noisy": 5 }),
        json!({ "loss": 2.0, "val/top1": 30.0, "top1": 7.0 }),
    ];
    let script = script(&json!({ "metrics": rules }), &json!({}), &rows);
    let output = server.replay(dir.path(), &script);
    assert!(output.status.success(), "{}", said(&output));
    let run = &server.runs()["tester/p/r1"];
    assert_eq!(
        run["config"]["_wandb"]["value"]["m"],
        json!([
            { "1": "sample", "6": [3], "7": [] },
            { "1": "loss", "5": 1, "6": [1, 3], "7": [1, 5] },
            { "1": "epoch", "6": [3], "7": [] },
            { "2": "val/*", "5": 3, "6": [1], "7": [2] },
            { "1": "noisy", "6": [3], "7": [6] },
        ])
    );
    let summary = &run["summary"];
    assert_eq!(summary["loss"], json!({ "min": 1.0, "last": 2.0 }));
    assert_eq!(summary["val/top1"], json!({ "max": 40.0 }));
    assert_eq!(summary["top1"], 7.0);
    assert!(summary.get("noisy").is_none(), "{summary}");
    // Rows have what their metrics are shown over.
    let last = &run["history"][2];
    assert_eq!((&last["sample"], &last["epoch"]), (&json!(10), &json!(1)));
    // A rule that is none is told.
    let wrong = json!({ "metrics": ["loss smallest"] });
    let output = server.replay(dir.path(), &self::script(&wrong, &json!({}), &rows));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn certificates_of_a_file_are_trusted() {
    let server = Server::start(&json!([]));
    let front = TlsFront::start(&server);
    let dir = tempfile::tempdir().expect("a folder");
    let rows = [json!({ "loss": 1.0 })];
    let replay = |settings: Value, id: &str| {
        let script = script(&settings, &json!({ "id": id }), &rows);
        let file = dir.path().join("script.json");
        std::fs::write(&file, script.to_string()).expect("a script");
        let arguments = ["replay", "script.json", "--store", "store"];
        let mut command = server.novic(dir.path(), &arguments);
        command.env("WANDB_BASE_URL", &front.url);
        command.output().expect("novic starts")
    };
    let without = replay(json!({ "finish_timeout": 1 }), "r1");
    assert!(
        without.status.success() && said(&without).contains("certificate"),
        "{}",
        said(&without)
    );
    assert!(server.runs().get("tester/p/r1").is_none());
    let ca = tool("tls/ca.pem");
    let with = replay(json!({ "ca_file": ca }), "r2");
    assert!(with.status.success(), "{}", said(&with));
    assert_eq!(server.runs()["tester/p/r2"]["state"], "finished");
    // A file without any is a warning, and the run goes on.
    let wrong = replay(json!({ "ca_file": tool("tls_front.py") }), "r3");
    assert!(
        wrong.status.success() && said(&wrong).contains("tracking.wandb.ca_file"),
        "{}",
        said(&wrong)
    );
}
