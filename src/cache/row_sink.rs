//! Rows on their way to their places in a file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::error::{CacheError, Result};
use super::header::{Layout, Section};
use super::memory::gathering_bytes;
use super::scatter::{Room, Scatter};
use super::spill::Aside;
use super::write_behind::WriteBehind;

/// Memory for gathered rows that lie one behind the other.
const IN_ORDER_BYTES: usize = 8 << 20;

/// Calls with so many bytes are written as they are.
const SPAN_BYTES: usize = 1 << 20;

/// Memory for rows that are put in order together, when all of them do not fit.
const WINDOW_BYTES: u64 = 128 << 20;

/// Writes rows of the three sample sections to their places.
#[derive(Debug)]
pub(super) enum RowSink {
    /// As they come.
    InOrder(InOrder),
    /// In random order.
    Scattered(Box<Scatter>),
}

impl RowSink {
    /// Sink for the samples from `first` on; sample `i` goes to row `rows[i]`
    /// or, without `rows`, to row `i`.
    pub(super) fn new(
        layout: &Layout,
        rows: Option<Vec<u32>>,
        first: u64,
        aside: Aside,
    ) -> Result<Self> {
        let sections = [layout.target_ids, layout.weights, layout.embeds];
        let Some(rows) = rows else {
            return Ok(Self::InOrder(InOrder {
                sections,
                first,
                gathered: 0,
                buffers: Default::default(),
                behind: WriteBehind::default(),
            }));
        };
        let room = Room {
            bytes: gathering_bytes(),
            window: WINDOW_BYTES,
        };
        let scatter = Scatter::new(sections, rows, first, aside, room)?;
        Ok(Self::Scattered(Box::new(scatter)))
    }

    /// Samples handed over.
    pub(super) fn written(&self) -> u64 {
        match self {
            Self::InOrder(rows) => rows.first + rows.gathered,
            Self::Scattered(rows) => rows.written(),
        }
    }

    /// Takes `count` samples: their target ids, weights and embeddings.
    pub(super) fn push(&mut self, file: &File, count: usize, parts: [&[u8]; 3]) -> Result<()> {
        match self {
            Self::InOrder(rows) => rows.push(file, count as u64, parts),
            Self::Scattered(rows) => rows.push(count, parts),
        }
    }

    /// Makes sure that all samples can be had again after a crash.
    pub(super) fn keep(&mut self, file: &File) -> Result<()> {
        match self {
            Self::InOrder(rows) => {
                rows.finish(file)?;
                file.sync_data().map_err(CacheError::Write)
            }
            Self::Scattered(rows) => rows.keep(),
        }
    }

    /// Writes all that is not in the file yet.
    pub(super) fn finish(&mut self, file: &File) -> Result<()> {
        match self {
            Self::InOrder(rows) => rows.finish(file),
            Self::Scattered(rows) => rows.finish(file),
        }
    }
}

/// Rows that come in the order of the file.
#[derive(Debug)]
pub(super) struct InOrder {
    sections: [Section; 3],
    /// Row of the first gathered sample.
    first: u64,
    gathered: u64,
    buffers: [Vec<u8>; 3],
    behind: WriteBehind,
}

impl InOrder {
    fn push(&mut self, file: &File, count: u64, parts: [&[u8]; 3]) -> Result<()> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.gathered == 0 && bytes >= SPAN_BYTES {
            return self.write(file, count, parts);
        }
        for (buffer, part) in self.buffers.iter_mut().zip(parts) {
            buffer.extend_from_slice(part);
        }
        self.gathered += count;
        if self.buffers.iter().map(Vec::len).sum::<usize>() >= IN_ORDER_BYTES {
            self.flush(file)?;
        }
        Ok(())
    }

    fn flush(&mut self, file: &File) -> Result<()> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let gathered = std::mem::take(&mut self.gathered);
        self.write(file, gathered, buffers.each_ref().map(Vec::as_slice))?;
        buffers.iter_mut().for_each(Vec::clear);
        self.buffers = buffers;
        Ok(())
    }

    fn write(&mut self, file: &File, count: u64, parts: [&[u8]; 3]) -> Result<()> {
        for (section, part) in self.sections.iter().zip(parts) {
            write_at(file, part, section.at(self.first))?;
            self.behind.wrote(file, part.len() as u64)?;
        }
        self.first += count;
        Ok(())
    }

    fn finish(&mut self, file: &File) -> Result<()> {
        self.flush(file)?;
        self.behind.settle()
    }
}

pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    file.write_all_at(bytes, offset).map_err(CacheError::Write)
}
