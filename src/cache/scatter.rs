//! Samples on their way to rows in random order.
//!
//! The rows of a file form windows. If all rows fit the memory, samples are put
//! in their places there, and the windows are written front to back at the end.
//! If not, they are put aside by window; at the end one window after the other
//! is read, put in order and written. Nothing is ever written row by row.
//!
//! What a checkpoint covers is put aside, too.

use std::fs::File;

use super::error::Result;
use super::header::Section;
use super::row_sink::write_at;
use super::spill::{Aside, Spill};
use super::write_behind::WriteBehind;

/// Bytes of the number of a row in a record.
const NUMBER: usize = 4;

/// Bytes that are written together.
const SPAN_BYTES: usize = 8 << 20;

/// How much memory is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// For rows in all.
    pub(super) bytes: u64,
    /// For one window.
    pub(super) window: u64,
}

/// Writes rows of the three sample sections in any order.
#[derive(Debug)]
pub(super) struct Scatter {
    sections: [Section; 3],
    /// Row of every sample.
    rows: Vec<u32>,
    /// Samples handed over.
    written: usize,
    /// Rows of a window.
    window: usize,
    held: Held,
    spill: Spill,
}

/// What is in memory.
#[derive(Debug)]
enum Held {
    /// All samples in their places; those before `safe` are put aside, too.
    Windows { windows: Vec<Window>, safe: usize },
    /// Records that are not put aside yet, by window.
    Records {
        records: Vec<Vec<u8>>,
        bytes: usize,
        most: usize,
    },
}

impl Scatter {
    /// Goes on after `written` samples, which are put aside; sample `i` goes to
    /// row `rows[i]`.
    pub(super) fn new(
        sections: [Section; 3],
        rows: Vec<u32>,
        written: u64,
        aside: Aside,
        room: Room,
    ) -> Result<Self> {
        let written = written as usize;
        let row_bytes: u64 = sections.iter().map(|section| section.stride).sum();
        let window = (room.window / row_bytes.max(1)).clamp(1, rows.len().max(1) as u64);
        let count = rows.len().div_ceil(window as usize);
        let mut filled = vec![0; count];
        for &row in &rows[..written] {
            filled[(u64::from(row) / window) as usize] += 1;
        }
        let mut scatter = Self {
            sections,
            written,
            window: window as usize,
            held: Held::Records {
                records: vec![Vec::new(); count],
                bytes: 0,
                most: (room.bytes / 2) as usize,
            },
            spill: Spill::new(aside, NUMBER as u64 + row_bytes, window, filled),
            rows,
        };
        if scatter.rows.len() as u64 * row_bytes <= room.bytes {
            let windows: Result<_> = (0..count).map(|index| scatter.load(index)).collect();
            scatter.held = Held::Windows {
                windows: windows?,
                safe: written,
            };
        }
        Ok(scatter)
    }

    /// Samples handed over.
    pub(super) fn written(&self) -> u64 {
        self.written as u64
    }

    /// A window with the rows that were put aside.
    fn load(&mut self, index: usize) -> Result<Window> {
        let first = index * self.window;
        let rows = self.window.min(self.rows.len() - first);
        let mut window = Window::new(&self.sections, first, rows);
        self.spill.each(index, |record| window.put_record(record))?;
        Ok(window)
    }

    /// Takes `count` samples: their target ids, weights and embeddings.
    pub(super) fn push(&mut self, count: usize, parts: [&[u8]; 3]) -> Result<()> {
        let rows = &self.rows[self.written..self.written + count];
        let strides = self.sections.map(|section| section.stride as usize);
        let sample = |at: usize| -> [&[u8]; 3] {
            std::array::from_fn(|part| &parts[part][at * strides[part]..][..strides[part]])
        };
        match &mut self.held {
            Held::Windows { windows, .. } => {
                for (at, &row) in rows.iter().enumerate() {
                    windows[row as usize / self.window].put(row, sample(at));
                }
            }
            Held::Records { records, bytes, .. } => {
                for (at, &row) in rows.iter().enumerate() {
                    let records = &mut records[row as usize / self.window];
                    let before = records.len();
                    append_record(row, sample(at), records);
                    *bytes += records.len() - before;
                }
            }
        }
        self.written += count;
        match self.held {
            Held::Records { bytes, most, .. } if bytes >= most => self.put_aside(),
            _ => Ok(()),
        }
    }

