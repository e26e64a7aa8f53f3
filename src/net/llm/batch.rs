//! The batch part of the protocol: files of questions, answered within a day.

use serde_json::{Map, Value, json};

use super::answer::ChatAnswer;
use super::client::LlmClient;
use super::error::LlmError;
use super::failure::Failure;
use super::transport::Call;

/// Largest file of results that is read.
const RESULT_LIMIT: u64 = 2 << 30;

/// Where the questions of a batch go.
const ENDPOINT: &str = "/v1/chat/completions";

/// Name of the mark in the metadata of a batch.
const MARK: &str = "novic_batch";

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// The service is at it.
    UnderWay,
    /// It has ended in one way or another; there may be results.
    Ended,
}

/// A batch at a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBatch {
    /// Its number.
    pub id: String,
    /// Its status, as the service says it.
    pub status: String,
    /// Number of its file of questions.
    pub input_file: Option<String>,
    /// Number of its file of answers.
    pub output_file: Option<String>,
    /// Number of its file of errors.
    pub error_file: Option<String>,
    /// The mark that it was given.
    pub marker: Option<String>,
    /// Questions: all, answered, failed.
    pub counts: Option<[u64; 3]>,
    /// Why it failed as a whole, in the words of the service.
    pub errors: Vec<String>,
}

impl RemoteBatch {
    fn of(body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let count = |name: &str| body["request_counts"][name].as_u64();
        let counts = || Some([count("total")?, count("completed")?, count("failed")?]);
        Some(Self {
            id: text("id")?,
            status: text("status").unwrap_or_default(),
            input_file: text("input_file_id"),
            output_file: text("output_file_id"),
            error_file: text("error_file_id"),
            marker: body["metadata"][MARK].as_str().map(str::to_owned),
            counts: counts(),
            errors: errors_of(&body["errors"]),
        })
    }

    /// Whether it has ended.
    pub fn state(&self) -> BatchState {
        match self.status.as_str() {
            "completed" | "failed" | "expired" | "cancelled" => BatchState::Ended,
            _ => BatchState::UnderWay,
        }
    }
}

/// What is said about a batch that failed as a whole.
fn errors_of(errors: &Value) -> Vec<String> {
    let list = errors["data"].as_array().or_else(|| errors.as_array());
    let words = |error: &Value| {
        let text = |name: &str| error[name].as_str();
        let message = text("message").or_else(|| text("code"))?;
        Some(match error["line"].as_u64() {
            Some(line) => format!("line {line}: {message}"),
            None => message.to_owned(),
        })
    };
    list.into_iter().flatten().filter_map(words).collect()
}

/// What became of one question of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchLine {
    /// The name that the question was given.
    pub custom_id: String,
    /// Its answer, or why there is none.
    pub answer: Result<ChatAnswer, Failure>,
}

impl LlmClient {
    /// Puts a file of questions at the service. Returns its number there.
    ///
    /// # Errors
    /// The service does not take it.
    pub fn upload(&self, name: &str, content: &[u8]) -> Result<String, LlmError> {
        let reply = self.call(&Call::Upload("files", name, content))?;
        id_of(&reply)
    }

    /// Lets the service answer the questions of a file. A batch that has the
    /// mark already, since its answer was lost, is taken instead of a second
    /// one.
    ///
    /// # Errors
    /// The service does not do it.
    pub fn create_batch(&self, file: &str, marker: &str) -> Result<RemoteBatch, LlmError> {
        let body = json!({
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {MARK: marker},
        });
        let mut patience = self.patience();
        loop {
            // Only once: it may arrive although no answer comes.
            let failure = match self.call_once(&Call::Post("batches", &body)) {
                Ok(reply) => match RemoteBatch::of(&reply) {
                    Some(batch) => return Ok(batch),
                    None => Failure::unreadable("the answer has no number of a batch"),
                },
                Err(failure) => failure,
            };
            self.sleep(patience.wait_after(&failure)?)?;
            if let Some(batch) = self.marked_batch(marker)? {
                return Ok(batch);
            }
        }
    }

