//! What is asked of a model and what becomes of its answers: `canon.json`,
//! `parser.json`, `response.json`, `opinions.json`, `requests.json`,
//! `visual.json`, `backoff.json`.

use std::collections::BTreeMap;
use std::fs;

use image::{Rgb, RgbImage};
use novic::annotate::Category;
use novic::annotate::gpt::{
    Dealing, ImageRecord, Meta, OpinionRule, Prompt, Questioning, Refusal, State, read_text,
    same_picture,
};
use novic::net::llm::{AnswerForm, Backoff, ChatAnswer};
use novic::nouns::canonical;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{cases, folder, number, strings, text};

/// Stands for the instruction in the data.
pub const INSTRUCTION: &str = "INSTRUCTION";

#[test]
fn nouns_have_the_canonical_form_of_the_original() {
    for case in cases("canon.json") {
        let [noun, form, _] = [0, 1, 2].map(|at| text(&case[at]));
        assert_eq!(canonical(noun), form, "{noun:?}");
    }
}

/// The stage at which the original refuses such an answer.
fn stage(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Count(_) => "count",
        Refusal::Number(_) => "number",
        Refusal::Line(_) => "line",
        Refusal::Noun { .. } => "noun",
        Refusal::Duplicates => "duplicates",
        Refusal::Json(_) => "json",
    }
}

#[test]
fn answers_are_read_as_the_original_reads_them_and_better() {
    for case in cases("parser.json") {
        let name = text(&case["tag"]);
        let read = read_text(&strings(&case["nouns"]), text(&case["text"]));
        let reference = &case["reference"];
        match text(&case["product"]) {
            "same" => match (&read, reference["error"].as_str()) {
                (Err(refusal), Some(expected)) => assert_eq!(stage(refusal), expected, "{name}"),
                (Ok(read), None) => {
                    assert_eq!(read.description, text(&reference["description"]), "{name}");
                    assert_eq!(json!(read.verdicts), reference["verdicts"], "{name}");
                    let warnings = number(&reference["warnings"]);
                    assert_eq!(read.warnings.len(), warnings, "{name}");
                }
                (read, expected) => panic!("{name}: {read:?} instead of {expected:?}"),
            },
            "accept" => {
                let read = read.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
                if let Some(verdicts) = case.get("product_verdicts") {
                    assert_eq!(&json!(read.verdicts), verdicts, "{name}");
                }
            }
            "reject" => assert!(read.is_err(), "{name}"),
            "any" => {}
            other => panic!("{name}: what is {other}?"),
        }
    }
}

fn rule(case: &Value) -> OpinionRule {
    let [min, max] = [0, 1].map(|at| number(&case["opinions"][at]) as u32);
    OpinionRule::new(min, max, case["confidence"].as_f64().unwrap()).unwrap()
}

/// A state of images without opinions.
fn state(images: &[String], small: &[String], rule: OpinionRule) -> State {
    State::new(Meta {
        batch_dir: "batches".to_owned(),
        images_dir: "images".to_owned(),
        images_small_dir: "images/512px".to_owned(),
        images: images.to_vec(),
        images_small: small.to_vec(),
        model: "model-x".to_owned(),
        rule,
    })
}

fn record(value: &Value) -> ImageRecord {
    ImageRecord {
        opinions: serde_json::from_value(value["annotations"].clone()).unwrap(),
        descriptions: serde_json::from_value(value["descriptions"].clone()).unwrap(),
    }
}

#[test]
fn answers_are_recorded() {
    let image = ["image.jpg".to_owned()];
    for case in cases("response.json") {
        let name = text(&case["tag"]);
        let nouns = strings(&case["nouns"]);
        let mut state = state(&image, &image, rule(&case));
        state.records[0] = record(&case["before"]);
        state.usage = serde_json::from_value(case["before"]["usage"].clone()).unwrap();
        let before = state.clone();
        let answer = ChatAnswer::of_response(&case["response"], AnswerForm::Text, None);
        let line = novic::annotate::gpt::judge("image.jpg", &nouns, &answer, 0.0);
        let taken = line.verdicts.is_some();
        state.apply(&novic::annotate::gpt::Line::Answer(Box::new(line)));
        let accepts = match text(&case["product"]) {
            "same" => case["error"].is_null(),
            "accept" => true,
            "reject" => false,
            "any" => taken,
            other => panic!("{name}: what is {other}?"),
        };
        assert_eq!(taken, accepts, "{name}");
        if !taken {
            assert_eq!(state.records, before.records, "{name}");
            continue;
        }
        let Value::Object(_) = &case["after"] else {
            // Refused by the original for its usage only.
            for noun in &nouns {
                let need = before.need(0, noun);
                let count = |state: &State| state.records[0].opinions.get(noun).map_or(0, Vec::len);
                assert_eq!(count(&state), count(&before) + need.min(1), "{name}");
            }
            let integers = case["response"]["usage"].as_object();
            let integers = integers
                .into_iter()
                .flatten()
                .filter(|(key, value)| value.is_u64() && key.as_str() != "requests");
            let mut expected: BTreeMap<String, u64> = integers
                .map(|(key, value)| (key.clone(), value.as_u64().unwrap()))
                .collect();
            expected.insert("requests".to_owned(), 1);
            assert_eq!(state.usage, expected, "{name}");
            continue;
        };
        assert_eq!(state.records[0], record(&case["after"]), "{name}");
        assert_eq!(json!(state.usage), case["after"]["usage"], "{name}");
    }
}

