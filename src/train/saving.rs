//! When a checkpoint is written (`training.md` 2.7): by age, by reaching a new
//! best accuracy once the curve has flattened, and at the end.

use serde::{Deserialize, Serialize};

/// Thresholds of the decision, accuracies as 0–1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaveRule {
    /// Minimum chunks between checkpoints.
    pub every_min: u64,
    /// Maximum chunks between checkpoints.
    pub every_max: u64,
    /// No save by accuracy below this one.
    pub top1_min: f64,
    /// A gain per chunk of at most this much counts as flattened.
    pub top1_delta: f64,
}

/// What past checkpoints were like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaveState {
    /// Whether the curve has flattened (once true, always true).
    pub allow_save_delta: bool,
    /// Accuracy at the previous chunk end.
    pub top1_last: f64,
    /// Checkpoints written.
    pub saved_num: u64,
    /// Chunk of the last one.
    pub saved_chunk_id: u64,
    /// Running loss then; infinite before the first.
    pub saved_loss: f64,
    /// Running accuracy then.
    pub saved_top1: f64,
    /// Best running accuracy at any save.
    pub saved_top1_max: f64,
}

impl Default for SaveState {
    fn default() -> Self {
        Self {
            allow_save_delta: false,
            top1_last: 0.0,
            saved_num: 0,
            saved_chunk_id: 0,
            saved_loss: f64::INFINITY,
            saved_top1: 0.0,
            saved_top1_max: 0.0,
        }
    }
}

impl SaveState {
    /// Takes in the end of chunk `chunk` and says whether to save; if so, the
    /// state already describes the new checkpoint, which therefore holds it.
    pub fn chunk_end(
        &mut self,
        rule: &SaveRule,
        chunk: u64,
        stopping: bool,
        loss: f64,
        top1: f64,
    ) -> bool {
        let good = top1 >= rule.top1_min;
        if good && top1 - self.top1_last <= rule.top1_delta {
            self.allow_save_delta = true;
        }
        self.top1_last = top1;
        let age = chunk.saturating_sub(self.saved_chunk_id);
        let save = stopping
            || age >= rule.every_max
            || (age >= rule.every_min
                && good
                && self.allow_save_delta
                && top1 >= self.saved_top1_max);
        if save {
            self.saved_num += 1;
            self.saved_chunk_id = chunk;
            self.saved_loss = loss;
            self.saved_top1 = top1;
            self.saved_top1_max = self.saved_top1_max.max(top1);
        }
        save
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SaveRule = SaveRule {
        every_min: 2,
        every_max: 5,
        top1_min: 0.5,
        top1_delta: 0.01,
    };

    fn saves(top1: &[f64], last: u64) -> Vec<u64> {
        let mut state = SaveState::default();
        (1..)
            .zip(top1)
            .filter(|(chunk, top1)| state.chunk_end(&RULE, *chunk, *chunk == last, 1.0, **top1))
            .map(|(chunk, _)| chunk)
            .collect()
    }

    #[test]
    fn by_age_and_at_the_end() {
        assert_eq!(saves(&[0.1; 12], 12), [5, 10, 12]);
    }

    #[test]
    fn by_accuracy_once_flattened_and_not_below_the_best_saved() {
        let top1 = [0.2, 0.6, 0.8, 0.805, 0.80, 0.803, 0.81, 0.9];
        assert_eq!(saves(&top1, 0), [4, 7]);
    }
}
