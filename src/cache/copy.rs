//! Copying the rows of a cache, in memory that does not depend on their
//! number.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::error::{CacheError, Result};
use super::memory::gathering_bytes;
use super::reader::{Cache, Samples};
use super::rows::Rows;
use super::sample_rows::SampleRows;

/// Bytes that are read and handed on together, in the order of the file.
const CHUNK_BYTES: u64 = 8 << 20;

/// Most threads that read ahead.
const READERS: usize = 4;

impl Cache {
    /// Calls `take` with all samples from row `first` on, in order, some
    /// thousand at a time (of a shuffled merge as many as the memory holds), while the next ones are being read. Stops when
    /// `take` fails.
    ///
    /// # Errors
    /// Those of `take`, an input error, a noun id outside the table, an
    /// embedding that is not finite.
    pub fn for_each_chunk<E: From<CacheError>>(
        &self,
        rows: Range<u64>,
        mut take: impl FnMut(Samples) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let layout = self.header().layout();
        let row_bytes = layout.target_ids.stride + layout.weights.stride + layout.embeds.stride;
        let rows = rows.start..rows.end.min(self.len());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Rows in random order are read front to back as far as memory goes.
        // One chunk is read, one waits and one is taken at the same time.
        let (chunk_bytes, readers) = match &self.rows {
            Rows::Merged(rows) if rows.is_shuffled() => (gathering_bytes() / 3, 1),
            _ => (CHUNK_BYTES, cores.min(READERS)),
        };
        let readers = readers as u64;
        let chunk = (chunk_bytes / row_bytes.max(1)).max(1);
        let chunks = rows.end.saturating_sub(rows.start).div_ceil(chunk);
        let read = |index: u64| -> Result<Samples> {
            let start = rows.start + index * chunk;
            self.samples(start, (start + chunk).min(rows.end))
        };
        thread::scope(|scope| {
            let queues: Vec<_> = (0..readers.min(chunks))
                .map(|reader| {
                    let (send, receive) = sync_channel(1);
                    let read = &read;
                    scope.spawn(move || {
                        let mut index = reader;
                        // A failed send means that nobody wants more.
                        while index < chunks && send.send(read(index)).is_ok() {
                            index += readers;
                        }
                    });
                    receive
                })
                .collect();
            for index in 0..chunks {
                let queue = &queues[(index % queues.len() as u64) as usize];
                take(queue.recv().unwrap_or(Err(CacheError::WorkerStopped))?)?;
            }
            Ok(())
        })
    }
}

impl Samples {
    /// These samples as they are written to a file that has default weights
    /// or not.
    pub fn rows(&self, default_weights: bool) -> SampleRows<'_> {
        SampleRows {
            embeds: self.embeds.as_slice(),
            target_ids: self.target_ids.as_deref(),
            weights: match &self.weights {
                Some(weights) if !default_weights => Some(weights.as_slice()),
                _ => None,
            },
        }
    }
}
