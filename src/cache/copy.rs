//! Copying the rows of a cache, in memory that does not depend on their
//! number.

use std::ops::Range;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::error::{CacheError, Result};
use super::memory::gathering_bytes;
use super::reader::{Cache, Samples};
use super::rows::Rows;
use super::sample_rows::SampleRows;

/// Bytes that are read and handed on together.
const CHUNK_BYTES: u64 = 4 << 20;

/// Most threads that read ahead.
const READERS: usize = 4;

/// How rows are read ahead.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Bytes that are read and handed on together.
    chunk: u64,
    /// Threads.
    readers: u64,
    /// How many chunks ahead the disk reads, if it must be told.
    ahead: Option<u64>,
}

impl Cache {
    /// Calls `take` with all samples of `rows`, in order, some at a time, while
    /// the next ones are being read. Stops when `take` fails.
    ///
    /// # Errors
    /// Those of `take`, an input error, a noun id outside the table, an
    /// embedding that is not finite.
    pub fn for_each_chunk<E: From<CacheError>>(
        &self,
        rows: Range<u64>,
        take: impl FnMut(&Samples) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let readers = cores.min(READERS) as u64;
        let (chunk, readers, ahead) = match &self.rows {
            Rows::Merged(rows) if rows.keep_in_memory() => (CHUNK_BYTES, readers, None),
            // Rows in random order of files that do not fit the memory are read
            // front to back as far as memory goes: one chunk is read, one waits
            // and one is taken at the same time.
            Rows::Merged(rows) if rows.is_shuffled() => (gathering_bytes() / 3, 1, Some(0)),
            _ => (CHUNK_BYTES, readers, Some(readers)),
        };
        let reading = Reading {
            chunk,
            readers,
            ahead,
        };
        self.each_chunk(rows, reading, take)
    }

    fn each_chunk<E: From<CacheError>>(
        &self,
        rows: Range<u64>,
        reading: Reading,
        mut take: impl FnMut(&Samples) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let layout = self.header().layout();
        let row_bytes = layout.target_ids.stride + layout.weights.stride + layout.embeds.stride;
        let rows = rows.start..rows.end.min(self.len());
        let Reading { readers, ahead, .. } = reading;
        let chunk = (reading.chunk / row_bytes.max(1)).max(1);
        let chunks = rows.end.saturating_sub(rows.start).div_ceil(chunk);
        let range = |index: u64| {
            let start = rows.start + index * chunk;
            start.min(rows.end)..(start + chunk).min(rows.end)
        };
        let read = |index: u64, mut samples: Samples| -> Result<Samples> {
            if let Some(ahead) = ahead {
                self.prefetch(&[range(index + ahead)]);
            }
            let Range { start, end } = range(index);
            self.read_samples(start, end, &mut samples)?;
            Ok(samples)
        };
        thread::scope(|scope| {
            let queues: Vec<_> = (0..readers.min(chunks))
                .map(|reader| {
                    let (send, receive) = sync_channel(1);
                    let (give_back, used) = channel();
                    let read = &read;
                    scope.spawn(move || {
                        let mut index = reader;
                        let memory = || used.try_recv().unwrap_or_else(|_| Samples::none());
                        // A failed send means that nobody wants more.
                        while index < chunks && send.send(read(index, memory())).is_ok() {
                            index += readers;
                        }
                    });
                    (receive, give_back)
                })
                .collect();
            for index in 0..chunks {
                let (queue, give_back) = &queues[(index % queues.len() as u64) as usize];
                let samples = queue.recv().unwrap_or(Err(CacheError::WorkerStopped))?;
                take(&samples)?;
                // Nobody takes it back when all is read.
                let _ = give_back.send(samples);
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

#[cfg(test)]
mod tests {
    use super::super::{
        CacheFile, CacheWriter, EmbedderSignature, FileFlags, FilePlan, FloatDtype, MergeOptions,
        OpenOptions, RowOrder,
    };
    use super::*;
    use crate::embedders::tokenizer::TokenDtype;

    #[test]
    fn rows_are_the_same_however_they_are_read() {
        const ROWS: u64 = 40;
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("cache.bin");
        let object = serde_json::json!({"class": "Test"});
        let embedder = EmbedderSignature::new(2, FloatDtype::F32, TokenDtype::I64, &object);
        let order = RowOrder::AsWritten;
        let plan = FilePlan::new(ROWS, &embedder, None, FileFlags::default(), order).unwrap();
        let mut writer = CacheWriter::create(&path, &plan).unwrap();
        let embeds: Vec<f32> = (0..ROWS)
            .flat_map(|row| [(row as f32).cos(), (row as f32).sin()])
            .collect();
        let rows = SampleRows {
            embeds: embeds[..].into(),
            target_ids: None,
            weights: None,
        };
        writer.write(&rows).unwrap();
        writer.finish().unwrap();

        let open = || CacheFile::open(&path, &embedder, OpenOptions::default()).unwrap();
        let options = MergeOptions::shuffled(3);
        let merged = CacheFile::merged(vec![open(), open()], &[2, 1], options, &embedder);
        for file in [open(), merged.unwrap()] {
            let cache = file.enter(None, None).unwrap();
            let expected = cache.samples(5, u64::MAX).unwrap().embeds.into_f32();
            for chunk in [1, 24, 1 << 20] {
                for readers in [1, 3] {
                    for ahead in [None, Some(0), Some(readers)] {
                        let reading = Reading {
                            chunk,
                            readers,
                            ahead,
                        };
                        let mut found = Vec::new();
                        let take = |samples: &Samples| -> Result<()> {
                            found.extend(samples.embeds.clone().into_f32());
                            Ok(())
                        };
                        cache.each_chunk(5..u64::MAX, reading, take).unwrap();
                        assert_eq!(found, expected, "{reading:?}");
                    }
                }
            }
        }
    }
}
