//! A language model service on this machine that does as tests tell it, faults
//! included: for everything that asks one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    /// Null unless it is JSON.
    pub body: Value,
    /// As it came.
    pub bytes: Vec<u8>,
}

impl Received {
    /// Everything that was said, in one text.
    pub fn said(&self) -> String {
        let messages = self.body["messages"].as_array().expect("messages");
        let texts = messages
            .iter()
            .map(|m| m["content"].as_str().unwrap_or_default());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// What the service does with a request.
pub enum Reaction {
    /// Answers it.
    Answer(Value),
    /// Answers with this status, these headers and this body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Says nothing for a while, then goes.
    Silence(Duration),
    /// Goes in the middle of the answer.
    Cut,
}

impl Reaction {
    /// An error as services describe it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": code, "code": code}});
        Self::Status(status, Vec::new(), body.to_string())
    }
}

/// A complete answer of a model.
pub fn answer(text: &str) -> Value {
    answer_that_ends(text, "stop")
}

/// An answer of a model, of 100 + 50 tokens.
pub fn answer_that_ends(text: &str, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "test-model-0",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "finish_reason": finish,
        }],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    })
}

/// A running service.
pub struct LlmServer {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl LlmServer {
    /// Starts one that does what `react` says about each request; it is asked
    /// about one at a time.
    pub fn start(react: impl FnMut(&Received) -> Reaction + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let react = Arc::new(Mutex::new(react));
        let log = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, react) = (log.clone(), react.clone());
                thread::spawn(move || {
                    // Whoever went away needs no answer.
                    let _ = serve(stream?, &log, |request| (react.lock().unwrap())(request));
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, received }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What has arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    react: impl FnOnce(&Received) -> Reaction,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next(), words.next());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let request = Received {
        at: Instant::now(),
        method: method.unwrap_or_default().to_owned(),
        path: path.unwrap_or_default().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        bytes: body,
    };
    log.lock().unwrap().push(request.clone());
    let (status, headers, body) = match react(&request) {
        Reaction::Answer(body) => (200, Vec::new(), body.to_string()),
        Reaction::Status(status, headers, body) => (status, headers, body),
        Reaction::Silence(time) => {
            thread::sleep(time);
            return Ok(());
        }
        Reaction::Cut => {
            let mut stream = stream;
            return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"id\": ");
        }
    };
    let mut head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\nx-request-id: req-1\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all((head + "\r\n" + &body).as_bytes())
}
