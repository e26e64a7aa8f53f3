//! `generation.json` and `generation_runs.json`: captions out of answers.
//!
//! How long failures of the service are waited for is the client's business and
//! differs from the original on purpose. So does what becomes of entries that
//! the dictionary does not have as they are in the caption file.

use std::collections::HashMap;

use novic::nouns::generation::{
    Answer, CaptionParser, CaptionWork, Question, Wanted, WorkList, WorkState,
};
use novic::nouns::{Dictionary, Number};
use serde_json::{Value, json};

use super::{json, list, number, strings, text};

/// What is said after the last answer of a case.
const LATER: &str = "no more replies";

/// A reply that stands for a failure of the service.
const ERROR: &str = "ERROR";

fn request(question: &Question) -> Value {
    let number = match question.number {
        Number::Singular => "singular",
        Number::Plural => "plural",
    };
    json!([question.noun, number, question.count])
}

#[test]
fn answers_become_the_captions_of_the_original() {
    for case in list(&json("generation.json")) {
        let name = text(&case["case"]);
        let entry = &case["entry"];
        let dictionary = json!([entry]).to_string();
        let dictionary = Dictionary::from_json(name, dictionary.as_bytes()).expect("valid");
        let captions = ["singular_captions", "plural_captions"].map(|key| strings(&entry[key]));
        let wanted =
            ["num_singular_captions", "num_plural_captions"].map(|key| number(&entry[key]));
        let mut work = CaptionWork::new(&dictionary.nouns()[0], captions, wanted);

        let per_call = number(&case["captions_per_call"]) as usize;
        let mut replies = strings(&case["replies"]).into_iter();
        let (mut requests, mut events, mut answers, mut duplicates) = (vec![], vec![], 0, 0);
        while let Some(question) = work.question(per_call) {
            requests.push(request(&question));
            let reply = replies.next().unwrap_or_else(|| LATER.to_owned());
            if reply == ERROR {
                // The client asks again.
                events.push("api_error");
                continue;
            }
            answers += 1;
            let counts = work.take(&Answer::complete(reply), CaptionParser::Original);
            duplicates += counts.duplicate;
            for (event, count) in [
                ("bad_line", counts.bad),
                ("too_short", counts.short),
                ("unmatched", counts.unmatched),
            ] {
                events.extend((0..count).map(|_| event));
            }
        }
        if matches!(work.state(), WorkState::Parked(_)) {
            events.push("gave_up");
        }
        let mut expected = strings(&case["events"]);
        events.sort_unstable();
        expected.sort();
        assert_eq!(json!(requests), case["requests"], "{name}");
        assert_eq!(events, expected, "{name}");
        assert_eq!(answers, number(&case["api_calls"]), "{name}");
        assert_eq!(duplicates, number(&case["duplicates"]), "{name}");
        let [singular, plural] = work.captions();
        assert_eq!(json!(singular), case["singular_captions"], "{name}");
        assert_eq!(json!(plural), case["plural_captions"], "{name}");
    }
}

/// Asks for everything in the order of the list.
fn run(list: &mut WorkList, per_call: usize) -> Vec<Value> {
    let mut requests = Vec::new();
    for at in 0..list.len() {
        let question = |list: &WorkList| list.work(at)?.question(per_call);
        while let Some(question) = question(list) {
            requests.push(request(&question));
            let lines = (0..question.count).map(|line| {
                let reply = requests.len();
                let noun = &question.noun;
                format!(
                    "{}. Reply {reply} line {line} with {noun} inside.\n",
                    line + 1
                )
            });
            let answer = Answer::complete(lines.collect::<String>());
            let work = list.work_mut(at).expect("it is asked about");
            work.take(&answer, CaptionParser::Original);
        }
    }
    requests
}

#[test]
fn whole_runs_give_the_caption_files_of_the_original() {
    for case in list(&json("generation_runs.json")) {
        let name = text(&case["case"]);
        let config = &case["config"];
        let wanted = Wanted {
            per_frequency: number(&config["num_captions_per_freq"]),
            threshold: number(&config["freq_threshold"]),
        };
        let vocabulary = case["vocabulary"].to_string();
        let existing = (!case["existing"].is_null()).then(|| case["existing"].to_string());
        let mut work = WorkList::from_json(
            ("dictionary", vocabulary.as_bytes()),
            existing
                .as_deref()
                .map(|json| ("captions", json.as_bytes())),
            wanted,
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let requests = run(&mut work, number(&config["num_captions_per_call"]) as usize);
        let result = work.json();
        let known: HashMap<&str, &Value> = list(&case["vocabulary"])
            .iter()
            .map(|entry| (text(&entry["target_noun"]), entry))
            .collect();
        let is_current = |entry: &Value| {
            let members = entry.as_object().expect("an object");
            known.get(text(&entry["target_noun"])).is_some_and(|noun| {
                let noun = noun.as_object().expect("an object");
                noun.iter()
                    .all(|(key, value)| members.get(key) == Some(value))
            })
        };
        if case["existing"]
            .as_array()
            .is_none_or(|list| list.iter().all(is_current))
        {
            assert_eq!(json!(requests), case["requests"], "{name}");
            assert_eq!(result, case["result"], "{name}");
            continue;
        }
        // Old copies are renewed, retired nouns are kept, marked, and cost
        // nothing.
        for (entry, old) in list(&result).iter().zip(list(&case["result"])) {
            let noun = text(&entry["target_noun"]);
            assert_eq!(old["target_noun"], noun, "{name}: the order");
            if known.contains_key(noun) {
                assert!(is_current(entry), "{name}: {noun}");
                for (captions, wanted) in [
                    ("singular_captions", "num_singular_captions"),
                    ("plural_captions", "num_plural_captions"),
                ] {
                    let captions = list(&entry[captions]).len() as u64;
                    assert!(captions >= number(&entry[wanted]), "{name}: {noun}");
                }
            } else {
                assert_eq!(entry["retired"], true, "{name}: {noun}");
                assert!(
                    requests.iter().all(|request| request[0] != noun),
                    "{name}: {noun}"
                );
            }
        }
    }
}
