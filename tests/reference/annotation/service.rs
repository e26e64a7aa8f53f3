//! The scripted service of `single.json` and `batch.json`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{folder, number, strings, text};

#[path = "../../program/llm_server.rs"]
#[expect(dead_code, reason = "it serves other tests, too")]
mod llm_server;

pub use llm_server::{LlmServer, Reaction, Received};

/// How the model answers.
#[derive(Clone, Debug, Default)]
pub struct Model {
    seed: String,
    /// How often each pair was answered.
    asked: HashMap<(String, String), u32>,
    /// Pairs that were answered.
    answered: u64,
}

/// SHA-256 of a pair as a large number, the first byte being the largest.
fn hash(seed: &str, image: &str, noun: &str) -> [u8; 32] {
    Sha256::digest(format!("{seed}|{image}|{noun}").as_bytes()).into()
}

fn bit(hash: &[u8; 32], at: u32) -> bool {
    let at = at as usize;
    hash[31 - at / 8] >> (at % 8) & 1 == 1
}

/// What is said about a pair the `k`-th time.
pub fn verdict(seed: &str, image: &str, noun: &str, k: u32) -> bool {
    let hash = hash(seed, image, noun);
    let base = bit(&hash, 0);
    let rest = hash
        .iter()
        .fold(0_u32, |rest, byte| (rest * 256 + u32::from(*byte)) % 10);
    if rest < 7 || bit(&hash, 4 + k) {
        base
    } else {
        !base
    }
}

impl Model {
    pub fn new(seed: &Value) -> Self {
        Self {
            seed: seed.to_string(),
            ..Self::default()
        }
    }

    /// The response to a question.
    pub fn answer(&mut self, image: &str, nouns: &[String]) -> Value {
        let verdicts = nouns.iter().map(|noun| {
            let k = self
                .asked
                .entry((image.to_owned(), noun.clone()))
                .or_default();
            *k += 1;
            verdict(&self.seed, image, noun, *k - 1)
        });
        let verdicts = verdicts.collect::<Vec<_>>();
        self.answered += nouns.len() as u64;
        self.response(nouns, &verdicts)
    }

    /// A response that says the nouns are all right, and counts nowhere.
    pub fn all_correct(&self, nouns: &[String]) -> Value {
        self.response(nouns, &vec![true; nouns.len()])
    }

    fn response(&self, nouns: &[String], verdicts: &[bool]) -> Value {
        let mut said = format!("View {} of the scene.\n", self.answered % 3);
        for ((noun, right), number) in nouns.iter().zip(verdicts).zip(1..) {
            let word = if *right { "Correct" } else { "Incorrect" };
            said.push_str(&format!("\n{number}) {noun} - {word}"));
        }
        let n = nouns.len() as u64;
        let (asked, told) = (100 + 7 * n, 20 + 6 * n);
        json!({
            "id": "r", "object": "chat.completion", "model": "model-x",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": said},
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told,
            },
        })
    }
}

/// Leaves out the last line of an answer.
pub fn shortened(mut response: Value) -> Value {
    let content = &mut response["choices"][0]["message"]["content"];
    let said = text(content).to_owned();
    *content = said.rsplit_once('\n').map_or("", |(rest, _)| rest).into();
    response
}

pub fn ending(mut response: Value, finish: &str) -> Value {
    response["choices"][0]["finish_reason"] = finish.into();
    response
}

/// Which image and which nouns a request is about.
pub fn question(body: &Value, images: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let parts = &body["messages"][1]["content"];
    let url = text(&parts[0]["image_url"]["url"]);
    let image = images[url].clone();
    let lines = text(&parts[1]["text"]).split('\n').zip(1..);
    let nouns = lines.map(|(line, number)| {
        let prefix = format!("{number}) ");
        line.strip_prefix(&prefix)
            .expect("a numbered line")
            .to_owned()
    });
    (image, nouns.collect())
}

/// Images by the address of their small copies.
pub fn images(state: &Value) -> BTreeMap<String, String> {
    let small = strings(&state["_meta"]["images_small"]);
    let names = strings(&state["_meta"]["images"]);
    let address = |(small, name): (String, String)| {
        let bytes = fs::read(folder().join("images/512px").join(small)).unwrap();
        (
            format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)),
            name,
        )
    };
    small.into_iter().zip(names).map(address).collect()
}

/// What happened at the service for batches, and what it keeps.
#[derive(Default)]
pub struct Batches {
    /// Uploads: name, content.
    pub uploads: Vec<(String, Vec<u8>)>,
    /// Looks at batches: number of the batch, status.
    pub looks: Vec<(usize, String)>,
    /// Created batches.
    pub created: Vec<Created>,
    /// Files by number.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files that were made, in all.
    made: usize,
}

