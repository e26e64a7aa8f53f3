//! Batches of a cache loader for the training loop.

use crate::cache::batch::Batch;
use crate::cache::{Batches, Loader};

use super::error::{Result, TrainError};
use super::trainer::BatchSource;

/// A loader in training mode as [`BatchSource`].
pub struct LoaderSource {
    loader: Loader,
    batches: Option<Batches>,
    epoch: u64,
    place: u64,
}

impl LoaderSource {
    /// Batches of `loader`.
    pub fn new(loader: Loader) -> Self {
        Self {
            loader,
            batches: None,
            epoch: 1,
            place: 0,
        }
    }

    /// The loader.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }
}

impl BatchSource for LoaderSource {
    fn seek(&mut self, epoch: u64, first: u64, count: u64) -> Result<()> {
        // The loader counts epochs from 0.
        let end = first.saturating_add(count);
        self.batches = Some(self.loader.epoch(epoch.saturating_sub(1), first, end));
        self.epoch = epoch;
        self.place = first;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Batch> {
        let batch = self.batches.as_mut().and_then(Iterator::next);
        let batch = batch.ok_or(TrainError::NoBatch {
            epoch: self.epoch,
            place: self.place,
        })?;
        self.place += 1;
        Ok(batch?)
    }
}
