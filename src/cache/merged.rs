//! Several caches read as one (`embedding-cache.md` section 8). A merge copies
//! what this delivers; a virtual merge trains from it directly.
//!
//! The stream of a merge is: every input in order, in blocks of rows, every
//! block as often as its input counts. A permutation says which sample of that
//! stream is at which row.

use std::ops::Range;

use super::dtype::{FloatDtype, FloatVec};
use super::error::{CacheError, Result};
use super::keyed_permutation::KeyedPermutation;
use super::memory::available_bytes;
use super::rows::{Floats, Rows};
use crate::config::schema::MultiMode;

/// Rows of an input that are repeated together.
const BLOCK: u64 = 512;

/// Rows of an input that are read before they are put in place: they stay in
/// the processor's cache.
const TOGETHER: usize = 64;

/// Which sample of the stream is at which row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeOrder {
    /// As in the stream.
    AsStreamed,
    /// A random order.
    Shuffled {
        /// Its seed.
        seed: u64,
    },
    /// Sample `i` of the stream is at row `rows[i]`.
    Given(Vec<u32>),
}

/// How caches are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeOptions {
    /// Targets per sample of the result. Ids and weights are filled with zeros
    /// or cut, weights are not normalised again.
    pub multi: MultiMode,
    /// Order of the rows.
    pub order: MergeOrder,
    /// Rows of an input that are repeated together in the stream.
    pub block: u64,
}

impl MergeOptions {
    /// A shuffled merge with the targets of the input that has most.
    pub fn shuffled(seed: u64) -> Self {
        Self {
            multi: MultiMode::Max,
            order: MergeOrder::Shuffled { seed },
            block: BLOCK,
        }
    }
}

/// The rows of one input and their place in the stream.
#[derive(Debug)]
struct Part {
    rows: Rows,
    len: u64,
    repeat: u64,
    /// First sample of the stream that is of this part.
    first: u64,
}

impl Part {
    /// Row of sample `at` of this part's share of the stream.
    fn row(&self, at: u64, block: u64) -> u64 {
        let start = at / (block * self.repeat) * block;
        let rows = block.min(self.len - start);
        start + at % (block * self.repeat) % rows
    }
}

/// Rows of several caches in a common order.
#[derive(Debug)]
pub(super) struct MergedRows {
    parts: Vec<Part>,
    order: Order,
    block: u64,
    targets: usize,
    dim: usize,
    dtype: FloatDtype,
}

#[derive(Debug)]
enum Order {
    AsStreamed,
    Keyed(KeyedPermutation),
    /// Sample of every row.
    Table(Vec<u32>),
}

/// A row that is wanted: where it lies, and its place in what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    part: u32,
    row: u64,
    place: u32,
}

impl MergedRows {
    /// Rows of `inputs`, given as rows, their number and how often they count,
    /// all with the same dimension, element type and nouns.
    pub(super) fn new(
        inputs: Vec<(Rows, u64, u64)>,
        targets: usize,
        (dim, dtype): (usize, FloatDtype),
        options: &MergeOptions,
    ) -> Result<Self> {
        let mut total = 0;
        let parts = inputs
            .into_iter()
            .map(|(rows, len, repeat)| {
                let first = total;
                total += len * repeat;
                Part {
                    rows,
                    len,
                    repeat,
                    first,
                }
            })
            .collect();
        let order = match &options.order {
            MergeOrder::AsStreamed => Order::AsStreamed,
            MergeOrder::Shuffled { seed } => Order::Keyed(KeyedPermutation::new(*seed, total)),
            MergeOrder::Given(rows) => Order::Table(inverse(rows, total)?),
        };
        Ok(Self {
            parts,
            order,
            block: options.block.max(1),
            targets,
            dim,
            dtype,
        })
    }

    pub(super) fn targets(&self) -> usize {
        self.targets
    }

    /// Whether neighbours lie anywhere.
    pub(super) fn is_shuffled(&self) -> bool {
        !matches!(self.order, Order::AsStreamed)
    }

