//! Batches from rows of a cache (`embedding-cache.md` section 4). A batch
//! owns its data; nothing of the cache is changed.

use std::ops::Range;

use super::batch::{Batch, TargetBatch, TargetLayout};
use super::data_config::DataConfig;
use super::dtype::{FloatDtype, FloatVec};
use super::error::Result;
use super::reader::{Cache, Targets};
use super::rows::{Floats, Located};

impl Cache {
    /// The batch of these runs of rows, one run after the other, delivered as
    /// `data` says. `data` must have been resolved for this cache.
    ///
    /// # Errors
    /// An input error, a noun id outside the table, an embedding that is not
    /// finite.
    pub fn batch(&self, runs: &[Range<u64>], data: &DataConfig) -> Result<Batch> {
        let rows = self.rows.locate(runs);
        let embeds = self.floats(Floats::Embeds, &rows)?;
        let dim = usize::from(self.header.embed_dim);
        Ok(Batch {
            samples: embeds.len() / dim,
            dim,
            embeds,
            targets: match &self.targets {
                Some(targets) => Some(self.target_batch(targets, &rows, data)?),
                None => None,
            },
        })
    }

    fn floats(&self, section: Floats, rows: &Located<'_>) -> Result<Vec<f32>> {
        let mut values = FloatVec::empty(FloatDtype::F32);
        self.rows.floats(section, rows, &mut values)?;
        Ok(values.into_f32())
    }

    fn target_batch(
        &self,
        targets: &Targets,
        rows: &Located<'_>,
        data: &DataConfig,
    ) -> Result<TargetBatch> {
        let stored = targets.per_sample;
        let mut ids = Vec::new();
        self.rows.target_ids(rows, &mut ids)?;
        let samples = ids.len() / stored;
        let weights = if data.use_weights {
            Some(self.floats(Floats::Weights, rows)?)
        } else {
            None
        };

        let kept = if data.multi_target {
            let kept = data.multi_length.min(stored);
            if data.fixed_multi_length {
                kept
            } else {
                used_columns(&ids, weights.as_deref(), stored, kept)
            }
        } else {
            1
        };
        let cut_by_request = if data.multi_target {
            data.multi_length < stored
        } else {
            stored > 1
        };

        let ids = leading_columns(ids, stored, kept);
        let mut weights = weights.map(|weights| leading_columns(weights, stored, kept));
        if let Some(weights) = &mut weights
            && data.unit_weights
            && (!self.header.unit_weights || cut_by_request)
        {
            normalise_rows(weights, kept);
        }

        // Rows of the result in its order: target-major for `multi_first`.
        let order: Vec<usize> = if data.multi_first {
            (0..kept)
                .flat_map(|target| (0..samples).map(move |sample| sample * kept + target))
                .collect()
        } else {
            (0..ids.len()).collect()
        };
        let nouns: Vec<usize> = order.iter().map(|&row| ids[row] as usize).collect();
        let columns = targets.batch_columns(&nouns);
        Ok(TargetBatch {
            layout: match (data.multi_target, data.multi_first) {
                (false, _) => TargetLayout::Single,
                (true, false) => TargetLayout::Multi { targets: kept },
                (true, true) => TargetLayout::MultiFirst { targets: kept },
            },
            columns,
            ids: gather(&targets.tokens, targets.columns, columns, &nouns),
            padding: targets
                .use_masks
                .then(|| gather(&targets.padding, targets.columns, columns, &nouns)),
            weights: weights.map(|weights| order.iter().map(|&row| weights[row]).collect()),
        })
    }
}

impl Targets {
    /// Token columns of a batch of these nouns: up to the first column that
    /// is padding in all of them. Without masks nothing is cut.
    fn batch_columns(&self, nouns: &[usize]) -> usize {
        if self.fixed_token_length || !self.use_masks {
            return self.columns;
        }
        (0..self.columns)
            .find(|column| {
                nouns
                    .iter()
                    .all(|noun| self.padding[noun * self.columns + column])
            })
            .unwrap_or(self.columns)
    }
}

/// Number of leading target columns before the first one that no sample uses,
/// at least 1 and at most `limit`. Used is what has a weight or, without
/// weights, an id.
fn used_columns(ids: &[u32], weights: Option<&[f32]>, stored: usize, limit: usize) -> usize {
    let is_used = |at: usize| match weights {
        Some(weights) => weights[at] != 0.0,
        None => ids[at] != 0,
    };
    (1..limit)
        .find(|&column| !(column..ids.len()).step_by(stored).any(is_used))
        .unwrap_or(limit)
}

fn leading_columns<T: Copy>(values: Vec<T>, stored: usize, kept: usize) -> Vec<T> {
    if kept == stored {
        return values;
    }
    values
        .chunks_exact(stored)
        .flat_map(|row| &row[..kept])
        .copied()
        .collect()
}

fn normalise_rows(weights: &mut [f32], width: usize) {
    if width == 1 {
        weights.fill(1.0);
        return;
    }
    for row in weights.chunks_exact_mut(width) {
        let sum = row.iter().sum::<f32>().max(1e-12);
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
}

fn gather<T: Copy>(table: &[T], stored: usize, columns: usize, rows: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.len() * columns);
    for &row in rows {
        out.extend_from_slice(&table[row * stored..row * stored + columns]);
    }
    out
}
