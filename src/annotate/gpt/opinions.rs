//! How many opinions a pair needs, and what they make of it (`annotation.md`
//! 6).

use serde::{Deserialize, Serialize};

use crate::annotate::Category;

/// When opinions about a pair are enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpinionRule {
    /// Opinions at least.
    min: u32,
    /// Opinions at most.
    max: u32,
    /// Share of equal opinions that decides.
    confidence: f64,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The numbers of opinions.
    #[error("the numbers of opinions must be 1 ≤ minimum ≤ maximum, not {min} and {max}")]
    Opinions {
        /// The smaller one, as given.
        min: u32,
        /// The larger one, as given.
        max: u32,
    },
    /// The confidence.
    #[error("the confidence must be above 0.5 and below 1, not {0}")]
    Confidence(String),
}

impl OpinionRule {
    /// A rule.
    ///
    /// # Errors
    /// The numbers make no sense.
    pub fn new(min: u32, max: u32, confidence: f64) -> Result<Self, RuleError> {
        if min < 1 || max < min {
            return Err(RuleError::Opinions { min, max });
        }
        if !(confidence > 0.5 && confidence < 1.0) {
            return Err(RuleError::Confidence(confidence.to_string()));
        }
        Ok(Self {
            min,
            max,
            confidence,
        })
    }

    /// Opinions at least.
    pub fn min(&self) -> u32 {
        self.min
    }

    /// Opinions at most.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Share of equal opinions that decides.
    pub fn confidence(&self) -> f64 {
        self.confidence
    }

    /// How many more opinions are needed beside `n` of which `correct` say that
    /// the noun is right.
    pub fn need(&self, n: usize, correct: usize) -> usize {
        let (q, all, right) = (self.confidence, n as f64, correct as f64);
        let wrong = all - right;
        // How many unanimous ones would lift either side to the confidence.
        let for_right = (q * all - right) / (1.0 - q);
        let for_wrong = (q * all - wrong) / (1.0 - q);
        let left = f64::from(self.max) - all;
        let sure = for_right.min(for_wrong).min(left).ceil();
        let least = f64::from(self.min) - all;
        sure.max(least).max(0.0) as usize
    }

    /// [`OpinionRule::need`] of a list of opinions.
    pub fn need_of(&self, opinions: &[bool]) -> usize {
        self.need(opinions.len(), count(opinions))
    }

    /// What opinions make of a pair; none without any.
    pub fn category(&self, n: usize, correct: usize) -> Option<Category> {
        if n == 0 {
            return None;
        }
        let share = |part: usize| part as f64 / n as f64;
        Some(if share(correct) >= self.confidence {
            Category::CorrectPrimary
        } else if share(n - correct) >= self.confidence {
            Category::Incorrect
        } else {
            Category::ClosePrimary
        })
    }

    /// [`OpinionRule::category`] of a list of opinions.
    pub fn category_of(&self, opinions: &[bool]) -> Option<Category> {
        self.category(opinions.len(), count(opinions))
    }
}

/// How many say that the noun is right.
fn count(opinions: &[bool]) -> usize {
    opinions.iter().filter(|right| **right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        assert!(OpinionRule::new(3, 5, 0.78).is_ok());
        assert!(OpinionRule::new(5, 3, 0.78).is_err());
        assert!(OpinionRule::new(0, 3, 0.78).is_err());
        for confidence in [0.5, 1.0, f64::NAN] {
            assert!(OpinionRule::new(3, 5, confidence).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn asking_what_is_needed_ends_within_the_limits(
            answers in proptest::collection::vec(proptest::bool::ANY, 20),
            min in 1_u32..6, more in 0_u32..6, confidence in 0.51_f64..0.99,
        ) {
            let rule = OpinionRule::new(min, min + more, confidence).unwrap();
            let mut opinions = Vec::new();
            for answer in answers {
                if rule.need_of(&opinions) == 0 {
                    break;
                }
                opinions.push(answer);
            }
            assert!(opinions.len() >= min as usize && opinions.len() <= (min + more) as usize);
            assert_eq!(rule.need_of(&opinions), 0);
        }
    }
}
