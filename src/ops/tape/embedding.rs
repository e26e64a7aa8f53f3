//! Assembly of the transformer's input rows: prefix rows, token embeddings,
//! positions and dropout in one pass.

use candle_core::Result;
use rayon::prelude::*;

use super::dropout::{Dropout, factor};
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
    fn mask(values: &mut [f32], dropout: Dropout, first: u32) {
        for (i, value) in (first..).zip(values.iter_mut()) {
            *value *= dropout.factor(i);
        }
    }
}

fn scattered(gradients: &mut Gradients, target: &Value, parts: &[(&[u32], &[f32])], width: usize) {
    let Some(slot) = target.slot else {
        return;
    };
    let mut sum = gradients.take_or_zeros(slot, target.shape().elem_count());
    for (rows, values) in parts {
        scatter_add(&mut sum, rows, values, width);
    }
    gradients.add(slot, sum);
}

/// Rows of one parallel task.
const TASK_ROWS: usize = 64;

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
        let (_, width) = positions.dims2()?;
        let mut y = self.pool.take(rows.len() * width);
        assemble(&mut y, prefix, table, positions, rows, dropout)?;
        let saved = (
            prefix.clone(),
            table.clone(),
            positions.clone(),
            rows.clone(),
        );
        let inputs = [prefix.slot, table.slot, positions.slot];
        let shape = (rows.len(), width);
        Ok(self.push(y, shape, &inputs, move |mut dy, gradients| {
            let (prefix, table, positions, rows) = saved;
            if let Some(dropout) = dropout {
                let task = TASK_ROWS * width;
                dy.par_chunks_mut(task)
                    .enumerate()
                    .for_each(|(i, dy)| mask(dy, dropout, (i * task) as u32));
            }
            let (of_prefix, of_tokens) = dy.split_at(rows.prefix_rows.len() * width);
            scattered(gradients, &prefix, &[(&rows.prefix_rows, of_prefix)], width);
            scattered(gradients, &table, &[(&rows.tokens, of_tokens)], width);
            let parts = [
                (rows.prefix_positions.as_slice(), of_prefix),
                (rows.token_positions.as_slice(), of_tokens),
            ];
            scattered(gradients, &positions, &parts, width);
            Ok(())
        }))
    }
}

fn assemble(
    y: &mut [f32],
    prefix: &Value,
    table: &Value,
    positions: &Value,
    rows: &InputRows,
    dropout: Option<Dropout>,
) -> Result<()> {
    let (_, width) = positions.dims2()?;
    let (prefix, table, positions) = (prefix.values()?, table.values()?, positions.values()?);
    let [prefix, table, positions]: [&[f32]; 3] = [&prefix, &table, &positions];
    let row = |index: u32| index as usize * width..(index as usize + 1) * width;
    let first_token = rows.prefix_rows.len();
    y.par_chunks_mut(TASK_ROWS * width)
        .enumerate()
        .for_each(|(task, y)| {
            for (i, y) in (task * TASK_ROWS..).zip(y.chunks_exact_mut(width)) {
                let (content, position) = if i < first_token {
                    let content = &prefix[row(rows.prefix_rows[i])];
                    (content, rows.prefix_positions[i])
                } else {
                    let content = &table[row(rows.tokens[i - first_token])];
                    (content, rows.token_positions[i - first_token])
                };
                let position = &positions[row(position)];
                input_row(content, position, dropout, (i * width) as u32, y);
            }
        });
    Ok(())
}
