//! Batches of an epoch, assembled ahead of use by a few threads.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use super::batch::Batch;
use super::data_config::DataConfig;
use super::epoch::{EpochOrder, LoaderInfo, WINDOW, Window};
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
            is_in_memory: self.cache.keep_in_memory(),
            cache: Arc::clone(&self.cache),
            data: self.data,
            order: EpochOrder::new(&self.info, self.seed, epoch),
            windows: Mutex::new(VecDeque::new()),
        });
        let end = end.min(work.order.len());
        for index in first..end.min(first + AHEAD) {
            work.prefetch(index);
        }
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

/// Batches that the disk reads ahead of those that are assembled.
const AHEAD: u64 = 16;

#[derive(Debug)]
struct Work {
    cache: Arc<Cache>,
    data: DataConfig,
    order: EpochOrder,
    /// Whether no rows need be asked for ahead.
    is_in_memory: bool,
    /// Windows that batches are taken from now, by the place of their first
    /// batch.
    windows: Mutex<VecDeque<(u64, SharedWindow)>>,
}

/// A window that one thread brings into memory while others wait.
type SharedWindow = Arc<OnceLock<Option<Window>>>;

/// Windows that are remembered: threads are a few batches apart at most, or
/// more if there are very many of them.
const WINDOWS: usize = 4;

impl Work {
    /// Says that the rows of a batch are wanted soon, unless they come with a
    /// window.
    fn prefetch(&self, index: u64) {
        if !self.is_in_memory
            && !self.order.has_windows()
            && let Some(runs) = self.order.rows(index)
        {
            self.cache.prefetch(&runs);
        }
    }

    fn batch(&self, index: u64) -> Result<Batch> {
        self.prefetch(index + AHEAD);
        let runs = match self.window(index).get_or_init(|| self.bring(index)) {
            Some(window) => window.batch(index),
            None => self.order.rows(index).unwrap_or_default(),
        };
        self.cache.batch(&runs, &self.data)
    }

    fn window(&self, index: u64) -> SharedWindow {
        let first = index - index % WINDOW;
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, window)) = windows.iter().find(|(known, _)| *known == first) {
            return window.clone();
        }
        let window = SharedWindow::default();
        windows.push_back((first, window.clone()));
        if windows.len() > WINDOWS {
            windows.pop_front();
        }
        window
    }

    /// The window of a batch, if rows are read in windows. The system reads it as
    /// it lies while its rows are wanted in their own order.
    fn bring(&self, index: u64) -> Option<Window> {
        let window = self.order.window(index)?;
        self.cache.prefetch(&window.rows());
        Some(window)
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
