//! Pairs whose questions get no answer in a run. That says nothing about them:
//! they stay open, and the next run asks again.

use std::collections::HashMap;

use super::questions::Question;
use crate::net::llm::Failure;

/// Questions in a row without an answer after which a run asks about a pair no
/// more; each was tried several times.
const IN_VAIN: u32 = 3;

/// Pairs that were asked about in vain, since an answer about them came last.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// How often, by image and noun.
    times: HashMap<usize, HashMap<String, u32>>,
    /// What was said instead of the last answer.
    last: Option<Failure>,
}

impl Unanswered {
    /// A question got no answer.
    pub(super) fn add(&mut self, question: &Question, failure: Failure) {
        let of_image = self.times.entry(question.image).or_default();
        for noun in &question.nouns {
            *of_image.entry(noun.clone()).or_default() += 1;
        }
        self.last = Some(failure);
    }

    /// A question got an answer, of use or not.
    pub(super) fn answered(&mut self, question: &Question) {
        if let Some(of_image) = self.times.get_mut(&question.image) {
            of_image.retain(|noun, _| !question.nouns.contains(noun));
        }
    }

    /// Whether this run asks about a pair no more.
    pub(super) fn is_given_up(&self, image: usize, noun: &str) -> bool {
        self.of(image, noun) >= IN_VAIN
    }

    /// Why there is no answer about some pair of those for which `is_open` holds.
    pub(super) fn why(self, is_open: impl Fn(usize, &str) -> bool) -> Option<Failure> {
        let is_open = |(&image, nouns): (&usize, &HashMap<String, u32>)| {
            nouns.keys().any(|noun| is_open(image, noun))
        };
        self.times.iter().any(is_open).then_some(self.last)?
    }

    fn of(&self, image: usize, noun: &str) -> u32 {
        let times = self.times.get(&image).and_then(|nouns| nouns.get(noun));
        times.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::llm::FailureClass;

    fn question(nouns: &[&str]) -> Question {
        Question {
            image: 1,
            nouns: nouns.iter().map(|noun| (*noun).to_owned()).collect(),
            first: true,
            last: true,
        }
    }

    fn failure() -> Failure {
        Failure {
            class: FailureClass::Transient,
            status: Some(503),
            code: None,
            parameter: None,
            message: "busy".to_owned(),
            wait: None,
            request_id: None,
            response: String::new(),
        }
    }

    #[test]
    fn three_questions_in_a_row_are_enough_for_one_run() {
        let mut unanswered = Unanswered::default();
        unanswered.add(&question(&["a", "b"]), failure());
        unanswered.add(&question(&["a"]), failure());
        assert!(!unanswered.is_given_up(1, "a"));
        unanswered.answered(&question(&["b", "c"]));
        unanswered.add(&question(&["a", "b"]), failure());
        assert!(unanswered.is_given_up(1, "a"));
        assert!(!unanswered.is_given_up(1, "b") && !unanswered.is_given_up(0, "a"));
        let why = unanswered.why(|image, noun| (image, noun) == (1, "b"));
        assert_eq!(why, Some(failure()));
    }

    #[test]
    fn pairs_that_got_their_answers_after_all_are_no_reason() {
        let mut unanswered = Unanswered::default();
        unanswered.add(&question(&["a"]), failure());
        unanswered.answered(&question(&["a"]));
        assert_eq!(unanswered.why(|_, _| true), None);
        let mut elsewhere = Unanswered::default();
        elsewhere.add(&question(&["a"]), failure());
        assert_eq!(elsewhere.why(|_, _| false), None);
    }
}
