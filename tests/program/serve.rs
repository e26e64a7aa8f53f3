//! The server, by HTTP on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::folder::{Folder, repository};

/// A running server, ended with the test.
pub struct Server {
    child: Child,
    address: String,
    out: BufReader<ChildStdout>,
    _folder: Folder,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Server {
    pub fn start(more: &[&str]) -> Self {
        let folder = Folder::new();
        let mut command: Command = folder.command(&["serve", "--port", "0", "--json"]);
        let mut child = command
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["url"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap();
        Self {
            address: address.to_owned(),
            child,
            out,
            _folder: folder,
        }
    }

    /// Address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses a body may close before all of it is written.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end =
            end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&answer)));
        let head = String::from_utf8(answer[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let mut body = answer[end + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body,
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send(&[request.as_bytes(), body].concat())
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    fn classify(&self, request: &Value) -> Answer {
        let kind = [("Content-Type", "application/json")];
        self.ask(
            "POST",
            "/v1/classify",
            &kind,
            request.to_string().as_bytes(),
        )
    }

    /// A counter of `/metrics`.
    fn counter(&self, line: &str) -> f64 {
        let text = self.get("/metrics").text();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return out;
        }
        out.extend(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
}

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(repository("extras/demo").join(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn first(record: &Value) -> String {
    record["predictions"][0]["noun"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn pictures_come_in_every_form_and_have_the_labels_of_the_command() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz").status, 200);
    let fox = picture("fox.png");
    let png = [("Content-Type", "image/png")];
    let raw = server.ask("POST", "/v1/classify?top=3", &png, &fox);
    assert_eq!(raw.status, 200, "{}", raw.text());
    let raw = raw.json();
    let predictions = raw[0]["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 3);

    let folder = Folder::new();
    let call = folder.call(&["infer", "--json", "demo/fox.png"]).expect(0);
    let labels: Value = serde_json::from_str(&call.out).unwrap();
    for (served, printed) in predictions
        .iter()
        .zip(labels[0]["predictions"].as_array().unwrap())
    {
        assert_eq!(served["noun"], printed["noun"]);
        let gap = served["score"].as_f64().unwrap() - printed["score"].as_f64().unwrap();
        assert!(gap.abs() < 1e-4);
    }

    let json = server.classify(&json!({
        "images": [
            { "data": base64(&fox), "id": { "n": 7 } },
            { "data": "no base64!" },
            { "data": format!("data:image/png;base64,{}", base64(&fox)), "name": "again" },
            { "data": base64(b"no picture") },
        ],
        "texts": ["a photo of a key"],
        "embedding": true,
        "tokens": true,
        "top": 2,
    }));
    assert_eq!(json.status, 200, "{}", json.text());
    let records = json.json();
    assert_eq!(first(&records[0]), first(&raw[0]));
    assert_eq!(records[0]["id"], json!({ "n": 7 }));
    assert_eq!(records[1]["error"]["kind"], "input");
    assert_eq!(first(&records[2]), first(&raw[0]));
    assert_eq!(records[2]["input"], "again");
    assert_eq!(records[3]["error"]["kind"], "image_decode");
    assert!(first(&records[4]).contains("key"), "{}", records[4]);
    for (index, record) in records.as_array().unwrap().iter().enumerate() {
        assert_eq!(record["index"], index);
    }

    let written = records[0]["predictions"][0]["tokens"].as_array().unwrap();
    let ids: Vec<&Value> = written.iter().map(|token| &token["id"]).collect();
    let request = json!({ "embedding": records[0]["embedding"], "tokens": ids, "count": 50 });
    let kind = [("Content-Type", "application/json")];
    let body = request.to_string();
    let answer = server.ask("POST", "/v1/alternatives", &kind, body.as_bytes());
    let places = answer.json();
    let places = places["places"].as_array().unwrap();
    assert_eq!(places.len(), written.len());
    for (place, token) in places.iter().zip(written) {
        let place = place.as_array().unwrap();
        let chances: Vec<f64> = place.iter().map(|t| t["prob"].as_f64().unwrap()).collect();
        assert!(chances.is_sorted_by(|a, b| a >= b), "{place:?}");
        if let Some(own) = place.iter().find(|other| other["id"] == token["id"]) {
            let expected = token["log_prob"].as_f64().unwrap().exp();
            assert!((own["prob"].as_f64().unwrap() - expected).abs() < 1e-4);
            assert_eq!(own["text"], token["text"]);
        } else {
            assert_eq!(place.len(), 50, "{token} {place:?}");
        }
    }
    let again = server.classify(&json!({ "embeddings": [records[0]["embedding"]] }));
    assert_eq!(first(&again.json()[0]), first(&raw[0]));

    let form = [
        &b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"[..],
        &fox,
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"key.png\"\r\n\r\n",
        &picture("key.png"),
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"top\"\r\n\r\n1\r\n--x--\r\n",
    ]
    .concat();
    let kind = [
        ("Content-Type", "multipart/form-data; boundary=x"),
        ("Accept", "application/x-ndjson"),
    ];
    let lines = server.ask("POST", "/v1/classify", &kind, &form);
    assert_eq!(lines.status, 200);
    let lines: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["input"], "a.png");
    assert_eq!(first(&lines[0]), first(&raw[0]));
    assert_eq!(lines[1]["predictions"].as_array().unwrap().len(), 1);

    assert!(server.counter("novic_inputs_total{kind=\"image\"}") >= 6.0);
    assert_eq!(server.counter("novic_queue_inputs"), 0.0);
    assert_eq!(
        server.counter("novic_errors_total{kind=\"image_decode\"}"),
        1.0
    );
}

#[test]
fn the_embedder_may_keep_half_precision() {
    let server = Server::start(&["--dtype", "bf16", "--device", "cpu"]);
    let kind = [("Content-Type", "image/png")];
    let answer = server.ask("POST", "/v1/classify", &kind, &picture("fox.png"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let alone = Folder::new().call(&["infer", "demo/fox.png", "--jsonl"]);
    let alone: Value = serde_json::from_str(&alone.expect(0).out).unwrap();
    assert_eq!(first(&answer.json()[0]), first(&alone));
}

#[test]
fn guide_lists_are_kept_by_name() {
    let server = Server::start(&[]);
    let path = "/v1/guides/mine";
    let answer = server.ask(
        "PUT",
        path,
        &[],
        "fox\nkey\n# a comment\nfox\nzzqx vv\n".as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["nouns"], 3);
    assert_eq!(server.get("/v1/guides").json()[0]["name"], "mine");
    let kind = [("Content-Type", "image/png")];
    for query in ["guide=mine", "guide=key%0Afox"] {
        let fox = server.ask(
            "POST",
            &format!("/v1/classify?{query}"),
            &kind,
            &picture("fox.png"),
        );
        assert_eq!(fox.status, 200, "{}", fox.text());
        let fox = fox.json();
        assert_eq!(first(&fox[0]), "fox", "{fox}");
        assert!(fox[0]["predictions"].as_array().unwrap().len() <= 3);
    }
    // What is the matter with a list of a request is in its answer.
    let given = server.classify(&json!({
        "texts": ["a fox", "a key"],
        "guide": ["fox", "key", "Fox", "zzqx vv", "key"],
    }));
    for record in given.json().as_array().unwrap() {
        let warnings = record["guide_warnings"].to_string();
        for part in ["zzqx vv", "Fox = fox", "more than once"] {
            assert!(warnings.contains(part), "{warnings}");
        }
    }
    for guide in [json!("mine"), json!(["fox", "key"]), Value::Null] {
        let silent = server.classify(&json!({ "texts": ["a fox"], "guide": guide }));
        assert!(silent.json()[0].get("guide_warnings").is_none(), "{guide}");
    }
    for (method, path, body, status) in [
        ("PUT", "/v1/guides/none", "", 422),
        ("PUT", "/v1/guides/a%20b", "fox", 400),
        ("PUT", "/v1/guides/bad", "\u{0}", 422),
        ("DELETE", "/v1/guides/other", "", 404),
        ("DELETE", path, "", 204),
        ("GET", path, "", 404),
    ] {
        let answer = server.ask(method, path, &[], body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let gone = server.ask(
        "POST",
        "/v1/classify?guide=mine",
        &kind,
        &picture("fox.png"),
    );
    assert_eq!(gone.status, 404);
}

#[test]
fn malformed_huge_and_hostile_requests_are_refused() {
    let server = Server::start(&[
        "--max-body",
        "1",
        "--max-megapixels",
        "1",
        "--max-inputs",
        "4",
    ]);
    let png = ("Content-Type", "image/png");
    let json_kind = ("Content-Type", "application/json");
    let bomb = bomb(20_000, 20_000);
    let fox = picture("fox.png");
    let half = &fox[..fox.len() / 2];
    let large = vec![0u8; (1 << 20) + 1];
    let many = json!({ "texts": ["a", "b", "c", "d", "e"] }).to_string();
    let deep = "[".repeat(100_000);
    let parts = format!("{{\"guide\": [{}0]}}", "0,".repeat(400_000));
    let text = json!({ "texts": ["x".repeat(20_000)] }).to_string();
    let noun = json!({ "texts": ["a"], "guide": ["x".repeat(20_000)] }).to_string();
    let fields = (0..40)
        .map(|n| format!("--x\r\nContent-Disposition: form-data; name=\"f{n}\"\r\n\r\n1\r\n"));
    let fields = fields.collect::<String>() + "--x--\r\n";
    let nan = json!({ "embeddings": [[1.0, 2.0]] }).to_string();
    /// Method, path, headers, body, status of the answer.
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a [u8], u16);
    let cases: Vec<Case<'_>> = vec![
        ("POST", "/v1/classify", vec![png], b"", 400),
        ("POST", "/v1/classify", vec![png], b"no picture at all", 422),
        ("POST", "/v1/classify", vec![png], half, 422),
        ("POST", "/v1/classify", vec![png], &bomb, 413),
        ("POST", "/v1/classify", vec![png], &large, 413),
        ("POST", "/v1/classify?top=x", vec![png], &fox, 400),
        ("POST", "/v1/classify?tpo=1", vec![png], &fox, 400),
        ("POST", "/v1/classify?gencfg=beam_k0", vec![png], &fox, 400),
        (
            "POST",
            "/v1/classify?gencfg=beam_k5000_gp",
            vec![png],
            &fox,
            400,
        ),
        (
            "POST",
            "/v1/classify?gencfg=all_k3_gn",
            vec![png],
            &fox,
            400,
        ),
        ("POST", "/v1/classify?min_prob=7", vec![png], &fox, 400),
        ("POST", "/v1/classify?guide=nobody", vec![png], &fox, 404),
        (
            "POST",
            "/v1/classify",
            vec![("Content-Type", "text/html")],
            b"<p>",
            415,
        ),
        ("POST", "/v1/classify", vec![json_kind], b"{", 400),
        ("POST", "/v1/classify", vec![json_kind], b"{}", 400),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            b"{\"paths\": [\"/etc/passwd\"]}",
            400,
        ),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            deep.as_bytes(),
            400,
        ),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            many.as_bytes(),
            413,
        ),
        ("POST", "/v1/classify", vec![json_kind], nan.as_bytes(), 422),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            parts.as_bytes(),
            400,
        ),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            text.as_bytes(),
            422,
        ),
        (
            "POST",
            "/v1/classify",
            vec![json_kind],
            noun.as_bytes(),
            413,
        ),
        (
            "POST",
            "/v1/classify",
            vec![("Content-Type", "multipart/form-data; boundary=x")],
            fields.as_bytes(),
            413,
        ),
        ("POST", "/v1/classify?top=0", vec![png], &fox, 400),
        (
            "POST",
            "/v1/classify",
            vec![("Content-Type", "multipart/form-data; boundary=x")],
            b"--x\r\n",
            400,
        ),
        (
            "POST",
            "/v1/alternatives",
            vec![json_kind],
            b"{\"embedding\": [], \"tokens\": []}",
            400,
        ),
        ("GET", "/v1/classify", vec![], b"", 405),
        ("GET", "/v1/../etc/passwd", vec![], b"", 404),
        ("GET", "/examples/..%2F..%2Fetc%2Fpasswd", vec![], b"", 404),
        (
            "POST",
            "/v1/classify",
            vec![png, ("Origin", "http://evil.example")],
            &fox,
            403,
        ),
    ];
    for (method, path, headers, body, status) in cases {
        let answer = server.ask(method, path, &headers, body);
        let what = format!(
            "{method} {path} {headers:?} {} bytes: {}",
            body.len(),
            answer.text()
        );
        assert_eq!(answer.status, status, "{what}");
        if path.starts_with("/v1/c") && status != 405 {
            let value = answer.json();
            let message = value["error"]["message"]
                .as_str()
                .or(value[0]["error"]["message"].as_str());
            assert!(message.is_some_and(|message| !message.is_empty()), "{what}");
        }
        assert!(
            answer.head.contains("x-content-type-options: nosniff"),
            "{what}"
        );
    }
    // A name that is not one of this machine, and no HTTP at all.
    let evil =
        server.send(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(evil.status, 403);
    let garbage = server.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert_eq!(garbage.status, 400);
    let header = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nA: {}\r\n\r\n",
        server.address,
        "a".repeat(200_000)
    );
    let long = server.send(header.as_bytes());
    assert!((400..500).contains(&long.status), "{}", long.status);
    // Clients that go away in the middle of it.
    for _ in 0..20 {
        let mut stream = server.connect();
        let head = format!(
            "POST /v1/classify HTTP/1.1\r\nHost: {}\r\nContent-Type: image/png\r\nContent-Length: 900000\r\n\r\n",
            server.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&fox).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let good = server.ask("POST", "/v1/classify", &[png], &fox);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(server.counter("novic_queue_inputs"), 0.0);
    for status in [500, 502, 504] {
        let line = format!("novic_requests_total{{path=\"/v1/classify\",status=\"{status}\"}}");
        assert_eq!(server.counter(&line), 0.0);
    }
}

#[test]
fn limits_of_nothing_are_mistakes() {
    let folder = Folder::new();
    for option in [
        "--queue",
        "--max-batch",
        "--max-inputs",
        "--max-body",
        "--max-megapixels",
        "--timeout",
        "--connections",
    ] {
        let call = folder.call(&["serve", option, "0"]).expect(2);
        assert!(
            call.err.contains(option) && call.err.contains("at least 1"),
            "{}",
            call.err
        );
    }
}

/// A PNG that says that it is large, in a few bytes.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::RgbImage::new(1, 1)
        .write_to(
            &mut std::io::Cursor::new(&mut bytes),
            image::ImageFormat::Png,
        )
        .unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn a_full_queue_says_so_and_a_stop_finishes_what_has_begun() {
    let mut server = Server::start(&["--queue", "1", "--max-batch", "1", "--token", "secret"]);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/healthz").status, 200);
    let token = ("Authorization", "Bearer secret");
    let models = server.ask("GET", "/v1/models", &[token], b"").json();
    assert_eq!(models[0]["name"], "embedded");
    let fox = picture("fox.png");
    let request = format!(
        "POST /v1/classify HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: image/png\r\n\
         Authorization: Bearer secret\r\nContent-Length: {}\r\n\r\n",
        server.address,
        fox.len()
    );
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| server.send(&[request.as_bytes(), &fox].concat())))
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers
            .map(|answer| {
                assert!(
                    answer.status == 200 || answer.head.contains("retry-after"),
                    "{}",
                    answer.head
                );
                answer.status
            })
            .collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );

    // A request that has begun has its answer although the server stops.
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&fox[..fox.len() - 1]).unwrap();
    // The server has the header when it has answered a later connection.
    assert_eq!(server.get("/healthz").status, 200);
    server.interrupt();
    stream.write_all(&fox[fox.len() - 1..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let status = server.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut rest = String::new();
    server.out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/examples/fox.png", "image/png"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
        assert!(
            answer.head.contains("default-src 'none'"),
            "{}",
            answer.head
        );
        if kind.starts_with("text/") {
            let text = answer.text();
            for elsewhere in ["http://", "https://", "src=\"//", "@import"] {
                assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
            }
        }
    }
}
