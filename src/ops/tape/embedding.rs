//! Assembly of the transformer's input rows: prefix rows, token embeddings,
//! positions and dropout in one pass.

use candle_core::{Result, Tensor};

use super::dropout::{Dropout, factor};
use super::host::{host, tensor};
use super::math::kernel;
use super::record::{Gradients, Tape, Value};
use super::rows::scatter_add;

/// Where the input rows come from: first the prefix rows, then token rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRows {
    /// Rows of the prefix matrix, repetitions allowed.
    pub prefix_rows: Vec<u32>,
    /// Their positions.
    pub prefix_positions: Vec<u32>,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Their positions.
    pub token_positions: Vec<u32>,
}

impl InputRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.prefix_rows.len() + self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

kernel! {
    fn input_row(content: &[f32], position: &[f32], dropout: Option<Dropout>, first: u32, y: &mut [f32]) {
        for (i, ((y, &c), &p)) in (first..).zip(y.iter_mut().zip(content).zip(position)) {
            *y = (c + p) * factor(dropout, i);
        }
    }
}

kernel! {
    fn mask(values: &mut [f32], dropout: Dropout) {
        for (i, value) in (0..).zip(values.iter_mut()) {
            *value *= dropout.factor(i);
        }
    }
}

fn scattered(
    gradients: &mut Gradients,
    target: &Value,
    parts: &[(&[u32], &[f32])],
    width: usize,
) -> Result<()> {
    let Some(slot) = target.slot else {
        return Ok(());
    };
    let mut sum = match gradients.take(slot) {
        Some(present) => host(&present)?.to_vec(),
        None => vec![0.0; target.tensor.elem_count()],
    };
    for (rows, values) in parts {
        scatter_add(&mut sum, rows, values, width);
    }
    gradients.add(slot, tensor(sum, target.tensor.shape())?)
}

impl Tape {
    /// `prefix` `[R, E]` (not read if `rows` has no prefix rows), token `table`
    /// `[V, E]`, `positions` `[S, E]` to `[T, E]`. Indices must be in range.
    pub fn input_rows(
        &mut self,
        prefix: &Value,
        table: &Value,
        positions: &Value,
        rows: &InputRows,
        dropout: Option<Dropout>,
    ) -> Result<Value> {
        let width = positions.tensor.dim(1)?;
        let y = assemble(
            &prefix.tensor,
            &table.tensor,
            &positions.tensor,
            rows,
            dropout,
        )?;
        let saved = (
            prefix.clone(),
            table.clone(),
            positions.clone(),
            rows.clone(),
        );
        Ok(self.push(
            y,
            &[prefix, table, positions],
            move |gradient, gradients| {
                let (prefix, table, positions, rows) = saved;
                let mut dy = host(&gradient)?.to_vec();
                if let Some(dropout) = dropout {
                    mask(&mut dy, dropout);
                }
                let (of_prefix, of_tokens) = dy.split_at(rows.prefix_rows.len() * width);
                scattered(gradients, &prefix, &[(&rows.prefix_rows, of_prefix)], width)?;
                scattered(gradients, &table, &[(&rows.tokens, of_tokens)], width)?;
                let parts = [
                    (rows.prefix_positions.as_slice(), of_prefix),
                    (rows.token_positions.as_slice(), of_tokens),
                ];
                scattered(gradients, &positions, &parts, width)
            },
        ))
    }
}

fn assemble(
    prefix: &Tensor,
    table: &Tensor,
    positions: &Tensor,
    rows: &InputRows,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let width = positions.dim(1)?;
    let (prefix, table, positions) = (host(prefix)?, host(table)?, host(positions)?);
    let row = |index: u32| index as usize * width..(index as usize + 1) * width;
    let mut y = vec![0.0; rows.len() * width];
    let contents = rows
        .prefix_rows
        .iter()
        .map(|&index| &prefix[row(index)])
        .chain(rows.tokens.iter().map(|&id| &table[row(id)]));
    let places = rows.prefix_positions.iter().chain(&rows.token_positions);
    for (i, ((y, content), &place)) in y
        .chunks_exact_mut(width)
        .zip(contents)
        .zip(places)
        .enumerate()
    {
        let position = &positions[row(place)];
        input_row(content, position, dropout, (i * width) as u32, y);
    }
    tensor(y, (rows.len(), width))
}
