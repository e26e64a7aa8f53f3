//! `novic annotate`: files, and a model that is asked one by one, against a
//! service with faults.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::folder::{Call, Folder};
use crate::llm_server::{LlmServer, Reaction, Received, answer, answer_that_ends};

/// What must appear nowhere.
pub const KEY: &str = "sk-very-secret-0123456789";

/// A folder with a new state `state.json` of a few images, and predictions of
/// `count` nouns for each.
pub fn begun(count: usize, images: usize) -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path("images")).unwrap();
    let names: Vec<String> = (0..images).map(|at| format!("image{at}.png")).collect();
    for (name, demo) in names.iter().zip(["fox", "key", "snail"].iter().cycle()) {
        let demo = folder.path("demo").join(format!("{demo}.png"));
        fs::copy(demo, folder.path("images").join(name)).unwrap();
    }
    let nouns = |image: usize| -> Vec<String> {
        let noun = |at| format!("thing {} {at}", ["fox", "key", "snail"][image % 3]);
        (0..count).map(noun).collect()
    };
    let lists: Vec<_> = (0..images).map(nouns).collect();
    let predictions = json!({"samples": names, "predictions": {"beam": {"pred": lists}}});
    fs::write(folder.path("p.json"), predictions.to_string()).unwrap();
    let new = ["annotate", "gpt", "new", "state.json", "--images", "images"];
    folder
        .call(&[&new[..], &["--model", "test-model"]].concat())
        .expect(0);
    folder
}

/// A command of `novic annotate gpt` that asks, with the key in the environment.
pub fn gpt(folder: &Folder, server: &LlmServer, what: &str, more: &[&str]) -> Command {
    let base = server.base_url();
    let mut arguments = vec![
        "annotate",
        "gpt",
        what,
        "state.json",
        "--predictions",
        "p.json",
    ];
    arguments.extend(["--topk", "99", "--base-url", &base]);
    arguments.extend(["--backoff-base", "0.001", "--price", "1,2"]);
    arguments.extend(more);
    let mut command = folder.command(&arguments);
    command.env("OPENAI_API_KEY", KEY);
    command
}

pub fn run(folder: &Folder, server: &LlmServer, more: &[&str]) -> Call {
    Call::from(gpt(folder, server, "run", more).output().unwrap())
}

pub fn state(folder: &Folder) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.path("state.json")).unwrap()).unwrap()
}

/// The nouns that a request asks about.
pub fn asked(body: &Value) -> Vec<String> {
    let parts = body["messages"][1]["content"].as_array().expect("parts");
    let url = parts[0]["image_url"]["url"].as_str().unwrap();
    assert!(url.starts_with("data:image/jpeg;base64,/9j/"), "{url:.40}");
    let lines = parts[1]["text"].as_str().unwrap().split('\n').zip(1..);
    let noun = |(line, number): (&str, usize)| {
        let prefix = format!("{number}) ");
        line.strip_prefix(&prefix)
            .expect("a numbered line")
            .to_owned()
    };
    lines.map(noun).collect()
}

/// What the model always says about a noun.
pub fn is_right(noun: &str) -> bool {
    noun.bytes().map(u32::from).sum::<u32>().is_multiple_of(2)
}

/// An answer in plain text.
pub fn text(nouns: &[String]) -> String {
    let mut text = "A scene.\n".to_owned();
    for (noun, number) in nouns.iter().zip(1..) {
        let word = if is_right(noun) {
            "Correct"
        } else {
            "Incorrect"
        };
        text.push_str(&format!("\n{number}) {noun} - {word}"));
    }
    text
}

/// An answer in the form that the request asks for.
pub fn reply(body: &Value) -> Value {
    let nouns = asked(body);
    if body["response_format"].is_null() {
        return answer(&text(&nouns));
    }
    let verdicts: Vec<Value> = nouns
        .iter()
        .zip(1..)
        .map(|(noun, number)| {
            let verdict = if is_right(noun) {
                "correct"
            } else {
                "incorrect"
            };
            json!({"number": number, "noun": noun, "verdict": verdict})
        })
        .collect();
    answer(&json!({"description": "A scene.", "verdicts": verdicts}).to_string())
}

