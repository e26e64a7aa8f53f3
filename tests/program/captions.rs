//! `novic captions generate` against a service with faults.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::folder::{Call, Folder};
use crate::llm_server::{LlmServer, Reaction, Received, answer, answer_that_ends};

/// What must appear nowhere.
const KEY: &str = "sk-very-secret-0123456789";

/// Writes a dictionary of nouns that are asked about `frequency` captions each.
fn dictionary(folder: &Folder, nouns: &[&str], frequency: u32) {
    let entry = |(id, noun): (usize, &&str)| {
        json!({
            "id": id, "target_noun": noun, "pretty_noun": noun,
            "singulars": [noun], "plurals": [format!("{noun}s")],
            "singulars_freq": [frequency], "plurals_freq": [frequency], "hypernyms": [],
        })
    };
    let entries: Value = nouns.iter().enumerate().map(entry).collect();
    fs::write(folder.path("nouns.json"), entries.to_string()).unwrap();
}

/// The command, with the key in the environment.
fn generate(folder: &Folder, server: &LlmServer, more: &[&str]) -> Command {
    let base = server.base_url();
    let mut arguments = vec![
        "captions",
        "generate",
        "--dictionary",
        "nouns.json",
        "--out",
        "captions.json",
        "--per-frequency",
        "1",
        "--per-call",
        "5",
        "--model",
        "test-model",
        "--price",
        "1,2",
        "--backoff-base",
        "0.001",
        "--base-url",
        &base,
    ];
    arguments.extend(more);
    let mut command = folder.command(&arguments);
    command.env("OPENAI_API_KEY", KEY);
    command
}

fn call(folder: &Folder, server: &LlmServer, more: &[&str]) -> Call {
    Call::from(generate(folder, server, more).output().unwrap())
}

fn captions(folder: &Folder) -> Vec<Value> {
    serde_json::from_str(&fs::read_to_string(folder.path("captions.json")).unwrap()).unwrap()
}

/// How many captions a request asks for, and of what.
fn asked(request: &Received) -> (usize, String) {
    let said = request.said();
    let count = said
        .split("Write ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let noun = said
        .split("that show \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    (count.parse().unwrap(), noun.to_owned())
}

/// Captions that nobody has seen before.
struct Writer {
    written: usize,
}

impl Writer {
    fn texts(&mut self, request: &Received) -> Vec<String> {
        let (count, noun) = asked(request);
        let texts = (0..count).map(|_| {
            self.written += 1;
            format!("View number {} of the {noun} from the street", self.written)
        });
        texts.collect()
    }

    fn json(&mut self, request: &Received) -> Reaction {
        Reaction::Answer(answer(
            &json!({"captions": self.texts(request)}).to_string(),
        ))
    }

    fn list(&mut self, request: &Received) -> String {
        let lines = self.texts(request).into_iter().zip(1..);
        lines
            .map(|(text, number)| format!("{number}. {text}.\n"))
            .collect()
    }
}

fn writer() -> impl FnMut(&Received) -> Reaction {
    let mut writer = Writer { written: 0 };
    move |request| writer.json(request)
}

/// Every noun has as many captions as are wanted, none twice.
fn assert_complete(folder: &Folder) {
    for entry in captions(folder) {
        let mut all = BTreeSet::new();
        for (captions, wanted) in [
            ("singular_captions", "num_singular_captions"),
            ("plural_captions", "num_plural_captions"),
        ] {
            let captions = entry[captions].as_array().unwrap();
            assert!(
                captions.len() as u64 >= entry[wanted].as_u64().unwrap(),
                "{entry}"
            );
            for caption in captions {
                assert!(
                    all.insert(caption.as_str().unwrap().to_owned()),
                    "{caption}"
                );
            }
        }
    }
    assert!(!folder.path("captions.json.journal").exists());
}

#[test]
fn captions_are_written_once_and_the_key_goes_nowhere_else() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "hair dryer"], 7);
    let server = LlmServer::start(writer());
    let first = call(&folder, &server, &["--save-every", "1"]).expect(0);
    assert!(first.out.contains("3 nouns complete"), "{}", first.out);
    assert_complete(&folder);
    let received = server.received();
    // 7 captions in requests of 5, twice per noun.
    assert_eq!(received.len(), 12);
    for request in &received {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/chat/completions")
        );
        assert_eq!(request.body["model"], "test-model");
        assert_eq!(request.body["temperature"], 0.8);
        assert_eq!(request.body["response_format"]["type"], "json_schema");
    }
    // 12 · (100 · 1 + 50 · 2) / 10⁶
    assert!(first.out.contains("0.0024 USD"), "{}", first.out);
    folder
        .call(&["captions", "check", "captions.json"])
        .expect(0);

    let before = fs::read(folder.path("captions.json")).unwrap();
    call(&folder, &server, &[]).expect(0);
    assert_eq!(server.received().len(), 12, "nothing is asked twice");
    assert!(fs::read(folder.path("captions.json")).unwrap() == before);
    for entry in fs::read_dir(folder.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert!(!String::from_utf8_lossy(&fs::read(path).unwrap()).contains(KEY));
        }
    }
}