#[test]
fn opinions_are_counted_as_the_original_counts_them() {
    let rows = cases("opinions.json");
    let columns = strings(&rows[0]["columns"]);
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    for row in &rows[1..] {
        let whole = |name: &str| number(&row[at(name)]);
        let confidence = row[at("confidence")].as_f64().unwrap();
        let rule = OpinionRule::new(whole("min") as u32, whole("max") as u32, confidence).unwrap();
        let (n, correct) = (whole("n"), whole("correct"));
        assert_eq!(rule.need(n, correct), whole("required"), "{row}");
        let category = rule.category(n, correct).map(Category::name);
        assert_eq!(json!(category), row[at("class")], "{row}");
    }
}

/// How the data ask.
pub fn questioning() -> Questioning {
    Questioning::new("model-x", Prompt::own(INSTRUCTION))
}

#[test]
fn nouns_are_dealt_into_the_requests_of_the_original() {
    let all = cases("requests.json");
    let (head, requests) = all.split_first().unwrap();
    assert_eq!(text(&head["instruction"]), INSTRUCTION);
    let images = strings(&head["images"]);
    let small = strings(&head["images_small"]);
    let questioning = questioning();
    assert_eq!(text(&head["model"]), questioning.model);
    for case in requests {
        let name = text(&case["tag"]);
        let mut state = state(&images, &small, rule(case));
        let mut predicted = vec![Vec::new(); images.len()];
        for (at, image) in images.iter().enumerate() {
            if let Some(opinions) = case["annotations"].get(image) {
                state.records[at].opinions = serde_json::from_value(opinions.clone()).unwrap();
            }
            if let Some(nouns) = case["predictions"].get(image) {
                predicted[at] = strings(nouns);
            }
        }
        let dealing = Dealing {
            min_nouns: number(&case["min_nouns"]),
            seed: None,
        };
        let (start, stop) = (number(&case["start"]), number(&case["stop"]));
        let (questions, next) = state.questions_between(&predicted, dealing, start, stop, 0);
        assert_eq!(next, number(&case["next"]), "{name}");
        let expected = case["requests"].as_array().unwrap();
        assert_eq!(questions.len(), expected.len(), "{name}");
        for (question, expected) in questions.iter().zip(expected) {
            assert_eq!(question.image, number(&expected["image_index"]), "{name}");
            assert_eq!(json!(question.first), expected["first"], "{name}");
            assert_eq!(json!(question.last), expected["last"], "{name}");
            assert_eq!(question.nouns, strings(&expected["nouns"]), "{name}");
            let tokens = questioning.request_tokens(&question.nouns, 85);
            assert_eq!(tokens, number(&expected["num_tokens"]) as u64, "{name}");
            let Some(payload) = expected.get("payload") else {
                continue;
            };
            let bytes = fs::read(folder().join("images/512px").join(&small[question.image]));
            let bytes = bytes.unwrap();
            let body = questioning
                .request(&bytes, &question.nouns, 1)
                .preview(AnswerForm::Text);
            let sent = body.to_string();
            let hash: String = Sha256::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let encoded = {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(&bytes)
            };
            let sent = sent.replace(&encoded, &format!("<sha256 {hash}>"));
            assert_eq!(sent, payload.to_string(), "{name}");
        }
    }
}

#[test]
fn the_same_picture_is_found_in_any_size() {
    for case in cases("visual.json") {
        let tag = text(&case["tag"]);
        // `flat grey`, or `flat 100 against 103`.
        let levels: Vec<u8> = tag
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [first, second] = match levels[..] {
            [] => [128; 2],
            [first, second] => [first, second],
            _ => panic!("what is {tag}?"),
        };
        let flat = |size: &Value, level: u8| {
            let [width, height] = [0, 1].map(|at| number(&size[at]) as u32);
            RgbImage::from_pixel(width, height, Rgb([level; 3]))
        };
        let same = same_picture(&flat(&case["a"], first), &flat(&case["b"], second));
        let expected = match text(&case["product"]) {
            "same" => case["same"].as_bool().unwrap(),
            "reject" => false,
            other => panic!("{tag}: what is {other}?"),
        };
        assert_eq!(same, expected, "{tag} {case}");
    }
}

#[test]
fn the_original_back_off_can_be_chosen() {
    for case in cases("backoff.json") {
        let backoff = Backoff::original();
        let mut failures = 0;
        let waits = text(&case["sequence"]).chars().map(|outcome| {
            failures = if outcome == 'F' { failures + 1 } else { 0 };
            backoff.longest(failures).as_secs_f64()
        });
        for (wait, expected) in waits.zip(case["waits"].as_array().unwrap()) {
            let expected = expected.as_f64().unwrap();
            assert!((wait - expected).abs() <= expected * 1e-9, "{case}");
        }
    }
}
