//! Whole runs against the scripted service: `single.json`, `batch.json`,
//! `batch_example.jsonl`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use novic::annotate::AnnotateError;
use novic::annotate::gpt::{
    Asking, BatchLimits, Batching, Dealing, ImageTokens, Ledger, Line, OpinionRule, Outcome,
    Undone, ask_in_batches, ask_singly, journal_path, predicted_nouns, resolve,
};
use novic::annotate::{Predictions, prediction_files};
use novic::evaluate::json_text;
use novic::net::llm::{AnswerChoice, AnswerForm, Backoff, Limits, LlmClient, Pace, Service};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::model::questioning;
use super::service::{LlmServer, batch_service, question, single_service, verdict};
use super::{cases, folder, number, strings, text};

/// A state with its images in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    state: PathBuf,
}

fn place(state: &Value) -> Place {
    let temporary = tempfile::tempdir().unwrap();
    symlink(folder().join("images"), temporary.path().join("images")).unwrap();
    let path = temporary.path().join("state.json");
    let mut sorted = state.clone();
    sorted.sort_all_objects();
    fs::write(&path, json_text(&sorted)).unwrap();
    Place {
        folder: temporary,
        state: path,
    }
}

fn asking(case: &Value, place: &Place) -> Asking {
    let path = place.folder.path().join("predictions.json");
    fs::write(&path, case["predictions"].to_string()).unwrap();
    let files = Predictions::read_all(&prediction_files(&[path]).unwrap()).unwrap();
    let images = strings(&case["state"]["_meta"]["images"]);
    Asking {
        predicted: predicted_nouns(&files, number(&case["topk"]), &images).unwrap(),
        dealing: Dealing {
            min_nouns: number(&case["min_nouns"]),
            seed: None,
        },
        questioning: questioning(),
        image_tokens: ImageTokens { base: 85, tile: 0 },
        concurrency: 1,
        most: None,
        log: None,
    }
}

fn client(server: &LlmServer) -> LlmClient {
    let service = Service::from_environment(Some(&server.base_url()), "none", false).unwrap();
    LlmClient::new(service, Pace::default(), Limits::default(), || false)
        .unwrap()
        .with_backoff(Backoff::with_base(Duration::from_millis(1)))
        .with_answers(AnswerChoice::Only(AnswerForm::Text))
}

fn read(path: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What the opinions are after an undisturbed run.
fn undisturbed(case: &Value, asking: &Asking) -> Value {
    let meta = &case["state"]["_meta"];
    let rule = OpinionRule::new(
        number(&meta["opinions_min"]) as u32,
        number(&meta["opinions_max"]) as u32,
        meta["confidence"].as_f64().unwrap(),
    )
    .unwrap();
    let seed = case["seed"].to_string();
    let mut all = BTreeMap::new();
    for (image, predicted) in strings(&meta["images"]).iter().zip(&asking.predicted) {
        let before: BTreeMap<String, Vec<bool>> =
            serde_json::from_value(case["state"]["annotations"][image].clone()).unwrap();
        let mut opinions = before;
        for noun in predicted {
            opinions.entry(noun.clone()).or_default();
        }
        for (noun, list) in &mut opinions {
            for k in 0.. {
                if rule.need_of(list) == 0 {
                    break;
                }
                list.push(verdict(&seed, image, noun, k));
            }
        }
        all.insert(image.clone(), opinions);
    }
    json!(all)
}

#[test]
fn single_questions_give_the_state_of_the_original() {
    for case in cases("single.json") {
        let name = text(&case["tag"]);
        let place = place(&case["state"]);
        let before = fs::read_to_string(&place.state).unwrap();
        let asking = asking(&case, &place);
        let (server, log) = single_service(&case);
        let client = Arc::new(client(&server));
        let (ledger, _) = Ledger::open(&place.state, None).unwrap();
        let ended = ask_singly(client.clone(), &asking, ledger, || false, |_| ());
        let log = log.lock().unwrap().clone();
        if !case["error"].is_null() {
            assert!(matches!(ended, Err(AnnotateError::Pending)), "{name}");
            assert!(log.is_empty(), "{name}");
            assert_eq!(fs::read_to_string(&place.state).unwrap(), before, "{name}");
            continue;
        }
        let (mut ledger, outcome) = ended.unwrap();
        assert!(matches!(outcome, Outcome::Finished), "{name}: {outcome:?}");
        // Whatever was given up is asked about again.
        while ledger.state.failures.parked().next().is_some() {
            ledger.take(&Line::Retry).unwrap();
            ledger = ask_singly(client.clone(), &asking, ledger, || false, |_| ())
                .unwrap()
                .0;
        }
        drop(ledger);
        let found = read(&place.state);
        let expected = &case["final_state"];
        assert_eq!(found["annotations"], expected["annotations"], "{name}");
        assert_eq!(found["pending"], expected["pending"], "{name}");
        // Nothing went wrong: all of it is the same, down to the bytes.
        if case["faults"].as_array().unwrap().is_empty() {
            let trace = case["trace"].as_array().unwrap();
            assert_eq!(log.len(), trace.len(), "{name}");
            for ((image, nouns, _), expected) in log.iter().zip(trace) {
                assert_eq!(image, text(&expected["image"]), "{name}");
                assert_eq!(nouns, &strings(&expected["nouns"]), "{name}");
            }
            assert_eq!(&found, expected, "{name}");
            let hash: String = Sha256::digest(fs::read(&place.state).unwrap())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hash, text(&case["final_state_sha256"]), "{name}");
        }
    }
}

