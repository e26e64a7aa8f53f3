//! `novic annotate gpt run`: outages, answers that are cut, and nouns that are
//! hard to ask about.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::annotate::{asked, assert_complete, begun, is_right, reply, run, state};
use crate::llm_server::{LlmServer, Reaction, answer_that_ends};

const SINGLE: [&str; 2] = ["--mode", "single"];

#[test]
fn an_outage_leaves_every_pair_open_and_the_same_command_goes_on() {
    let folder = begun(2, 3);
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let server = LlmServer::start(move |request| match down.load(Ordering::SeqCst) {
        true => Reaction::error(503, "unavailable", "back soon"),
        false => Reaction::Answer(reply(&request.body)),
    });
    let ended = run(&folder, &server, &SINGLE).expect(1);
    assert!(ended.err.contains("back soon"), "{}", ended.err);
    assert!(ended.err.contains("6 pairs stay open"), "{}", ended.err);
    assert!(
        ended.out.contains("6 are open, 0 given up"),
        "{}",
        ended.out
    );
    assert_eq!(state(&folder)["failures"], json!({}));
    is_down.store(false, Ordering::SeqCst);
    run(&folder, &server, &SINGLE).expect(0);
    assert_complete(&folder, 6);
}

#[test]
fn an_image_that_nobody_answers_about_does_not_hold_up_the_others() {
    let folder = begun(2, 3);
    let server = LlmServer::start(|request| match asked(&request.body)[0].contains("fox") {
        true => Reaction::error(500, "server_error", "it broke"),
        false => Reaction::Answer(reply(&request.body)),
    });
    let ended = run(&folder, &server, &[&SINGLE[..], &["--json"]].concat()).expect(1);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["pairs_done"], 4);
    assert_eq!(report["pairs_open"], 2);
    assert_eq!(report["given_up"], json!([]));
    assert!(report["stopped"].as_str().unwrap().contains("it broke"));
    // Three questions of five tries: the run ends.
    let in_vain = server.received().len() - 6;
    assert_eq!(in_vain, 15);
}

#[test]
fn answers_that_are_always_cut_are_paid_for_three_times_per_pair() {
    let folder = begun(8, 3);
    let server = LlmServer::start(|_| Reaction::Answer(answer_that_ends("A scene", "length")));
    run(&folder, &server, &SINGLE).expect(3);
    let mut times: HashMap<String, Vec<u64>> = HashMap::new();
    for request in server.received() {
        for noun in asked(&request.body) {
            let room = request.body["max_tokens"].as_u64().unwrap();
            times.entry(noun).or_default().push(room);
        }
    }
    assert_eq!(times.len(), 24);
    for (noun, rooms) in times {
        assert_eq!(rooms, [512, 1024, 1024], "{noun}");
    }
    // As usual, with twice the length, and in halves.
    assert_eq!(server.received().len(), 3 * 4);
    let failures = &state(&folder)["failures"];
    for image in ["image0.png", "image1.png", "image2.png"] {
        let failed = failures[image].as_object().unwrap();
        assert_eq!(failed.len(), 8);
        assert!(failed.values().all(|why| why["class"] == "truncated"));
    }
}

#[test]
fn an_image_that_takes_longer_answers_gets_them_from_then_on() {
    let folder = begun(8, 3);
    let server = LlmServer::start(|request| match request.body["max_tokens"] == 512 {
        true => Reaction::Answer(answer_that_ends("A scene", "length")),
        false => Reaction::Answer(reply(&request.body)),
    });
    run(&folder, &server, &SINGLE).expect(0);
    assert_complete(&folder, 24);
    assert_eq!(server.received().len(), 3 + 9);
}

#[test]
fn nouns_are_asked_about_on_one_line_and_empty_ones_not_at_all() {
    let folder = begun(1, 1);
    let nouns = ["", "\u{7}", "fox\nignore", "x\u{1b}[31m", "dog"];
    let predictions = json!({
        "samples": ["image0.png"], "predictions": {"beam": {"pred": [nouns]}},
    });
    fs::write(folder.path("p.json"), predictions.to_string()).unwrap();
    let server = LlmServer::start(|request| Reaction::Answer(reply(&request.body)));
    run(&folder, &server, &["--no-shuffle"]).expect(0);
    for request in server.received() {
        assert_eq!(asked(&request.body), ["dog", "fox ignore", "x [31m"]);
    }
    assert_eq!(server.received().len(), 3);
    let found = &state(&folder)["annotations"]["image0.png"];
    for noun in ["", "\u{7}"] {
        assert_eq!(found[noun], json!([false, false, false]), "{noun:?}");
    }
    for (noun, said) in [("fox\nignore", "fox ignore"), ("x\u{1b}[31m", "x [31m")] {
        assert_eq!(found[noun], json!(vec![is_right(said); 3]), "{noun:?}");
    }
}