    /// Puts aside what is not yet.
    fn put_aside(&mut self) -> Result<()> {
        match &mut self.held {
            Held::Records { records, bytes, .. } => {
                for (window, records) in records.iter_mut().enumerate() {
                    self.spill.append(window, records)?;
                    records.clear();
                }
                *bytes = 0;
            }
            Held::Windows { windows, safe } => {
                let row_bytes: u64 = self.sections.iter().map(|section| section.stride).sum();
                let together = (SPAN_BYTES / (row_bytes as usize).max(1)).max(1);
                for rows in self.rows[*safe..self.written].chunks(together) {
                    let mut records = vec![Vec::new(); windows.len()];
                    for &row in rows {
                        let window = row as usize / self.window;
                        append_record(row, windows[window].row(row), &mut records[window]);
                    }
                    for (window, records) in records.iter().enumerate() {
                        self.spill.append(window, records)?;
                    }
                }
                *safe = self.written;
            }
        }
        Ok(())
    }

    /// Makes sure that all samples can be had again after a crash.
    pub(super) fn keep(&mut self) -> Result<()> {
        self.put_aside()?;
        self.spill.sync()
    }

    /// Writes all rows to their places.
    pub(super) fn finish(&mut self, file: &File) -> Result<()> {
        let mut behind = WriteBehind::default();
        match &mut self.held {
            Held::Windows { windows, .. } => {
                for window in std::mem::take(windows) {
                    window.write(file, &self.sections, &mut behind)?;
                }
            }
            Held::Records { records, .. } => {
                let count = records.len();
                self.put_aside()?;
                for index in 0..count {
                    self.load(index)?.write(file, &self.sections, &mut behind)?;
                }
            }
        }
        behind.settle()
    }
}

fn append_record(row: u32, parts: [&[u8]; 3], records: &mut Vec<u8>) {
    records.extend_from_slice(&row.to_le_bytes());
    for part in parts {
        records.extend_from_slice(part);
    }
}

/// Rows that lie one behind the other, as they are written.
#[derive(Debug)]
struct Window {
    first: usize,
    strides: [usize; 3],
    parts: [Vec<u8>; 3],
}

impl Window {
    fn new(sections: &[Section; 3], first: usize, rows: usize) -> Self {
        let strides = sections.map(|section| section.stride as usize);
        Self {
            first,
            strides,
            parts: strides.map(|stride| vec![0; rows * stride]),
        }
    }

    fn put(&mut self, row: u32, sample: [&[u8]; 3]) {
        let row = row as usize - self.first;
        for ((part, sample), stride) in self.parts.iter_mut().zip(sample).zip(self.strides) {
            part[row * stride..][..stride].copy_from_slice(sample);
        }
    }

    fn put_record(&mut self, record: &[u8]) {
        let (number, mut rest) = record.split_at(NUMBER);
        let mut row = [0; NUMBER];
        row.copy_from_slice(number);
        let sample = self.strides.map(|stride| {
            let (part, later) = rest.split_at(stride);
            rest = later;
            part
        });
        self.put(u32::from_le_bytes(row), sample);
    }

    fn row(&self, row: u32) -> [&[u8]; 3] {
        let row = row as usize - self.first;
        std::array::from_fn(|part| {
            let stride = self.strides[part];
            &self.parts[part][row * stride..][..stride]
        })
    }