/// The name of a batch file without its time.
fn timeless(name: &str) -> &str {
    name.splitn(3, '_').nth(2).unwrap_or(name)
}

/// The batches of a journal: number, first, last and next image, questions,
/// name without time, bytes, tokens.
fn created(place: &Place) -> Vec<Value> {
    let lines = fs::read_to_string(journal_path(&place.state)).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let created = lines.filter(|line| line["line"] == "batch_created");
    created
        .map(|line| {
            let batch = &line["batch"];
            json!([
                batch["remote_batch"],
                batch["start_index"],
                batch["last_index"],
                batch["stop_index"],
                batch["request_lists"].as_array().unwrap().len(),
                timeless(text(&batch["json_file"])),
                batch["json_file_size"],
                batch["num_tokens"],
            ])
        })
        .collect()
}

/// The same of the reference.
fn created_there(trace: &[Value]) -> Vec<Value> {
    let mut batches: Vec<Value> = Vec::new();
    for save in trace.iter().filter(|step| step["op"] == "save") {
        for batch in save["pending"].as_array().unwrap() {
            let mut batch = batch.clone();
            batch[5] = timeless(text(&batch[5])).into();
            if !batches.contains(&batch) {
                batches.push(batch);
            }
        }
    }
    batches
}

#[test]
fn batches_are_those_of_the_original() {
    for case in cases("batch.json") {
        batch_run(&case);
    }
}

