//! `novic annotate gpt`: states that several processes or prompts meet in,
//! files of others, and options in experiment files.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::annotate::{KEY, asked, assert_complete, begun, gpt, reply, run, state};
use crate::folder::{Call, Folder, interrupt};
use crate::llm_server::{LlmServer, Reaction};

fn kind_server() -> LlmServer {
    LlmServer::start(|request| Reaction::Answer(reply(&request.body)))
}

/// Starts a run, and waits until it says that it waits for another one.
fn onlooker(folder: &Folder, server: &LlmServer) -> Child {
    let mut child = gpt(folder, server, "run", &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for it to end"), "{line}");
    child
}

fn end(child: Child) -> Call {
    Call::from(child.wait_with_output().unwrap())
}

#[test]
fn a_second_run_waits_for_the_first_one_and_asks_nothing_twice() {
    let folder = begun(4, 3);
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = gate.clone();
    let server = LlmServer::start(move |request| {
        let (is_open, changed) = &*held;
        let is_open = is_open.lock().unwrap();
        drop(changed.wait_while(is_open, |is_open| !*is_open).unwrap());
        Reaction::Answer(reply(&request.body))
    });
    let first = gpt(&folder, &server, "run", &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while server.received().is_empty() && since.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(2));
    }
    let second = onlooker(&folder, &server);
    let impatient = onlooker(&folder, &server);
    interrupt(&impatient);
    end(impatient).expect(130);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    end(first).expect(0);
    let second = end(second).expect(0);
    assert!(second.out.contains("12 pairs have their"), "{}", second.out);
    assert_complete(&folder, 12);
    assert_eq!(server.received().len(), 9);
}

/// Asks about everything in a state of this name.
fn ask(folder: &Folder, server: &LlmServer, name: &str, more: &[&str]) -> Call {
    let base = server.base_url();
    let arguments = [
        "annotate",
        "gpt",
        "run",
        name,
        "--predictions",
        "p.json",
        "--topk",
        "99",
        "--base-url",
        &base,
    ];
    let mut command = folder.command(&[&arguments[..], more].concat());
    Call::from(command.env("OPENAI_API_KEY", KEY).output().unwrap())
}

