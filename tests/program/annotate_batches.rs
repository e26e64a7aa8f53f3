//! `novic annotate gpt run --mode batch` against a service for batches that
//! tests kill, and that loses answers.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::annotate::{asked, assert_complete, assert_secret, begun, gpt, reply, run, state};
use crate::folder::Call;
use crate::llm_server::{LlmServer, Reaction, Received, answer};

/// What a service keeps.
#[derive(Default)]
pub struct Kept {
    pub files: BTreeMap<String, String>,
    /// Mark and file of questions of every batch.
    pub batches: Vec<(String, String)>,
    /// How often each batch was looked at.
    looks: BTreeMap<usize, usize>,
    made: usize,
    /// Calls that were received.
    calls: usize,
}

impl Kept {
    fn file(&mut self, content: String) -> String {
        self.made += 1;
        let id = format!("file-{}", self.made);
        self.files.insert(id.clone(), content);
        id
    }

    fn describe(&self, at: usize, status: &str, output: Option<&str>) -> Value {
        let (marker, input) = &self.batches[at];
        json!({
            "id": format!("batch_{at}"), "status": status, "input_file_id": input,
            "output_file_id": output, "metadata": {"novic_batch": marker},
            "request_counts": {"total": 9, "completed": self.looks.get(&at), "failed": 0},
        })
    }
}

/// A service whose batches take some looks; `fault` may answer instead.
pub fn service(
    looks: usize,
    mut fault: impl FnMut(&Received, &mut Kept) -> Option<Reaction> + Send + 'static,
) -> (LlmServer, Arc<Mutex<Kept>>) {
    let shared = Arc::new(Mutex::new(Kept::default()));
    let kept = shared.clone();
    let server = LlmServer::start(move |request| {
        if request.method.is_empty() {
            // Whoever began to ask was killed.
            return Reaction::Cut;
        }
        let mut kept = kept.lock().unwrap();
        kept.calls += 1;
        if let Some(reaction) = fault(request, &mut kept) {
            return reaction;
        }
        let path = request.path.trim_start_matches("/v1/").to_owned();
        let parts: Vec<&str> = path.split(['/', '?']).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["chat", "completions"]) => Reaction::Answer(reply(&request.body)),
            ("POST", ["files"]) => {
                let form = String::from_utf8(request.bytes.clone()).unwrap();
                let from = form.find("{\"custom_id\"").unwrap();
                let to = form.rfind("\n\r\n--").unwrap();
                let id = kept.file(form[from..to].to_owned());
                Reaction::Answer(json!({"id": id}))
            }
            ("POST", ["batches"]) => {
                let marker = request.body["metadata"]["novic_batch"].as_str().unwrap();
                let input = request.body["input_file_id"].as_str().unwrap();
                kept.batches.push((marker.to_owned(), input.to_owned()));
                Reaction::Answer(kept.describe(kept.batches.len() - 1, "validating", None))
            }
            ("GET", ["batches", query]) if query.starts_with("limit=") => {
                let all = 0..kept.batches.len();
                let list: Vec<Value> = all
                    .map(|at| kept.describe(at, "in_progress", None))
                    .collect();
                Reaction::Answer(json!({"data": list}))
            }
            ("GET", ["batches", id]) => {
                let at: usize = id.trim_start_matches("batch_").parse().unwrap();
                let seen = kept.looks.entry(at).or_default();
                *seen += 1;
                if *seen <= looks {
                    return Reaction::Answer(kept.describe(at, "in_progress", None));
                }
                let input = kept.files[&kept.batches[at].1].clone();
                let id = kept.file(results(&input));
                Reaction::Answer(kept.describe(at, "completed", Some(&id)))
            }
            ("POST", ["batches", id, "cancel"]) => {
                let at: usize = id.trim_start_matches("batch_").parse().unwrap();
                kept.looks.insert(at, looks);
                Reaction::Answer(kept.describe(at, "cancelling", None))
            }
            ("GET", ["files", id, "content"]) => {
                Reaction::Status(200, Vec::new(), kept.files[*id].clone())
            }
            ("DELETE", ["files", id]) => {
                kept.files.remove(*id);
                Reaction::Answer(json!({"deleted": true}))
            }
            other => panic!("nobody asks for {other:?}"),
        }
    });
    (server, shared)
}