fn batch_run(case: &Value) {
    let name = text(&case["tag"]);
    let place = place(&case["state"]);
    let asking = asking(case, &place);
    let (server, batches) = batch_service(case);
    let client = client(&server);
    let (mut ledger, undone) = Ledger::open(&place.state, None).unwrap();
    resolve(&client, &mut ledger, &undone).unwrap();
    let batching = Batching {
        limits: BatchLimits {
            requests: number(&case["max_batch_requests"]),
            batches: number(&case["max_pending_batches"]),
            tokens: number(&case["max_pending_ktokens"]) as u64 * 1000,
            few: number(&case["unbatch_thres"]),
            ..BatchLimits::default()
        },
        poll: Duration::from_millis(1),
        ..Batching::default()
    };
    let show = &mut |_: &novic::annotate::gpt::Progress| ();
    let outcome = ask_in_batches(
        &client,
        &asking,
        batching,
        &mut ledger,
        &Undone::default(),
        show,
    )
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    drop(ledger);
    let batches = batches.lock().unwrap();
    let found = read(&place.state);
    // Nothing is left behind, here or there.
    assert!(
        batches.files.is_empty(),
        "{name}: {:?}",
        batches.files.keys()
    );
    let local = fs::read_dir(place.folder.path().join("batches"));
    assert_eq!(local.map_or(0, Iterator::count), 0, "{name}");
    // No batch tells the service where it was made.
    for batch in &batches.created {
        let keys: Vec<_> = batch.metadata.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["novic_batch"], "{name}");
    }
    if text(&case["product"]) != "same" {
        assert!(matches!(outcome, Outcome::Finished), "{name}: {outcome:?}");
        better(case, &asking, &found, name);
        return;
    }
    match (&case["continue_with_single"], &case["error"]) {
        (Value::Bool(true), _) => assert!(matches!(outcome, Outcome::Few), "{name}"),
        (Value::Bool(false), _) => assert!(matches!(outcome, Outcome::Finished), "{name}"),
        _ => assert!(matches!(outcome, Outcome::FailedBatches(_)), "{name}"),
    }
    let trace = case["trace"].as_array().unwrap();
    let of = |op: &str| {
        trace
            .iter()
            .filter(|step| step["op"] == op)
            .cloned()
            .collect::<Vec<_>>()
    };
    let images = super::service::images(&case["state"]);
    let uploads = of("upload");
    assert_eq!(batches.uploads.len(), uploads.len(), "{name}");
    for ((file, content), expected) in batches.uploads.iter().zip(&uploads) {
        assert_eq!(timeless(file), timeless(text(&expected["name"])), "{name}");
        let asked: Vec<Value> = String::from_utf8(content.clone())
            .unwrap()
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let (image, nouns) = question(&line["body"], &images);
                json!([line["custom_id"], image, nouns])
            })
            .collect();
        assert_eq!(json!(asked), expected["requests"], "{name}");
        assert_eq!(json!(content.len()), expected["bytes"], "{name}");
        let hash: String = Sha256::digest(content)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hash, text(&expected["sha256"]), "{name}");
    }
    let looks: Vec<(String, String)> = batches
        .looks
        .iter()
        .map(|(at, status)| (format!("batch_{at}"), status.clone()))
        .collect();
    let expected: Vec<(String, String)> = of("retrieve")
        .iter()
        .map(|step| {
            (
                text(&step["batch"]).to_owned(),
                text(&step["status"]).to_owned(),
            )
        })
        .collect();
    assert_eq!(looks, expected, "{name}");
    assert_eq!(created(&place), created_there(trace), "{name}");
    let expected = &case["final_state"];
    assert_eq!(found["annotations"], expected["annotations"], "{name}");
    assert_eq!(found["descriptions"], expected["descriptions"], "{name}");
    assert_eq!(found["pending"], expected["pending"], "{name}");
    // Answers of no use count as well, unlike there.
    for (counter, count) in expected["_metrics"]["usage"].as_object().unwrap() {
        let own = found["_metrics"]["usage"][counter].as_u64();
        assert!(own >= count.as_u64(), "{name}: {counter}");
    }
    if !case["script"].to_string().contains("mangle") {
        assert_eq!(&found, expected, "{name}");
    }
}

/// What the original does worse: the end is that of an undisturbed run.
fn better(case: &Value, asking: &Asking, found: &Value, name: &str) {
    let expected = undisturbed(case, asking);
    // What the service says wrongly, as the case wants it, is believed; but only
    // once.
    let mangled = case["script"].to_string().contains("mangle");
    if !mangled {
        assert_eq!(found["annotations"], expected, "{name}");
        return;
    }
    let (min, max) = (
        number(&case["state"]["_meta"]["opinions_min"]),
        number(&case["state"]["_meta"]["opinions_max"]),
    );
    for (image, nouns) in expected.as_object().unwrap() {
        for noun in nouns.as_object().unwrap().keys() {
            let opinions = found["annotations"][image][noun].as_array().unwrap();
            assert!(
                (min..=max).contains(&opinions.len()),
                "{name}: {image}, {noun}"
            );
        }
    }
    // Every question of every upload has counted once.
    let asked: usize = created_in(found, case);
    let requests = number(&found["_metrics"]["usage"]["requests"]);
    assert!(requests <= asked, "{name}: {requests} of {asked}");
}

/// Questions that it takes at most if every pair takes as many as allowed.
fn created_in(found: &Value, case: &Value) -> usize {
    let pairs: usize = found["annotations"]
        .as_object()
        .unwrap()
        .values()
        .map(|nouns| nouns.as_object().unwrap().len())
        .sum();
    pairs * number(&case["state"]["_meta"]["opinions_max"])
}

#[test]
fn batch_files_are_those_of_the_original_byte_for_byte() {
    let case = &cases("batch.json")[0];
    let place = place(&case["state"]);
    let asking = asking(case, &place);
    let (ledger, _) = Ledger::open(&place.state, None).unwrap();
    let out = place.folder.path().join("out");
    let limits = BatchLimits::default();
    let (state, beside) = (&ledger.state, ledger.beside());
    asking
        .write_batches(state, beside, &limits, AnswerForm::Text, &out)
        .unwrap();
    let files: Vec<PathBuf> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let expected = fs::read(folder().join("batch_example.jsonl")).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(fs::read(&files[0]).unwrap(), expected);
}
