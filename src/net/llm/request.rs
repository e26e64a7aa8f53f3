//! Requests for one answer (`POST chat/completions`).

use serde_json::{Map, Value, json};

use super::adaptation::{Adaptation, AnswerForm};

/// Characters per token in estimates.
const CHARACTERS_PER_TOKEN: f64 = 3.8;

/// A question to a model.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// Name of the model.
    pub model: String,
    /// What is said before its answer.
    pub messages: Vec<Message>,
    /// Longest answer in tokens.
    pub max_tokens: u32,
    /// Sampling temperature; none: the service's own.
    pub temperature: Option<f64>,
    /// Probability mass that is sampled from; none: the service's own.
    pub top_p: Option<f64>,
    /// Seed, for services that have one.
    pub seed: Option<u64>,
    /// More members of the request.
    pub extra: Map<String, Value>,
    /// How the answer is to be written.
    pub shape: Option<AnswerShape>,
}

/// How an answer is to be written, in each of the forms that services offer.
#[derive(Clone, Debug)]
pub struct AnswerShape {
    /// Name of the schema: letters, digits, `_`, `-`.
    pub name: &'static str,
    /// JSON schema of the answer, in the strict subset.
    pub schema: Value,
    /// Sentence that asks for JSON of that schema.
    pub json: String,
    /// Sentence that asks for plain text; empty if nothing is to be said.
    pub text: String,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// The question.
    User,
}

/// What is said.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text only.
    Text(String),
    /// Pictures and texts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug)]
pub enum Part {
    /// A text.
    Text(String),
    /// A picture.
    Image {
        /// `data:image/jpeg;base64,…`; outside addresses are never sent.
        data_url: String,
        /// `low`, `high` or `auto`.
        detail: String,
    },
}

impl ChatRequest {
    /// Instructions and a question in words, with the service's own parameters.
    pub fn new(model: &str, system: &str, user: &str, max_tokens: u32) -> Self {
        let message = |role, text: &str| Message {
            role,
            content: Content::Text(text.to_owned()),
        };
        Self {
            model: model.to_owned(),
            messages: vec![message(Role::System, system), message(Role::User, user)],
            max_tokens,
            temperature: None,
            top_p: None,
            seed: None,
            extra: Map::new(),
            shape: None,
        }
    }

    /// The body in the form that `adaptation` says. Members come in a fixed
    /// order: model, limit, sampling, messages, the rest.
    pub(super) fn body(&self, adaptation: &Adaptation) -> Value {
        let mut body = Map::new();
        let mut add = |name: &str, value: Value| {
            if !value.is_null() && !adaptation.drops(name) {
                body.insert(name.to_owned(), value);
            }
        };
        add("model", json!(self.model));
        add(adaptation.limit_name(), json!(self.max_tokens));
        add("temperature", json!(self.temperature));
        add("top_p", json!(self.top_p));
        add("messages", self.messages_in(adaptation.form()));
        add("seed", json!(self.seed));
        if let Some(shape) = &self.shape {
            add("response_format", shape.response_format(adaptation.form()));
        }
        for (name, value) in &self.extra {
            add(name, value.clone());
        }
        Value::Object(body)
    }

    /// The body as it is sent first, for people to look at.
    pub fn preview(&self, form: AnswerForm) -> Value {
        self.body(&Adaptation::starting_with(form))
    }

    fn messages_in(&self, form: AnswerForm) -> Value {
        let shape = self.shape.as_ref();
        let mut sentence = shape
            .map(|shape| shape.sentence(form))
            .filter(|sentence| !sentence.is_empty());
        let messages = self.messages.iter().map(|message| {
            let (role, suffix) = match message.role {
                Role::System => ("system", sentence.take()),
                Role::User => ("user", None),
            };
            let content = match (&message.content, suffix) {
                (Content::Text(text), None) => json!(text),
                (Content::Text(text), Some(sentence)) => json!(format!("{text} {sentence}")),
                (Content::Parts(parts), suffix) => {
                    let sentence = suffix.map(|text| Part::Text(text.to_owned()).json());
                    parts.iter().map(Part::json).chain(sentence).collect()
                }
            };
            json!({"role": role, "content": content})
        });
        messages.collect()
    }

    /// Estimated tokens of everything that is said, pictures left out.
    pub fn text_tokens(&self) -> u64 {
        let parts = self.messages.iter().flat_map(|message| {
            let texts: Vec<&str> = match &message.content {
                Content::Text(text) => vec![text],
                Content::Parts(parts) => parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        Part::Image { .. } => None,
                    })
                    .collect(),
            };
            texts
        });
        let shape = self.shape.as_ref().map(|shape| shape.json.as_str());
        parts.chain(shape).map(estimated_tokens).sum()
    }
}

impl AnswerShape {
    fn sentence(&self, form: AnswerForm) -> &str {
        match form {
            AnswerForm::Schema | AnswerForm::Json => &self.json,
            AnswerForm::Text => &self.text,
        }
    }

    fn response_format(&self, form: AnswerForm) -> Value {
        match form {
            AnswerForm::Schema => json!({
                "type": "json_schema",
                "json_schema": {"name": self.name, "strict": true, "schema": self.schema},
            }),
            AnswerForm::Json => json!({"type": "json_object"}),
            AnswerForm::Text => Value::Null,
        }
    }
}

impl Part {
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Image { data_url, detail } => json!({
                "type": "image_url",
                "image_url": {"url": data_url, "detail": detail},
            }),
        }
    }
}

/// Estimated number of tokens of a text: one per 3.8 characters.
pub fn estimated_tokens(text: &str) -> u64 {
    (text.chars().count() as f64 / CHARACTERS_PER_TOKEN).ceil() as u64
}
