//! Batches: many questions in one file that a service answers within a day
//! (`annotation.md` 10).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::questions::Question;
use crate::net::llm::Written;

/// A batch that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingBatch {
    /// First image.
    pub start_index: usize,
    /// Last image.
    pub last_index: usize,
    /// The image after the last one, in the ring of all images.
    pub stop_index: usize,
    /// Image of each question.
    pub image_indices: Vec<usize>,
    /// Their names.
    pub images: Vec<String>,
    /// Nouns of each question.
    pub request_lists: Vec<Vec<String>>,
    /// Name of the local file.
    pub json_file: String,
    /// Its size in bytes.
    pub json_file_size: u64,
    /// Estimated tokens of all questions.
    pub num_tokens: u64,
    /// Number of the file at the service.
    #[serde(default)]
    pub remote_json_file_id: String,
    /// Number of the batch at the service.
    #[serde(default)]
    pub remote_batch: String,
    /// How its requests are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
}

impl PendingBatch {
    /// As it stands in a state file.
    pub fn json(&self) -> Value {
        json!(self)
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.request_lists.len()
    }

    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.request_lists.is_empty()
    }

    /// The question with this number, from 1, if it is about this image.
    pub fn question(&self, custom_id: &str) -> Option<(usize, &str, &[String])> {
        let (number, image) = custom_id.split_once(':')?;
        let number: usize = number.parse().ok()?;
        let at = number.checked_sub(1)?;
        let own = self.images.get(at)?;
        (own == image).then(|| (number, own.as_str(), self.request_lists[at].as_slice()))
    }
}

/// How large batches may be, and how many may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Questions in a batch after which it is sent.
    pub requests: usize,
    /// Bytes in a batch after which it is sent.
    pub bytes: u64,
    /// Bytes of all batches under way.
    pub all_bytes: u64,
    /// Batches under way.
    pub batches: usize,
    /// Tokens of all batches under way.
    pub tokens: u64,
    /// Questions that are few enough to be asked one by one.
    pub few: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            requests: 49_000,
            bytes: 90 << 20,
            all_bytes: 5120 << 20,
            batches: 50,
            tokens: 10_000_000,
            few: 50,
        }
    }
}

/// All batches that are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// How many.
    pub(super) batches: usize,
    /// Their questions.
    pub(super) requests: u64,
    /// Bytes of their files.
    pub(super) bytes: u64,
    /// Estimated tokens of their questions.
    pub(super) tokens: u64,
}

impl UnderWay {
    pub(super) fn of(pending: &[PendingBatch]) -> Self {
        let sum = |of: fn(&PendingBatch) -> u64| pending.iter().map(of).sum();
        Self {
            batches: pending.len(),
            requests: sum(|batch| batch.len() as u64),
            bytes: sum(|batch| batch.json_file_size),
            tokens: sum(|batch| batch.num_tokens),
        }
    }
}

/// A batch that is being filled.
#[derive(Clone, Debug, Default)]
pub struct OpenBatch {
    questions: Vec<Question>,
    /// Estimated tokens.
    pub tokens: u64,
    /// The lines of its file.
    pub lines: String,
    /// How the first of its requests is written.
    pub written: Option<Written>,
    last_tokens: u64,
}