#[test]
fn every_fault_of_the_way_is_got_over() {
    let folder = Folder::new();
    let nouns = [
        "fox", "snail", "kettle", "ladder", "violin", "cactus", "bridge", "candle", "walnut",
    ];
    dictionary(&folder, &nouns, 4);
    let mut writer = Writer { written: 0 };
    let mut seen: HashMap<String, usize> = HashMap::new();
    let server = LlmServer::start(move |request| {
        let (_, noun) = asked(request);
        let time = seen.entry(noun.clone()).or_default();
        *time += 1;
        match (noun.trim_end_matches('s'), *time) {
            ("fox", 1) => Reaction::Status(
                429,
                vec![("retry-after", "0.2".to_owned())],
                json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
                    .to_string(),
            ),
            ("snail", 1..=2) => Reaction::Status(500, vec![], "<html>oops".to_owned()),
            ("kettle", 1) => Reaction::Silence(Duration::from_secs(3)),
            ("ladder", 1..=2) => Reaction::Cut,
            ("violin", 1) => Reaction::Status(200, vec![], "{\"choices\": [".to_owned()),
            // An answer that is cut: the complete captions count.
            ("cactu", 1) => {
                let texts = writer.texts(request);
                let text = format!(
                    "{{\"captions\": [\"{}\", \"{}\", \"View of",
                    texts[0], texts[1]
                );
                Reaction::Answer(answer_that_ends(&text, "length"))
            }
            ("bridge", 1) => Reaction::Answer(json!({"choices": null, "usage": null})),
            ("candle", 1) => Reaction::Answer(answer_that_ends("", "content_filter")),
            // Fewer than asked for, text instead of JSON.
            ("walnut", 1) => Reaction::Answer(answer("Sure!\n1. A walnut on a plate.\n2) no")),
            _ => writer.json(request),
        }
    });
    let done = call(&folder, &server, &["--timeout", "0.7"]).expect(0);
    assert!(done.out.contains("9 nouns complete"), "{}", done.out);
    assert_complete(&folder);
    let waited = server.received();
    let fox: Vec<Instant> = waited
        .iter()
        .filter(|request| asked(request).1 == "fox")
        .map(|request| request.at)
        .collect();
    assert!(
        fox[1] - fox[0] >= Duration::from_millis(200),
        "Retry-After was honoured"
    );
}

