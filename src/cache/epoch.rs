//! Which rows form which batch (`embedding-cache.md` section 6).

use std::ops::Range;

use super::error::{CacheError, Result};
use crate::random::{Draws, Purpose};

/// What batches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoaderMode {
    /// Full batches only, in random order, shifted by a random offset.
    Training,
    /// Every row once, in file order.
    Evaluation,
}

/// Sizes of a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderInfo {
    /// Threads that assemble batches; 0 = the caller's.
    pub num_workers: usize,
    /// Batches each thread prepares ahead.
    pub prefetch_factor: usize,
    /// Samples `B` of a complete batch.
    pub batch_size: usize,
    /// Samples of the incomplete last batch, 0 if there is none.
    pub batch_size_last: usize,
    /// Complete batches of an epoch.
    pub complete_batches: u64,
    /// Whether an epoch ends with an incomplete batch.
    pub incomplete_batch: bool,
    /// Batches of an epoch.
    pub epoch_batches: u64,
    /// Samples of an epoch.
    pub epoch_samples: u64,
    /// Different samples that an epoch can choose from.
    pub available_samples: u64,
    samples: u64,
    mode: LoaderMode,
}

impl LoaderInfo {
    /// Batches that each thread prepares ahead.
    pub const PREFETCH: usize = 2;

    /// Sizes for `samples` rows in batches of `batch_size`, assembled by up
    /// to `workers` threads.
    ///
    /// # Errors
    /// A batch size of 0 or larger than the number of samples.
    pub fn new(samples: u64, batch_size: usize, mode: LoaderMode, workers: usize) -> Result<Self> {
        if batch_size == 0 || batch_size as u64 > samples {
            return Err(CacheError::BatchSize {
                batch_size,
                samples,
            });
        }
        let size = batch_size as u64;
        let complete_batches = samples / size;
        let batch_size_last = match mode {
            LoaderMode::Training => 0,
            LoaderMode::Evaluation => (samples % size) as usize,
        };
        let incomplete_batch = batch_size_last > 0;
        let epoch_samples = complete_batches * size + batch_size_last as u64;
        let num_workers = workers.min(batch_size);
        Ok(Self {
            num_workers,
            prefetch_factor: if num_workers > 0 { Self::PREFETCH } else { 0 },
            batch_size,
            batch_size_last,
            complete_batches,
            incomplete_batch,
            epoch_batches: complete_batches + u64::from(incomplete_batch),
            epoch_samples,
            available_samples: epoch_samples,
            samples,
            mode,
        })
    }

    /// What the batches are for.
    pub fn mode(&self) -> LoaderMode {
        self.mode
    }

    /// Rows of batch `item` of the file, with the rows of the file shifted by
    /// `offset`, in at most two runs: `(item·B + offset + j) mod N`, cut at
    /// the end in evaluation.
    pub fn rows(&self, item: u64, offset: u64) -> [Range<u64>; 2] {
        let size = self.batch_size as u64;
        match self.mode {
            LoaderMode::Training => {
                let start = (item * size + offset) % self.samples;
                let end = start + size;
                let wrapped = end.saturating_sub(self.samples);
                [start..end - wrapped, 0..wrapped]
            }
            LoaderMode::Evaluation => {
                let start = (item * size).min(self.samples);
                [start..(start + size).min(self.samples), 0..0]
            }
        }
    }
}

/// Order and offset of one epoch. They depend on nothing but the seed, the
/// number of the epoch and the sizes, so that a run can go on at any batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOrder {
    info: LoaderInfo,
    items: Option<Vec<u32>>,
    offset: u64,
}

impl EpochOrder {
    /// Order of an epoch. In training the batches come in a random order and
    /// start at a random offset in `0..B·⌊N/B⌋`, in evaluation as they lie.
    pub fn new(info: &LoaderInfo, seed: u64, epoch: u64) -> Self {
        match info.mode {
            LoaderMode::Evaluation => Self {
                info: *info,
                items: None,
                offset: 0,
            },
            // A file has fewer than 2³² samples, hence batches.
            LoaderMode::Training => Self {
                info: *info,
                items: Some(
                    Draws::new(Purpose::BatchOrder, seed, epoch)
                        .permutation(info.epoch_batches as u32),
                ),
                offset: Draws::new(Purpose::BatchOffset, seed, epoch).below(info.epoch_samples),
            },
        }
    }

    /// Number of batches.
    pub fn len(&self) -> u64 {
        self.info.epoch_batches
    }

    /// Always false: an epoch has at least one batch.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Rows of the batch at place `index` of the epoch, in at most two runs;
    /// `None` behind the last.
    pub fn rows(&self, index: u64) -> Option<[Range<u64>; 2]> {
        if index >= self.len() {
            return None;
        }
        let item = match &self.items {
            Some(items) => u64::from(items[index as usize]),
            None => index,
        };
        Some(self.info.rows(item, self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_skips_one_window_and_repeats_nothing() {
        for samples in 1..40 {
            for batch_size in 1..=samples {
                let info =
                    LoaderInfo::new(samples, batch_size as usize, LoaderMode::Training, 0).unwrap();
                for epoch in 0..3 {
                    let order = EpochOrder::new(&info, 5, epoch);
                    let mut seen: Vec<u64> = (0..order.len())
                        .flat_map(|index| order.rows(index).unwrap())
                        .flatten()
                        .collect();
                    assert_eq!(seen.len() as u64, samples - samples % batch_size);
                    seen.sort_unstable();
                    seen.dedup();
                    assert_eq!(seen.len() as u64, samples - samples % batch_size);
                }
            }
        }
    }

    #[test]
    fn evaluation_covers_every_row_in_order() {
        let info = LoaderInfo::new(23, 5, LoaderMode::Evaluation, 3).unwrap();
        let order = EpochOrder::new(&info, 1, 0);
        let seen: Vec<u64> = (0..order.len())
            .flat_map(|index| order.rows(index).unwrap())
            .flatten()
            .collect();
        assert_eq!(seen, (0..23).collect::<Vec<_>>());
        assert_eq!(order.rows(order.len()), None);
    }
}
