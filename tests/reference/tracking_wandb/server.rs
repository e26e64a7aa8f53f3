//! The loopback server of `tests/tools`, and the program with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Any key of the length that servers want.
pub const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of `tests/tools`.
pub fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(name)
}

/// Python, apart from the user's settings.
pub fn python() -> Command {
    let mut command = Command::new("python3");
    clean(&mut command);
    command
}

/// Takes the user's own settings away.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let starts = ["NOVIC", "WANDB", "NETRC"]
            .iter()
            .any(|s| name.starts_with(s));
        if starts && name != "NOVIC_GOLDEN" || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one with these rules for faults.
    pub fn start(faults: &Value) -> Server {
        let mut child = python()
            .arg(tool("wandb_server.py"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("an output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("the server is ready");
        let url = ready["url"].as_str().expect("an address").to_owned();
        let server = Server { child, url };
        server.post("/_faults", faults);
        server
    }

    /// Everything that it has received.
    pub fn runs(&self) -> Value {
        self.request("GET", "/_state", "")["runs"].clone()
    }

    /// All requests.
    pub fn log(&self) -> Vec<Value> {
        let log = self.request("GET", "/_log", "");
        log.as_array().cloned().expect("a list")
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, &body.to_string())
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let address = self.url.strip_prefix("http://").expect("an address");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// The program, to be started in `dir` with this server.
    pub fn novic(&self, dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
        clean(&mut command);
        command
            .args(arguments)
            .current_dir(dir)
            .env("WANDB_BASE_URL", &self.url)
            .env("WANDB_API_KEY", KEY);
        command
    }

    /// Replays a script in the store `dir/store`.
    pub fn replay(&self, dir: &Path, script: &Value) -> Output {
        let file = dir.join("script.json");
        std::fs::write(&file, script.to_string()).expect("a script");
        let arguments = ["replay", "script.json", "--store", "store"];
        self.novic(dir, &arguments).output().expect("novic starts")
    }
}

/// The same server behind TLS, with a certificate that `tool("tls/ca.pem")`
/// vouches for.
pub struct TlsFront {
    child: Child,
    pub url: String,
}

impl TlsFront {
    pub fn start(server: &Server) -> TlsFront {
        let port = server.url.rsplit(':').next().expect("a port");
        let mut child = python()
            .arg(tool("tls_front.py"))
            .arg(port)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("an output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let url = line.trim().to_owned();
        TlsFront { child, url }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program said, for failures.
pub fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