/// Every pair has exactly the opinions that it needs, and they are right.
#[track_caller]
pub fn assert_complete(folder: &Folder, pairs: usize) {
    let state = state(folder);
    let mut found = 0;
    for (image, nouns) in state["annotations"].as_object().unwrap() {
        for (noun, opinions) in nouns.as_object().unwrap() {
            let expected = vec![is_right(noun); 3];
            assert_eq!(opinions, &json!(expected), "{image}: {noun}");
            found += 1;
        }
    }
    assert_eq!(found, pairs);
    assert_eq!(state["pending"]["annotate_batch"], json!([]));
}

/// The key is in no file.
pub fn assert_secret(folder: &Folder) {
    let mut folders = vec![folder.path(".")];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                let found = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
                assert!(!found, "{}", path.display());
            }
        }
    }
}

/// Exports replace what exports wrote, and nothing of people's: whatever its
/// file is called, unless nothing is lost.
fn expect_people_kept(folder: &Folder, exported: &str) {
    let models = fs::read_to_string(folder.path(exported)).unwrap();
    let export = |more: &[&str]| {
        let arguments = ["annotate", "export", "state.json", "--out", "labels.json"];
        folder.call(&[&arguments, more].concat())
    };
    let labels = folder.path("labels.json");
    let refused = |what: &str| {
        let before = fs::read_to_string(&labels).unwrap();
        let call = export(&[]).expect(2);
        let told = call.err.contains("annotations of people") && call.err.contains("--force");
        assert!(told, "{what}: {}", call.err);
        assert_eq!(fs::read_to_string(&labels).unwrap(), before, "{what}");
    };
    // Judged otherwise by an earlier export.
    let mut other: Value = serde_json::from_str(&models).unwrap();
    for categories in other.as_object_mut().unwrap().values_mut() {
        let right = categories["correct_primary"].take();
        categories["correct_primary"] = categories["incorrect"].take();
        categories["incorrect"] = right;
    }
    fs::write(&labels, other.to_string()).unwrap();
    export(&[]).expect(0);
    assert_eq!(fs::read_to_string(&labels).unwrap(), models);
    // By people: secondary things, the order of their files, their journal.
    let mut secondary = other.clone();
    let first = secondary
        .as_object_mut()
        .unwrap()
        .values_mut()
        .next()
        .unwrap();
    first["correct_secondary"] = json!(["thing"]);
    fs::write(&labels, secondary.to_string()).unwrap();
    refused("secondary");
    let order: Vec<Value> = other
        .as_object()
        .unwrap()
        .values()
        .map(|categories| {
            let names = [
                "close_primary",
                "close_secondary",
                "correct_primary",
                "correct_secondary",
                "incorrect",
            ];
            names
                .iter()
                .map(|name| (name.to_string(), categories[*name].clone()))
                .collect()
        })
        .collect();
    let people: Value = other
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .zip(order)
        .collect();
    fs::write(&labels, people.to_string()).unwrap();
    refused("order");
    fs::write(&labels, other.to_string()).unwrap();
    let journal = folder.path("labels.json.journal");
    let line = json!({"do": "label", "number": 1, "group": 1, "at": 1, "image": "a", "noun": "b",
        "category": "incorrect", "previous": null});
    fs::write(
        &journal,
        format!("{}\n{line}\n", json!({"novic": "annotations", "format": 1})),
    )
    .unwrap();
    refused("journal");
    // Nothing is lost where everything stays.
    fs::write(&labels, secondary.to_string()).unwrap();
    export(&["--merge-into", "labels.json"]).expect(0);
    let merged = fs::read_to_string(&labels).unwrap();
    assert!(merged.contains("thing"));
    export(&["--merge-into", "labels.json"]).expect(0);
    assert_eq!(fs::read_to_string(&labels).unwrap(), merged);
    export(&["--force"]).expect(0);
    assert_eq!(fs::read_to_string(&labels).unwrap(), models);
}

