//! What a model is asked.

use serde_json::{Map, json};

use crate::net::llm::{AnswerShape, ChatRequest};
use crate::nouns::noun::Number;

/// What models are told to be.
const SYSTEM: &str = "You write captions of pictures, of the kind that stands beside photographs \
                      on web pages.";

/// A request for captions of one noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The spelling that is shown.
    pub noun: String,
    /// Its number.
    pub number: Number,
    /// Captions that are asked for.
    pub count: usize,
    /// Whether the answer may be twice as long as usual.
    pub longer: bool,
}

/// How questions are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Captions per request.
    pub per_call: usize,
    /// Name of the model.
    pub model: String,
    /// Longest answer in tokens.
    pub max_tokens: u32,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Share of the probability that is sampled from.
    pub top_p: Option<f64>,
    /// Seed, for services that have one.
    pub seed: Option<u64>,
    /// More members of requests.
    pub extra: Map<String, serde_json::Value>,
}

impl Questions {
    /// The request for a question.
    pub fn request(&self, question: &Question) -> ChatRequest {
        let limit = if question.longer {
            self.max_tokens.saturating_mul(2)
        } else {
            self.max_tokens
        };
        ChatRequest {
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            extra: self.extra.clone(),
            shape: Some(shape()),
            ..ChatRequest::new(&self.model, SYSTEM, &question.text(), limit)
        }
    }
}

impl Question {
    fn text(&self) -> String {
        let (number, other) = match self.number {
            Number::Singular => ("singular", "plural"),
            Number::Plural => ("plural", "singular"),
        };
        let noun = self.noun.replace(|c: char| c.is_control() || c == '"', " ");
        format!(
            "Write {count} captions of different pictures that show \"{noun}\" ({number}). Every \
             caption contains \"{noun}\" exactly as it is written here, and not its {other}. Use \
             the plain style of captions that vision-language models are pre-trained on: one \
             sentence that says what can be seen. No poetic language. Build the sentences \
             differently, and begin them differently.",
            count = self.count
        )
    }
}

fn shape() -> AnswerShape {
    AnswerShape {
        name: "captions",
        schema: json!({
            "type": "object",
            "properties": {"captions": {"type": "array", "items": {"type": "string"}}},
            "required": ["captions"],
            "additionalProperties": false,
        }),
        json: "Answer with a JSON object that has the list \"captions\", and nothing else."
            .to_owned(),
        text: "Answer with a numbered list, one caption per line, written as \"<number>. \
               <caption>\", and nothing else."
            .to_owned(),
    }
}