fn results(input: &str) -> String {
    let line = |line: &str| {
        let question: Value = serde_json::from_str(line).unwrap();
        assert!(!asked(&question["body"]).is_empty());
        let response = json!({"status_code": 200, "body": reply(&question["body"])});
        json!({"custom_id": question["custom_id"], "response": response, "error": null}).to_string()
    };
    input.lines().map(line).collect::<Vec<_>>().join("\n")
}

pub const BATCH: [&str; 8] = [
    "--mode",
    "batch",
    "--answer",
    "text",
    "--unbatch-thres",
    "0",
    "--poll",
    "0.01",
];

#[test]
fn batches_bring_opinions_at_half_the_price() {
    let folder = begun(4, 9);
    let (server, kept) = service(2, |_, _| None);
    let more = ["--max-batch-requests", "20"];
    run(&folder, &server, &[&BATCH[..], &more].concat()).expect(0);
    assert_complete(&folder, 36);
    let kept = kept.lock().unwrap();
    assert!(kept.files.is_empty(), "{:?}", kept.files.keys());
    assert_eq!(kept.batches.len(), 2);
    let state = state(&folder);
    assert_eq!(state["_metrics"]["usage"]["requests"], 27);
    // 100 + 50 tokens at 1 and 2 USD per million, halved.
    let cost = state["_metrics"]["cost"].as_f64().unwrap();
    assert!((cost - 27.0 * 0.0001).abs() < 1e-9, "{cost}");
    assert_eq!(
        fs::read_dir(folder.path("images/batches")).unwrap().count(),
        0
    );
    assert_secret(&folder);
}

#[test]
fn a_lost_answer_makes_no_second_batch() {
    let folder = begun(4, 3);
    let mut lost = false;
    let (server, kept) = service(1, move |request, kept| {
        if request.method == "POST" && request.path == "/v1/batches" && !lost {
            lost = true;
            let marker = request.body["metadata"]["novic_batch"].as_str().unwrap();
            let input = request.body["input_file_id"].as_str().unwrap();
            kept.batches.push((marker.to_owned(), input.to_owned()));
            return Some(Reaction::Cut);
        }
        None
    });
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 12);
    assert_eq!(kept.lock().unwrap().batches.len(), 1);
}