#[test]
fn a_model_annotates_a_directory() {
    let folder = begun(5, 3);
    let server = LlmServer::start(|request| {
        assert_eq!(request.path, "/v1/chat/completions");
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        Reaction::Answer(reply(&request.body))
    });
    // Says what it takes without asking.
    let estimate = Call::from(
        gpt(&folder, &server, "estimate", &["--json", "--show", "1"])
            .env_remove("OPENAI_API_KEY")
            .output()
            .unwrap(),
    )
    .expect(0);
    let found: Value = serde_json::from_str(&estimate.out).unwrap();
    assert_eq!(found["estimate"]["open_pairs"], 15);
    assert_eq!(
        found["estimate"]["requests"],
        json!({"least": 9, "most": 15})
    );
    assert!(estimate.out.contains("bytes>"), "{}", estimate.out);
    assert!(server.received().is_empty());
    run(&folder, &server, &[]).expect(0);
    assert_complete(&folder, 15);
    assert_eq!(server.received().len(), 9);
    assert_eq!(state(&folder)["_metrics"]["usage"]["requests"], 9);
    // Nothing is open: nothing is asked.
    run(&folder, &server, &[]).expect(0);
    assert_eq!(server.received().len(), 9);
    let out = "images/_class_annotations_gpt.json";
    folder
        .call(&["annotate", "export", "state.json", "--out", out])
        .expect(0);
    folder
        .call(&[
            "annotate",
            "check",
            out,
            "--images",
            "images",
            "--predictions",
            "p.json",
            "-k",
            "9",
        ])
        .expect(0);
    expect_people_kept(&folder, out);
    let status = folder
        .call(&["annotate", "status", "state.json", out, "--json"])
        .expect(0);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status[0]["open_pairs"], 0);
    assert_eq!(
        status[0]["categories"]["incorrect"],
        status[1]["categories"]["incorrect"]
    );
    assert_secret(&folder);
}

#[test]
fn a_service_with_faults_gives_the_same_opinions() {
    let folder = begun(6, 3);
    let mut number = 0;
    let server = LlmServer::start(move |request| {
        number += 1;
        let nouns = asked(&request.body);
        let mut nested = reply(&request.body);
        nested["usage"]["completion_tokens_details"] = json!({"reasoning_tokens": 3, "odd": null});
        let said = nested["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        match number {
            1 => Reaction::Status(429, vec![("Retry-After", "0.05".into())], "{}".into()),
            2 => Reaction::error(500, "server_error", "sorry"),
            3 => Reaction::Silence(Duration::from_millis(700)),
            4 => Reaction::Cut,
            5 => Reaction::Status(200, Vec::new(), "<html>no JSON".into()),
            6 => Reaction::Answer(answer(&said[..said.len() / 2])),
            7 => Reaction::Answer(answer(&text(&nouns[1..]))),
            8 => Reaction::Answer(answer_that_ends(&said, "length")),
            9 => Reaction::Answer(answer_that_ends("", "content_filter")),
            14 => Reaction::Answer(json!({"choices": null})),
            17 => Reaction::Answer(json!({"error": {"message": "bad"}})),
            _ => Reaction::Answer(nested),
        }
    });
    run(
        &folder,
        &server,
        &["--concurrency", "1", "--timeout", "0.5"],
    )
    .expect(0);
    assert_complete(&folder, 18);
    let received = server.received();
    // The wait that the service asks for is kept.
    assert!(received[1].at - received[0].at >= Duration::from_millis(50));
    // Answers of no use have counted, nested usage is read.
    let usage = &state(&folder)["_metrics"]["usage"];
    assert_eq!(usage["requests"], received.len() - 5);
    assert!(usage.get("completion_tokens_details").is_none());
    assert_secret(&folder);
}

