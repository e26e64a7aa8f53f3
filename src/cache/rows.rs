//! Rows of the three sample sections, wherever they lie: in one file, or in
//! several files that are read as one.
//!
//! Rows are read at their position straight into the memory that is handed
//! out: nothing is mapped, so a file that shrinks is an error and not a crash,
//! and memory does not grow with the file.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::dtype::FloatVec;
use super::error::{CacheError, Result};
use super::header::{Header, Layout, Section};
use super::made_rows::MadeRows;
use super::merged::MergedRows;

/// Runs of rows this close in the file are read together: below the size of a
/// page both cost the same.
const GAP_BYTES: u64 = 4096;

/// Longest single read of runs with gaps between them.
const SPAN_BYTES: u64 = 1 << 20;

/// The sections that hold numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floats {
    /// Embeddings `[N, F]`.
    Embeds,
    /// Target weights `[N, M]`.
    Weights,
}

/// Where rows come from.
#[derive(Debug)]
pub(super) enum Rows {
    /// One file.
    File(FileRows),
    /// Several files, read as one.
    Merged(MergedRows),
    /// None: they are made.
    Made(MadeRows),
}

impl Rows {
    /// Noun ids of runs of rows, one after the other, all inside the table.
    pub(super) fn target_ids(&self, runs: &[Range<u64>]) -> Result<Vec<u32>> {
        match self {
            Self::File(rows) => rows.target_ids(runs),
            Self::Merged(rows) => rows.target_ids(runs),
            Self::Made(rows) => rows.target_ids(runs),
        }
    }

    /// Numbers of runs of rows, one after the other. Embeddings are finite.
    pub(super) fn floats(&self, section: Floats, runs: &[Range<u64>]) -> Result<FloatVec> {
        match self {
            Self::File(rows) => rows.floats(section, runs),
            Self::Merged(rows) => rows.floats(section, runs),
            Self::Made(rows) => rows.floats(section, runs),
        }
    }

    /// Targets per sample `M`.
    pub(super) fn targets(&self) -> usize {
        match self {
            Self::File(rows) => usize::from(rows.header.embed_targets_dim),
            Self::Merged(rows) => rows.targets(),
            Self::Made(_) => 1,
        }
    }
}

/// Rows of one file.
#[derive(Debug)]
pub(super) struct FileRows {
    file: File,
    path: PathBuf,
    header: Header,
    layout: Layout,
}

impl FileRows {
    pub(super) fn new(file: File, path: PathBuf, header: Header) -> Self {
        Self {
            file,
            path,
            layout: header.layout(),
            header,
        }
    }

    fn target_ids(&self, runs: &[Range<u64>]) -> Result<Vec<u32>> {
        let width = usize::from(self.header.embed_targets_dim);
        let nouns = i64::from(self.header.target_nouns_num);
        let mut bytes = vec![0; count(runs) * self.layout.target_ids.stride as usize];
        self.read_runs(&self.layout.target_ids, runs, &mut bytes)?;
        let ids = self.header.embed_targets_dtype.decode(&bytes);
        ids.into_iter()
            .enumerate()
            .map(|(at, id)| {
                if (0..nouns).contains(&id) {
                    Ok(id as u32)
                } else {
                    Err(CacheError::NounIdOutside {
                        row: nth_row(runs, (at / width) as u64),
                        id,
                        nouns,
                    }
                    .in_file(&self.path))
                }
            })
            .collect()
    }

    fn floats(&self, section: Floats, runs: &[Range<u64>]) -> Result<FloatVec> {
        let (place, width) = match section {
            Floats::Embeds => (&self.layout.embeds, self.header.embed_dim),
            Floats::Weights => (&self.layout.weights, self.header.embed_targets_dim),
        };
        let width = usize::from(width);
        let stored = match section {
            Floats::Embeds => self.header.embed_dtype,
            Floats::Weights => self.header.delivered_dtype(),
        };
        let mut values = FloatVec::zeros(stored, count(runs) * width);
        self.read_runs(place, runs, values.bytes_mut())?;
        if section == Floats::Embeds
            && let Some(at) = values.as_slice().first_non_finite()
        {
            let row = nth_row(runs, (at / width) as u64);
            return Err(CacheError::NotFinite { row }.in_file(&self.path));
        }
        if stored == self.header.delivered_dtype() {
            return Ok(values);
        }
        // Rounding moved them off the unit sphere.
        let mut values = values.into_f32();
        values.chunks_exact_mut(width).for_each(normalise);
        Ok(FloatVec::F32(values))
    }

    /// Reads runs one after the other into `out`. Short ones that lie close
    /// together in ascending order are read in one go.
    fn read_runs(&self, section: &Section, runs: &[Range<u64>], out: &mut [u8]) -> Result<()> {
        let mut scratch = Vec::new();
        let (mut rest, mut out) = (runs, out);
        while let Some(first) = rest.first() {
            let mut end = first.end;
            let mut len = 1;
            for run in &rest[1..] {
                let near = run.start >= end
                    && (run.start - end) * section.stride <= GAP_BYTES
                    && (run.end - first.start) * section.stride <= SPAN_BYTES;
                if !near {
                    break;
                }
                end = run.end;
                len += 1;
            }
            let (now, later) = rest.split_at(len);
            rest = later;
            let (filled, unfilled) = out.split_at_mut(count(now) * section.stride as usize);
            out = unfilled;
            if len == 1 {
                self.read_at(filled, section.at(first.start))?;
                continue;
            }
            scratch.resize(((end - first.start) * section.stride) as usize, 0);
            self.read_at(&mut scratch, section.at(first.start))?;
            let mut to = 0;
            for run in now {
                let from = ((run.start - first.start) * section.stride) as usize;
                let bytes = ((run.end - run.start) * section.stride) as usize;
                filled[to..to + bytes].copy_from_slice(&scratch[from..from + bytes]);
                to += bytes;
            }
        }
        Ok(())
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> Result<()> {
        read_at(&self.file, out, offset).map_err(|error| error.in_file(&self.path))
    }
}

/// Makes a row a unit vector.
fn normalise(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
    let norm = squares.sqrt();
    if norm > 0.0 {
        row.iter_mut()
            .for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

/// Number of rows of several runs.
pub(super) fn count(runs: &[Range<u64>]) -> usize {
    runs.iter().map(|run| (run.end - run.start) as usize).sum()
}

fn nth_row(runs: &[Range<u64>], mut index: u64) -> u64 {
    for run in runs {
        if index < run.end - run.start {
            return run.start + index;
        }
        index -= run.end - run.start;
    }
    index
}

pub(super) fn read_at(file: &File, out: &mut [u8], offset: u64) -> Result<()> {
    file.read_exact_at(out, offset)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => CacheError::Truncated,
            _ => CacheError::Read(error),
        })
}
