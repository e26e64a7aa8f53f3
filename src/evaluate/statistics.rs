//! What is counted for generated texts (`eval-infer.md` section 1,
//! `decoder.md` section 10). Texts are compared exactly as they are.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::error::{EvaluateError, Result};

/// What a predicted text is: the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PredictionType {
    /// One of the accepted names of the sample's class.
    #[serde(rename = "correct")]
    Correct = 0,
    /// A guide noun.
    #[serde(rename = "guide")]
    Guide = 1,
    /// A noun of the model's vocabulary.
    #[serde(rename = "vocab")]
    Vocabulary = 2,
    /// No known noun.
    #[serde(rename = "other")]
    Other = 3,
}

impl PredictionType {
    /// Number in files.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Type with this number in files.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Correct, Self::Guide, Self::Vocabulary, Self::Other]
            .into_iter()
            .find(|kind| u64::from(kind.number()) == number)
    }

    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Guide => "guide",
            Self::Vocabulary => "vocab",
            Self::Other => "other",
        }
    }
}

/// Nouns that predictions are compared with.
#[derive(Clone, Debug, Default)]
pub struct NounSets {
    /// Nouns of the model's vocabulary.
    pub vocabulary: HashSet<String>,
    /// Guide nouns, those that the model cannot say included.
    pub guide: HashSet<String>,
    /// Accepted names of each class; may be empty for a class.
    pub classes: Vec<HashSet<String>>,
}

/// Samples and hits of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts {
    /// Samples seen.
    pub samples: u64,
    /// Samples with a correct prediction among the first `k + 1`.
    pub correct: Vec<u64>,
}

/// Counters over the first `1 … K` predictions of all samples seen.
#[derive(Clone, Debug)]
pub struct TopKStatistics {
    sets: NounSets,
    counts: Vec<[u64; 4]>,
    samples: u64,
    classes: Vec<ClassCounts>,
}

/// Shares of samples for one rank: among the first `k + 1` predictions …
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopKRatios {
    /// … one is correct.
    pub correct: f32,
    /// … one is correct or a guide noun.
    pub guide: f32,
    /// … one is correct, a guide noun or in the vocabulary.
    pub vocabulary: f32,
    /// … all are valid.
    pub valid: f32,
    /// … one is invalid.
    pub invalid: f32,
}

/// [`TopKRatios`] of all ranks × 100, as prediction files hold them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentages {
    /// Correct.
    pub correct: Vec<f32>,
    /// Correct or guide.
    pub guide: Vec<f32>,
    /// Correct, guide or vocabulary.
    pub vocabulary: Vec<f32>,
    /// All valid.
    pub valid: Vec<f32>,
    /// One invalid.
    pub invalid: Vec<f32>,
}

impl TopKStatistics {
    /// Counters for `topk` predictions per sample.
    pub fn new(sets: NounSets, topk: usize) -> Self {
        let class = ClassCounts {
            samples: 0,
            correct: vec![0; topk],
        };
        Self {
            counts: vec![[0; 4]; topk],
            samples: 0,
            classes: vec![class; sets.classes.len()],
            sets,
        }
    }

    /// Counts the predictions of one sample, best first, and tells what each
    /// is. Ranks that it lacks are neither correct nor invalid; predictions
    /// beyond the last rank do not count.
    ///
    /// # Errors
    /// A label without class.
    pub fn add<S: AsRef<str>>(
        &mut self,
        predictions: &[S],
        label: Option<usize>,
    ) -> Result<Vec<PredictionType>> {
        let accepted = match label {
            None => None,
            Some(label) => Some(self.sets.classes.get(label).ok_or(
                EvaluateError::LabelOutside {
                    label,
                    classes: self.sets.classes.len(),
                },
            )?),
        };
        let kinds: Vec<PredictionType> = predictions
            .iter()
            .map(|text| {
                let text = text.as_ref();
                if accepted.is_some_and(|accepted| accepted.contains(text)) {
                    PredictionType::Correct
                } else if self.sets.guide.contains(text) {
                    PredictionType::Guide
                } else if self.sets.vocabulary.contains(text) {
                    PredictionType::Vocabulary
                } else {
                    PredictionType::Other
                }
            })
            .collect();
        self.add_kinds(&kinds, label)?;
        Ok(kinds)
    }