#[test]
fn what_cannot_succeed_ends_at_once_with_its_exit_code() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "kettle", "ladder", "violin"], 2);
    let leak = format!("Incorrect API key provided: {KEY}");
    for (status, code, message, exit) in [
        (401, "invalid_api_key", leak.as_str(), 4),
        (403, "", "not for you", 4),
        (429, "insufficient_quota", "pay first", 5),
        (404, "model_not_found", "there is no test-model", 2),
        (400, "bad", "nonsense", 1),
    ] {
        let (code, message) = (code.to_owned(), message.to_owned());
        let server = LlmServer::start(move |_| Reaction::error(status, &code, &message));
        let ended = call(&folder, &server, &["--concurrency", "1"]).expect(exit);
        assert!(!(ended.err + &ended.out).contains(KEY), "{status}");
        let requests = server.received().len();
        assert!(requests <= 3, "{requests} requests in spite of {status}");
        assert_eq!(captions(&folder).len(), 5);
    }
    let server = LlmServer::start(writer());
    let no_key = generate(&folder, &server, &[])
        .env_remove("OPENAI_API_KEY")
        .output();
    let no_key = Call::from(no_key.unwrap()).expect(4);
    assert!(no_key.err.contains("OPENAI_API_KEY"), "{}", no_key.err);
    let open = [
        "captions",
        "generate",
        "--dictionary",
        "nouns.json",
        "--out",
        "captions.json",
        "--api-key-env",
        "none",
        "--base-url",
        "http://example.org/v1",
    ];
    let open = folder.call(&open).expect(2);
    assert!(open.err.contains("https"), "{}", open.err);
    assert!(server.received().is_empty());
    call(&folder, &server, &[]).expect(0);
    assert_complete(&folder);
}

#[test]
fn a_budget_is_kept_and_the_same_command_goes_on() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "kettle"], 4);
    let server = LlmServer::start(writer());
    let mut before = 0;
    for limit in [
        ["--max-requests", "2"],
        // An answer takes 0.0002 USD, but might take 0.0022.
        ["--max-cost", "0.00245"],
        ["--max-tokens", "1200"],
    ] {
        let ended = call(&folder, &server, &limit).expect(6);
        assert!(ended.err.contains("the limit of"), "{}", ended.err);
        let requests = server.received().len();
        assert!(
            (before + 1..=before + 2).contains(&requests),
            "{limit:?}: {requests}"
        );
        before = requests;
        assert!(!folder.path("captions.json.journal").exists());
    }
    call(&folder, &server, &[]).expect(0);
    assert_eq!(server.received().len(), 6);
    assert_complete(&folder);
    let unpriced = [
        "captions",
        "generate",
        "--dictionary",
        "nouns.json",
        "--out",
        "x.json",
        "--model",
        "unheard-of",
        "--max-cost",
        "1",
        "--api-key-env",
        "none",
    ];
    let unpriced = folder.call(&unpriced).expect(2);
    assert!(unpriced.err.contains("--price"), "{}", unpriced.err);
}

#[test]
fn a_service_without_the_newest_features_is_asked_in_its_own_way() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail"], 3);
    let mut writer = Writer { written: 0 };
    let server = LlmServer::start(move |request| {
        for name in ["response_format", "temperature", "max_tokens"] {
            if !request.body[name].is_null() {
                return Reaction::error(
                    400,
                    "unsupported",
                    &format!("Unknown parameter: '{name}'."),
                );
            }
        }
        assert_eq!(request.body["max_completion_tokens"], 1000);
        assert!(request.said().contains("numbered list"));
        Reaction::Answer(answer(&writer.list(request)))
    });
    call(&folder, &server, &["--concurrency", "1"]).expect(0);
    assert_complete(&folder);
    // What was learnt is kept: twice the form of answers, two parameters.
    assert_eq!(server.received().len(), 4 + 4);
}

#[test]
fn nouns_that_the_model_refuses_or_fails_are_named() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "kettle"], 2);
    let mut writer = Writer { written: 0 };
    let server = LlmServer::start(move |request| match asked(request).1.as_str() {
        "snail" => Reaction::Answer(json!({"choices": [{"finish_reason": "stop",
            "message": {"content": null, "refusal": "I cannot help with that."}}]})),
        "kettle" => Reaction::Answer(answer("Nothing useful.")),
        _ => writer.json(request),
    });
    let ended = call(&folder, &server, &["--json"]).expect(3);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["given_up"]["refused by the model"], json!(["snail"]));
    let fruitless = "given up after several answers without a new caption";
    assert_eq!(report["given_up"][fruitless], json!(["kettle"]));
    let of = |noun: &str| {
        let all = server.received();
        all.iter()
            .filter(|request| asked(request).1 == noun)
            .count()
    };
    assert_eq!((of("snail"), of("kettle")), (2, 5));
}