impl OpenBatch {
    /// Adds a question with the body of its request.
    pub fn add(&mut self, question: Question, image: &str, body: &Value, tokens: u64) {
        let number = self.questions.len() + 1;
        self.lines.push_str(&line(number, image, body));
        self.questions.push(question);
        self.tokens += tokens;
        self.last_tokens = tokens;
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Size of its file.
    pub fn bytes(&self) -> u64 {
        self.lines.len() as u64
    }

    /// First image.
    pub fn start(&self) -> Option<usize> {
        self.questions.first().map(|question| question.image)
    }

    /// Whether the last image that it asks about is this one.
    pub fn is_about(&self, image: usize) -> bool {
        let last = self.questions.last();
        last.is_some_and(|question| question.image == image)
    }

    /// Whether it is to be sent after the last question of an image.
    pub fn is_full(&self, limits: &BatchLimits) -> bool {
        let last = self.questions.last().is_some_and(|question| question.last);
        let most = limits.tokens.saturating_sub(10 * self.last_tokens);
        last && (self.len() >= limits.requests
            || self.bytes() >= limits.bytes
            || self.tokens >= most)
    }

    /// What the state says about it, if it is sent at `time`, a local time
    /// written as `YYYYmmdd_HHMMSS`.
    pub fn pending(&self, images: &[String], time: &str) -> Option<PendingBatch> {
        let start = self.start()?;
        let last = self.questions.last()?.image;
        let width = images.len().saturating_sub(1).to_string().len();
        let [first_name, last_name] = [start, last].map(|at| images[at].replace(['.', '/'], "_"));
        Some(PendingBatch {
            start_index: start,
            last_index: last,
            stop_index: (last + 1) % images.len(),
            image_indices: self
                .questions
                .iter()
                .map(|question| question.image)
                .collect(),
            images: self
                .questions
                .iter()
                .map(|question| images[question.image].clone())
                .collect(),
            request_lists: self
                .questions
                .iter()
                .map(|question| question.nouns.clone())
                .collect(),
            json_file: format!(
                "{time}_{start:0width$}_{last:0width$}_{first_name}_{last_name}.jsonl"
            ),
            json_file_size: self.bytes(),
            num_tokens: self.tokens,
            remote_json_file_id: String::new(),
            remote_batch: String::new(),
            written: self.written.clone(),
        })
    }
}

/// A line of a batch file.
fn line(number: usize, image: &str, body: &Value) -> String {
    let value = json!({
        "custom_id": format!("{number}:{image}"),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    });
    crate::evaluate::json_line(&value) + "\n"
}

/// Which images are to be looked at, in the ring of all images: those that no
/// batch under way covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Number of images.
    pub count: usize,
    /// The next image.
    pub start: usize,
    /// The image before which to stop.
    stop: usize,
    /// Whether no image is left, if both are the same.
    full: bool,
}

impl Ring {
    /// The images beside batches under way, first and last.
    pub fn new(count: usize, pending: &[PendingBatch]) -> Self {
        match (pending.first(), pending.last()) {
            (Some(first), Some(last)) => Self {
                count,
                start: last.stop_index,
                stop: first.start_index,
                full: last.stop_index == first.start_index,
            },
            _ => Self {
                count,
                start: 0,
                stop: 0,
                full: false,
            },
        }
    }

    /// The next image to look at.
    pub fn next(&self) -> Option<usize> {
        (!self.full).then_some(self.start)
    }

    /// That image has been looked at.
    pub fn advance(&mut self) {
        self.start = (self.start + 1) % self.count;
        self.full = self.start == self.stop;
    }

    /// Some batches have ended. `covered` is the first image that is still
    /// covered: by a batch under way, or by one that waits to be sent.
    pub fn release(&mut self, covered: Option<usize>) {
        match covered {
            Some(first) => {
                self.stop = first;
                self.full = self.start == first;
            }
            None => {
                self.stop = self.start;
                self.full = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_id_must_name_place_and_image() {
        let batch = PendingBatch {
            start_index: 0,
            last_index: 0,
            stop_index: 1,
            image_indices: vec![0],
            images: vec!["a:b.jpg".to_owned()],
            request_lists: vec![vec!["dog".to_owned()]],
            json_file: String::new(),
            json_file_size: 0,
            num_tokens: 0,
            remote_json_file_id: String::new(),
            remote_batch: String::new(),
            written: None,
        };
        assert!(batch.question("1:a:b.jpg").is_some());
        for id in [
            "0:a:b.jpg",
            "2:a:b.jpg",
            "1:a",
            "1",
            "x:a:b.jpg",
            "",
            "-1:a:b.jpg",
        ] {
            assert!(batch.question(id).is_none(), "{id}");
        }
    }

    #[test]
    fn rings_end_where_they_began() {
        let mut ring = Ring::new(3, &[]);
        let mut seen = Vec::new();
        while let Some(image) = ring.next() {
            seen.push(image);
            ring.advance();
        }
        assert_eq!(seen, [0, 1, 2]);
        // A batch over all of them is under way: nothing is left.
        ring.release(Some(0));
        assert_eq!(ring.next(), None);
        // It has ended: all of them once more.
        ring.release(None);
        assert_eq!(ring.next(), Some(0));
    }
}
