//! Turns a batch of padded targets into packed rows: only positions that count
//! and what they depend on are computed (`decoder.md` sections 4 and 12).

use std::sync::Arc;

use crate::cache::batch::{TargetBatch, TargetLayout};
use crate::ops::tape::{InputRows, PackedSequences};

use super::architecture::{Architecture, Dimensions};
use super::error::DecoderError;

/// Targets of a batch after checks: which positions count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Number of target rows, `B` or `B·M`.
    pub rows: usize,
    /// Sample of each target row.
    pub samples: Vec<u32>,
    /// Effective padding `[rows, C]`: true where a position does not count.
    pub padding: Vec<bool>,
}

fn error<T>(reason: String) -> Result<T, DecoderError> {
    Err(DecoderError::Batch { reason })
}

impl Targets {
    /// Checks `batch` against `samples` embeddings and the model, and derives
    /// the effective padding: rows of weight 0 are padded, and up to
    /// `num_end_loss` − 1 further end tokens count as far as there are columns.
    pub fn new(
        batch: &TargetBatch,
        samples: usize,
        dimensions: Dimensions,
        num_end_loss: usize,
    ) -> Result<Self, DecoderError> {
        let columns = batch.columns;
        let max = dimensions.token_length;
        if columns == 0 || columns > max {
            return error(format!("{columns} token columns, the model has 1 to {max}"));
        }
        let (rows, samples): (usize, Vec<u32>) = match batch.layout {
            TargetLayout::Single => (samples, (0..samples as u32).collect()),
            TargetLayout::Multi { targets } => (
                samples * targets,
                (0..samples * targets)
                    .map(|row| (row / targets) as u32)
                    .collect(),
            ),
            TargetLayout::MultiFirst { targets } => (
                samples * targets,
                (0..samples * targets)
                    .map(|row| (row % samples) as u32)
                    .collect(),
            ),
        };
        let size = rows * columns;
        if batch.ids.len() != size {
            return error(format!("{} target ids instead of {size}", batch.ids.len()));
        }
        if let Some(mask) = &batch.padding
            && mask.len() != size
        {
            return error(format!(
                "a padding mask of {} instead of {size}",
                mask.len()
            ));
        }
        if let Some(weights) = &batch.weights
            && weights.len() != rows
        {
            return error(format!("{} weights instead of {rows}", weights.len()));
        }
        let vocab_size = dimensions.vocab_size;
        if let Some(id) = batch.ids.iter().find(|&&id| id as usize >= vocab_size) {
            return error(format!("token id {id} in a vocabulary of {vocab_size}"));
        }
        let mut padding = batch.padding.clone().unwrap_or_else(|| vec![false; size]);
        if let Some(weights) = &batch.weights {
            for (row, &weight) in padding.chunks_exact_mut(columns).zip(weights) {
                if weight == 0.0 {
                    row.fill(true);
                }
            }
        }
        let extra = num_end_loss - 1;
        if extra > 0 && (batch.padding.is_some() || batch.weights.is_some()) {
            for row in padding.chunks_exact_mut(columns) {
                for t in (0..columns).rev() {
                    row[t] = row[t.saturating_sub(extra)];
                }
            }
        }
        Ok(Self {
            rows,
            samples,
            padding,
        })
    }

    /// The padding of the columns from `first` on, of `columns`.
    pub(super) fn padding_from(&self, columns: usize, first: usize) -> Vec<bool> {
        let rows = self.padding.chunks_exact(columns);
        rows.flat_map(|row| row[first..].iter().copied()).collect()
    }

    /// Flat index of a position among the columns from `first` on.
    pub(super) fn place_from(place: u32, columns: usize, first: usize) -> u32 {
        let (row, column) = (place as usize / columns, place as usize % columns);
        (row * (columns - first) + column - first) as u32
    }
}

/// A batch in packed form.
#[derive(Clone, Debug)]
pub(super) struct PackedBatch {
    /// Rows of the transformer's input.
    pub rows: InputRows,
    /// Which rows see which.
    pub sequences: Arc<PackedSequences>,
    /// Rows whose final state is needed, ascending.
    pub kept: Vec<u32>,
    /// Index into `kept` of each counted position.
    pub states: Vec<u32>,
    /// Flat index `row·C + column` of each counted position.
    pub places: Vec<u32>,
}

impl PackedBatch {
    /// Packs the positions for which `counts(row, column)` holds. With
    /// `repeat_prefix` each target has prefix rows of its own, else those of a
    /// sample are shared by its targets.
    pub fn new(
        batch: &TargetBatch,
        targets: &Targets,
        samples: usize,
        architecture: &Architecture,
        repeat_prefix: bool,
        counts: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let columns = batch.columns;
        let prefix_len = architecture.prefix_len as u32;
        // Input tokens of each target: those before its last counted position.
        let length = |row: usize| (0..columns).rev().find(|&t| counts(row, t));
        let mut of_sample: Vec<Vec<(usize, usize)>> = vec![Vec::new(); samples];
        for (row, &sample) in targets.samples.iter().enumerate() {
            if let Some(length) = length(row) {
                of_sample[sample as usize].push((row, length));
            }
        }
        let mut rows = InputRows::default();
        let (mut group_sizes, mut lengths) = (Vec::new(), Vec::new());
        // (target row, group, first token row, counted length)
        let mut sequences = Vec::new();
        for (sample, targets) in of_sample.iter().enumerate() {
            let step = if repeat_prefix {
                1
            } else {
                targets.len().max(1)
            };
            for group in targets.chunks(step) {
                for p in 0..prefix_len {
                    rows.prefix_rows.push(sample as u32 * prefix_len + p);
                    rows.prefix_positions.push(p);
                }
                for &(row, length) in group {
                    sequences.push((row, group_sizes.len(), rows.tokens.len(), length));
                    lengths.push(length as u32);
                    for t in 0..length {
                        rows.tokens.push(batch.ids[row * columns + t]);
                        rows.token_positions.push(prefix_len + t as u32);
                    }
                }
                group_sizes.push(group.len() as u32);
            }
        }
        let first_token_row = group_sizes.len() * prefix_len as usize;
        let (mut hidden, mut places) = (Vec::new(), Vec::new());
        for (row, group, first, length) in sequences {
            for t in (0..=length).filter(|&t| counts(row, t)) {
                hidden.push(if t == 0 {
                    (group + 1) * prefix_len as usize - 1
                } else {
                    first_token_row + first + t - 1
                });
                places.push((row * columns + t) as u32);
            }
        }
        let mut index = vec![u32::MAX; rows.len()];
        for &row in &hidden {
            index[row] = 0;
        }
        let kept: Vec<u32> = (0..rows.len() as u32)
            .filter(|&row| index[row as usize] == 0)
            .collect();
        for (i, &row) in kept.iter().enumerate() {
            index[row as usize] = i as u32;
        }
        Self {
            rows,
            sequences: Arc::new(PackedSequences {
                heads: architecture.heads,
                prefix_len: architecture.prefix_len,
                causal_prefix: architecture.strictly_causal,
                group_sizes,
                lengths,
            }),
            kept,
            states: hidden.into_iter().map(|row| index[row]).collect(),
            places,
        }
    }
}