#[test]
fn killed_at_any_call_no_batch_is_made_twice() {
    let folder = begun(3, 6);
    let (server, kept) = service(1, |_, _| {
        // Long enough to be killed in between.
        thread::sleep(Duration::from_millis(20));
        None
    });
    let more = [&BATCH[..], &["--max-batch-requests", "20"]].concat();
    let mut killed = 0;
    // One call more each time: every place of a run is met, and it ends.
    for calls in 1.. {
        let last = kept.lock().unwrap().calls + calls;
        let mut child = gpt(&folder, &server, "run", &more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while kept.lock().unwrap().calls < last && since.elapsed() < Duration::from_secs(60) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        killed += 1;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed >= 3, "{killed}");
    run(&folder, &server, &more).expect(0);
    assert_complete(&folder, 18);
    let kept = kept.lock().unwrap();
    let mut questions = Vec::new();
    for (marker, _) in &kept.batches {
        questions.push(marker.clone());
    }
    let all = questions.len();
    questions.sort();
    questions.dedup();
    assert_eq!(questions.len(), all, "a mark was used twice");
    // 18 questions in all; each was answered in one batch only.
    let journal = fs::read_to_string(folder.path("state.json.journal")).unwrap();
    let answers = journal
        .lines()
        .filter(|line| line.contains(r#""line":"answer""#))
        .count();
    assert_eq!(answers, 18);
    assert_eq!(all, 1, "{:?}", kept.batches);
}

#[test]
fn a_service_without_batches_is_asked_singly() {
    let folder = begun(4, 3);
    let (server, kept) = service(1, |request, _| {
        request
            .path
            .starts_with("/v1/batches")
            .then(|| Reaction::error(404, "not_found", "no such path"))
    });
    run(&folder, &server, &["--unbatch-thres", "1"]).expect(0);
    assert_complete(&folder, 12);
    assert!(kept.lock().unwrap().batches.is_empty());
}

#[test]
fn cancelled_batches_leave_what_they_have() {
    let folder = begun(4, 3);
    let (server, kept) = service(1_000_000, |_, _| None);
    let mut child = gpt(&folder, &server, "run", &BATCH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    // What the first look told is in the journal when the second one comes.
    while kept.lock().unwrap().looks.get(&0) < Some(&2) && since.elapsed() < Duration::from_secs(60)
    {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let status = folder.call(&["annotate", "status", "state.json"]).expect(0);
    // What the service told last is known without asking it.
    let told = "is under way: 9 questions, \"in_progress\", ";
    assert!(status.out.contains(told), "{}", status.out);
    assert!(
        status.out.contains(" answered, 0 failed at "),
        "{}",
        status.out
    );
    let cancelled = gpt(
        &folder,
        &server,
        "cancel",
        &["--poll", "0.01", "--answer", "text"],
    )
    .output();
    let cancelled = crate::folder::Call::from(cancelled.unwrap()).expect(0);
    assert!(
        cancelled.out.contains("1 batches cancelled, 36 opinions"),
        "{}",
        cancelled.out
    );
    assert_complete(&folder, 12);
}

#[test]
fn lines_of_errors_are_read() {
    let folder = begun(2, 3);
    let mut first = true;
    let (server, _) = service(0, move |request, kept| {
        let is_content = request.path.ends_with("/content");
        if !is_content || !std::mem::take(&mut first) {
            return None;
        }
        let id = request.path.split('/').nth(3).unwrap();
        let mut lines: Vec<Value> = kept.files[id]
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        lines[0]["response"] = json!({"status_code": 500, "body": {"error": {"message": "x"}}});
        lines[1]["response"]["body"] = answer("Nothing useful.");
        let again = lines[2].clone();
        lines.push(again);
        lines.reverse();
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        Some(Reaction::Status(200, Vec::new(), text.join("\n")))
    });
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 6);
}

#[test]
fn one_batch_at_a_time_is_enough() {
    let folder = begun(4, 20);
    let (server, kept) = service(1, |_, _| None);
    let more = ["--max-batch-requests", "20", "--max-pending-batches", "1"];
    run(&folder, &server, &[&BATCH[..], &more].concat()).expect(0);
    assert_complete(&folder, 80);
    let kept = kept.lock().unwrap();
    assert_eq!(kept.batches.len(), 3);
    assert!(kept.files.is_empty());
}

fn until_a_batch_is_looked_at(kept: &Mutex<Kept>) {
    let since = Instant::now();
    while kept.lock().unwrap().looks.is_empty() && since.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ctrl_c_leaves_batches_that_the_next_run_takes() {
    let folder = begun(4, 3);
    let (server, kept) = service(20, |_, _| None);
    let child = gpt(&folder, &server, "run", &BATCH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_a_batch_is_looked_at(&kept);
    crate::folder::interrupt(&child);
    let stopped = Call::from(child.wait_with_output().unwrap());
    stopped.expect(130);
    assert_eq!(
        state(&folder)["pending"]["annotate_batch"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 12);
    assert_eq!(kept.lock().unwrap().batches.len(), 1);
}

#[test]
fn expired_batches_keep_what_they_have_and_count_against_nobody() {
    let folder = begun(2, 9);
    // Each batch answers a third and expires.
    let (server, _) = service(0, |request, kept| {
        let parts: Vec<&str> = request.path.trim_start_matches("/v1/").split('/').collect();
        let ["batches", id] = parts.as_slice() else {
            return None;
        };
        let at: usize = id.trim_start_matches("batch_").parse().ok()?;
        if at >= 4 || request.method != "GET" {
            return None;
        }
        let input = kept.files[&kept.batches[at].1].clone();
        let lines: Vec<&str> = input.lines().collect();
        let (answered, expired) = lines.split_at(lines.len() / 3);
        let output = kept.file(results(&answered.join("\n")));
        let errors: Vec<String> = expired
            .iter()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let error = json!({"code": "batch_expired", "message": "too late"});
                json!({"custom_id": line["custom_id"], "response": null, "error": error})
                    .to_string()
            })
            .collect();
        let errors = kept.file(errors.join("\n"));
        let mut batch = kept.describe(at, "expired", Some(&output));
        batch["error_file_id"] = json!(errors);
        Some(Reaction::Answer(batch))
    });
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 18);
    let log = fs::read_to_string(folder.path("state.json.log")).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["class"], &first["batch"]),
        (&json!("answer"), &json!("batch_0"))
    );
    assert!(log.contains("too late"));
}

/// Ends a batch with an error about each question for which `why` has one.
fn with_errors(
    request: &Received,
    kept: &mut Kept,
    why: impl Fn(&Value) -> Option<Value>,
) -> Option<Reaction> {
    let parts: Vec<&str> = request.path.trim_start_matches("/v1/").split('/').collect();
    let ["batches", id] = parts.as_slice() else {
        return None;
    };
    if request.method != "GET" {
        return None;
    }
    let at: usize = id.trim_start_matches("batch_").parse().ok()?;
    let input = kept.files[&kept.batches[at].1].clone();
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for line in input.lines() {
        let question: Value = serde_json::from_str(line).unwrap();
        match why(&question["body"]) {
            None => taken.push(line),
            Some(error) => {
                let response = json!({"status_code": 400, "body": {"error": error}});
                let id = &question["custom_id"];
                refused.push(json!({"custom_id": id, "response": response}).to_string());
            }
        }
    }
    let output = kept.file(results(&taken.join("\n")));
    let errors = kept.file(refused.join("\n"));
    let mut batch = kept.describe(at, "completed", Some(&output));
    batch["error_file_id"] = json!(errors);
    Some(Reaction::Answer(batch))
}

#[test]
fn batches_are_written_anew_without_what_the_service_does_not_know() {
    let folder = begun(4, 5);
    let (server, kept) = service(0, |request, kept| {
        with_errors(request, kept, |body| {
            let unknown = ["max_tokens", "top_p"]
                .into_iter()
                .find(|name| body.get(name).is_some())?;
            Some(
                json!({"message": format!("Unsupported parameter: '{unknown}'."), "param": unknown}),
            )
        })
    });
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 20);
    // One lesson a batch.
    assert_eq!(kept.lock().unwrap().batches.len(), 3);
    let asked = &state(&folder)["_meta"]["asked"];
    assert_eq!(asked["limit"], "max_completion_tokens");
    assert_eq!(asked["dropped"], json!(["top_p"]));
    assert_eq!(state(&folder)["failures"], json!({}));
    // The next run knows it.
    let predictions = fs::read_to_string(folder.path("p.json")).unwrap();
    let more = predictions.replace("thing fox 1", "thing fox 8");
    fs::write(folder.path("p.json"), more).unwrap();
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 22);
    assert_eq!(kept.lock().unwrap().batches.len(), 4);
}

