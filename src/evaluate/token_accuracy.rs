//! Loss and accuracy of a decoder under teacher forcing, summed over the
//! batches of a dataset (`training.md` 4).

use crate::cache::batch::TargetLayout;
use crate::decoder::{DudPrediction, Forward, Loss};

/// Sums over the batches of a dataset.
#[derive(Clone, Debug)]
pub struct TokenSums {
    loss: Loss,
    /// Correct and counted positions of each column.
    columns: Vec<(u64, u64)>,
    nouns_correct: u64,
    valid_targets: u64,
    samples: u64,
    /// Samples without any target, if these are left out.
    skipped: Option<u64>,
    batches: u64,
}

/// What a dataset says of a model. Accuracies are shares, 0–1.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenResults {
    /// Sum of the token losses by the sum of their weights, in nats.
    pub loss: f64,
    /// Samples with a target whose every counted position is right.
    pub noun_top1: f64,
    /// Counted positions that are right.
    pub top1: f64,
    /// The same of each column; not a number if none counts there.
    pub top1_at: Vec<f64>,
    /// Counted positions of each column.
    pub tokens_at: Vec<u64>,
    /// Counted positions.
    pub tokens: u64,
    /// Targets that are not entirely padding.
    pub num_valid_targets: u64,
    /// Samples.
    pub num_samples: u64,
    /// Samples left out because they have no target.
    pub num_skipped: u64,
    /// Batches.
    pub num_batches: u64,
}

/// Predictions for a batch of targets, in their layout.
struct Positions<'a> {
    columns: usize,
    padding: &'a [bool],
    correct: &'a [bool],
}

impl TokenSums {
    /// No batches yet; `token_length` columns are reported. Samples without
    /// any target count as wrong unless they are left out.
    pub fn new(token_length: usize, leaves_out_absent: bool) -> Self {
        Self {
            loss: Loss::default(),
            columns: vec![(0, 0); token_length],
            nouns_correct: 0,
            valid_targets: 0,
            samples: 0,
            skipped: leaves_out_absent.then_some(0),
            batches: 0,
        }
    }

    /// Adds a batch of `samples` samples. Returns which of them are right.
    pub fn add(&mut self, forward: &Forward, layout: TargetLayout, samples: usize) -> Vec<bool> {
        self.loss += forward.loss;
        self.count(
            &Positions {
                columns: forward.columns,
                padding: &forward.padding,
                correct: &forward.correct,
            },
            layout,
            samples,
        )
    }

    /// Adds a batch of the decoder that looks at its targets.
    pub fn add_dud(
        &mut self,
        dud: &DudPrediction,
        layout: TargetLayout,
        samples: usize,
    ) -> Vec<bool> {
        let counted = dud.padding.iter().filter(|&&padded| !padded).count();
        self.loss += Loss {
            sum: 1.0,
            basis: 1.0,
            tokens: counted,
            correct: dud.correct.iter().filter(|&&correct| correct).count(),
        };
        let rows = targets_of(layout) * samples;
        self.count(
            &Positions {
                columns: dud.padding.len() / rows.max(1),
                padding: &dud.padding,
                correct: &dud.correct,
            },
            layout,
            samples,
        )
    }

    fn count(
        &mut self,
        positions: &Positions<'_>,
        layout: TargetLayout,
        samples: usize,
    ) -> Vec<bool> {
        let mut right = vec![false; samples];
        let mut present = vec![false; samples];
        if positions.columns == 0 {
            return right;
        }
        let padding = positions.padding.chunks_exact(positions.columns);
        let correct = positions.correct.chunks_exact(positions.columns);
        for (row, (padding, correct)) in padding.zip(correct).enumerate() {
            let mut counted = 0;
            let mut hits = 0;
            for (column, (&padded, &correct)) in padding.iter().zip(correct).enumerate() {
                if padded {
                    continue;
                }
                counted += 1;
                hits += u64::from(correct);
                if let Some(sums) = self.columns.get_mut(column) {
                    sums.0 += u64::from(correct);
                    sums.1 += 1;
                }
            }
            self.valid_targets += u64::from(counted > 0);
            let sample = match layout {
                TargetLayout::Single => row,
                TargetLayout::Multi { targets } => row / targets.max(1),
                TargetLayout::MultiFirst { .. } => row % samples.max(1),
            };
            if sample < samples {
                right[sample] |= counted > 0 && hits == counted;
                present[sample] |= counted > 0;
            }
        }
        if let Some(skipped) = &mut self.skipped {
            *skipped += present.iter().filter(|&&present| !present).count() as u64;
        }
        self.nouns_correct += right.iter().filter(|&&right| right).count() as u64;
        self.samples += samples as u64;
        self.batches += 1;
        right
    }

