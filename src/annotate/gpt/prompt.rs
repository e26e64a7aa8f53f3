//! What a model is told (`annotation.md` 7), as named texts that can be
//! chosen, and the body of a question.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::image_tokens::Detail;
use crate::net::llm::{AnswerShape, ChatRequest, Content, Message, Part, Role};

/// The prompt that is used unless another one is named.
pub const DEFAULT_PROMPT: &str = "describe-then-judge-1";

/// Name of a text that the user gives.
const OWN: &str = "own";

/// What models are told, in the prompt `describe-then-judge-1`.
const TASK: &str = "You have one task: you judge which nouns fit an image. You are given an image \
and a numbered list of nouns. First describe everything that can be seen in the image, main \
subjects, background and small things alike, in full detail. Then judge each noun of the list, in \
the order of the list and under its number. Correct means that at least one instance of the noun \
can be seen in the image. Incorrect means that nothing can be seen that is one, or that looks very \
similar to one. Do nothing else.";

/// How an answer in plain text is to be written.
const TEXT_FORM: &str = "Write the description as one paragraph, then the list: one line per noun, \
written as \"<number>) <noun> - <verdict>\", where the verdict is exactly one word, Correct or \
Incorrect, and ends the line.";

/// How an answer in JSON is to be written.
const JSON_FORM: &str = "Answer with a JSON object and nothing else. It has the member \
\"description\", a text, and after it the member \"verdicts\", a list with one object per noun, \
each with the members \"number\", \"noun\" (repeated as it was given) and \"verdict\" (correct or \
incorrect).";

/// What a model is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub id: String,
    task: String,
    text_form: String,
}

impl Prompt {
    /// The prompt with this name.
    pub fn named(id: &str) -> Option<Self> {
        (id == DEFAULT_PROMPT).then(|| Self {
            id: id.to_owned(),
            task: TASK.to_owned(),
            text_form: TEXT_FORM.to_owned(),
        })
    }

    /// Names of all prompts.
    pub fn names() -> &'static [&'static str] {
        &[DEFAULT_PROMPT]
    }

    /// A text of one's own. It says everything about answers in plain text;
    /// for other forms a sentence about these follows it.
    pub fn own(text: &str) -> Self {
        Self {
            id: OWN.to_owned(),
            task: text.to_owned(),
            text_form: String::new(),
        }
    }

    /// SHA-256 of what is told.
    pub fn sha256(&self) -> String {
        let text = [self.task.as_str(), &self.text_form, JSON_FORM].join("\n");
        hex(&Sha256::digest(text.as_bytes()))
    }

    fn shape(&self) -> AnswerShape {
        AnswerShape {
            name: "verdicts",
            schema: schema(),
            json: JSON_FORM.to_owned(),
            text: self.text_form.clone(),
        }
    }

    /// Characters that are told for answers in plain text.
    pub fn characters(&self) -> usize {
        let form = match self.text_form.chars().count() {
            0 => 0,
            count => count + 1,
        };
        self.task.chars().count() + form
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "verdicts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "integer"},
                        "noun": {"type": "string"},
                        "verdict": {"type": "string", "enum": ["correct", "incorrect"]},
                    },
                    "required": ["number", "noun", "verdict"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["description", "verdicts"],
        "additionalProperties": false,
    })
}

/// How questions are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Questioning {
    /// Name of the model.
    pub model: String,
    /// What it is told.
    pub prompt: Prompt,
    /// Longest answer in tokens.
    pub answer_tokens: u32,
    /// Sampling temperature; none: the service's own.
    pub temperature: Option<f64>,
    /// Share of the probability that is sampled from; none: the service's own.
    pub top_p: Option<f64>,
    /// How closely images are looked at.
    pub detail: Detail,
    /// Seed of the sampling, for services that have one.
    pub sampling_seed: Option<u64>,
    /// More members of requests.
    pub extra: Map<String, Value>,
}

impl Questioning {
    /// As the original asked.
    pub fn new(model: &str, prompt: Prompt) -> Self {
        Self {
            model: model.to_owned(),
            prompt,
            answer_tokens: 512,
            temperature: Some(0.2),
            top_p: Some(0.6),
            detail: Detail::Low,
            sampling_seed: None,
            extra: Map::new(),
        }
    }

    /// The request about the nouns of an image, given the bytes of a JPEG file.
    /// Answers may be `longer` than usual, by this factor.
    pub fn request(&self, jpeg: &[u8], nouns: &[String], longer: u32) -> ChatRequest {
        let picture = Part::Image {
            data_url: format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)),
            detail: self.detail.name().to_owned(),
        };
        let user = vec![picture, Part::Text(noun_list(nouns))];
        ChatRequest {
            model: self.model.clone(),
            messages: vec![
                Message {
                    role: Role::System,
                    content: Content::Text(self.prompt.task.clone()),
                },
                Message {
                    role: Role::User,
                    content: Content::Parts(user),
                },
            ],
            max_tokens: self.answer_tokens.saturating_mul(longer),
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.sampling_seed,
            extra: self.extra.clone(),
            shape: Some(self.prompt.shape()),
        }
    }

    /// Estimated tokens of a request, beside its answer.
    pub fn request_tokens(&self, nouns: &[String], image_tokens: u64) -> u64 {
        const PER_TOKEN: f64 = 3.8;
        let list = noun_list(nouns).chars().count() as f64;
        let told = self.prompt.characters() as f64;
        let tokens = (image_tokens as f64 + list / PER_TOKEN) + told / PER_TOKEN;
        tokens.round_ties_even() as u64
    }
}

/// A noun as it is asked about: on one line, whatever it contains.
pub(super) fn as_asked(noun: &str) -> String {
    noun.replace(|c: char| c.is_control(), " ")
}

/// Whether anything is left of a noun to be asked about.
pub(super) fn can_be_asked(noun: &str) -> bool {
    !noun.chars().all(|c| c.is_control() || c.is_whitespace())
}

/// The list that is asked about: one line per noun.
fn noun_list(nouns: &[String]) -> String {
    let line = |(noun, number): (&String, usize)| format!("{number}) {}", as_asked(noun));
    nouns
        .iter()
        .zip(1..)
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_stay_on_their_lines() {
        let nouns = ["a\nb", "2) c\u{7}"].map(str::to_owned);
        assert_eq!(noun_list(&nouns), "1) a b\n2) 2) c ");
        assert!(can_be_asked("2) c\u{7}"));
        for nothing in ["", " ", "\n\u{7}"] {
            assert!(!can_be_asked(nothing), "{nothing:?}");
        }
    }

    #[test]
    fn hashes_tell_prompts_apart() {
        let prompt = Prompt::named(DEFAULT_PROMPT).unwrap();
        assert_ne!(prompt.sha256(), Prompt::own("Judge.").sha256());
        assert_eq!(prompt.sha256().len(), 64);
        assert!(Prompt::named("nothing").is_none());
    }
}