#[test]
fn what_was_learnt_holds_after_a_stop_while_a_batch_is_under_way() {
    let folder = begun(4, 5);
    let (server, kept) = service(1_000, |request, _| {
        let is_question = request.path.ends_with("/completions");
        (is_question && request.body.get("max_tokens").is_some())
            .then(|| Reaction::error(400, "unsupported", "'max_tokens' is not supported"))
    });
    let auto = ["--mode", "batch", "--unbatch-thres", "0", "--poll", "0.01"];
    let child = gpt(&folder, &server, "run", &auto)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_a_batch_is_looked_at(&kept);
    crate::folder::interrupt(&child);
    Call::from(child.wait_with_output().unwrap()).expect(130);
    let asked = &state(&folder)["_meta"]["asked"];
    assert_eq!(asked["answer"], "schema");
    assert_eq!(asked["limit"], "max_completion_tokens");
    assert_eq!(
        state(&folder)["pending"]["annotate_batch"][0]["written"]["limit"],
        "max_completion_tokens"
    );
}

#[test]
fn three_images_that_are_refused_as_they_are_stop_batches() {
    let folder = begun(2, 9);
    let (server, kept) = service(0, |request, kept| {
        with_errors(request, kept, |_| {
            Some(json!({"message": "no such images"}))
        })
    });
    let ended = run(&folder, &server, &BATCH).expect(1);
    assert!(ended.err.contains("no such images"), "{}", ended.err);
    assert_eq!(kept.lock().unwrap().batches.len(), 1);
    let failures = &state(&folder)["failures"];
    assert_eq!(failures.as_object().unwrap().len(), 3, "{failures}");
}

