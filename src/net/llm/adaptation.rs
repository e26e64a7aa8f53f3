//! What a service turned out not to know: forms of answers and parameters are
//! left out after it has said so, for all requests that follow.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::request::ChatRequest;

/// Form of an answer, the most reliable one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// This one.
    Only(AnswerForm),
}

/// The names that services have for the limit of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// `max_tokens`.
    #[default]
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
    written: Written,
    fixed_form: bool,
    fixed_limit: bool,
    /// Whether the service has said anything about it.
    is_known: bool,
}

/// The way in which requests are written, so that refusals of them can be
/// understood later, and later runs need not find it out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Form of answers.
    pub answer: AnswerForm,
    /// Name of the limit of an answer.
    pub limit: LimitName,
    /// Parameters that are left out.
    #[serde(default)]
    pub dropped: BTreeSet<String>,
}

impl Adaptation {
    pub(super) fn new(choice: AnswerChoice) -> Self {
        match choice {
            AnswerChoice::Auto => Self::starting_with(AnswerForm::Schema),
            AnswerChoice::Only(form) => Self {
                fixed_form: true,
                ..Self::starting_with(form)
            },
        }
    }

    pub(super) fn starting_with(form: AnswerForm) -> Self {
        Self {
            written: Written {
                answer: form,
                limit: LimitName::MaxTokens,
                dropped: BTreeSet::new(),
            },
            fixed_form: false,
            fixed_limit: false,
            is_known: false,
        }
    }

    pub(super) fn form(&self) -> AnswerForm {
        self.written.answer
    }

    pub(super) fn limit_name(&self) -> &'static str {
        self.written.limit.name()
    }

    /// Only this name is to be used.
    pub(super) fn fix_limit_name(&mut self, name: LimitName) {
        self.written.limit = name;
        self.fixed_limit = true;
    }

    pub(super) fn drops(&self, name: &str) -> bool {
        self.written.dropped.contains(name)
    }

    /// How requests are written now.
    pub(super) fn written(&self) -> &Written {
        &self.written
    }

    /// The same, if the service has said that it knows it, or what it does not
    /// know.
    pub(super) fn known(&self) -> Option<&Written> {
        self.is_known.then_some(&self.written)
    }

    /// The service has taken a request as it is written now.
    pub(super) fn confirm(&mut self) {
        self.is_known = true;
    }

    /// Takes over what an earlier run has found out, but for what the user
    /// fixes.
    pub(super) fn recall(&mut self, known: Written) {
        if !self.fixed_form {
            self.written.answer = known.answer;
        }
        if !self.fixed_limit {
            self.written.limit = known.limit;
        }
        self.written.dropped = known.dropped;
        self.is_known = true;
    }

    /// Learns from the refusal of a request that was written as `used`.
    /// Whether the request can be written in another way now.
    pub(super) fn learn(
        &mut self,
        failure: &Failure,
        request: &ChatRequest,
        used: &Written,
    ) -> bool {
        if self.written != *used {
            // Another request learnt it in the meantime.
            return true;
        }
        let learns = self.form_refused(failure, request)
            || self.limit_refused(failure)
            || self.parameter_refused(failure, request);
        self.is_known |= learns;
        learns
    }

    fn form_refused(&mut self, failure: &Failure, request: &ChatRequest) -> bool {
        let is_free = request.shape.is_some() && !self.fixed_form;
        let is_named = failure.names("response_format") || failure.names("json_schema");
        let next = match self.written.answer {
            AnswerForm::Schema => AnswerForm::Json,
            AnswerForm::Json => AnswerForm::Text,
            AnswerForm::Text => return false,
        };
        if is_free && is_named {
            self.written.answer = next;
        }
        is_free && is_named
    }

    fn limit_refused(&mut self, failure: &Failure) -> bool {
        let is_refused = !self.fixed_limit && failure.names(self.limit_name());
        if is_refused {
            self.fix_limit_name(self.written.limit.other());
        }
        is_refused
    }

    fn parameter_refused(&mut self, failure: &Failure, request: &ChatRequest) -> bool {
        let optional = OPTIONAL
            .into_iter()
            .chain(request.extra.keys().map(String::as_str));
        let refused = optional
            .filter(|name| failure.names(name))
            .find(|name| !self.drops(name));
        refused.is_some_and(|name| self.written.dropped.insert(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(words: &str) -> Failure {
        Failure::unreadable(words)
    }

    fn request() -> ChatRequest {
        let mut request = ChatRequest::new("m", "Judge.", "A list.", 9);
        request.extra.insert("top_k".to_owned(), json!(5));
        request
    }

    #[test]
    fn each_refusal_teaches_one_thing_and_none_twice() {
        let mut adaptation = Adaptation::new(AnswerChoice::Only(AnswerForm::Text));
        for words in [
            "'max_tokens' is not supported",
            "no top_k here",
            "no temperature",
        ] {
            let used = adaptation.written().clone();
            assert!(adaptation.learn(&refusal(words), &request(), &used));
            // Another request that was written before that.
            assert!(adaptation.learn(&refusal(words), &request(), &used));
            let used = adaptation.written().clone();
            assert!(
                !adaptation.learn(&refusal(words), &request(), &used),
                "{words}"
            );
        }
        assert_eq!(adaptation.limit_name(), "max_completion_tokens");
        assert!(adaptation.drops("top_k") && adaptation.drops("temperature"));
        let used = adaptation.written().clone();
        let fixed = refusal("unknown response_format");
        assert!(!adaptation.learn(&fixed, &request(), &used));
    }

    #[test]
    fn what_was_found_out_is_known_to_the_next_run_but_what_is_fixed_stays() {
        let mut first = Adaptation::new(AnswerChoice::Auto);
        assert_eq!(first.known(), None);
        let used = first.written().clone();
        assert!(first.learn(&refusal("no max_tokens"), &request(), &used));
        let known = first.known().cloned().expect("something is known");
        let text = serde_json::to_string(&known).expect("text");
        assert_eq!(
            text,
            r#"{"answer":"schema","limit":"max_completion_tokens","dropped":[]}"#
        );
        let mut next = Adaptation::new(AnswerChoice::Only(AnswerForm::Json));
        next.recall(serde_json::from_str(&text).expect("the same"));
        assert_eq!(next.form(), AnswerForm::Json);
        assert_eq!(next.limit_name(), "max_completion_tokens");
        let mut fixed = Adaptation::new(AnswerChoice::Auto);
        fixed.fix_limit_name(LimitName::MaxTokens);
        fixed.recall(known);
        assert_eq!(fixed.limit_name(), "max_tokens");
    }
}