    /// Counts the predictions of one sample, best first, of which it is known
    /// what they are.
    ///
    /// # Errors
    /// A label without class.
    pub fn add_kinds(&mut self, kinds: &[PredictionType], label: Option<usize>) -> Result<()> {
        let classes = self.classes.len();
        let mut class = match label {
            None => None,
            Some(label) => Some(
                self.classes
                    .get_mut(label)
                    .ok_or(EvaluateError::LabelOutside { label, classes })?,
            ),
        };
        let mut seen = [false; 4];
        let mut given = kinds.iter();
        for (rank, counts) in self.counts.iter_mut().enumerate() {
            if let Some(kind) = given.next() {
                seen[0] |= *kind == PredictionType::Correct;
                seen[1] |= *kind <= PredictionType::Guide;
                seen[2] |= *kind <= PredictionType::Vocabulary;
                seen[3] |= *kind == PredictionType::Other;
            }
            for (count, seen) in counts.iter_mut().zip(seen) {
                *count += u64::from(seen);
            }
            if let Some(class) = &mut class {
                class.correct[rank] += u64::from(seen[0]);
            }
        }
        self.samples += 1;
        if let Some(class) = class {
            class.samples += 1;
        }
        Ok(())
    }

    /// Samples seen.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// For each rank, the samples with, among their predictions so far, one
    /// that is correct, correct or guide, correct or guide or vocabulary,
    /// invalid.
    pub fn counts(&self) -> &[[u64; 4]] {
        &self.counts
    }

    /// Counters of each class.
    pub fn classes(&self) -> &[ClassCounts] {
        &self.classes
    }

    /// Shares of samples for each rank, in single precision as the original
    /// has them; NaN without samples.
    pub fn ratios(&self) -> Vec<TopKRatios> {
        let share = |count: u64| count as f32 / self.samples as f32;
        self.counts
            .iter()
            .map(|&[correct, guide, vocabulary, invalid]| TopKRatios {
                correct: share(correct),
                guide: share(guide),
                vocabulary: share(vocabulary),
                valid: share(self.samples - invalid),
                invalid: share(invalid),
            })
            .collect()
    }

    /// The same × 100.
    pub fn percentages(&self) -> Percentages {
        let mut percentages = Percentages::default();
        for ratios in self.ratios() {
            percentages.correct.push(ratios.correct * 100.0);
            percentages.guide.push(ratios.guide * 100.0);
            percentages.vocabulary.push(ratios.vocabulary * 100.0);
            percentages.valid.push(ratios.valid * 100.0);
            percentages.invalid.push(ratios.invalid * 100.0);
        }
        percentages
    }

    /// Share of samples with a correct one among their first `k` predictions;
    /// `None` unless `1 ≤ k ≤ K` and there are samples.
    pub fn top(&self, k: usize) -> Option<f64> {
        let counts = self.counts.get(k.checked_sub(1)?)?;
        (self.samples > 0).then(|| counts[0] as f64 / self.samples as f64)
    }

    /// Mean over the classes that occurred of their share of samples with a
    /// correct one among the first `k` predictions.
    pub fn class_mean_top(&self, k: usize) -> Option<f64> {
        let rank = k.checked_sub(1).filter(|&rank| rank < self.counts.len())?;
        let shares: Vec<f64> = self
            .classes
            .iter()
            .filter(|class| class.samples > 0)
            .map(|class| class.correct[rank] as f64 / class.samples as f64)
            .collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ranks_are_neither_correct_nor_invalid() {
        let sets = NounSets {
            classes: vec![["mug".to_owned()].into(), HashSet::new()],
            ..NounSets::default()
        };
        let mut statistics = TopKStatistics::new(sets, 3);
        let kinds = statistics.add(&["mug"], Some(0)).unwrap();
        assert_eq!(kinds, [PredictionType::Correct]);
        statistics.add(&["x"], Some(1)).unwrap();
        assert_eq!(statistics.counts(), [[1, 1, 1, 1]; 3]);
        assert_eq!(statistics.top(3), Some(0.5));
        assert_eq!(statistics.top(4), None);
        assert_eq!(statistics.class_mean_top(1), Some(0.5));
        assert!(statistics.add(&["mug"], Some(2)).is_err());
        assert_eq!(statistics.samples(), 2);
    }
}