#[test]
fn batches_go_as_far_as_the_budget_does() {
    let folder = begun(8, 9);
    let (server, kept) = service(1, |_, _| None);
    let ended = run(
        &folder,
        &server,
        &[&BATCH[..], &["--max-requests", "10"]].concat(),
    )
    .expect(6);
    assert!(ended.err.contains("10 requests"), "{}", ended.err);
    assert_eq!(kept.lock().unwrap().batches.len(), 1);
    assert_eq!(state(&folder)["_metrics"]["usage"]["requests"], 10);
    // 0.0001 USD each, where 0.0007 could be needed.
    let ended = run(
        &folder,
        &server,
        &[&BATCH[..], &["--max-cost", "0.003"]].concat(),
    );
    assert!(matches!(ended.code, Some(0 | 6)), "{}", ended.err);
    let paid = state(&folder)["_metrics"]["cost"].as_f64().unwrap();
    assert!(paid > 0.002 && paid <= 0.003, "{paid}");
    assert!(kept.lock().unwrap().batches.len() > 2);
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 72);
    assert_eq!(state(&folder)["_metrics"]["usage"]["requests"], 27);
}

#[test]
fn being_asked_too_fast_uses_up_no_tries() {
    let folder = begun(4, 5);
    let mut refused = BTreeMap::new();
    let (server, kept) = service(0, move |request, _| {
        let path = request.path.split('?').next().unwrap_or_default();
        let times = refused
            .entry(format!("{} {path}", request.method))
            .or_insert(0);
        *times += 1;
        let headers = vec![("Retry-After", "0.005".to_owned())];
        (*times <= 6).then(|| Reaction::Status(429, headers, "{}".to_owned()))
    });
    run(&folder, &server, &BATCH).expect(0);
    assert_complete(&folder, 20);
    let kept = kept.lock().unwrap();
    assert_eq!(kept.batches.len(), 1);
    assert!(kept.files.is_empty());
}

#[test]
fn it_is_told_why_batches_fail() {
    let folder = begun(4, 5);
    let (server, kept) = service(0, |request, kept| {
        let id = request.path.strip_prefix("/v1/batches/batch_")?;
        let mut batch = kept.describe(id.parse().ok()?, "failed", None);
        batch["errors"] = json!({"object": "list", "data": [
            {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]});
        Some(Reaction::Answer(batch))
    });
    let ended = run(&folder, &server, &BATCH).expect(1);
    let why = "5 batches had no useful results: Enqueued token limit reached";
    assert!(ended.err.contains(why), "{}", ended.err);
    assert!(ended.err.contains("20 pairs stay open"), "{}", ended.err);
    assert_eq!(kept.lock().unwrap().batches.len(), 5);
}