/// A batch at the service.
pub struct Created {
    pub metadata: Value,
    input: String,
    polls: usize,
    finished: Option<(String, Option<String>, Option<String>)>,
}

/// A service for batches as a case describes it.
pub fn batch_service(case: &Value) -> (LlmServer, Arc<Mutex<Batches>>) {
    let images = images(&case["state"]);
    let script = case["script"].as_array().unwrap().clone();
    let faults: Vec<usize> = case["upload_faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    let mut model = Model::new(&case["seed"]);
    let shared = Arc::new(Mutex::new(Batches::default()));
    let batches = shared.clone();
    let mut tried = 0;
    let server = LlmServer::start(move |request| {
        let mut batches = batches.lock().unwrap();
        let path = request.path.trim_start_matches("/v1/");
        let parts: Vec<&str> = path.split(['/', '?']).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["files"]) => {
                tried += 1;
                if faults.contains(&(tried - 1)) {
                    return Reaction::Cut;
                }
                batches.upload(&request.bytes)
            }
            ("POST", ["batches"]) => batches.create(&request.body),
            ("GET", ["batches", query]) if query.starts_with("limit=") => batches.list(),
            ("GET", ["batches", id]) => {
                let at: usize = id.trim_start_matches("batch_").parse().unwrap();
                let plan = script.get(at - 1).cloned().unwrap_or(json!({}));
                batches.look(at, &plan, &mut model, &images)
            }
            ("GET", ["files", id, "content"]) => match batches.files.get(*id) {
                Some(bytes) => {
                    let content = String::from_utf8(bytes.clone()).unwrap();
                    Reaction::Status(200, Vec::new(), content)
                }
                None => Reaction::error(404, "not_found", "no such file"),
            },
            ("DELETE", ["files", id]) => {
                batches.files.remove(*id);
                Reaction::Answer(json!({"id": id, "deleted": true}))
            }
            other => panic!("nobody asks for {other:?}"),
        }
    });
    (server, shared)
}

impl Batches {
    fn file(&mut self, content: Vec<u8>) -> String {
        self.made += 1;
        let id = format!("file-{}", self.made);
        self.files.insert(id.clone(), content);
        id
    }

