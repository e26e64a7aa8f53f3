//! What is learnt from a batch, and batches whose sums are still on a device:
//! waiting for a device after every batch would leave it idle, so sums are
//! fetched for several batches at once.

use candle_core::Tensor;

use super::averages::{BatchSums, RunningAverages};
use super::error::Result;
use super::gradients::{Gradient, GradientNorm};
use super::lengths::Lengths;
use super::metrics::BatchProgress;

/// Batches whose sums may be on a device at most.
pub(super) const MOST_WAITING: usize = 16;

/// What a learner makes of a batch.
pub struct Learned {
    /// Loss and counts.
    pub sums: LearnedSums,
    /// Gradients of the scaled mean loss, in parameter order.
    pub gradients: Vec<Option<Gradient>>,
}

/// Loss and counts of a batch.
#[derive(Clone, Debug)]
pub enum LearnedSums {
    /// They are known.
    Known(BatchSums),
    /// Some are still on a device.
    OnDevice {
        /// (Weighted) sum of the token cross entropies, an f64 scalar.
        loss_sum: Tensor,
        /// Right predictions, an f64 scalar.
        correct: Tensor,
        /// (Weighted) number of counted positions.
        loss_basis: f64,
        /// Counted positions.
        tokens: u64,
    },
}

/// A batch that is done but not yet part of the averages.
pub(super) struct DoneBatch {
    pub epoch: u64,
    pub chunk: u64,
    pub chunk_batch: u64,
    pub batch: u64,
    pub sample: u64,
    pub lr: f64,
    pub stepped: bool,
    pub sums: LearnedSums,
    pub norm: Option<GradientNorm>,
}

impl DoneBatch {
    /// Whether nothing of it is on a device.
    pub fn is_known(&self) -> bool {
        matches!(self.sums, LearnedSums::Known(_))
            && !matches!(self.norm, Some(GradientNorm::OnDevice(_)))
    }

    /// What is on a device: loss sum, right predictions, norm.
    fn on_device(&self) -> impl Iterator<Item = Tensor> {
        let sums = match &self.sums {
            LearnedSums::Known(_) => Vec::new(),
            LearnedSums::OnDevice {
                loss_sum, correct, ..
            } => vec![loss_sum.clone(), correct.clone()],
        };
        let norm = match &self.norm {
            Some(GradientNorm::OnDevice(norm)) => Some(norm.clone()),
            _ => None,
        };
        sums.into_iter().chain(norm)
    }

    /// The report of the batch.
    pub fn progress(
        &self,
        lengths: &Lengths,
        sums: BatchSums,
        averages: RunningAverages,
        grad_norm: Option<f64>,
    ) -> BatchProgress {
        BatchProgress {
            epoch: self.epoch,
            chunk: self.chunk,
            max_chunks: lengths.max_chunks,
            chunk_batch: self.chunk_batch,
            chunk_batches: lengths.chunk_batches,
            batch: self.batch,
            sample: self.sample,
            lr: self.lr,
            sums,
            averages,
            stepped: self.stepped,
            grad_norm,
        }
    }
}

/// Sums and gradient norms of batches in their order; waits for their device
/// once.
pub(super) fn fetch(batches: &[DoneBatch]) -> Result<Vec<(BatchSums, Option<f64>)>> {
    let tensors: Vec<Tensor> = batches.iter().flat_map(DoneBatch::on_device).collect();
    let values: Vec<f64> = match tensors.is_empty() {
        true => Vec::new(),
        false => Tensor::stack(&tensors, 0)?.to_vec1()?,
    };
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or(f64::NAN);
    let fetched = batches.iter().map(|batch| {
        let sums = match batch.sums {
            LearnedSums::Known(sums) => sums,
            LearnedSums::OnDevice {
                loss_basis, tokens, ..
            } => BatchSums {
                loss_sum: next(),
                loss_basis,
                correct: next() as u64,
                tokens,
            },
        };
        let norm = match batch.norm {
            Some(GradientNorm::Known(norm)) => Some(norm),
            Some(GradientNorm::OnDevice(_)) => Some(next()),
            None => None,
        };
        (sums, norm)
    });
    Ok(fetched.collect())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn done(sums: LearnedSums, norm: Option<GradientNorm>) -> DoneBatch {
        DoneBatch {
            epoch: 1,
            chunk: 1,
            chunk_batch: 1,
            batch: 1,
            sample: 1,
            lr: 0.1,
            stepped: norm.is_some(),
            sums,
            norm,
        }
    }

    #[test]
    fn values_of_several_batches_come_in_their_order() {
        let scalar = |value: f64| Tensor::new(value, &Device::Cpu).unwrap();
        let on_device = |loss: f64, correct: f64| LearnedSums::OnDevice {
            loss_sum: scalar(loss),
            correct: scalar(correct),
            loss_basis: 4.0,
            tokens: 5,
        };
        let known = BatchSums {
            loss_sum: 7.0,
            loss_basis: 2.0,
            correct: 1,
            tokens: 2,
        };
        let batches = [
            done(on_device(1.5, 3.0), None),
            done(
                on_device(2.5, 4.0),
                Some(GradientNorm::OnDevice(scalar(9.0))),
            ),
            done(LearnedSums::Known(known), Some(GradientNorm::Known(0.5))),
        ];
        let known_batches: Vec<bool> = batches.iter().map(DoneBatch::is_known).collect();
        assert_eq!(known_batches, [false, false, true]);
        let fetched = fetch(&batches).unwrap();
        let losses: Vec<f64> = fetched.iter().map(|(sums, _)| sums.loss_sum).collect();
        let correct: Vec<u64> = fetched.iter().map(|(sums, _)| sums.correct).collect();
        let norms: Vec<Option<f64>> = fetched.iter().map(|(_, norm)| *norm).collect();
        assert_eq!(losses, [1.5, 2.5, 7.0]);
        assert_eq!(correct, [3, 4, 1]);
        assert_eq!(norms, [None, Some(9.0), Some(0.5)]);
    }
}