#[test]
fn what_cannot_be_had_is_given_up_and_named() {
    let folder = begun(2, 3);
    let server = LlmServer::start(|request| {
        let nouns = asked(&request.body);
        if nouns[0].contains("fox") {
            return Reaction::Answer(json!({"choices": [{"finish_reason": "stop",
                "message": {"content": null, "refusal": "I cannot\u{1b}[31m help."}}]}));
        }
        if nouns[0].contains("key") {
            return Reaction::Answer(answer("Nothing useful."));
        }
        Reaction::Answer(reply(&request.body))
    });
    let ended = run(&folder, &server, &["--json"]).expect(3);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let given_up = report["given_up"].as_array().unwrap();
    assert_eq!(given_up.len(), 4);
    for pair in given_up {
        let refused = pair["noun"].as_str().unwrap().contains("fox");
        let class = if refused { "refused" } else { "invalid" };
        assert_eq!(pair["why"]["class"], class, "{pair}");
    }
    assert!(!ended.out.contains('\u{1b}'));
    let status = folder.call(&["annotate", "status", "state.json"]).expect(0);
    assert!(
        status.out.contains("given up: refused by the model"),
        "{}",
        status.out
    );
    // They are asked about again only if somebody wants that.
    let before = server.received().len();
    run(&folder, &server, &[]).expect(3);
    assert_eq!(server.received().len(), before);
    let kind = LlmServer::start(|request| Reaction::Answer(reply(&request.body)));
    run(&folder, &kind, &["--retry-failed"]).expect(0);
    assert_complete(&folder, 6);
}

#[test]
fn what_cannot_succeed_ends_at_once_with_its_exit_code() {
    let folder = begun(2, 3);
    let leak = format!("Incorrect API key provided: {KEY}");
    for (status, code, message, exit) in [
        (401, "invalid_api_key", leak.as_str(), 4),
        (429, "insufficient_quota", "pay first", 5),
        (404, "model_not_found", "there is no test-model", 2),
    ] {
        let (code, message) = (code.to_owned(), message.to_owned());
        let server = LlmServer::start(move |_| Reaction::error(status, &code, &message));
        let ended = run(&folder, &server, &["--concurrency", "1"]).expect(exit);
        assert!(!(ended.err + &ended.out).contains(KEY), "{status}");
        assert!(server.received().len() <= 3, "{status}");
    }
    let server = LlmServer::start(|request| Reaction::Answer(reply(&request.body)));
    // 150 tokens an answer; the worst case has to fit.
    for limit in [
        ["--max-requests", "2"],
        ["--max-cost", "0.0018"],
        ["--max-tokens", "1500"],
    ] {
        let ended = run(
            &folder,
            &server,
            &[&limit[..], &["--concurrency", "1"]].concat(),
        )
        .expect(6);
        assert!(ended.err.contains("the limit of"), "{}", ended.err);
    }
    assert!(server.received().len() < 9);
    run(&folder, &server, &[]).expect(0);
    assert_eq!(server.received().len(), 9);
    assert_complete(&folder, 6);
    assert_secret(&folder);
}

#[test]
fn another_prompt_and_a_foreign_state_are_noticed() {
    let folder = begun(1, 2);
    let server = LlmServer::start(|request| Reaction::Answer(reply(&request.body)));
    run(
        &folder,
        &server,
        &["--max-requests", "1", "--concurrency", "1"],
    )
    .expect(6);
    let other = ["--instruction", "Judge the nouns."];
    let refused = run(&folder, &server, &other).expect(2);
    assert!(
        refused.err.contains("--allow-prompt-change"),
        "{}",
        refused.err
    );
    run(
        &folder,
        &server,
        &[&other[..], &["--allow-prompt-change"]].concat(),
    )
    .expect(0);
    let text = fs::read_to_string(folder.path("state.json")).unwrap();
    fs::write(folder.path("state.json"), text.replace("0.78", "0.8")).unwrap();
    let foreign = run(&folder, &server, &[]).expect(1);
    assert!(foreign.err.contains("journal"), "{}", foreign.err);
}

