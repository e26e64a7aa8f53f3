//! Telling commands and addresses what happens in a run (`[hooks]`).

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::schema;
use crate::net::post_json;
use crate::tracking::{Happening, Watch};

/// Time between two looks at a command.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Hooks that wait for something to happen.
#[derive(Debug)]
pub struct Hooks {
    watch: Watch,
    heard: Receiver<Happening>,
    hooks: schema::Hooks,
}

/// Hooks at work. They never disturb the run.
#[derive(Debug)]
pub struct RunningHooks {
    thread: JoinHandle<Vec<String>>,
}

impl Hooks {
    /// The hooks of an experiment, if it has any.
    pub fn of(hooks: &schema::Hooks) -> Option<Hooks> {
        let lists = [&hooks.finish, &hooks.failure, &hooks.nan, &hooks.plateau];
        if lists.iter().all(|list| list.is_empty()) {
            return None;
        }
        let (tell, heard) = mpsc::channel();
        let watch = Watch {
            plateau_metric: hooks.plateau_metric.clone(),
            plateau_rows: hooks.plateau_rows,
            follow: None,
            tell,
        };
        Some(Hooks {
            watch,
            heard,
            hooks: hooks.clone(),
        })
    }

    /// Who watches the run for them.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Runs the hooks of what happens in the run that `about` describes, until
    /// its record is closed.
    pub fn start(self, about: Value) -> RunningHooks {
        let Hooks {
            watch,
            heard,
            hooks,
        } = self;
        // The record has the only other end now.
        drop(watch);
        let thread = thread::spawn(move || {
            let mut warnings = Vec::new();
            for happening in heard {
                warnings.extend(run_hooks(&hooks, &about, &happening));
            }
            warnings
        });
        RunningHooks { thread }
    }
}

impl RunningHooks {
    /// Waits for the last hooks, after the record was closed; what went wrong
    /// with them.
    pub fn wait(self) -> Vec<String> {
        let panicked = |_| vec!["the hooks panicked".to_owned()];
        self.thread.join().unwrap_or_else(panicked)
    }
}

fn run_hooks(hooks: &schema::Hooks, about: &Value, happening: &Happening) -> Vec<String> {
    let (name, list) = match happening {
        Happening::Nan { .. } => ("nan", &hooks.nan),
        Happening::Plateau { .. } => ("plateau", &hooks.plateau),
        Happening::Failure { .. } => ("failure", &hooks.failure),
        Happening::Finish { .. } => ("finish", &hooks.finish),
        // Hooks follow nothing.
        Happening::Followed { .. } => return Vec::new(),
    };
    let mut message = about.clone();
    if let (Some(message), Value::Object(what)) = (message.as_object_mut(), json!(happening)) {
        message.extend(what);
    }
    // The configuration allows no other times.
    let timeout = Duration::try_from_secs_f64(hooks.timeout).unwrap_or(Duration::MAX);
    let mut warnings = Vec::new();
    for (number, hook) in list.iter().enumerate() {
        let address = ["http://", "https://"].iter().any(|s| hook.starts_with(s));
        let done = if address {
            post_json(hook, &message, timeout)
        } else {
            run_command(hook, &message, timeout)
        };
        if let Err(error) = done {
            // The hook itself may be a secret.
            warnings.push(format!("hooks.{name}[{number}] failed: {error}"));
        }
    }
    warnings
}

/// Runs a command of the shell with the message on its standard input, and
/// `NOVIC_EVENT`, `NOVIC_RUN` and so on in its environment.
fn run_command(command: &str, message: &Value, timeout: Duration) -> Result<(), String> {
    let begun = Instant::now();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    for (name, value) in message.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        shell.env(format!("NOVIC_{}", name.to_uppercase()), value);
    }
    let failed = |error: std::io::Error| error.to_string();
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // Not every command reads it.
        let _ = writeln!(input, "{message}");
    }
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() >= timeout {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it took longer than {} s", timeout.as_secs_f64()));
        }
        thread::sleep(LOOK_EVERY);
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        let _ = errors.take(2000).read_to_string(&mut said);
    }
    Err(format!("{status}: {}", said.trim()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    fn finish() -> Happening {
        Happening::Finish {
            exit_code: 0,
            reason: "1 done".into(),
        }
    }

    #[test]
    fn commands_get_the_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("said");
        let command = format!(
            "cat > '{0}'; echo $NOVIC_RUN $NOVIC_EVENT $NOVIC_EXIT_CODE >> '{0}'",
            path.display()
        );
        let hooks = schema::Hooks {
            finish: vec![command, "echo no >&2; exit 3".into()],
            failure: vec!["exit 9".into()],
            ..schema::Hooks::default()
        };
        let warnings = run_hooks(&hooks, &json!({ "run": "ovod_x" }), &finish());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"run\":\"ovod_x\",\"event\":\"finish\",\"exit_code\":0,\"reason\":\"1 done\"}\n\
             ovod_x finish 0\n"
        );
        assert_eq!(warnings, ["hooks.finish[1] failed: exit status: 3: no"]);
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let hooks = schema::Hooks {
            finish: vec!["exec sleep 60".into()],
            timeout: 0.1,
            ..schema::Hooks::default()
        };
        let warnings = run_hooks(&hooks, &json!({}), &finish());
        assert_eq!(
            warnings,
            ["hooks.finish[0] failed: it took longer than 0.1 s"]
        );
    }

    #[test]
    fn addresses_get_the_message() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/secret", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut bodies = Vec::new();
            for answer in ["204 No Content", "403 Forbidden"] {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                bodies.push(String::from_utf8(body).unwrap());
                let stream = reader.get_mut();
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
            bodies
        });
        let hooks = schema::Hooks {
            finish: vec![address.clone(), address],
            ..schema::Hooks::default()
        };
        let warnings = run_hooks(&hooks, &json!({ "run": "ovod_x" }), &finish());
        assert_eq!(
            warnings,
            ["hooks.finish[1] failed: the answer is 403 Forbidden"]
        );
        for body in server.join().unwrap() {
            assert!(
                body.starts_with("{\"run\":\"ovod_x\",\"event\":\"finish\""),
                "{body}"
            );
        }
    }
}