    /// What the batches say so far.
    pub fn results(&self) -> TokenResults {
        let share = |part: u64, all: u64| part as f64 / all as f64;
        let skipped = self.skipped.unwrap_or(0);
        let samples = self.samples - skipped;
        TokenResults {
            loss: self.loss.mean(),
            noun_top1: share(self.nouns_correct, samples),
            top1: share(self.loss.correct as u64, self.loss.tokens as u64),
            top1_at: self
                .columns
                .iter()
                .map(|&(correct, counted)| f64::from(correct as f32 / counted as f32))
                .collect(),
            tokens_at: self.columns.iter().map(|&(_, counted)| counted).collect(),
            tokens: self.loss.tokens as u64,
            num_valid_targets: self.valid_targets,
            num_samples: samples,
            num_skipped: skipped,
            num_batches: self.batches,
        }
    }
}

fn targets_of(layout: TargetLayout) -> usize {
    match layout {
        TargetLayout::Single => 1,
        TargetLayout::Multi { targets } | TargetLayout::MultiFirst { targets } => targets,
    }
}

impl TokenResults {
    /// The values a run records, by their names behind `Eval/`; accuracies in
    /// percent.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut metrics = vec![
            ("loss".to_owned(), self.loss),
            ("noun_top1".to_owned(), self.noun_top1 * 100.0),
            ("top1".to_owned(), self.top1 * 100.0),
        ];
        metrics.extend(
            (1..)
                .zip(&self.top1_at)
                .map(|(column, top1): (usize, _)| (format!("top1_{column}"), top1 * 100.0)),
        );
        metrics.extend([
            ("tokens".to_owned(), self.tokens as f64),
            (
                "num_valid_targets".to_owned(),
                self.num_valid_targets as f64,
            ),
            ("num_samples".to_owned(), self.num_samples as f64),
            ("num_batches".to_owned(), self.num_batches as f64),
        ]);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(layout: TargetLayout, samples: usize, correct: &[u8], padding: &[u8]) -> TokenSums {
        let bools = |bits: &[u8]| bits.iter().map(|&bit| bit == 1).collect::<Vec<_>>();
        let mut sums = TokenSums::new(3, false);
        let dud = DudPrediction {
            ids: vec![0; correct.len()],
            padding: bools(padding),
            correct: bools(correct),
        };
        sums.add_dud(&dud, layout, samples);
        sums
    }

    #[test]
    fn a_sample_is_right_if_any_valid_target_is() {
        // Two samples of two targets and two columns; the second target of the
        // second sample is absent.
        let correct = [1, 0, 1, 1, 1, 0, 0, 0];
        let padding = [0, 0, 0, 0, 0, 0, 1, 1];
        let multi = count(TargetLayout::Multi { targets: 2 }, 2, &correct, &padding);
        let results = multi.results();
        assert_eq!(results.noun_top1, 0.5);
        assert_eq!(results.num_valid_targets, 3);
        assert_eq!(results.top1, 4.0 / 6.0);
        assert_eq!(results.top1_at[0], 1.0);
        assert!(results.top1_at[2].is_nan());
        // The same rows, target dimension first: samples 0 and 1 in turn.
        let layout = TargetLayout::MultiFirst { targets: 2 };
        let first = count(layout, 2, &correct, &padding).results();
        assert_eq!(first.noun_top1, 0.5);
        let names: Vec<String> = first.metrics().into_iter().map(|metric| metric.0).collect();
        assert_eq!(
            names[..5],
            ["loss", "noun_top1", "top1", "top1_1", "top1_2"]
        );
    }
}
