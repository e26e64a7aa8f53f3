//! Batches of an epoch, assembled ahead of use by a few threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::batch::Batch;
use super::data_config::DataConfig;
use super::epoch::{EpochOrder, LoaderInfo};
use super::error::{CacheError, Result};
use super::reader::Cache;

/// Delivers the batches of a cache. What it delivers depends on the seed, the
/// epoch and the place in the epoch only, not on the number of threads.
#[derive(Clone, Debug)]
pub struct Loader {
    cache: Arc<Cache>,
    data: DataConfig,
    info: LoaderInfo,
    seed: u64,
}

impl Loader {
    /// Loader of a cache. `data` and `info` must have been made for it.
    pub fn new(cache: Arc<Cache>, data: DataConfig, info: LoaderInfo, seed: u64) -> Self {
        Self {
            cache,
            data,
            info,
            seed,
        }
    }

    /// Sizes.
    pub fn info(&self) -> &LoaderInfo {
        &self.info
    }

    /// The cache that is read.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// How targets are delivered.
    pub fn data(&self) -> &DataConfig {
        &self.data
    }

    /// The batches of epoch `epoch` (from 0), from place `first` up to, not
    /// including, place `end` or the end of the epoch.
    pub fn epoch(&self, epoch: u64, first: u64, end: u64) -> Batches {
        let work = Arc::new(Work {
            cache: Arc::clone(&self.cache),
            data: self.data,
            order: EpochOrder::new(&self.info, self.seed, epoch),
        });
        let end = end.min(work.order.len());
        let workers = (self.info.num_workers as u64).min(end.saturating_sub(first));
        let queues = (0..workers)
            .map(|worker| {
                let (send, receive) = sync_channel(LoaderInfo::PREFETCH);
                let work = Arc::clone(&work);
                thread::spawn(move || {
                    let mut index = first + worker;
                    // A failed send means that nobody wants more batches.
                    while index < end && send.send(work.batch(index)).is_ok() {
                        index += workers;
                    }
                });
                receive
            })
            .collect();
        Batches {
            work,
            queues,
            first,
            next: first,
            end,
        }
    }
}

#[derive(Debug)]
struct Work {
    cache: Arc<Cache>,
    data: DataConfig,
    order: EpochOrder,
}

impl Work {
    fn batch(&self, index: u64) -> Result<Batch> {
        let runs = self.order.rows(index).unwrap_or([0..0, 0..0]);
        self.cache.batch(&runs, &self.data)
    }
}

/// Batches of an epoch in their order. Dropping it stops the threads.
#[derive(Debug)]
pub struct Batches {
    work: Arc<Work>,
    /// Batch `first + i` comes from queue `i mod queues`.
    queues: Vec<Receiver<Result<Batch>>>,
    first: u64,
    next: u64,
    end: u64,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        if self.queues.is_empty() {
            return Some(self.work.batch(index));
        }
        let queue = ((index - self.first) % self.queues.len() as u64) as usize;
        let batch = self.queues[queue].recv();
        Some(batch.unwrap_or(Err(CacheError::WorkerStopped)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next.min(self.end)) as usize;
        (left, Some(left))
    }
}
