//! Running averages of loss and accuracy (`training.md` 2.6): exponentially
//! weighted sums of numerators and denominators, so that no bias correction is
//! needed. All in f64.

use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};

/// Loss and counts of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchSums {
    /// (Weighted) sum of the token cross entropies, in nats.
    pub loss_sum: f64,
    /// (Weighted) number of counted positions.
    pub loss_basis: f64,
    /// Positions whose arg-max token is the target.
    pub correct: u64,
    /// Counted positions.
    pub tokens: u64,
}

impl BatchSums {
    /// Mean loss of the batch.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.loss_basis
    }

    /// Token accuracy of the batch, 0–1.
    pub fn top1(&self) -> f64 {
        self.correct as f64 / self.tokens as f64
    }
}

/// The decay of the averages per batch for a half-life in chunks.
///
/// # Errors
/// A half-life that is not positive.
pub fn decay_factor(halflife_chunks: f64, chunk_batches: u64) -> Result<f64> {
    if !(halflife_chunks.is_finite() && halflife_chunks > 0.0) {
        return Err(TrainError::Setting {
            key: "train.ewa_halflife_chunks",
            value: halflife_chunks.to_string(),
            rule: "a half-life is a positive number of chunks",
        });
    }
    Ok(0.5f64.powf(1.0 / (halflife_chunks * chunk_batches as f64)))
}

/// Running loss and token accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningAverages {
    /// Decayed loss sum.
    pub loss_sum: f64,
    /// Decayed loss basis.
    pub loss_basis: f64,
    /// Running loss; none before the first batch.
    pub loss: Option<f64>,
    /// Decayed number of correct tokens.
    pub correct: f64,
    /// Decayed number of tokens.
    pub tokens: f64,
    /// Running token accuracy, 0–1.
    pub top1: f64,
    /// Its maximum so far.
    pub top1_max: f64,
}

impl RunningAverages {
    /// Takes in one batch; `decay` as from [`decay_factor`].
    pub fn update(&mut self, decay: f64, batch: &BatchSums) {
        self.loss_sum = decay * self.loss_sum + batch.loss_sum;
        self.loss_basis = decay * self.loss_basis + batch.loss_basis;
        self.loss = Some(self.loss_sum / self.loss_basis);
        self.correct = decay * self.correct + batch.correct as f64;
        self.tokens = decay * self.tokens + batch.tokens as f64;
        self.top1 = self.correct / self.tokens;
        self.top1_max = self.top1_max.max(self.top1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_input_is_its_own_average_and_the_half_life_holds() {
        let decay = decay_factor(2.0, 5).unwrap();
        assert!((decay.powi(10) - 0.5).abs() < 1e-12);
        let mut averages = RunningAverages::default();
        for _ in 0..30 {
            averages.update(
                decay,
                &BatchSums {
                    loss_sum: 6.0,
                    loss_basis: 4.0,
                    correct: 3,
                    tokens: 4,
                },
            );
        }
        assert!((averages.loss.unwrap() - 1.5).abs() < 1e-12);
        assert!((averages.top1 - 0.75).abs() < 1e-12);
        assert!(decay_factor(0.0, 5).is_err());
    }
}
