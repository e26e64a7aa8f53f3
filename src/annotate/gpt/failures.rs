//! Pairs whose questions got no answer of use, and when to stop asking
//! (`annotation.md` 12).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answers about a pair that may be of no use.
const REJECTED: u32 = 3;

/// Why a pair has no opinions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Answers that say something else.
    Invalid,
    /// Answers that were cut.
    Truncated,
    /// No answers. Earlier versions counted these; they say nothing about a
    /// pair.
    Unanswered,
    /// The service does not take the question as it is.
    BadRequest,
    /// The model refuses.
    Refused,
}

impl FailureKind {
    /// What happened, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Invalid => "answers that say something else",
            Self::Truncated => "answers that are cut",
            Self::Unanswered => "no answers",
            Self::BadRequest => "questions that the service does not take",
            Self::Refused => "refused by the model",
        }
    }
}

/// What happened to a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Last time.
    pub class: FailureKind,
    /// How often.
    pub count: u32,
    /// Whether it is asked about no more.
    pub parked: bool,
    /// What was said last.
    pub message: String,
}

impl Failed {
    /// Whether it is asked about no more.
    fn is_parked(&self) -> bool {
        self.parked && self.class != FailureKind::Unanswered
    }
}

/// All of them, by image and noun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<String, BTreeMap<String, Failed>>);

impl Failures {
    /// One more answer about a pair was of no use. It is asked about again unless
    /// that happened too often, or `for_good`. No answer counts against nobody.
    pub fn add(
        &mut self,
        image: &str,
        noun: &str,
        class: FailureKind,
        message: &str,
        for_good: bool,
    ) {
        if class == FailureKind::Unanswered {
            return;
        }
        let of_image = self.0.entry(image.to_owned()).or_default();
        let failed = of_image.entry(noun.to_owned()).or_insert_with(|| Failed {
            class,
            count: 0,
            parked: false,
            message: String::new(),
        });
        failed.class = class;
        failed.count += 1;
        failed.parked |= for_good || failed.count >= REJECTED;
        message.clone_into(&mut failed.message);
    }

    /// A pair has got its opinions after all.
    pub fn forget(&mut self, image: &str, noun: &str) {
        if let Some(of_image) = self.0.get_mut(image) {
            of_image.remove(noun);
            if of_image.is_empty() {
                self.0.remove(image);
            }
        }
    }

    /// Everything may be asked about again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a pair is asked about no more.
    pub fn is_parked(&self, image: &str, noun: &str) -> bool {
        self.of(image, noun).is_some_and(Failed::is_parked)
    }

    /// What happened to a pair, if anything did.
    pub fn of(&self, image: &str, noun: &str) -> Option<&Failed> {
        self.0.get(image)?.get(noun)
    }

    /// Pairs that are asked about no more.
    pub fn parked(&self) -> impl Iterator<Item = (&str, &str, &Failed)> {
        self.0.iter().flat_map(|(image, of_image)| {
            let parked = of_image.iter().filter(|(_, failed)| failed.is_parked());
            parked.map(move |(noun, failed)| (image.as_str(), noun.as_str(), failed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_useless_answers_park_a_pair_and_missing_ones_do_not() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            failures.add("a.png", "fox", FailureKind::Unanswered, "no", false);
        }
        assert_eq!(failures, Failures::default());
        for parked in [false, false, true] {
            failures.add("a.png", "fox", FailureKind::Invalid, "odd", false);
            assert_eq!(failures.is_parked("a.png", "fox"), parked);
        }
        failures.add("a.png", "wolf", FailureKind::Refused, "no", true);
        assert_eq!(failures.parked().count(), 2);
    }

    #[test]
    fn pairs_that_an_earlier_version_gave_up_in_an_outage_are_open_again() {
        let text = r#"{"a.png": {
            "fox": {"class": "unanswered", "count": 3, "parked": true, "message": "503"},
            "wolf": {"class": "invalid", "count": 3, "parked": true, "message": "odd"}}}"#;
        let failures: Failures = serde_json::from_str(text).unwrap();
        assert!(!failures.is_parked("a.png", "fox"));
        let parked: Vec<&str> = failures.parked().map(|(_, noun, _)| noun).collect();
        assert_eq!(parked, ["wolf"]);
    }
}
