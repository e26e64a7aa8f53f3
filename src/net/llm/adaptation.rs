//! What a service turned out not to know: forms of answers and parameters are
//! left out after it has said so, for all requests that follow.

use std::collections::BTreeSet;

use super::failure::Failure;
use super::request::ChatRequest;

/// Form of an answer, the most reliable one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerForm {
    /// JSON that the service makes keep to a schema.
    Schema,
    /// JSON.
    Json,
    /// Plain text.
    Text,
}

/// Which forms may be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerChoice {
    /// The most reliable one that the service offers.
    #[default]
    Auto,
    /// The most reliable one that the service offers, from this one on.
    From(AnswerForm),
    /// This one.
    Only(AnswerForm),
}

/// The names that services have for the limit of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitName {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

impl LimitName {
    fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

/// Parameters that an answer can do without.
const OPTIONAL: [&str; 3] = ["temperature", "top_p", "seed"];

/// How requests are written for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adaptation {
    form: AnswerForm,
    fixed_form: bool,
    limit: LimitName,
    fixed_limit: bool,
    dropped: BTreeSet<String>,
}

impl Adaptation {
    pub(super) fn new(choice: AnswerChoice) -> Self {
        match choice {
            AnswerChoice::Auto => Self::starting_with(AnswerForm::Schema),
            AnswerChoice::From(form) => Self::starting_with(form),
            AnswerChoice::Only(form) => Self {
                fixed_form: true,
                ..Self::starting_with(form)
            },
        }
    }

    pub(super) fn starting_with(form: AnswerForm) -> Self {
        Self {
            form,
            fixed_form: false,
            limit: LimitName::MaxTokens,
            fixed_limit: false,
            dropped: BTreeSet::new(),
        }
    }

    pub(super) fn form(&self) -> AnswerForm {
        self.form
    }

    pub(super) fn limit_name(&self) -> &'static str {
        self.limit.name()
    }

    /// Only this name is to be used.
    pub(super) fn fix_limit_name(&mut self, name: LimitName) {
        self.limit = name;
        self.fixed_limit = true;
    }

    pub(super) fn drops(&self, name: &str) -> bool {
        self.dropped.contains(name)
    }

    /// Learns from the refusal of a request that was written as `used`.
    /// Whether the request can be written in another way now.
    pub(super) fn learn(
        &mut self,
        failure: &Failure,
        request: &ChatRequest,
        used: &Adaptation,
    ) -> bool {
        if *self != *used {
            // Another request learnt it in the meantime.
            return true;
        }
        let names = |name: &str| failure.names(name);
        let has_form = request.shape.is_some() && !self.fixed_form;
        if has_form && (names("response_format") || names("json_schema")) {
            let next = match self.form {
                AnswerForm::Schema => Some(AnswerForm::Json),
                AnswerForm::Json => Some(AnswerForm::Text),
                AnswerForm::Text => None,
            };
            if let Some(next) = next {
                self.form = next;
                return true;
            }
        }
        if names(self.limit_name()) && !self.fixed_limit {
            self.limit = self.limit.other();
            self.fixed_limit = true;
            return true;
        }
        let optional = OPTIONAL
            .into_iter()
            .chain(request.extra.keys().map(String::as_str));
        for name in optional {
            if names(name) && self.dropped.insert(name.to_owned()) {
                return true;
            }
        }
        false
    }
}
