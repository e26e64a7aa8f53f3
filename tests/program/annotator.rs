//! A running `novic annotate human`, and requests to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::folder::{Folder, interrupt, repository};

/// Pictures of the sets.
pub const PICTURES: [&str; 3] = ["fox.png", "key.png", "snail.png"];

/// A running session, ended with the test.
pub struct Annotator {
    child: Child,
    /// Address of the page.
    pub url: String,
    /// Host and port.
    pub host: String,
    out: BufReader<ChildStdout>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A folder with a set of pictures and predictions for them.
pub fn set() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path("set")).unwrap();
    for name in PICTURES {
        let from = repository("extras/demo").join(name);
        fs::copy(from, folder.path("set").join(name)).unwrap();
    }
    let predictions = json!({
        "version": 1,
        "model": "one",
        "samples": PICTURES,
        "predictions": {
            "beam": {"pred": [["fox", "wolf"], ["key", "lock"], ["snail", "slug"]]},
            "greedy": {"pred": [["red fox"], ["key"], ["shell"]]},
        },
    });
    fs::write(folder.path("predictions.json"), predictions.to_string()).unwrap();
    folder
}

impl Annotator {
    /// Starts a session of the set in a folder.
    pub fn start(folder: &Folder, more: &[&str]) -> Self {
        let mut arguments = vec!["annotate", "human", "--no-open", "--json"];
        if !more
            .iter()
            .any(|argument| argument.ends_with(".toml") || *argument == "--set")
        {
            arguments.extend(["--images", "set", "--predictions", "predictions.json"]);
        }
        arguments.extend(more);
        let mut child = folder
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let url = line["url"].as_str().unwrap().to_owned();
        let host = url.strip_prefix("http://").unwrap();
        Self {
            host: host.split('/').next().unwrap().to_owned(),
            url,
            child,
            out,
        }
    }

    /// Port of its address.
    pub fn port(&self) -> String {
        self.host.split(':').next_back().unwrap().to_owned()
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request.push_str(&format!("Host: {}\r\n", self.host));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        // A server that refuses a body may close before all of it is written.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: answer[end + 4..].to_vec(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], &body.to_string())
    }

    /// Labels a pair of the only set, and expects it to work.
    #[track_caller]
    pub fn label(&self, image: &str, noun: &str, category: &str) -> Value {
        let body = json!({"set": "set", "image": image, "noun": noun, "category": category});
        let answer = self.post("/api/label", &body);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C; returns the exit code and what it printed at the end.
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        interrupt(&self.child);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Annotator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The annotation file of the set.
pub fn file(folder: &Folder) -> PathBuf {
    folder.path("set").join("_class_annotations.json")
}

/// Labels of the annotation file: image, noun, category.
pub fn labels(folder: &Folder) -> Vec<(String, String, String)> {
    let text = fs::read_to_string(file(folder)).unwrap_or_else(|_| "{}".to_owned());
    let value: Value = serde_json::from_str(&text).unwrap();
    let mut labels = Vec::new();
    for (image, categories) in value.as_object().unwrap() {
        for (category, nouns) in categories.as_object().unwrap() {
            for noun in nouns.as_array().unwrap() {
                labels.push((
                    image.clone(),
                    noun.as_str().unwrap().to_owned(),
                    category.clone(),
                ));
            }
        }
    }
    labels.sort();
    labels
}
