//! A batch as rows of equal length: one row per target in which something
//! counts, prefix positions first, then tokens up to the longest row's last
//! one.

use crate::cache::batch::TargetBatch;
use crate::decoder::packing::Targets;

/// A batch in padded form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PaddedRows {
    /// Sample of each row.
    pub samples: Vec<u32>,
    /// Tokens of a row, behind its prefix.
    pub tokens: usize,
    /// Token ids `[rows, tokens]`; what is behind a row's own tokens is never
    /// seen by what counts.
    pub ids: Vec<u32>,
    /// Row of the states, flattened over rows and positions, that predicts each
    /// counted position.
    pub states: Vec<u32>,
    /// Which counted position each row of the states predicts; their number
    /// where it predicts none.
    pub predicted: Vec<u32>,
    /// Flat index `target row·C + column` of each counted position.
    pub places: Vec<u32>,
}

impl PaddedRows {
    /// Rows for the positions that count, from column `first` on.
    pub fn new(batch: &TargetBatch, targets: &Targets, prefix_len: usize, first: usize) -> Self {
        let columns = batch.columns;
        let counts = |row: usize, t: usize| t >= first && !targets.padding[row * columns + t];
        // Target row and its last counted column, which is its number of
        // tokens.
        let used: Vec<(usize, usize)> = (0..targets.rows)
            .filter_map(|row| Some((row, (first..columns).rev().find(|&t| counts(row, t))?)))
            .collect();
        let tokens = used.iter().map(|&(_, length)| length).max().unwrap_or(0);
        let positions = prefix_len + tokens;
        let mut rows = Self {
            samples: Vec::with_capacity(used.len()),
            tokens,
            ids: Vec::with_capacity(used.len() * tokens),
            states: Vec::new(),
            predicted: vec![0; used.len() * positions],
            places: Vec::new(),
        };
        for (number, &(row, length)) in used.iter().enumerate() {
            rows.samples.push(targets.samples[row]);
            let start = row * columns;
            rows.ids.extend(&batch.ids[start..start + tokens]);
            for t in (first..=length).filter(|&t| counts(row, t)) {
                let state = number * positions + prefix_len - 1 + t;
                rows.states.push(state as u32);
                rows.places.push((start + t) as u32);
            }
        }
        rows.predicted.fill(rows.states.len() as u32);
        for (number, &state) in rows.states.iter().enumerate() {
            rows.predicted[state as usize] = number as u32;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::batch::TargetLayout;
    use crate::decoder::architecture::Dimensions;

    #[test]
    fn absent_targets_have_no_row_and_rows_end_with_the_longest_target() {
        let batch = TargetBatch {
            layout: TargetLayout::Multi { targets: 2 },
            columns: 4,
            ids: vec![3, 0, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0, 7, 0, 0, 0],
            padding: Some(
                [
                    [false, false, true, true],
                    [true; 4],
                    [false, false, false, true],
                    [false, false, true, true],
                ]
                .concat(),
            ),
            weights: None,
        };
        let dimensions = Dimensions {
            embed_dim: 2,
            vocab_size: 9,
            token_length: 4,
        };
        let targets = Targets::new(&batch, 2, dimensions, 1).unwrap();
        let rows = PaddedRows::new(&batch, &targets, 3, 0);
        assert_eq!(rows.samples, [0, 1, 1]);
        assert_eq!((rows.tokens, rows.ids), (2, vec![3, 0, 5, 6, 7, 0]));
        assert_eq!(rows.states, [2, 3, 7, 8, 9, 12, 13]);
        assert_eq!(rows.predicted[..5], [7, 7, 0, 1, 7]);
        assert_eq!(rows.predicted[5..], [7, 7, 2, 3, 4, 7, 7, 5, 6, 7]);
        assert_eq!(rows.places, [0, 1, 8, 9, 10, 12, 13]);
    }
}
