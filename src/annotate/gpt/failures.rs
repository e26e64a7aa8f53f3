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
    /// No answers.
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

/// All of them, by image and noun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<String, BTreeMap<String, Failed>>);

impl Failures {
    /// One more question about a pair failed. It is asked about again unless
    /// that happened too often, or `for_good`.
    pub fn add(
        &mut self,
        image: &str,
        noun: &str,
        class: FailureKind,
        message: &str,
        for_good: bool,
    ) {
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
        self.of(image, noun).is_some_and(|failed| failed.parked)
    }

    /// What happened to a pair, if anything did.
    pub fn of(&self, image: &str, noun: &str) -> Option<&Failed> {
        self.0.get(image)?.get(noun)
    }

    /// Pairs that are asked about no more.
    pub fn parked(&self) -> impl Iterator<Item = (&str, &str, &Failed)> {
        self.0.iter().flat_map(|(image, of_image)| {
            let parked = of_image.iter().filter(|(_, failed)| failed.parked);
            parked.map(move |(noun, failed)| (image.as_str(), noun.as_str(), failed))
        })
    }
}
