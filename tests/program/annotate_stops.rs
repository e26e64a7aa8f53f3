//! `novic annotate gpt`: Ctrl-C, the log, prices and all that is configured.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::annotate::{KEY, asked, assert_complete, assert_secret, begun, gpt, reply, run, state};
use crate::folder::{Call, Folder, interrupt};
use crate::llm_server::{LlmServer, Reaction, answer, answer_that_ends};

/// Waits until something is so, at most a minute.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let since = Instant::now();
    while !what() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it never became so"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

fn begin(folder: &Folder, server: &LlmServer, more: &[&str]) -> Child {
    gpt(folder, server, "run", more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Presses Ctrl-C, and waits until the program says that it has heard of it.
fn interrupt_heard(child: &mut Child) {
    interrupt(child);
    let mut said = Vec::new();
    while !said.ends_with(b"stops at once\n") {
        let mut byte = [0];
        let err = child.stderr.as_mut().unwrap();
        let said_so_far = || String::from_utf8_lossy(&said).into_owned();
        assert_eq!(err.read(&mut byte).unwrap(), 1, "{}", said_so_far());
        said.push(byte[0]);
    }
}

fn end(child: Child) -> Call {
    Call::from(child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_waits_for_answers_in_flight_and_nothing_is_paid_twice() {
    let folder = begun(4, 12);
    // Answers wait until the test has pressed Ctrl-C.
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (held, answered) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let counter = answered.clone();
    let server = LlmServer::start(move |request| {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        if number > 5 {
            let (is_open, changed) = &*held;
            let is_open = is_open.lock().unwrap();
            drop(changed.wait_while(is_open, |is_open| !*is_open).unwrap());
        }
        Reaction::Answer(reply(&request.body))
    });
    let more = ["--concurrency", "3"];
    let mut child = begin(&folder, &server, &more);
    until(|| server.received().len() >= 8);
    // The answers come afterwards.
    interrupt_heard(&mut child);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let stopped = end(child).expect(130);
    assert!(stopped.err.contains("interrupted"), "{}", stopped.err);
    // Nothing new was sent, and what was in flight has counted.
    let paid = server.received().len();
    assert_eq!(paid, 8);
    assert_eq!(state(&folder)["_metrics"]["usage"]["requests"], paid);
    run(&folder, &server, &more).expect(0);
    assert_complete(&folder, 48);
    assert_eq!(server.received().len(), 36);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_loses_nothing_that_was_accepted() {
    let folder = begun(4, 6);
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = is_slow.clone();
    let mut number = 0;
    let server = LlmServer::start(move |request| {
        number += 1;
        match number > 4 && slow.load(Ordering::SeqCst) {
            true => Reaction::Silence(Duration::from_secs(60)),
            false => Reaction::Answer(reply(&request.body)),
        }
    });
    let mut child = begin(&folder, &server, &["--concurrency", "1"]);
    until(|| server.received().len() == 5);
    interrupt_heard(&mut child);
    let since = Instant::now();
    // Signals that follow each other closely are one.
    while child.try_wait().unwrap().is_none() {
        interrupt(&child);
        thread::sleep(Duration::from_millis(20));
    }
    end(child).expect(130);
    assert!(since.elapsed() < Duration::from_secs(5));
    // The service that was left waiting is another one now.
    is_slow.store(false, Ordering::SeqCst);
    let kind = LlmServer::start(|request| Reaction::Answer(reply(&request.body)));
    run(&folder, &kind, &[]).expect(0);
    assert_complete(&folder, 24);
    assert_eq!(kind.received().len(), 18 - 4);
}

#[test]
fn every_request_is_in_the_log_and_the_key_is_not() {
    let folder = begun(4, 2);
    let mut number = 0;
    let server = LlmServer::start(move |request| {
        number += 1;
        match number {
            1 => Reaction::Status(429, vec![("Retry-After", "0.01".into())], "{}".into()),
            2 => Reaction::error(500, "server_error", &format!("what is {KEY}?")),
            3 => Reaction::Answer(answer("Nothing useful.")),
            4 => Reaction::Status(200, Vec::new(), "<html>".into()),
            _ => Reaction::Answer(reply(&request.body)),
        }
    });
    let more = ["--concurrency", "1", "--log-bodies", "bodies"];
    run(&folder, &server, &more).expect(0);
    assert_complete(&folder, 8);
    let read = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.path(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let log = read("state.json.log");
    let received = server.received();
    assert_eq!(log.len(), received.len());
    let classes: Vec<&str> = log
        .iter()
        .map(|line| line["class"].as_str().unwrap())
        .collect();
    assert_eq!(classes[..4], ["rate", "transient", "invalid", "transient"]);
    assert!(classes[4..].iter().all(|class| *class == "answer"));
    assert_eq!(log[0]["try"], 1);
    assert_eq!(log[1]["try"], 2);
    assert_eq!(log[0]["status"], 429);
    assert_eq!(log[3]["status"], Value::Null);
    for (line, request) in log.iter().zip(&received) {
        assert_eq!(line["nouns"], json!(asked(&request.body)));
        assert_eq!(line["request"], "req-1", "{line}");
        assert!(line["latency_ms"].is_u64() && line["image"].is_string());
    }
    let paid = log
        .iter()
        .map(|line| line["cost"].as_f64().unwrap())
        .sum::<f64>();
    assert!((paid - state(&folder)["_metrics"]["cost"].as_f64().unwrap()).abs() < 1e-12);
    assert_eq!(log[4]["usage"]["prompt_tokens"], 100);
    assert!(
        !fs::read_to_string(folder.path("state.json.log"))
            .unwrap()
            .contains("base64")
    );
    // Whole bodies, in order, only because they were asked for.
    let mut bodies: Vec<_> = fs::read_dir(folder.path("bodies"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    bodies.sort();
    assert_eq!(bodies.len(), received.len());
    let body = |at: usize| -> Value {
        serde_json::from_str(&fs::read_to_string(&bodies[at]).unwrap()).unwrap()
    };
    assert_eq!(body(3)["response"], "<html>");
    assert_eq!(body(4)["request"], received[4].body);
    assert_eq!(body(4)["response"]["model"], "test-model-0");
    assert_secret(&folder);

    let quiet = begun(1, 1);
    run(&quiet, &server, &["--log", "none"]).expect(0);
    assert!(!quiet.path("state.json.log").exists());
    run(&quiet, &server, &["--log", "here.log", "--retry-failed"]).expect(0);
    assert!(quiet.path("here.log").exists());
}

#[test]
fn what_is_configured_holds_and_options_win() {
    let folder = begun(2, 2);
    let server = LlmServer::start(|request| {
        let body = &request.body;
        if body.get("max_tokens").is_some() {
            return Reaction::error(400, "unsupported", "'max_tokens' is not supported");
        }
        assert_eq!(body["max_completion_tokens"], 300);
        assert_eq!(body["seed"], 7);
        assert_eq!(body["top_k"], 5);
        assert_eq!(body["messages"][0]["content"], "Judge them.");
        Reaction::Answer(reply(body))
    });
    let config = format!(
        "[annotate.gpt]\nstate = \"state.json\"\npredictions = [\"p.json\"]\ntopk = 99\n\
         base_url = \"{}\"\nanswer = \"text\"\nanswer_tokens = 300\nsampling_seed = 7\n\
         extra_body = '{{\"top_k\": 5}}'\ntoken_param = \"max_completion_tokens\"\n\
         instruction = \"Judge them.\"\nbackoff_base = 0.001\nconnect_timeout = 5.0\nlog = \"own.log\"\n\
         max_cost = 0.5\nprice_input = 100.0\nprice_output = 100.0\n\n\
         [annotate.gpt.price.\"test-model\"]\ninput = 1.0\ncached_input = 0.5\noutput = 2.0\n\
         batch_discount = 0.25\nimage_tokens_low = 1000\n",
        server.base_url()
    );
    fs::write(folder.path("e.toml"), &config).unwrap();
    let call = |arguments: &[&str]| {
        let mut command = folder.command(&[&["annotate", "gpt"], arguments].concat());
        Call::from(command.env("OPENAI_API_KEY", KEY).output().unwrap())
    };
    let estimate = call(&["estimate", "--config", "e.toml", "--json"]).expect(0);
    let estimate: Value = serde_json::from_str(&estimate.out).unwrap();
    let found = &estimate["estimate"];
    let cost = found["cost"]["least"].as_f64().unwrap();
    let tokens = found["prompt_tokens"]["least"].as_f64().unwrap();
    let answers = found["completion_tokens"]["least"].as_f64().unwrap();
    assert!(tokens > 6000.0, "{tokens}");
    assert!((cost - (tokens + 2.0 * answers) / 1e6).abs() < 1e-12);
    let batches = found["batch_cost"]["least"].as_f64().unwrap();
    assert!((batches - cost * 0.75).abs() < 1e-12);
    // An option wins: neither image gets through.
    let own = ["run", "--config", "e.toml", "--token-param", "max_tokens"];
    call(&own).expect(3);
    call(&["run", "--config", "e.toml", "--retry-failed"]).expect(0);
    assert_complete(&folder, 4);
    assert!(folder.path("own.log").is_file());
    // 100 + 50 tokens at 1 and 2 USD per million.
    let paid = state(&folder)["_metrics"]["cost"].as_f64().unwrap();
    assert!((paid - 6.0 * 0.0002).abs() < 1e-12, "{paid}");
    // It is an experiment file like any other.
    let shown = folder.call(&["config", "e.toml"]).expect(0);
    assert!(
        shown.out.contains("[annotate.gpt.price.test-model]"),
        "{}",
        shown.out
    );
    fs::write(
        folder.path("wrong.toml"),
        config.replace("cached_input", "cached_inptu"),
    )
    .unwrap();
    let wrong = call(&["run", "--config", "wrong.toml"]).expect(2);
    assert!(
        wrong.err.contains("did you mean `cached_input`"),
        "{}",
        wrong.err
    );
}

#[test]
fn pairs_that_no_question_gets_through_end_a_run_of_batches() {
    let folder = begun(6, 2);
    // Cut whenever many nouns are asked about with the usual length.
    let server = crate::annotate_batches::service(0, |request, kept| {
        let id = request.path.strip_suffix("/content")?.split('/').nth(3)?;
        let lines = kept.files.get(id)?.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let body = &mut line["response"]["body"];
            let text = body["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .to_owned();
            if text.contains("thing key") {
                *body =
                    json!({"choices": [{"finish_reason": "stop", "message": {"refusal": "No."}}]});
            } else if text.matches("thing").count() > 4 {
                *body = answer_that_ends(&text[..9], "length");
            }
            line.to_string()
        });
        Some(Reaction::Status(
            200,
            Vec::new(),
            lines.collect::<Vec<_>>().join("\n"),
        ))
    });
    let (server, kept) = server;
    run(&folder, &server, &crate::annotate_batches::BATCH).expect(3);
    let found = state(&folder);
    for (image, nouns) in found["annotations"].as_object().unwrap() {
        // Halves fit; what is refused twice is asked about no more.
        let expected = if image == "image0.png" { 6 } else { 0 };
        assert_eq!(nouns.as_object().unwrap().len(), expected, "{image}");
    }
    let failed = found["failures"]["image1.png"].as_object().unwrap();
    assert_eq!(failed.len(), 6);
    assert!(
        failed
            .values()
            .all(|f| f["class"] == "refused" && f["parked"] == true)
    );
    let kept = kept.lock().unwrap();
    // Marks name the run and the batch.
    let marks: Vec<&str> = kept.batches.iter().map(|(mark, _)| mark.as_str()).collect();
    let runs: BTreeSet<&str> = marks
        .iter()
        .map(|mark| mark.rsplit_once('-').unwrap().0)
        .collect();
    assert_eq!(runs.len(), 1, "{marks:?}");
    for (at, mark) in marks.iter().enumerate() {
        assert!(mark.ends_with(&format!("-{}", at + 1)), "{mark}");
    }
}