#[test]
fn killed_again_and_again_nothing_is_paid_for_twice() {
    const KILLS: usize = 5;
    const CONCURRENCY: usize = 3;
    let folder = begun(4, 12);
    let answered = Arc::new(Mutex::new(0));
    let counter = answered.clone();
    let server = LlmServer::start(move |request: &Received| {
        *counter.lock().unwrap() += 1;
        Reaction::Answer(reply(&request.body))
    });
    let needed = 12 * 3;
    let more = ["--concurrency", "3", "--rpm", "3000"];
    let mut killed = 0;
    for round in 1..=KILLS {
        let mut child = gpt(&folder, &server, "run", &more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let target = needed * round / (KILLS + 1);
        let since = Instant::now();
        while *answered.lock().unwrap() < target
            && child.try_wait().unwrap().is_none()
            && since.elapsed() < Duration::from_secs(60)
        {
            thread::sleep(Duration::from_millis(1));
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 0, "nothing lived long enough to be killed");
    // What the journal knows can be looked at before anybody goes on.
    folder.call(&["annotate", "status", "state.json"]).expect(0);
    run(&folder, &server, &more).expect(0);
    assert_complete(&folder, 48);
    let paid = *answered.lock().unwrap();
    assert!(
        paid <= needed + killed * CONCURRENCY,
        "{paid} answers for {needed} that were needed, after {killed} kills"
    );
    // Every answer is in the journal once.
    let journal = fs::read_to_string(folder.path("state.json.journal")).unwrap();
    let answers = journal
        .lines()
        .filter(|line| line.contains(r#""line":"answer""#))
        .count();
    assert_eq!(state(&folder)["_metrics"]["usage"]["requests"], answers);
}

#[test]
fn files_of_several_people_are_compared_and_merged() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| fs::write(folder.path(name), text).unwrap();
    write(
        "a.json",
        r#"{"b.png": {"incorrect": ["x", "y"]}, "a.png": {"correct_primary": ["z"]}}"#,
    );
    write(
        "b.json",
        r#"{"b.png": {"close_primary": ["x"], "incorrect": ["y", "w"]}}"#,
    );
    let refused = folder
        .call(&["annotate", "merge", "a.json", "b.json", "-o", "c.json"])
        .expect(1);
    assert!(
        refused.err.contains("close_primary in b.json"),
        "{}",
        refused.err
    );
    assert!(!folder.path("c.json").exists());
    let merge = [
        "annotate", "merge", "a.json", "b.json", "-o", "c.json", "--policy", "lower",
    ];
    folder.call(&merge).expect(0);
    let merged = fs::read_to_string(folder.path("c.json")).unwrap();
    assert!(
        merged.starts_with("{\n  \"a.png\": {\n    \"incorrect\": [],\n"),
        "{merged}"
    );
    assert!(
        merged.contains("\"incorrect\": [\"x\", \"y\", \"w\"]"),
        "{merged}"
    );
    // What is there already is not overwritten by chance.
    folder.call(&merge).expect(2);
    let diff = folder
        .call(&["annotate", "diff", "a.json", "b.json", "--json"])
        .expect(0);
    let diff: Value = serde_json::from_str(&diff.out).unwrap();
    assert_eq!((&diff["both"], &diff["agreed"]), (&json!(2), &json!(1)));
    let check = folder
        .call(&["annotate", "check", "a.json", "--images", "demo"])
        .expect(1);
    assert!(
        check.out.contains("annotated images that are missing"),
        "{}",
        check.out
    );
    write("broken.json", r#"{"a.png": {"incorrect": "x"}}"#);
    let broken = folder.call(&["annotate", "check", "broken.json"]).expect(1);
    assert!(
        broken.err.contains("broken.json is not an annotation file"),
        "{}",
        broken.err
    );
    let counts: HashMap<String, Value> = serde_json::from_str(&merged).unwrap();
    assert_eq!(counts.len(), 2);
}
