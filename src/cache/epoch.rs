//! Which rows form which batch (`embedding-cache.md` section 6).

use std::ops::Range;

use super::error::{CacheError, Result};
use super::keyed_permutation::KeyedPermutation;
use crate::random::{Draws, Purpose};

/// What batches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoaderMode {
    /// Full batches only, in random order, shifted by a random offset.
    Training,
    /// Every row once, in file order.
    Evaluation,
}

/// Order in which training reads the rows of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOrder {
    /// Batches of neighbours in random order.
    #[default]
    Block,
    /// Windows of [`WINDOW`] batches in random order, the rows of a window in
    /// random order.
    Shard,
    /// As the rows lie, from a random one on.
    Sequential,
    /// Every row by itself in random order: for rows that lie nowhere.
    Single,
}

/// Batches of a window of [`ReadOrder::Shard`].
pub const WINDOW: u64 = 64;

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
    order: ReadOrder,
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
            order: ReadOrder::Block,
        })
    }

    /// The same, read in another order in training.
    #[must_use]
    pub fn ordered(self, order: ReadOrder) -> Self {
        Self { order, ..self }
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
#[derive(Clone, Debug)]
pub struct EpochOrder {
    info: LoaderInfo,
    places: Places,
    offset: u64,
    /// Seed and epoch.
    drawn: (u64, u64),
}

#[derive(Clone, Debug)]
enum Places {
    AsTheyLie,
    /// Batch of each place.
    Blocks(Vec<u32>),
    /// Window of each [`WINDOW`] places.
    Windows(Vec<u32>),
    /// Row of each sample of the epoch.
    Singles(KeyedPermutation),
}

impl EpochOrder {
    /// Order of an epoch. In training the batches start at a random offset in
    /// `0..B·⌊N/B⌋` and come in the order of the loader, in evaluation as they
    /// lie.
    pub fn new(info: &LoaderInfo, seed: u64, epoch: u64) -> Self {
        let mut order = Self {
            info: *info,
            places: Places::AsTheyLie,
            offset: 0,
            drawn: (seed, epoch),
        };
        if info.mode == LoaderMode::Evaluation {
            return order;
        }
        let mut draws = Draws::new(Purpose::BatchOrder, seed, epoch);
        order.offset = Draws::new(Purpose::BatchOffset, seed, epoch).below(info.epoch_samples);
        // A file has fewer than 2³² samples, hence batches.
        order.places = match info.order {
            ReadOrder::Block => Places::Blocks(draws.permutation(info.epoch_batches as u32)),
            ReadOrder::Sequential => Places::AsTheyLie,
            ReadOrder::Shard => {
                let whole = (info.epoch_batches / WINDOW) as u32;
                let mut windows = draws.permutation(whole);
                if !info.epoch_batches.is_multiple_of(WINDOW) {
                    // The incomplete one is elsewhere in the file every epoch.
                    windows.push(whole);
                }
                Places::Windows(windows)
            }
            ReadOrder::Single => {
                Places::Singles(KeyedPermutation::new(draws.number(), info.samples))
            }
        };
        order
    }

    /// Number of batches.
    pub fn len(&self) -> u64 {
        self.info.epoch_batches
    }

    /// Always false: an epoch has at least one batch.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Rows of the batch at place `index` of the epoch in runs; `None` behind
    /// the last.
    pub fn rows(&self, index: u64) -> Option<Vec<Range<u64>>> {
        if index >= self.len() {
            return None;
        }
        let item = match &self.places {
            Places::AsTheyLie => index,
            Places::Blocks(items) => u64::from(items[index as usize]),
            Places::Windows(_) => {
                let window = self.window(index)?;
                return Some(window.batch(index));
            }
            Places::Singles(order) => {
                let size = self.info.batch_size as u64;
                let rows = index * size..(index + 1) * size;
                return Some(runs_of(rows.map(|row| order.at(row)).collect()));
            }
        };
        Some(self.info.rows(item, self.offset).into())
    }

    /// Whether rows are read in windows.
    pub(super) fn has_windows(&self) -> bool {
        matches!(self.places, Places::Windows(_))
    }

    /// The window that the batch at place `index` is of, if there are windows.
    pub(super) fn window(&self, index: u64) -> Option<Window> {
        let Places::Windows(windows) = &self.places else {
            return None;
        };
        let place = index / WINDOW;
        let window = u64::from(*windows.get(place as usize)?);
        let size = self.info.batch_size as u64;
        let batches = WINDOW.min(self.len() - window * WINDOW);
        let (seed, epoch) = self.drawn;
        let mut draws = Draws::new(Purpose::WindowRows, seed, epoch << 32 | window);
        Some(Window {
            first: place * WINDOW,
            start: (window * WINDOW * size + self.offset) % self.info.samples,
            order: draws.permutation((batches * size) as u32),
            batch_size: self.info.batch_size,
            samples: self.info.samples,
        })
    }
}

/// Some batches whose rows lie together.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Place of its first batch in the epoch.
    pub(super) first: u64,
    start: u64,
    /// Rows in the order of the batches, from the start on.
    order: Vec<u32>,
    batch_size: usize,
    samples: u64,
}

