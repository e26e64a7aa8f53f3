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

use super::advice::{read_at_random, read_soon};
use super::dtype::FloatVec;
use super::error::{CacheError, Result};
use super::header::{Header, Layout, Section};
use super::made_rows::MadeRows;
use super::merged::{MergedRows, Wanted};

/// Runs of rows this close in the file are read together: below the size of a
/// page both cost the same.
const GAP_BYTES: u64 = 4096;

/// Longest single read of runs with gaps between them.
const SPAN_BYTES: u64 = 1 << 20;

/// Bytes that are read, checked and converted together: they stay in the
/// processor's cache.
const PIECE_BYTES: u64 = 128 << 10;

/// Runs up to which ids and weights are asked for ahead, too: they are so short
/// that many runs cost more than they bring.
const FEW_RUNS: usize = 4;

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

/// Runs of rows whose places have been found, once for all sections.
#[derive(Debug)]
pub(super) struct Located<'a> {
    runs: &'a [Range<u64>],
    /// Of rows in several files.
    wanted: Vec<Wanted>,
}

impl Rows {
    /// Finds where rows lie.
    pub(super) fn locate<'a>(&self, runs: &'a [Range<u64>]) -> Located<'a> {
        let wanted = match self {
            Self::Merged(rows) => rows.wanted(runs),
            Self::File(_) | Self::Made(_) => Vec::new(),
        };
        Located { runs, wanted }
    }

    /// Noun ids of rows, one after the other, all inside the table.
    pub(super) fn target_ids(&self, rows: &Located<'_>, out: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::File(file) => file.target_ids(rows.runs, out),
            Self::Merged(merged) => merged.target_ids(&rows.wanted, out),
            Self::Made(made) => {
                *out = made.target_ids(rows.runs)?;
                Ok(())
            }
        }
    }

    /// Numbers of rows, one after the other. Embeddings are finite. The memory
    /// of `out` is used again.
    pub(super) fn floats(
        &self,
        section: Floats,
        rows: &Located<'_>,
        out: &mut FloatVec,
    ) -> Result<()> {
        match self {
            Self::File(file) => file.floats(section, rows.runs, out),
            Self::Merged(merged) => merged.floats(section, &rows.wanted, out),
            Self::Made(made) => {
                *out = made.floats(section, rows.runs)?;
                Ok(())
            }
        }
    }

    /// Says that rows are wanted soon.
    pub(super) fn prefetch(&self, runs: &[Range<u64>]) {
        match self {
            Self::File(file) => file.prefetch(runs),
            Self::Merged(merged) => merged.prefetch(runs),
            Self::Made(_) => {}
        }
    }

    /// If neighbours lie anywhere in files for which the system has memory, has
    /// it read them front to back; whether it does.
    pub(super) fn keep_in_memory(&self) -> bool {
        match self {
            Self::Merged(merged) => merged.keep_in_memory(),
            Self::File(_) | Self::Made(_) => false,
        }
    }

    /// Bytes of the files that the rows lie in.
    pub(super) fn file_bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.layout.total_size(),
            Self::Merged(merged) => merged.file_bytes(),
            Self::Made(_) => 0,
        }
    }

    /// Targets per sample `M`.
    pub(super) fn targets(&self) -> usize {
        match self {
            Self::File(file) => usize::from(file.header.embed_targets_dim),
            Self::Merged(merged) => merged.targets(),
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
        // What is wanted next is said with `prefetch`.
        read_at_random(&file);
        Self {
            file,
            path,
            layout: header.layout(),
            header,
        }
    }

    fn target_ids(&self, runs: &[Range<u64>], out: &mut Vec<u32>) -> Result<()> {
        let width = usize::from(self.header.embed_targets_dim);
        let nouns = i64::from(self.header.target_nouns_num);
        let mut bytes = vec![0; count(runs) * self.layout.target_ids.stride as usize];
        self.read_runs(&self.layout.target_ids, runs, &mut bytes)?;
        out.clear();
        for (at, id) in (0..).zip(self.header.embed_targets_dtype.decode(&bytes)) {
            if !(0..nouns).contains(&id) {
                let row = nth_row(runs, (at / width) as u64);
                return Err(CacheError::NounIdOutside { row, id, nouns }.in_file(&self.path));
            }
            out.push(id as u32);
        }
        Ok(())
    }

    fn floats(&self, section: Floats, runs: &[Range<u64>], out: &mut FloatVec) -> Result<()> {
        let delivered = self.header.delivered_dtype();
        let (place, width, stored) = match section {
            Floats::Embeds => {
                let (width, stored) = (self.header.embed_dim, self.header.embed_dtype);
                (&self.layout.embeds, width, stored)
            }
            Floats::Weights => {
                let width = self.header.embed_targets_dim;
                (&self.layout.weights, width, delivered)
            }
        };
        let width = usize::from(width);
        let total = count(runs) * width;
        out.resize(delivered, out.as_slice().len().min(total));
        out.reserve(total);
        let mut rounded = FloatVec::empty(stored);
        let mut start = 0;
        for piece in pieces(runs, (PIECE_BYTES / place.stride.max(1)).max(1)) {
            let end = start + count(&piece) * width;
            if out.as_slice().len() < end {
                out.resize(delivered, end);
            }
            let bad = if stored == delivered {
                self.read_floats(place, &piece, out, start..end)?
            } else {
                rounded.resize(stored, end - start);
                let bad = self.read_floats(place, &piece, &mut rounded, 0..end - start)?;
                if let FloatVec::F32(out) = &mut *out {
                    let out = &mut out[start..end];
                    rounded.as_slice().widen_into(out);
                    // Rounding moved them off the unit sphere.
                    out.chunks_exact_mut(width).for_each(normalise);
                }
                bad
            };
            if section == Floats::Embeds
                && let Some(at) = bad
            {
                let row = nth_row(runs, ((start + at) / width) as u64);
                return Err(CacheError::NotFinite { row }.in_file(&self.path));
            }
            start = end;
        }
        Ok(())
    }

    /// Reads rows into the elements `place` of `values`; the first of these that
    /// is not finite.
    fn read_floats(
        &self,
        section: &Section,
        runs: &[Range<u64>],
        values: &mut FloatVec,
        place: Range<usize>,
    ) -> Result<Option<usize>> {
        let element = values.as_slice().dtype().bytes();
        let bytes = place.start * element..place.end * element;
        self.read_runs(section, runs, &mut values.bytes_mut()[bytes])?;
        Ok(values.as_slice().part(place).first_non_finite())
    }

    fn prefetch(&self, runs: &[Range<u64>]) {
        let layout = &self.layout;
        let short = [&layout.target_ids, &layout.weights];
        let short = short.into_iter().filter(|_| runs.len() <= FEW_RUNS);
        for section in short.chain([&layout.embeds]) {
            for run in runs.iter().filter(|run| !run.is_empty()) {
                read_soon(&self.file, section.at(run.start)..section.at(run.end));
            }
        }
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

/// The same rows in runs of `most` rows together, the last ones of fewer.
fn pieces(runs: &[Range<u64>], most: u64) -> impl Iterator<Item = Vec<Range<u64>>> {
    let mut rest = runs.iter().filter(|run| !run.is_empty()).cloned();
    let mut split: Option<Range<u64>> = None;
    std::iter::from_fn(move || {
        let (mut piece, mut left) = (Vec::new(), most);
        while left > 0
            && let Some(run) = split.take().or_else(|| rest.next())
        {
            let middle = run.end.min(run.start + left);
            left -= middle - run.start;
            split = (middle < run.end).then_some(middle..run.end);
            piece.push(run.start..middle);
        }
        (!piece.is_empty()).then_some(piece)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_same_rows_in_equal_parts() {
        let runs = [3..5, 7..7, 9..20, 2..3];
        for most in 1..16 {
            let pieces: Vec<_> = pieces(&runs, most).collect();
            let rows: Vec<u64> = pieces.iter().flatten().cloned().flatten().collect();
            assert_eq!(rows, runs.iter().cloned().flatten().collect::<Vec<_>>());
            let (last, whole) = pieces.split_last().unwrap();
            assert!(whole.iter().all(|piece| count(piece) as u64 == most));
            assert!((1..=most).contains(&(count(last) as u64)));
        }
    }
}
