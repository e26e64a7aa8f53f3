//! Bookkeeping of gradient accumulation (`embedding-cache.md` section 6).

use super::epoch::LoaderInfo;
use super::error::{CacheError, Result};

/// How the batches of an epoch form optimizer steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulation {
    /// Batches per complete step.
    pub accum_size: usize,
    /// Samples of a complete batch.
    pub batch_size: usize,
    /// Samples of a complete step.
    pub accum_batch_size: usize,
    /// Batches in complete steps.
    pub complete_batches: u64,
    /// Samples in complete steps.
    pub complete_samples: u64,
    /// Complete steps.
    pub complete_steps: u64,
    /// Batches of the incomplete step at the end, complete ones included.
    pub incomplete_batches: u64,
    /// Samples of the incomplete step.
    pub incomplete_samples: u64,
    /// Whether there is an incomplete step.
    pub incomplete_step: bool,
    /// Batches in use.
    pub loader_batches: u64,
    /// Samples in use.
    pub loader_samples: u64,
    /// Steps.
    pub loader_steps: u64,
    batch_size_last: usize,
    epoch_batches: u64,
}

/// What to do with one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccumulationStep {
    /// Samples of the batch.
    pub samples: usize,
    /// Factor of the batch's mean loss; the factors of a step sum to 1.
    pub loss_scale: f64,
    /// Whether the optimizer steps after this batch.
    pub optimizer_step: bool,
}

impl Accumulation {
    /// Steps of `accum_size` batches each. `drop_last` leaves out what does
    /// not fill a step.
    ///
    /// # Errors
    /// An `accum_size` of 0.
    pub fn new(info: &LoaderInfo, accum_size: usize, drop_last: bool) -> Result<Self> {
        if accum_size == 0 {
            return Err(CacheError::NoAccumulation);
        }
        let size = accum_size as u64;
        let complete_steps = info.complete_batches / size;
        let complete_batches = complete_steps * size;
        let complete_samples = complete_batches * info.batch_size as u64;
        let (incomplete_batches, incomplete_samples) = if drop_last {
            (0, 0)
        } else {
            (
                info.epoch_batches - complete_batches,
                info.epoch_samples - complete_samples,
            )
        };
        let incomplete_step = incomplete_batches > 0;
        Ok(Self {
            accum_size,
            batch_size: info.batch_size,
            accum_batch_size: accum_size * info.batch_size,
            complete_batches,
            complete_samples,
            complete_steps,
            incomplete_batches,
            incomplete_samples,
            incomplete_step,
            loader_batches: complete_batches + incomplete_batches,
            loader_samples: complete_samples + incomplete_samples,
            loader_steps: complete_steps + u64::from(incomplete_step),
            batch_size_last: info.batch_size_last,
            epoch_batches: info.epoch_batches,
        })
    }

    /// The same, for training, which needs at least one step per epoch.
    ///
    /// # Errors
    /// As [`new`](Self::new), and an epoch that does not fill one step.
    pub fn for_training(info: &LoaderInfo, accum_size: usize) -> Result<Self> {
        let accumulation = Self::new(info, accum_size, true)?;
        if accumulation.loader_batches == 0 {
            return Err(CacheError::EpochTooShort {
                batches: info.epoch_batches,
                accum_size,
            });
        }
        Ok(accumulation)
    }

    /// What to do with the batch at this place of the epoch; `None` behind
    /// the last that is in use.
    pub fn step(&self, index: u64) -> Option<AccumulationStep> {
        if index >= self.loader_batches {
            return None;
        }
        let is_incomplete_batch = self.batch_size_last > 0 && index + 1 == self.epoch_batches;
        let samples = if is_incomplete_batch {
            self.batch_size_last
        } else {
            self.batch_size
        };
        let loss_scale = if index < self.complete_batches {
            1.0 / self.accum_size as f64
        } else {
            samples as f64 / self.incomplete_samples as f64
        };
        Some(AccumulationStep {
            samples,
            loss_scale,
            optimizer_step: (index + 1).is_multiple_of(self.accum_size as u64)
                || index + 1 == self.loader_batches,
        })
    }
}