    /// The batch with a mark, among the recent ones.
    ///
    /// # Errors
    /// The service does not list them.
    pub fn marked_batch(&self, marker: &str) -> Result<Option<RemoteBatch>, LlmError> {
        let reply = self.call(&Call::Get("batches?limit=100"))?;
        let list = reply["data"].as_array().into_iter().flatten();
        let mut batches = list.filter_map(RemoteBatch::of);
        Ok(batches.find(|batch| batch.marker.as_deref() == Some(marker)))
    }

    /// Whether the service has batches at all.
    ///
    /// # Errors
    /// Anything but that it has none.
    pub fn has_batches(&self) -> Result<bool, LlmError> {
        match self.call(&Call::Get("batches?limit=1")) {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How far a batch is; none if the service knows nothing of it.
    ///
    /// # Errors
    /// The service does not say. The batch may be under way all the same.
    pub fn batch(&self, id: &str) -> Result<Option<RemoteBatch>, LlmError> {
        let path = format!("batches/{}", segment(id));
        self.batch_at(&Call::Get(&path))
    }

    /// Ends a batch before it is done.
    ///
    /// # Errors
    /// The service does not do it.
    pub fn cancel_batch(&self, id: &str) -> Result<Option<RemoteBatch>, LlmError> {
        let path = format!("batches/{}/cancel", segment(id));
        self.batch_at(&Call::Post(&path, &Value::Object(Map::new())))
    }

    fn batch_at(&self, call: &Call<'_>) -> Result<Option<RemoteBatch>, LlmError> {
        match self.call(call) {
            Ok(reply) => match RemoteBatch::of(&reply) {
                Some(batch) => Ok(Some(batch)),
                None => Err(LlmError::Failed(Failure::unreadable("this is no batch"))),
            },
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in a file of results; none if there is no such file.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn batch_lines(&self, file: &str) -> Result<Vec<BatchLine>, LlmError> {
        let path = format!("files/{}/content", segment(file));
        let bytes = match self.download(&path, RESULT_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let lines = bytes.split(|&byte| byte == b'\n');
        let read = |line: &[u8]| self.batch_line(&serde_json::from_slice(line).ok()?);
        Ok(lines.filter_map(read).collect())
    }

    /// A line of a file of results, if it is one.
    fn batch_line(&self, line: &Value) -> Option<BatchLine> {
        let custom_id = line["custom_id"].as_str()?.to_owned();
        let response = &line["response"];
        let status = response["status_code"].as_u64().unwrap_or(200);
        let answer = if line["error"].is_object() {
            Err(self.failure_of(None, &json!({"error": line["error"]})))
        } else if status != 200 {
            Err(self.failure_of(u16::try_from(status).ok(), &response["body"]))
        } else if response["body"].is_object() {
            let request = response["request_id"].as_str().map(str::to_owned);
            let body = &response["body"];
            Ok(ChatAnswer::of_response(body, self.form(), request))
        } else {
            Err(Failure::unreadable("the line has no answer"))
        };
        Some(BatchLine { custom_id, answer })
    }

    /// Removes a file from the service, if it is there.
    ///
    /// # Errors
    /// The service does not do it.
    pub fn delete_file(&self, file: &str) -> Result<(), LlmError> {
        let path = format!("files/{}", segment(file));
        match self.call(&Call::Delete(&path)) {
            Ok(_) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The number in an answer.
fn id_of(reply: &Value) -> Result<String, LlmError> {
    match reply["id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(LlmError::Failed(Failure::unreadable(
            "the answer has no number of a file",
        ))),
    }
}

/// A number as a part of an address, so that it leads nowhere else.
fn segment(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let id: String = id.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    match id.trim_matches('.') {
        "" => "_".to_owned(),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_why_it_failed() {
        let body = json!({"id": "batch_1", "status": "failed", "errors": {"object": "list", "data": [
            {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": null},
            {"code": "invalid_json_line", "message": "not JSON", "line": 7},
            {"code": "odd"}, {},
        ]}});
        let batch = RemoteBatch::of(&body).expect("a batch");
        assert_eq!(batch.state(), BatchState::Ended);
        assert_eq!(
            batch.errors,
            ["Enqueued token limit reached", "line 7: not JSON", "odd"]
        );
        for none in [json!({"id": "b"}), json!({"id": "b", "errors": null})] {
            assert!(RemoteBatch::of(&none).expect("a batch").errors.is_empty());
        }
    }
}