    /// Bytes of all inputs.
    pub(super) fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.rows.file_bytes()).sum()
    }

    /// If neighbours lie anywhere and the system can keep all inputs in memory,
    /// has it read them front to back; whether it does.
    pub(super) fn keep_in_memory(&self) -> bool {
        let keeps = self.is_shuffled() && self.file_bytes() <= available_bytes() / 2;
        if keeps {
            for part in &self.parts {
                let all = 0..part.len;
                part.rows.prefetch(std::slice::from_ref(&all));
            }
        }
        keeps
    }

    /// Says that rows are wanted soon.
    pub(super) fn prefetch(&self, runs: &[Range<u64>]) {
        for of_part in self.wanted(runs).chunk_by(|a, b| a.part == b.part) {
            let (runs, _) = runs_and_moves(of_part);
            self.parts[of_part[0].part as usize].rows.prefetch(&runs);
        }
    }

    pub(super) fn target_ids(&self, wanted: &[Wanted], out: &mut Vec<u32>) -> Result<()> {
        out.clear();
        out.resize(wanted.len() * self.targets, 0);
        let mut values = Vec::new();
        self.gather(wanted, |rows, runs, moves| {
            rows.target_ids(&rows.locate(runs), &mut values)?;
            let widths = (rows.targets(), self.targets);
            place_rows(&values, out, widths, moves);
            Ok(())
        })
    }

    pub(super) fn floats(
        &self,
        section: Floats,
        wanted: &[Wanted],
        out: &mut FloatVec,
    ) -> Result<()> {
        let element = self.dtype.bytes();
        let width = match section {
            Floats::Embeds => self.dim,
            Floats::Weights => self.targets,
        };
        out.resize(self.dtype, wanted.len() * width);
        if section == Floats::Weights {
            // Inputs with fewer targets leave the rest as it is.
            out.bytes_mut().fill(0);
        }
        let mut values = FloatVec::empty(self.dtype);
        self.gather(wanted, |rows, runs, moves| {
            rows.floats(section, &rows.locate(runs), &mut values)?;
            let from = match section {
                Floats::Embeds => self.dim,
                Floats::Weights => rows.targets(),
            };
            let widths = (from * element, width * element);
            place_rows(values.as_slice().bytes(), out.bytes_mut(), widths, moves);
            Ok(())
        })
    }

    /// Calls `take` for every part, some rows at a time, with its rows, the
    /// wanted runs of them in ascending order, and where each belongs.
    fn gather(
        &self,
        wanted: &[Wanted],
        mut take: impl FnMut(&Rows, &[Range<u64>], &[Move]) -> Result<()>,
    ) -> Result<()> {
        let parts = wanted.chunk_by(|a, b| a.part == b.part);
        for of_part in parts.flat_map(|part| part.chunks(TOGETHER)) {
            let (runs, moves) = runs_and_moves(of_part);
            take(&self.parts[of_part[0].part as usize].rows, &runs, &moves)?;
        }
        Ok(())
    }

    /// The rows behind rows of the result, sorted by where they lie.
    pub(super) fn wanted(&self, runs: &[Range<u64>]) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = runs
            .iter()
            .cloned()
            .flatten()
            .zip(0..)
            .map(|(row, place)| {
                let sample = match &self.order {
                    Order::AsStreamed => row,
                    Order::Keyed(order) => order.at(row),
                    Order::Table(samples) => u64::from(samples[row as usize]),
                };
                let part = self.parts.partition_point(|part| part.first <= sample) - 1;
                let row = self.parts[part].row(sample - self.parts[part].first, self.block);
                Wanted {
                    part: part as u32,
                    row,
                    place,
                }
            })
            .collect();
        wanted.sort_unstable();
        wanted
    }
}

/// A row among those that were read, and its place among those wanted.
struct Move {
    from: usize,
    to: usize,
}

/// The runs of wanted rows of one part, in ascending order, and where each row
/// belongs.
fn runs_and_moves(of_part: &[Wanted]) -> (Vec<Range<u64>>, Vec<Move>) {
    let mut runs: Vec<Range<u64>> = Vec::with_capacity(of_part.len());
    let mut moves = Vec::with_capacity(of_part.len());
    let mut different = 0;
    for wanted in of_part {
        match runs.last_mut() {
            Some(run) if run.end == wanted.row + 1 => {}
            Some(run) if run.end == wanted.row => {
                run.end += 1;
                different += 1;
            }
            _ => {
                runs.push(wanted.row..wanted.row + 1);
                different += 1;
            }
        }
        moves.push(Move {
            from: different - 1,
            to: wanted.place as usize,
        });
    }
    (runs, moves)
}

/// Copies rows to their places; where the widths (from, to) differ, they are
/// cut, or what is there stays.
fn place_rows<T: Copy>(from: &[T], to: &mut [T], widths: (usize, usize), moves: &[Move]) {
    let kept = widths.0.min(widths.1);
    for row in moves {
        let values = &from[row.from * widths.0..][..kept];
        to[row.to * widths.1..][..kept].copy_from_slice(values);
    }
}

/// Sample of every row, from the row of every sample.
fn inverse(rows: &[u32], total: u64) -> Result<Vec<u32>> {
    let mut samples = vec![u32::MAX; rows.len()];
    for (sample, &row) in rows.iter().enumerate() {
        match samples.get_mut(row as usize) {
            Some(place) if *place == u32::MAX => *place = sample as u32,
            _ => return Err(CacheError::NotAPermutation { samples: total }),
        }
    }
    if rows.len() as u64 != total {
        return Err(CacheError::NotAPermutation { samples: total });
    }
    Ok(samples)
}