impl Window {
    /// All its rows, as they lie.
    pub(super) fn rows(&self) -> [Range<u64>; 2] {
        let end = self.start + self.order.len() as u64;
        let wrapped = end.saturating_sub(self.samples);
        [self.start..end - wrapped, 0..wrapped]
    }

    /// Rows of the batch at place `index` of the epoch, which must be of this
    /// window.
    pub(super) fn batch(&self, index: u64) -> Vec<Range<u64>> {
        let from = (index - self.first) as usize * self.batch_size;
        let rows = self.order[from..from + self.batch_size].iter();
        runs_of(
            rows.map(|&row| (self.start + u64::from(row)) % self.samples)
                .collect(),
        )
    }
}

/// Rows as runs in ascending order.
fn runs_of(mut rows: Vec<u64>) -> Vec<Range<u64>> {
    rows.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::with_capacity(rows.len());
    for row in rows {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
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
                for (epoch, order) in
                    (0..3).zip([ReadOrder::Block, ReadOrder::Sequential, ReadOrder::Single])
                {
                    let order = EpochOrder::new(&info.ordered(order), 5, epoch);
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
    fn windows_mix_their_rows_and_cover_an_epoch() {
        for (samples, batch_size) in [(1, 1), (63, 1), (64, 1), (130, 1), (1000, 7), (450, 7)] {
            let info = LoaderInfo::new(samples, batch_size, LoaderMode::Training, 0).unwrap();
            let order = EpochOrder::new(&info.ordered(ReadOrder::Shard), 5, 2);
            let mut seen = std::collections::BTreeSet::new();
            for index in 0..order.len() {
                let window = order.window(index).unwrap();
                let near: Vec<u64> = window.rows().into_iter().flatten().collect();
                let rows: Vec<u64> = order.rows(index).unwrap().into_iter().flatten().collect();
                assert_eq!(rows.len(), batch_size);
                assert!(rows.iter().all(|row| near.contains(row)));
                seen.extend(rows);
            }
            assert_eq!(seen.len() as u64, info.epoch_samples);
            assert_eq!(order.rows(order.len()), None);
        }
        let info = LoaderInfo::new(64 * 4 * 3, 4, LoaderMode::Training, 0).unwrap();
        let order = EpochOrder::new(&info.ordered(ReadOrder::Shard), 5, 0);
        let apart = (0..order.len()).filter(|&index| order.rows(index).unwrap().len() > 1);
        assert!(apart.count() > 180, "neighbours stay together");
        // Every epoch has another order.
        let next = EpochOrder::new(&info.ordered(ReadOrder::Shard), 5, 1);
        assert!((0..order.len()).any(|index| order.rows(index) != next.rows(index)));
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