#[test]
fn killed_again_and_again_nothing_is_paid_for_twice() {
    const KILLS: usize = 6;
    const CONCURRENCY: usize = 3;
    let folder = Folder::new();
    let nouns: Vec<String> = (0..12)
        .map(|n| format!("gadget{}", ["a", "b", "c"][n % 3].repeat(n + 1)))
        .collect();
    let nouns: Vec<&str> = nouns.iter().map(String::as_str).collect();
    dictionary(&folder, &nouns, 10);
    let answered = Arc::new(Mutex::new(0));
    let counter = answered.clone();
    let mut writer = Writer { written: 0 };
    let server = LlmServer::start(move |request| {
        *counter.lock().unwrap() += 1;
        writer.json(request)
    });
    // 10 captions in requests of 5, twice per noun.
    let needed = nouns.len() * 4;
    let more = ["--concurrency", "3", "--save-every", "2", "--rpm", "6000"];
    let mut killed = 0;
    for round in 1..=KILLS {
        let mut child = generate(&folder, &server, &more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let target = needed * round / (KILLS + 1);
        while *answered.lock().unwrap() < target && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 0, "nothing lived long enough to be killed");
    call(&folder, &server, &more).expect(0);
    assert_complete(&folder);
    let paid = *answered.lock().unwrap();
    assert!(
        paid <= needed + killed * CONCURRENCY,
        "{paid} answers for {needed} that were needed, after {killed} kills"
    );
}

#[test]
fn ctrl_c_saves_what_came_and_a_second_process_keeps_out() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "kettle"], 10);
    let mut writer = Writer { written: 0 };
    let server = LlmServer::start(move |request| writer.json(request));
    // One request a second at most: there is time to stop it.
    let mut child = generate(&folder, &server, &["--rpm", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while server.received().is_empty() {
        thread::sleep(Duration::from_millis(2));
    }
    let second = call(&folder, &server, &[]).expect(1);
    assert!(second.err.contains("another process"), "{}", second.err);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let saved: usize = captions(&folder)
        .iter()
        .map(|entry| entry["singular_captions"].as_array().unwrap().len())
        .sum();
    assert!(saved > 0 && saved < 30, "{saved}");
    call(&folder, &server, &[]).expect(0);
    assert_complete(&folder);
}

#[test]
fn the_rate_of_requests_is_kept() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail", "kettle"], 5);
    let server = LlmServer::start(writer());
    call(&folder, &server, &["--rpm", "1200"]).expect(0);
    let times: Vec<Instant> = server.received().iter().map(|request| request.at).collect();
    let whole = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    // 6 requests, 50 ms apart; they may be late, but not early.
    assert!(whole >= Duration::from_millis(5 * 50 - 30), "{whole:?}");
}

#[test]
fn a_dry_run_needs_no_key_and_asks_nobody() {
    let folder = Folder::new();
    dictionary(&folder, &["fox", "snail"], 7);
    let arguments = [
        "captions",
        "generate",
        "--dictionary",
        "nouns.json",
        "--out",
        "sub/captions.json",
        "--per-frequency",
        "1",
        "--per-call",
        "5",
        "--dry-run",
        "--show",
        "1",
        "--json",
        "--base-url",
        "http://127.0.0.1:9/v1",
    ];
    let output = folder
        .command(&arguments)
        .env_remove("OPENAI_API_KEY")
        .output();
    let told = Call::from(output.unwrap()).expect(0);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["estimate"]["nouns"], 2);
    assert_eq!(told["estimate"]["captions"], json!([14, 14]));
    assert_eq!(
        told["estimate"]["requests"],
        json!({"least": 8, "most": 12})
    );
    assert!(told["estimate"]["cost"]["most"].as_f64().unwrap() > 0.0);
    assert!(
        told["requests"][0]["messages"][1]["content"]
            .as_str()
            .unwrap()
            .contains("fox")
    );
    assert!(!folder.path("sub").exists(), "a dry run writes nothing");
}
