//! Answers.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde_json::Value;

use super::adaptation::AnswerForm;

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// It reached the limit of its length.
    Length,
    /// The model or a filter refused, with its words.
    Refused(String),
    /// The service does not say, but there is an answer.
    Unsaid,
    /// Anything else, or no answer at all.
    Other(String),
}

/// Tokens that a service counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Tokens of the request, those of `cached_tokens` included.
    pub prompt_tokens: u64,
    /// Tokens of the request that cost less because they were seen before.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

impl Usage {
    /// Tokens of request and answer.
    pub fn total(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Takes the members that are known, whatever else there is; none without
    /// any.
    fn of(value: &Value) -> Option<Self> {
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
        let prompt = number("/prompt_tokens");
        let completion = number("/completion_tokens");
        if prompt.is_none() && completion.is_none() {
            return None;
        }
        let prompt_tokens = prompt.unwrap_or(0);
        let cached = number("/prompt_tokens_details/cached_tokens").unwrap_or(0);
        Some(Self {
            prompt_tokens,
            cached_tokens: cached.min(prompt_tokens),
            completion_tokens: completion.unwrap_or(0),
        })
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatAnswer {
    /// The text; empty if there is none.
    pub text: String,
    /// The form that was asked for.
    pub form: AnswerForm,
    /// Why it ends.
    pub finish: Finish,
    /// Tokens, as reported; none if nothing was.
    pub usage: Option<Usage>,
    /// All integers of the reported usage, by name.
    pub counters: BTreeMap<String, u64>,
    /// The model as it names itself.
    pub model: Option<String>,
    /// Number of the request at the service.
    pub request_id: Option<String>,
}

impl ChatAnswer {
    /// Reads the body of a response, of which anything may be missing.
    pub fn of_response(body: &Value, form: AnswerForm, request_id: Option<String>) -> Self {
        let choice = &body["choices"][0];
        let message = &choice["message"];
        let text = message["content"].as_str().unwrap_or_default();
        let refusal = message["refusal"].as_str().filter(|text| !text.is_empty());
        let finish = match (refusal, choice["finish_reason"].as_str()) {
            (Some(words), _) => Finish::Refused(words.to_owned()),
            (None, Some("content_filter")) => Finish::Refused("a content filter".to_owned()),
            (None, Some("stop")) => Finish::Stop,
            (None, Some("length")) => Finish::Length,
            // Some servers say nothing at the end.
            (None, None) if !text.is_empty() => Finish::Unsaid,
            (None, Some(other)) => Finish::Other(other.to_owned()),
            (None, None) => Finish::Other("no answer".to_owned()),
        };
        Self {
            text: text.to_owned(),
            form,
            finish,
            usage: Usage::of(&body["usage"]),
            counters: counters(&body["usage"]),
            model: body["model"].as_str().map(str::to_owned),
            request_id,
        }
    }
}

/// The integers of a reported usage.
fn counters(usage: &Value) -> BTreeMap<String, u64> {
    let members = usage.as_object().into_iter().flatten();
    members
        .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_with_details_of_any_kind_is_read() {
        let usage = json!({
            "prompt_tokens": 100,
            "completion_tokens": 7,
            "total_tokens": 107,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": null},
            "service": "fast",
        });
        let usage = Usage::of(&usage).expect("there is some");
        assert_eq!((usage.cached_tokens, usage.total()), (64, 107));
        assert_eq!(Usage::of(&json!({})), None);
    }

    #[test]
    fn what_is_missing_is_no_crash() {
        for body in [json!({}), json!({"choices": null}), json!({"choices": []})] {
            let answer = ChatAnswer::of_response(&body, AnswerForm::Text, None);
            assert!(matches!(answer.finish, Finish::Other(_)), "{body}");
        }
        let refused = json!({"choices": [{"finish_reason": "stop", "message": {
            "content": null, "refusal": "I cannot help with that"}}]});
        let answer = ChatAnswer::of_response(&refused, AnswerForm::Text, None);
        assert!(matches!(answer.finish, Finish::Refused(_)));
    }
}
