//! Rows on their way to their places in a file.
//!
//! Rows are gathered in memory, sorted by their place, and written in spans
//! as long as possible: a file that fits the memory is written front to back
//! whatever the order of its rows, a larger one in few large writes where rows
//! are dense and in one write per row where they are not.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::error::{CacheError, Result};
use super::header::{Layout, Section};
use super::memory::gathering_bytes;

/// Memory for gathered rows that lie one behind the other.
const IN_ORDER_BYTES: u64 = 8 << 20;

/// Longest single write of gathered rows.
const SPAN_BYTES: u64 = 1 << 20;

/// Rows closer than this are written together with what lies between them,
/// which is read first: below the size of a page both cost the same.
const GAP_BYTES: u64 = 4096;

/// Writes rows of the three sample sections to their places.
#[derive(Debug)]
pub(super) struct RowSink {
    sections: [Section; 3],
    rows: Option<Vec<u32>>,
    /// Sample that the first gathered row belongs to.
    first: u64,
    gathered: u64,
    capacity: u64,
    buffers: [Vec<u8>; 3],
}

impl RowSink {
    /// Sink for the samples from `first` on; sample `i` goes to row `rows[i]`
    /// or, without `rows`, to row `i`.
    pub(super) fn new(layout: &Layout, rows: Option<Vec<u32>>, first: u64) -> Self {
        let sections = [layout.target_ids, layout.weights, layout.embeds];
        let row_bytes: u64 = sections.iter().map(|section| section.stride).sum();
        let (bytes, left) = match &rows {
            None => (IN_ORDER_BYTES, u64::MAX),
            Some(rows) => (gathering_bytes(), rows.len() as u64 - first),
        };
        Self {
            sections,
            rows,
            first,
            gathered: 0,
            capacity: (bytes / row_bytes.max(1)).clamp(1, left.max(1)),
            buffers: [Vec::new(), Vec::new(), Vec::new()],
        }
    }

    /// Samples handed over, gathered ones included.
    pub(super) fn written(&self) -> u64 {
        self.first + self.gathered
    }

    /// Takes `count` samples: their target ids, weights and embeddings.
    pub(super) fn push(&mut self, file: &File, count: usize, parts: [&[u8]; 3]) -> Result<()> {
        let mut taken = 0;
        let count = count as u64;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.rows.is_none() && self.gathered == 0 && bytes as u64 >= SPAN_BYTES {
            for (section, part) in self.sections.iter().zip(parts) {
                write_at(file, part, section.at(self.first))?;
            }
            self.first += count;
            return Ok(());
        }
        while taken < count {
            let now = (count - taken).min(self.capacity - self.gathered);
            for ((buffer, part), section) in self.buffers.iter_mut().zip(parts).zip(&self.sections)
            {
                let stride = section.stride;
                // Room for all of them at once: growing would copy them again.
                buffer.reserve_exact((self.capacity * stride) as usize - buffer.len());
                let part = &part[(taken * stride) as usize..((taken + now) * stride) as usize];
                buffer.extend_from_slice(part);
            }
            self.gathered += now;
            taken += now;
            if self.gathered == self.capacity {
                self.flush(file)?;
            }
        }
        Ok(())
    }

    /// Writes what has been gathered.
    pub(super) fn flush(&mut self, file: &File) -> Result<()> {
        if self.gathered == 0 {
            return Ok(());
        }
        match &self.rows {
            None => {
                for (section, buffer) in self.sections.iter().zip(&self.buffers) {
                    write_at(file, buffer, section.at(self.first))?;
                }
            }
            Some(rows) => {
                let places = &rows[self.first as usize..(self.first + self.gathered) as usize];
                let mut order: Vec<(u32, u32)> = places.iter().copied().zip(0..).collect();
                order.sort_unstable();
                for (section, buffer) in self.sections.iter().zip(&self.buffers) {
                    if section.stride > 0 {
                        write_rows(file, section, &order, buffer)?;
                    }
                }
            }
        }
        self.first += self.gathered;
        self.gathered = 0;
        self.buffers.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

/// Writes rows, given as (place, index in the buffer) sorted by place.
fn write_rows(file: &File, section: &Section, order: &[(u32, u32)], buffer: &[u8]) -> Result<()> {
    let stride = section.stride;
    let mut span = Vec::new();
    let mut rest = order;
    while let Some(&(first, _)) = rest.first() {
        let mut len = 1;
        let mut last = first;
        let mut has_holes = false;
        for &(row, _) in &rest[1..] {
            let gap = u64::from(row - last - 1) * stride;
            if gap > GAP_BYTES || u64::from(row - first + 1) * stride > SPAN_BYTES {
                break;
            }
            has_holes |= gap > 0;
            last = row;
            len += 1;
        }
        let (now, later) = rest.split_at(len);
        rest = later;

        let offset = section.at(u64::from(first));
        span.resize((u64::from(last - first + 1) * stride) as usize, 0);
        if has_holes {
            file.read_exact_at(&mut span, offset)
                .map_err(CacheError::Read)?;
        }
        let stride = stride as usize;
        for &(row, index) in now {
            let to = (row - first) as usize * stride;
            let from = index as usize * stride;
            span[to..to + stride].copy_from_slice(&buffer[from..from + stride]);
        }
        write_at(file, &span, offset)?;
    }
    Ok(())
}

pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    file.write_all_at(bytes, offset).map_err(CacheError::Write)
}