    fn write(&self, file: &File, sections: &[Section; 3], behind: &mut WriteBehind) -> Result<()> {
        for (section, part) in sections.iter().zip(&self.parts) {
            let mut offset = section.at(self.first as u64);
            for span in part.chunks(SPAN_BYTES) {
                write_at(file, span, offset)?;
                offset += span.len() as u64;
                behind.wrote(file, span.len() as u64)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Draws, Purpose};

    const STRIDES: [u64; 3] = [4, 0, 9];

    fn sections(rows: u64) -> [Section; 3] {
        let mut offset = 7;
        STRIDES.map(|stride| {
            let section = Section {
                offset,
                stride,
                rows,
            };
            offset = section.end();
            section
        })
    }

    /// Target ids and embeddings of samples, all different.
    fn samples(range: std::ops::Range<u64>) -> [Vec<u8>; 3] {
        let ids = range.clone().flat_map(|at| (at as u32).to_le_bytes());
        let embeds = range.flat_map(|at| {
            let mut row = [0x55; 9];
            row[..8].copy_from_slice(&(at * 977).to_le_bytes());
            row
        });
        [ids.collect(), Vec::new(), embeds.collect()]
    }

    fn push(scatter: &mut Scatter, range: std::ops::Range<u64>) {
        let count = (range.end - range.start) as usize;
        let parts = samples(range);
        scatter
            .push(count, parts.each_ref().map(Vec::as_slice))
            .unwrap();
    }

    #[test]
    fn rows_are_in_place_with_any_memory_and_any_number_of_lives() {
        let (count, call) = (203, 8);
        let rows = Draws::new(Purpose::FileRows, 3, 0).permutation(count);
        let sections = sections(u64::from(count));
        let mut expected = vec![0; sections[2].end() as usize];
        let [ids, _, embeds] = samples(0..u64::from(count));
        for (sample, &row) in rows.iter().enumerate() {
            let place = |part: usize| sections[part].at(u64::from(row)) as usize;
            expected[place(0)..][..4].copy_from_slice(&ids[sample * 4..][..4]);
            expected[place(2)..][..9].copy_from_slice(&embeds[sample * 9..][..9]);
        }
        let row_bytes: u64 = STRIDES.iter().sum();
        for bytes in [0, 40 * row_bytes, 1000 * row_bytes] {
            for window in [1, 10 * row_bytes, 1000 * row_bytes] {
                for calls_of_a_life in [1, 3, 100] {
                    let folder = tempfile::TempDir::new().unwrap();
                    let file = tempfile::tempfile_in(folder.path()).unwrap();
                    let aside = folder.path().join("rows");
                    let mut done = 0;
                    let mut scatter = loop {
                        let mut scatter = Scatter::new(
                            sections,
                            rows.clone(),
                            done,
                            Aside::Named(aside.clone()),
                            Room { bytes, window },
                        )
                        .unwrap();
                        assert_eq!(scatter.written(), done);
                        for _ in 0..calls_of_a_life {
                            let end = (done + call).min(u64::from(count));
                            push(&mut scatter, done..end);
                            done = end;
                        }
                        if done == u64::from(count) {
                            break scatter;
                        }
                        scatter.keep().unwrap();
                        // What comes after the last checkpoint is lost.
                        push(&mut scatter, done..(done + 2).min(u64::from(count)));
                    };
                    scatter.finish(&file).unwrap();
                    let mut written = vec![0; expected.len()];
                    std::os::unix::fs::FileExt::read_exact_at(&file, &mut written, 0).unwrap();
                    assert_eq!(written, expected, "{bytes} {window} {calls_of_a_life}");
                }
            }
        }
    }

    #[test]
    fn hidden_files_leave_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        let room = Room {
            bytes: 0,
            window: 50,
        };
        let aside = Aside::Hidden(folder.path().to_owned());
        let mut scatter = Scatter::new(sections(3), vec![2, 0, 1], 0, aside, room).unwrap();
        push(&mut scatter, 0..3);
        scatter.finish(&file).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