#[test]
fn opinions_under_another_prompt_are_not_transferred_unasked() {
    let folder = begun(2, 2);
    let server = kind_server();
    for name in ["other.json", "fresh.json"] {
        let new = ["annotate", "gpt", "new", name, "--images", "images"];
        folder
            .call(&[&new[..], &["--model", "test-model"]].concat())
            .expect(0);
    }
    let own = ["--instruction", "Say what you like."];
    ask(&folder, &server, "state.json", &own).expect(0);
    // Two of its pairs are left for the transfer.
    let predictions = fs::read_to_string(folder.path("p.json")).unwrap();
    fs::write(
        folder.path("p.json"),
        predictions.replace("thing fox 1", "thing fox 0"),
    )
    .unwrap();
    ask(&folder, &server, "other.json", &[]).expect(0);
    let transfer = |to: &str, more: &[&str]| {
        let arguments = ["annotate", "gpt", "transfer", to, "--from", "state.json"];
        folder.call(&[&arguments[..], more].concat())
    };
    let before = fs::read(folder.path("other.json")).unwrap();
    let refused = transfer("other.json", &[]).expect(2);
    assert!(
        refused
            .err
            .contains(r#"the prompt is "describe-then-judge-1" here and "own" there"#),
        "{}",
        refused.err
    );
    assert_eq!(fs::read(folder.path("other.json")).unwrap(), before);
    let taken = transfer("other.json", &["--yes"]).expect(0);
    assert!(taken.out.contains("1 pairs taken"), "{}", taken.out);
    // A state that has asked nothing takes over the prompt with the opinions.
    let taken = transfer("fresh.json", &[]).expect(0);
    assert!(taken.out.contains("4 pairs taken"), "{}", taken.out);
    let refused = ask(&folder, &server, "fresh.json", &[]).expect(2);
    assert!(
        refused.err.contains("--allow-prompt-change"),
        "{}",
        refused.err
    );
}

#[test]
fn files_of_others_stay_as_they_are() {
    let folder = begun(1, 1);
    let server = kind_server();
    fs::write(folder.path("diary.txt"), "Dear diary").unwrap();
    let refused = run(&folder, &server, &["--log", "diary.txt"]).expect(1);
    assert!(refused.err.contains("--log"), "{}", refused.err);
    let diary = fs::read_to_string(folder.path("diary.txt")).unwrap();
    assert_eq!(diary, "Dear diary");
    fs::write(folder.path("state.json.journal"), "my notes").unwrap();
    let refused = run(&folder, &server, &[]).expect(1);
    assert!(refused.err.contains("is not a journal"), "{}", refused.err);
    let notes = fs::read_to_string(folder.path("state.json.journal")).unwrap();
    assert_eq!(notes, "my notes");
    assert!(server.received().is_empty());
}

#[test]
fn all_images_that_cannot_be_shown_are_named_at_once() {
    let folder = begun(1, 3);
    fs::write(folder.path("images/image1.png"), "no picture").unwrap();
    image::RgbImage::new(20, 90)
        .save(folder.path("images/image2.png"))
        .unwrap();
    let new = ["annotate", "gpt", "new", "n.json", "--images", "images"];
    let refused = folder
        .call(&[&new[..], &["--small", "s"]].concat())
        .expect(1);
    assert!(refused.err.contains("2 images"), "{}", refused.err);
    for name in ["image1", "image2"] {
        assert!(refused.err.contains(name), "{}", refused.err);
    }
    assert!(!folder.path("n.json").exists());
}

#[test]
fn every_option_of_a_run_can_be_configured() {
    let folder = begun(3, 2);
    let server = kind_server();
    let configure = |more: &str| {
        let text = format!(
            "[annotate.gpt]\nstate = \"state.json\"\nimages = \"images\"\npredictions = [\"p.json\"]\n\
             topk = 99\nbase_url = \"{}\"\nbackoff = \"novic\"\n{more}\n",
            server.base_url()
        );
        fs::write(folder.path("e.toml"), text).unwrap();
    };
    let call = |what: &str, more: &[&str]| {
        let arguments = [
            &["annotate", "gpt", what][..],
            more,
            &["--config", "e.toml"],
        ];
        let mut command: Command = folder.command(&arguments.concat());
        Call::from(command.env("OPENAI_API_KEY", KEY).output().unwrap())
    };
    configure("dry_run = true\nshow = 2\nwrite_jsonl = \"lines\"");
    let dry = call("run", &["--json"]).expect(0);
    let dry: Value = serde_json::from_str(&dry.out).unwrap();
    assert_eq!(dry["estimate"]["open_pairs"], 6);
    assert_eq!(dry["requests"].as_array().unwrap().len(), 2);
    assert!(!folder.path("lines").exists());
    call("estimate", &[]).expect(0);
    assert_eq!(fs::read_dir(folder.path("lines")).unwrap().count(), 1);
    assert!(server.received().is_empty());
    configure("small_ready = true\nimages_small = \"nothing\"");
    let missing = call("new", &["more.json"]).expect(1);
    assert!(missing.err.contains("it is missing"), "{}", missing.err);
    configure("no_shuffle = true\nconcurrency = 1\nmax_requests = 2\nstate_format = 1");
    call("run", &[]).expect(6);
    assert_eq!(state(&folder)["_meta"]["_version"], 1);
    for request in server.received() {
        let nouns = asked(&request.body);
        assert!(nouns.is_sorted(), "{nouns:?}");
    }
    // What was asked is known to states of version 2 only.
    configure("state_format = 2");
    call("run", &["--max-requests", "3"]).expect(6);
    configure("instruction = \"Judge.\"");
    call("run", &[]).expect(2);
    configure("instruction = \"Judge.\"\nallow_prompt_change = true");
    call("run", &[]).expect(0);
    assert_complete(&folder, 6);
}

#[test]
fn pairs_that_were_given_up_are_asked_about_again_if_that_is_configured() {
    let folder = begun(1, 1);
    let useless = LlmServer::start(|_| Reaction::Answer(crate::llm_server::answer("Nothing.")));
    run(&folder, &useless, &[]).expect(3);
    fs::write(
        folder.path("e.toml"),
        "[annotate.gpt]\nretry_failed = true\n",
    )
    .unwrap();
    let kind = kind_server();
    run(&folder, &kind, &["--config", "e.toml"]).expect(0);
    assert_complete(&folder, 1);
}