    fn upload(&mut self, form: &[u8]) -> Reaction {
        let form = String::from_utf8(form.to_vec()).unwrap();
        let boundary = form.lines().next().unwrap().to_owned();
        let part = form
            .split(&boundary)
            .find(|part| part.contains("filename="))
            .unwrap();
        assert!(form.contains("name=\"purpose\"\r\n\r\nbatch\r\n"));
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        let name = head
            .split("filename=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let content = content.strip_suffix("\r\n").unwrap().as_bytes().to_vec();
        self.uploads.push((name.to_owned(), content.clone()));
        let id = self.file(content);
        Reaction::Answer(json!({"id": id, "object": "file"}))
    }

    fn create(&mut self, body: &Value) -> Reaction {
        assert_eq!(body["endpoint"], "/v1/chat/completions");
        assert_eq!(body["completion_window"], "24h");
        self.created.push(Created {
            metadata: body["metadata"].clone(),
            input: text(&body["input_file_id"]).to_owned(),
            polls: 0,
            finished: None,
        });
        Reaction::Answer(self.describe(self.created.len()))
    }

    fn list(&self) -> Reaction {
        let list: Vec<Value> = (1..=self.created.len())
            .map(|at| self.describe(at))
            .collect();
        Reaction::Answer(json!({"object": "list", "data": list}))
    }

    fn describe(&self, at: usize) -> Value {
        let batch = &self.created[at - 1];
        let (status, output, errors) = match &batch.finished {
            Some((status, output, errors)) => (status.as_str(), output.clone(), errors.clone()),
            None => ("in_progress", None, None),
        };
        json!({
            "id": format!("batch_{at}"), "object": "batch", "status": status,
            "input_file_id": batch.input, "output_file_id": output, "error_file_id": errors,
            "metadata": batch.metadata,
        })
    }

    fn look(
        &mut self,
        at: usize,
        plan: &Value,
        model: &mut Model,
        images: &BTreeMap<String, String>,
    ) -> Reaction {
        let batch = &mut self.created[at - 1];
        batch.polls += 1;
        let polls = batch.polls;
        if plan["retrieve_error"].as_u64() == Some(polls as u64) {
            return Reaction::Cut;
        }
        let delay = plan["delay"].as_u64().unwrap_or(0) as usize;
        if polls > delay && batch.finished.is_none() {
            let status = plan["status"].as_str().unwrap_or("completed").to_owned();
            let input = self.files[&batch.input].clone();
            // What was answered has counted, whether it can be had or not.
            let answers = output(&input, plan, model, images);
            let output = (plan["no_output"] != json!(true)).then(|| self.file(answers));
            let errors = (plan["error_file"] == json!(true)).then(|| self.file(Vec::new()));
            self.created[at - 1].finished = Some((status, output, errors));
        }
        let described = self.describe(at);
        self.looks.push((at, text(&described["status"]).to_owned()));
        Reaction::Answer(described)
    }
}

/// The results of a batch.
fn output(
    input: &[u8],
    plan: &Value,
    model: &mut Model,
    images: &BTreeMap<String, String>,
) -> Vec<u8> {
    let dropped: Vec<usize> = match &plan["drop"] {
        Value::Null => Vec::new(),
        list => list.as_array().unwrap().iter().map(number).collect(),
    };
    let mut lines = Vec::new();
    let questions = String::from_utf8(input.to_vec()).unwrap();
    for (at, line) in questions.lines().zip(1..).map(|(line, at)| (at, line)) {
        if dropped.contains(&at) {
            continue;
        }
        let asked: Value = serde_json::from_str(line).unwrap();
        let mut id = text(&asked["custom_id"]).to_owned();
        let (image, nouns) = question(&asked["body"], images);
        let mangle = plan["mangle"]
            .get(at.to_string())
            .map(|kind| text(kind).to_owned());
        let body = match mangle.as_deref() {
            None => model.answer(&image, &nouns),
            Some(_) => model.all_correct(&nouns),
        };
        let mut result = json!({"status_code": 200, "request_id": "q", "body": body});
        let mut error = Value::Null;
        let mut times = 1;
        match mangle.as_deref() {
            None => {}
            Some("error") => {
                result = Value::Null;
                error = json!({"code": "server_error", "message": "something went wrong"});
            }
            Some("status 500") => {
                result = json!({"status_code": 500, "request_id": "q",
                    "body": {"error": {"message": "something went wrong"}}});
            }
            Some("bad id") => id = format!("{}:{image}", at + 500),
            Some("other image") => id = format!("{at}:nope.jpg"),
            Some("id without image") => id = at.to_string(),
            Some("length") => result["body"] = ending(body, "length"),
            Some("wrong count") => result["body"] = shortened(body),
            Some("twice") => times = 2,
            Some(other) => panic!("what is {other}?"),
        }
        let line = json!({"id": "l", "custom_id": id, "response": result, "error": error});
        lines.extend(std::iter::repeat_n(line.to_string(), times));
    }
    match plan["order"].as_str() {
        None => {}
        Some("reversed") => lines.reverse(),
        Some(other) => panic!("what is {other}?"),
    }
    (lines.join("\n") + "\n").into_bytes()
}

/// A service for single questions as a case describes it, and what it was
/// asked: image, nouns, fault.
#[expect(clippy::type_complexity, reason = "a log and its owner")]
pub fn single_service(case: &Value) -> (LlmServer, Arc<Mutex<Vec<(String, Vec<String>, String)>>>) {
    let images = images(&case["state"]);
    let faults = strings(&case["faults"]);
    let mut model = Model::new(&case["seed"]);
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let server = LlmServer::start(move |request: &Received| {
        assert_eq!(request.path, "/v1/chat/completions");
        let (image, nouns) = question(&request.body, &images);
        let mut seen = seen.lock().unwrap();
        let fault = faults
            .get(seen.len())
            .map_or("ok", String::as_str)
            .to_owned();
        seen.push((image.clone(), nouns.clone(), fault.clone()));
        let whole = |model: &Model| model.all_correct(&nouns);
        match fault.as_str() {
            "ok" => Reaction::Answer(model.answer(&image, &nouns)),
            "429" => Reaction::error(429, "rate_limit_exceeded", "slow down"),
            "500" => Reaction::error(500, "server_error", "something went wrong"),
            "503" => Reaction::error(503, "server_error", "overloaded"),
            "not json" => Reaction::Status(200, Vec::new(), "<html>".to_owned()),
            "cut json" | "connection" => Reaction::Cut,
            "timeout" => Reaction::Silence(Duration::from_millis(20)),
            "length" => Reaction::Answer(ending(whole(&model), "length")),
            "filter" => Reaction::Answer(ending(whole(&model), "content_filter")),
            "wrong count" => Reaction::Answer(shortened(whole(&model))),
            "refusal" => {
                let mut response = whole(&model);
                response["choices"][0]["message"] =
                    json!({"role": "assistant", "content": null, "refusal": "I cannot do this."});
                Reaction::Answer(response)
            }
            "no choices" => {
                let mut response = whole(&model);
                response["choices"] = json!([]);
                Reaction::Answer(response)
            }
            other => panic!("what is {other}?"),
        }
    });
    (server, log)
}
