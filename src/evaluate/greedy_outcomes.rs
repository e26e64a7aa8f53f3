//! What greedy decoding of a classification dataset is counted as
//! (`eval-infer.md` section 6).

use std::collections::HashSet;

use crate::decoder::generate::GreedyLoss;

/// What a prediction made without guide is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direct {
    /// One of the accepted nouns of the class.
    Correct,
    /// Another noun of the model.
    Valid,
    /// No noun of the model.
    Invalid,
}

/// What one sample is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GreedyOutcome {
    /// The prediction made without guide.
    pub direct: Direct,
    /// Whether the guided one is accepted; the same prediction if there is no
    /// guide.
    pub guided_correct: bool,
}

impl GreedyOutcome {
    /// All of them, in the order of records.
    pub const ALL: [Self; 6] = {
        const fn of(direct: Direct, guided_correct: bool) -> GreedyOutcome {
            GreedyOutcome {
                direct,
                guided_correct,
            }
        }
        [
            of(Direct::Correct, true),
            of(Direct::Correct, false),
            of(Direct::Valid, true),
            of(Direct::Valid, false),
            of(Direct::Invalid, true),
            of(Direct::Invalid, false),
        ]
    };

    /// Name in records: `DirectValidGuidedCorrect`.
    pub fn name(self) -> &'static str {
        match (self.direct, self.guided_correct) {
            (Direct::Correct, true) => "DirectCorrectGuidedCorrect",
            (Direct::Correct, false) => "DirectCorrectGuidedIncorrect",
            (Direct::Valid, true) => "DirectValidGuidedCorrect",
            (Direct::Valid, false) => "DirectValidGuidedIncorrect",
            (Direct::Invalid, true) => "DirectInvalidGuidedCorrect",
            (Direct::Invalid, false) => "DirectInvalidGuidedIncorrect",
        }
    }
}

/// Counters over the samples of a dataset.
#[derive(Clone, Debug)]
pub struct GreedyOutcomes {
    vocabulary: HashSet<String>,
    counts: [u64; 6],
    samples: u64,
    batches: u64,
    loss: GreedyLoss,
}

impl GreedyOutcomes {
    /// No samples yet; valid nouns are those of `vocabulary`.
    pub fn new(vocabulary: HashSet<String>) -> Self {
        Self {
            vocabulary,
            counts: [0; 6],
            samples: 0,
            batches: 0,
            loss: GreedyLoss {
                sum: 0.0,
                basis: 0.0,
            },
        }
    }

    /// Counts a sample by its prediction without guide and, if there is a
    /// guide, the guided one. Texts are compared exactly.
    pub fn add(
        &mut self,
        accepted: &[String],
        direct: &str,
        guided: Option<&str>,
    ) -> GreedyOutcome {
        let is_accepted = |text: &str| accepted.iter().any(|noun| noun == text);
        let outcome = GreedyOutcome {
            direct: if is_accepted(direct) {
                Direct::Correct
            } else if self.vocabulary.contains(direct) {
                Direct::Valid
            } else {
                Direct::Invalid
            },
            guided_correct: is_accepted(guided.unwrap_or(direct)),
        };
        self.samples += 1;
        for (count, known) in self.counts.iter_mut().zip(GreedyOutcome::ALL) {
            *count += u64::from(known == outcome);
        }
        outcome
    }

    /// Counts a batch with the loss of its (guided) decoding.
    pub fn add_batch(&mut self, loss: &GreedyLoss) {
        self.batches += 1;
        self.loss.sum += loss.sum;
        self.loss.basis += loss.basis;
    }

    /// Samples seen.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Batches seen.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Samples with an outcome.
    pub fn count(&self, outcome: GreedyOutcome) -> u64 {
        let counts = GreedyOutcome::ALL.into_iter().zip(self.counts);
        counts
            .filter(|(known, _)| *known == outcome)
            .map(|(_, count)| count)
            .sum()
    }

    /// Values a run records, by their names behind `Eval/`; shares in percent.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let share = |wanted: &dyn Fn(GreedyOutcome) -> bool| {
            let counts = GreedyOutcome::ALL.into_iter().zip(self.counts);
            let count: u64 = counts
                .filter(|(outcome, _)| wanted(*outcome))
                .map(|(_, count)| count)
                .sum();
            count as f64 / self.samples as f64 * 100.0
        };
        let direct = |kind: Direct| share(&|outcome| outcome.direct == kind);
        let mut metrics = vec![
            ("loss", self.loss.sum / self.loss.basis),
            ("noun_top1", share(&|outcome| outcome.guided_correct)),
            ("direct_correct", direct(Direct::Correct)),
            ("direct_valid", direct(Direct::Valid)),
            ("direct_invalid", direct(Direct::Invalid)),
            ("guided_correct", share(&|outcome| outcome.guided_correct)),
            (
                "guided_incorrect",
                share(&|outcome| !outcome.guided_correct),
            ),
            ("valid", share(&|outcome| outcome.direct != Direct::Invalid)),
            ("invalid", direct(Direct::Invalid)),
        ];
        for outcome in GreedyOutcome::ALL {
            metrics.push((outcome.name(), share(&|other| other == outcome)));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_one_outcome() {
        let vocabulary = ["cat", "dog"].map(str::to_owned).into();
        let mut outcomes = GreedyOutcomes::new(vocabulary);
        let accepted = ["cat".to_owned()];
        let names: Vec<&str> = [
            ("cat", None),
            ("dog", None),
            ("catt", Some("cat")),
            ("cat", Some("dog")),
        ]
        .into_iter()
        .map(|(direct, guided)| outcomes.add(&accepted, direct, guided).name())
        .collect();
        assert_eq!(
            names,
            [
                "DirectCorrectGuidedCorrect",
                "DirectValidGuidedIncorrect",
                "DirectInvalidGuidedCorrect",
                "DirectCorrectGuidedIncorrect",
            ]
        );
        let metrics = outcomes.metrics();
        assert_eq!(metrics[1], ("noun_top1", 50.0));
        assert_eq!(metrics[8], ("invalid", 25.0));
        let total: u64 = GreedyOutcome::ALL
            .map(|outcome| outcomes.count(outcome))
            .iter()
            .sum();
        assert_eq!(total, outcomes.samples());
    }
}
