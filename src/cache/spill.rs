//! Samples that are put aside until all samples of their window are there.
//!
//! The rows of a file form windows of equal size. A record is the number of a
//! row (four bytes, little-endian) and the row; the records of a window lie one
//! behind the other, in the order in which they came, in a part of this file
//! that has room for just them. So it is written and read in long pieces,
//! whatever the order of the samples.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::error::{CacheError, Result};
use super::row_sink::write_at;

/// Bytes that are read together.
const PIECE_BYTES: u64 = 1 << 20;

/// Where records are put aside.
#[derive(Clone, Debug)]
pub(super) enum Aside {
    /// In a file without a name in this folder, gone when it is closed.
    Hidden(PathBuf),
    /// In this file, which may be there from an earlier life of the program.
    Named(PathBuf),
}

/// Records by window.
#[derive(Debug)]
pub(super) struct Spill {
    aside: Aside,
    /// Made when it is needed.
    file: Option<File>,
    /// Bytes of a record.
    record: u64,
    /// Rows of a window.
    rows: u64,
    /// Records of each window.
    filled: Vec<u64>,
}

impl Spill {
    /// Windows of `rows` rows that hold so many records of `record` bytes.
    pub(super) fn new(aside: Aside, record: u64, rows: u64, filled: Vec<u64>) -> Self {
        Self {
            aside,
            file: None,
            record,
            rows,
            filled,
        }
    }

    fn file(&mut self) -> Result<&File> {
        let opened = match (self.file.take(), &self.aside) {
            (Some(file), _) => file,
            (None, Aside::Hidden(folder)) => {
                tempfile::tempfile_in(folder).map_err(CacheError::Write)?
            }
            (None, Aside::Named(path)) => OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(self.filled.iter().all(|&count| count == 0))
                .open(path)
                .map_err(CacheError::Write)?,
        };
        Ok(self.file.insert(opened))
    }

    fn at(&self, window: usize, record: u64) -> u64 {
        (window as u64 * self.rows + record) * self.record
    }

    /// Adds records to a window.
    pub(super) fn append(&mut self, window: usize, records: &[u8]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let offset = self.at(window, self.filled[window]);
        write_at(self.file()?, records, offset)?;
        self.filled[window] += records.len() as u64 / self.record;
        Ok(())
    }

    /// Calls `take` with every record of a window.
    pub(super) fn each(&mut self, window: usize, mut take: impl FnMut(&[u8])) -> Result<()> {
        let (record, filled) = (self.record, self.filled[window]);
        let together = (PIECE_BYTES / record).max(1);
        let mut piece = Vec::new();
        for first in (0..filled).step_by(together as usize) {
            let count = together.min(filled - first);
            piece.resize((count * record) as usize, 0);
            let offset = self.at(window, first);
            self.file()?
                .read_exact_at(&mut piece, offset)
                .map_err(CacheError::Read)?;
            piece.chunks_exact(record as usize).for_each(&mut take);
        }
        Ok(())
    }

    /// Makes sure that all records are on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => file.sync_data().map_err(CacheError::Write),
            None => Ok(()),
        }
    }
}
