//! A log of every request: one line of JSON each, without image and key. Whole
//! bodies go into a directory if somebody wants that.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::journal::{AnswerLine, now};
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{Exchange, Failure};
use crate::store::write_file;

/// A log that any number of threads write into.
#[derive(Debug)]
pub struct RequestLog {
    path: PathBuf,
    file: Mutex<File>,
    bodies: Option<PathBuf>,
    written: AtomicU64,
}

/// How a try went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    attempt: u32,
    latency: Duration,
}

impl Tried {
    pub(super) fn of(exchange: &Exchange<'_>) -> Self {
        Self {
            attempt: exchange.attempt,
            latency: exchange.latency,
        }
    }
}

impl RequestLog {
    /// Opens the log at `path`, whose lines stay; whole bodies go into the
    /// directory `bodies`.
    ///
    /// # Errors
    /// A file or directory cannot be made, or the file is something else than a
    /// log.
    pub fn open(path: &Path, bodies: Option<&Path>) -> Result<Self> {
        if let Some(bodies) = bodies {
            std::fs::create_dir_all(bodies).map_err(AnnotateError::io("make", bodies))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .create(true)
            .append(true)
            .open(path)
            .map_err(AnnotateError::io("open", path))?;
        if !is_log(&file).map_err(AnnotateError::io("read", path))? {
            return Err(AnnotateError::NotLog {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            bodies: bodies.map(Path::to_owned),
            written: AtomicU64::new(0),
        })
    }

    /// Writes down a try about nouns of an image: its bodies, and unless it has
    /// an answer, which is to be read first, its line.
    pub(super) fn exchange(
        &self,
        image: &str,
        nouns: &[String],
        exchange: &Exchange<'_>,
    ) -> Result<()> {
        let at = now();
        self.bodies(&at, image, exchange)?;
        let Err(failure) = exchange.response else {
            return Ok(());
        };
        let about = About {
            at: &at,
            image,
            nouns,
            tried: Some(Tried::of(exchange)),
            batch: None,
        };
        self.failure(&about, failure)
    }

    /// Writes down an answer.
    pub(super) fn answer(&self, line: &AnswerLine, tried: Tried) -> Result<()> {
        self.read(line, Some(tried))
    }

    /// Writes down an answer that came in a batch.
    pub(super) fn batch_answer(&self, line: &AnswerLine) -> Result<()> {
        self.read(line, None)
    }

    fn read(&self, line: &AnswerLine, tried: Option<Tried>) -> Result<()> {
        let about = About {
            at: &line.at,
            image: &line.image,
            nouns: &line.nouns,
            tried,
            batch: line.batch.as_ref().map(|(id, _)| id.as_str()),
        };
        let failed = line.failed.as_ref();
        self.line(about.record(json!({
            "class": failed.map_or(json!("answer"), |failed| json!(failed.class)),
            "status": 200,
            "usage": line.usage,
            "cost": line.cost,
            "request": line.request,
            "message": failed.map(|failed| &failed.message),
        })))
    }

    /// Writes down a question of a batch that has no answer.
    pub(super) fn batch_failure(
        &self,
        (image, nouns): (&str, &[String]),
        batch: &str,
        failure: &Failure,
    ) -> Result<()> {
        let about = About {
            at: &now(),
            image,
            nouns,
            tried: None,
            batch: Some(batch),
        };
        self.failure(&about, failure)
    }

    fn failure(&self, about: &About<'_>, failure: &Failure) -> Result<()> {
        self.line(about.record(json!({
            "class": failure.class,
            "status": failure.status,
            "usage": {},
            "cost": 0.0,
            "request": failure.request_id,
            "message": failure.message,
        })))
    }

    fn line(&self, record: Value) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{record}\n").as_bytes())
            .map_err(AnnotateError::io("write", &self.path))
    }

    fn bodies(&self, at: &str, image: &str, exchange: &Exchange<'_>) -> Result<()> {
        let Some(folder) = &self.bodies else {
            return Ok(());
        };
        let response = match exchange.response {
            Ok(body) => body.clone(),
            Err(failure) => json!(failure.response),
        };
        let whole = json!({
            "at": at,
            "image": image,
            "try": exchange.attempt,
            "request": exchange.request,
            "response": response,
        });
        let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}-{number:06}.json", at.replace(':', ""));
        Ok(write_file(
            &folder.join(name),
            format!("{whole:#}\n").as_bytes(),
        )?)
    }
}

/// How every line begins.
const BEGIN: &[u8] = b"{\"at\":\"";

/// Whether a file is empty or begins as logs do.
fn is_log(file: &File) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    file.take(BEGIN.len() as u64).read_to_end(&mut begin)?;
    Ok(BEGIN.starts_with(&begin))
}

/// What a line is about.
struct About<'a> {
    at: &'a str,
    image: &'a str,
    nouns: &'a [String],
    /// None in batches.
    tried: Option<Tried>,
    batch: Option<&'a str>,
}

impl About<'_> {
    /// The line, with what came of it.
    fn record(&self, mut result: Value) -> Value {
        let mut record = json!({
            "at": self.at,
            "image": self.image,
            "nouns": self.nouns,
            "try": self.tried.map(|tried| tried.attempt),
            "latency_ms": self.tried.map(|tried| tried.latency.as_millis() as u64),
            "batch": self.batch,
        });
        if let (Some(record), Some(result)) = (record.as_object_mut(), result.as_object_mut()) {
            record.append(result);
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_and_a_foreign_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.log");
        let nouns = ["fox".to_owned()];
        for lines in 1..3 {
            let log = RequestLog::open(&path, None).unwrap();
            let failure = Failure {
                class: crate::net::llm::FailureClass::Transient,
                status: None,
                code: None,
                parameter: None,
                message: "no".to_owned(),
                wait: None,
                request_id: None,
                response: String::new(),
            };
            log.batch_failure(("a.png", &nouns), "batch_1", &failure)
                .unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), lines);
        }
        let diary = folder.path().join("diary.txt");
        for text in ["Dear diary", "{\"at\": 1}\n"] {
            std::fs::write(&diary, text).unwrap();
            let opened = RequestLog::open(&diary, None);
            assert!(matches!(opened, Err(AnnotateError::NotLog { .. })));
            assert_eq!(std::fs::read_to_string(&diary).unwrap(), text);
        }
    }
}
