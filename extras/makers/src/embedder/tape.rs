//! A tape of layers: runs them forward, then their gradients backward.
//!
//! Values are row-major matrices; pictures are stored channels-last, one row
//! per position. A tape serves one thread and reuses its buffers.

use super::layers::{self, AttentionShape, Grid};
use super::matrix::{Into, plain, product, turned};
use super::params::Slot;
use std::collections::HashMap;

/// A value on the tape.
pub type Id = usize;

struct Value {
    data: Vec<f32>,
    columns: usize,
}

enum Step {
    Conv {
        x: Id,
        y: Id,
        weight: Slot,
        grid: Grid,
    },
    Linear {
        x: Id,
        y: Id,
        weight: Slot,
        bias: Option<Slot>,
    },
    BatchNorm {
        x: Id,
        y: Id,
        gain: Slot,
        offset: Slot,
        relu: bool,
        moments: Vec<f32>,
    },
    AveragePool {
        x: Id,
        y: Id,
        grid: Grid,
    },
    AddRelu {
        a: Id,
        b: Id,
        y: Id,
    },
    Add {
        a: Id,
        b: Id,
        y: Id,
    },
    LayerNorm {
        x: Id,
        y: Id,
        gain: Slot,
        offset: Slot,
    },
    QuickGelu {
        x: Id,
        y: Id,
    },
    Attention {
        q: Id,
        k: Id,
        v: Id,
        y: Id,
        shape: AttentionShape,
        weights: Vec<f32>,
    },
    MeanToken {
        x: Id,
        y: Id,
        positions: Slot,
        cells: usize,
    },
    Rows {
        x: Id,
        y: Id,
        index: Vec<usize>,
    },
    Embedding {
        y: Id,
        ids: Vec<u32>,
        places: Vec<u32>,
        tokens: Slot,
        positions: Slot,
    },
}

/// Statistics that batch norms use instead of the batch's own.
pub type Running<'a> = Option<&'a [f32]>;

/// The tape of one thread.
#[derive(Default)]
pub struct Tape {
    values: Vec<Value>,
    steps: Vec<Step>,
    free: HashMap<usize, Vec<Vec<f32>>>,
    scratch: Vec<f32>,
    /// Mean and variance of every batch norm in order, from the last run.
    pub moments: Vec<f32>,
}

impl Tape {
    /// Forgets the last run, keeps its buffers.
    pub fn clear(&mut self) {
        for value in std::mem::take(&mut self.values) {
            self.give(value.data);
        }
        self.steps.clear();
        self.moments.clear();
    }

    /// A buffer of `len` values with any content. Lengths vary from text to
    /// text, so buffers are kept by the power of two that holds them.
    fn take(&mut self, len: usize) -> Vec<f32> {
        let room = len.next_power_of_two();
        let kept = self.free.get_mut(&room).and_then(Vec::pop);
        let mut buffer = kept.unwrap_or_else(|| Vec::with_capacity(room));
        buffer.resize(len, 0.0);
        buffer
    }

    fn give(&mut self, buffer: Vec<f32>) {
        let room = buffer.len().next_power_of_two();
        self.free.entry(room).or_default().push(buffer);
    }

    fn push(&mut self, data: Vec<f32>, columns: usize) -> Id {
        self.values.push(Value { data, columns });
        self.values.len() - 1
    }

    /// The values of `id`.
    pub fn data(&self, id: Id) -> &[f32] {
        &self.values[id].data
    }

    fn columns(&self, id: Id) -> usize {
        self.values[id].columns
    }

    fn rows(&self, id: Id) -> usize {
        self.values[id].data.len() / self.values[id].columns
    }

    /// Puts an input on the tape.
    pub fn input(&mut self, data: &[f32], columns: usize) -> Id {
        let mut buffer = self.take(data.len());
        buffer.copy_from_slice(data);
        self.push(buffer, columns)
    }

    /// 3 × 3 convolution, padding 1; weights `[9 · in, out]`.
    pub fn conv(&mut self, p: &[f32], x: Id, weight: Slot, mut grid: Grid) -> Id {
        grid.channels = self.columns(x);
        let out = weight.len / (9 * grid.channels);
        let mut y = self.take(grid.pictures * grid.out_cells() * out);
        layers::conv(
            &self.values[x].data,
            weight.of(p),
            grid,
            &mut y,
            &mut self.scratch,
        );
        let y = self.push(y, out);
        self.steps.push(Step::Conv { x, y, weight, grid });
        y
    }

    /// `x · weight + bias`; weights `[in, out]`.
    pub fn linear(&mut self, p: &[f32], x: Id, weight: Slot, bias: Option<Slot>) -> Id {
        let (rows, inner) = (self.rows(x), self.columns(x));
        let out = weight.len / inner;
        let mut y = self.take(rows * out);
        product(
            rows,
            inner,
            out,
            plain(&self.values[x].data, inner),
            plain(weight.of(p), out),
            &mut y,
            Into::Replace,
        );
        if let Some(bias) = bias {
            for row in y.chunks_mut(out) {
                row.iter_mut().zip(bias.of(p)).for_each(|(y, b)| *y += b);
            }
        }
        let y = self.push(y, out);
        self.steps.push(Step::Linear { x, y, weight, bias });
        y
    }

    /// Batch norm over rows, optionally followed by ReLU.
    pub fn batch_norm(
        &mut self,
        p: &[f32],
        x: Id,
        gain: Slot,
        offset: Slot,
        relu: bool,
        running: Running<'_>,
    ) -> Id {
        let c = self.columns(x);
        let mut y = self.take(self.values[x].data.len());
        let moments = match running {
            Some(all) => all[self.moments.len()..self.moments.len() + 2 * c].to_vec(),
            None => layers::moments(&self.values[x].data, c),
        };
        layers::batch_norm(
            &self.values[x].data,
            &moments,
            gain.of(p),
            offset.of(p),
            relu,
            &mut y,
        );
        self.moments.extend(&moments);
        let y = self.push(y, c);
        self.steps.push(Step::BatchNorm {
            x,
            y,
            gain,
            offset,
            relu,
            moments,
        });
        y
    }

    /// Mean over 2 × 2 cells.
    pub fn average_pool(&mut self, x: Id, mut grid: Grid) -> Id {
        grid.channels = self.columns(x);
        let mut y = self.take(self.values[x].data.len() / 4);
        layers::average_pool(&self.values[x].data, grid, &mut y);
        let y = self.push(y, grid.channels);
        self.steps.push(Step::AveragePool { x, y, grid });
        y
    }

    /// `max(a + b, 0)`.
    pub fn add_relu(&mut self, a: Id, b: Id) -> Id {
        let mut y = self.take(self.values[a].data.len());
        for ((y, a), b) in y
            .iter_mut()
            .zip(&self.values[a].data)
            .zip(&self.values[b].data)
        {
            *y = (a + b).max(0.0);
        }
        let y = self.push(y, self.columns(a));
        self.steps.push(Step::AddRelu { a, b, y });
        y
    }

    /// `a + b`.
    pub fn add(&mut self, a: Id, b: Id) -> Id {
        let mut y = self.take(self.values[a].data.len());
        for ((y, a), b) in y
            .iter_mut()
            .zip(&self.values[a].data)
            .zip(&self.values[b].data)
        {
            *y = a + b;
        }
        let y = self.push(y, self.columns(a));
        self.steps.push(Step::Add { a, b, y });
        y
    }

    /// Layer norm of every row.
    pub fn layer_norm(&mut self, p: &[f32], x: Id, gain: Slot, offset: Slot) -> Id {
        let c = self.columns(x);
        let mut y = self.take(self.values[x].data.len());
        layers::layer_norm(&self.values[x].data, gain.of(p), offset.of(p), &mut y);
        let y = self.push(y, c);
        self.steps.push(Step::LayerNorm { x, y, gain, offset });
        y
    }

    /// `x · sigmoid(1.702 x)`.
    pub fn quick_gelu(&mut self, x: Id) -> Id {
        let mut y = self.take(self.values[x].data.len());
        layers::quick_gelu(&self.values[x].data, &mut y);
        let y = self.push(y, self.columns(x));
        self.steps.push(Step::QuickGelu { x, y });
        y
    }

    /// Multi-head attention inside every segment of rows.
    pub fn attention(&mut self, q: Id, k: Id, v: Id, shape: AttentionShape) -> Id {
        let c = self.columns(q);
        let mut y = self.take(self.values[q].data.len());
        let weights = layers::attention(
            &self.values[q].data,
            &self.values[k].data,
            &self.values[v].data,
            c,
            &shape,
            &mut y,
        );
        let y = self.push(y, c);
        self.steps.push(Step::Attention {
            q,
            k,
            v,
            y,
            shape,
            weights,
        });
        y
    }

    /// Puts the mean of each picture's cells before them and adds positions.
    pub fn mean_token(&mut self, p: &[f32], x: Id, positions: Slot, cells: usize) -> Id {
        let c = self.columns(x);
        let mut y = self.take(self.rows(x) / cells * (cells + 1) * c);
        layers::mean_token(&self.values[x].data, positions.of(p), c, cells, &mut y);
        let y = self.push(y, c);
        self.steps.push(Step::MeanToken {
            x,
            y,
            positions,
            cells,
        });
        y
    }

    /// Selected rows.
    pub fn select(&mut self, x: Id, index: Vec<usize>) -> Id {
        let c = self.columns(x);
        let mut y = self.take(index.len() * c);
        for (row, &i) in y.chunks_mut(c).zip(&index) {
            row.copy_from_slice(&self.values[x].data[i * c..(i + 1) * c]);
        }
        let y = self.push(y, c);
        self.steps.push(Step::Rows { x, y, index });
        y
    }

    /// Token plus position embeddings.
    pub fn embedding(
        &mut self,
        p: &[f32],
        ids: Vec<u32>,
        places: Vec<u32>,
        tokens: Slot,
        positions: Slot,
        c: usize,
    ) -> Id {
        let mut y = self.take(ids.len() * c);
        let (table, spots) = (tokens.of(p), positions.of(p));
        for ((row, &id), &place) in y.chunks_mut(c).zip(&ids).zip(&places) {
            let (id, place) = (id as usize * c, place as usize * c);
            for ((y, t), s) in row
                .iter_mut()
                .zip(&table[id..id + c])
                .zip(&spots[place..place + c])
            {
                *y = t + s;
            }
        }
        let y = self.push(y, c);
        self.steps.push(Step::Embedding {
            y,
            ids,
            places,
            tokens,
            positions,
        });
        y
    }

    /// Runs backward from the gradient of value `id`, adding to `grads`.
    pub fn backward(&mut self, p: &[f32], id: Id, gradient: &[f32], grads: &mut [f32]) {
        let mut due: Vec<Option<Vec<f32>>> = (0..self.values.len()).map(|_| None).collect();
        let mut first = self.take(gradient.len());
        first.copy_from_slice(gradient);
        due[id] = Some(first);
        let steps = std::mem::take(&mut self.steps);
        for step in steps.iter().rev() {
            let y = step.output();
            let Some(mut dy) = due[y].take() else {
                continue;
            };
            let c = self.columns(y);
            match step {
                Step::Conv {
                    x, weight, grid, ..
                } => {
                    let xs = &self.values[*x].data;
                    layers::conv_weight_gradient(
                        xs,
                        &dy,
                        *grid,
                        weight.of_mut(grads),
                        &mut self.scratch,
                    );
                    if *x > 0 {
                        let mut dx = self.take(self.values[*x].data.len());
                        layers::conv_input_gradient(
                            &dy,
                            weight.of(p),
                            *grid,
                            &mut dx,
                            &mut self.scratch,
                        );
                        self.collect(&mut due, *x, dx);
                    }
                }
                Step::Linear {
                    x, weight, bias, ..
                } => {
                    let (rows, inner) = (self.rows(*x), self.columns(*x));
                    let xs = &self.values[*x].data;
                    product(
                        inner,
                        rows,
                        c,
                        turned(xs, inner),
                        plain(&dy, c),
                        weight.of_mut(grads),
                        Into::Add,
                    );
                    if let Some(bias) = bias {
                        let db = bias.of_mut(grads);
                        for row in dy.chunks(c) {
                            db.iter_mut().zip(row).for_each(|(b, d)| *b += d);
                        }
                    }
                    let mut dx = self.take(rows * inner);
                    product(
                        rows,
                        c,
                        inner,
                        plain(&dy, c),
                        turned(weight.of(p), c),
                        &mut dx,
                        Into::Replace,
                    );
                    self.collect(&mut due, *x, dx);
                }
                Step::BatchNorm {
                    x,
                    gain,
                    offset,
                    relu,
                    moments,
                    ..
                } => {
                    if *relu {
                        layers::gate(&self.values[y].data, &mut dy);
                    }
                    let (dg, db) = layers::batch_norm_sums(&self.values[*x].data, &dy, moments);
                    gain.of_mut(grads)
                        .iter_mut()
                        .zip(&dg)
                        .for_each(|(g, d)| *g += d);
                    offset
                        .of_mut(grads)
                        .iter_mut()
                        .zip(&db)
                        .for_each(|(g, d)| *g += d);
                    let mut dx = self.take(dy.len());
                    layers::batch_norm_gradient(
                        &self.values[*x].data,
                        &dy,
                        moments,
                        gain.of(p),
                        &dg,
                        &db,
                        &mut dx,
                    );
                    self.collect(&mut due, *x, dx);
                }
                Step::AveragePool { x, grid, .. } => {
                    let mut dx = self.take(dy.len() * 4);
                    layers::average_pool_gradient(&dy, *grid, &mut dx);
                    self.collect(&mut due, *x, dx);
                }
                Step::AddRelu { a, b, .. } => {
                    layers::gate(&self.values[y].data, &mut dy);
                    let mut other = self.take(dy.len());
                    other.copy_from_slice(&dy);
                    self.collect(&mut due, *a, other);
                    let mut other = self.take(dy.len());
                    other.copy_from_slice(&dy);
                    self.collect(&mut due, *b, other);
                }
                Step::Add { a, b, .. } => {
                    for id in [*a, *b] {
                        let mut other = self.take(dy.len());
                        other.copy_from_slice(&dy);
                        self.collect(&mut due, id, other);
                    }
                }
                Step::LayerNorm {
                    x, gain, offset, ..
                } => {
                    let mut dx = self.take(dy.len());
                    let xs = &self.values[*x].data;
                    let (dg, db) = layers::layer_norm_gradient(xs, &dy, gain.of(p), &mut dx);
                    gain.of_mut(grads)
                        .iter_mut()
                        .zip(&dg)
                        .for_each(|(g, d)| *g += d);
                    offset
                        .of_mut(grads)
                        .iter_mut()
                        .zip(&db)
                        .for_each(|(g, d)| *g += d);
                    self.collect(&mut due, *x, dx);
                }
                Step::QuickGelu { x, .. } => {
                    let mut dx = self.take(dy.len());
                    layers::quick_gelu_gradient(&self.values[*x].data, &dy, &mut dx);
                    self.collect(&mut due, *x, dx);
                }
                Step::Attention {
                    q,
                    k,
                    v,
                    shape,
                    weights,
                    ..
                } => {
                    let mut dq = self.take(self.values[*q].data.len());
                    let mut dk = self.take(self.values[*k].data.len());
                    let mut dv = self.take(self.values[*v].data.len());
                    let inputs = [*q, *k, *v].map(|id| self.values[id].data.as_slice());
                    layers::attention_gradient(
                        inputs,
                        c,
                        shape,
                        weights,
                        &dy,
                        [&mut dq, &mut dk, &mut dv],
                    );
                    self.collect(&mut due, *q, dq);
                    self.collect(&mut due, *k, dk);
                    self.collect(&mut due, *v, dv);
                }
                Step::MeanToken {
                    x,
                    positions,
                    cells,
                    ..
                } => {
                    let mut dx = self.take(self.values[*x].data.len());
                    layers::mean_token_gradient(&dy, c, *cells, positions.of_mut(grads), &mut dx);
                    self.collect(&mut due, *x, dx);
                }
                Step::Rows { x, index, .. } => {
                    let mut dx = self.take(self.values[*x].data.len());
                    dx.fill(0.0);
                    for (row, &i) in dy.chunks(c).zip(index) {
                        dx[i * c..(i + 1) * c]
                            .iter_mut()
                            .zip(row)
                            .for_each(|(x, d)| *x += d);
                    }
                    self.collect(&mut due, *x, dx);
                }
                Step::Embedding {
                    ids,
                    places,
                    tokens,
                    positions,
                    ..
                } => {
                    for ((row, &id), &place) in dy.chunks(c).zip(ids).zip(places) {
                        for (slot, at) in [(tokens, id), (positions, place)] {
                            let at = at as usize * c;
                            let g = &mut slot.of_mut(grads)[at..at + c];
                            g.iter_mut().zip(row).for_each(|(g, d)| *g += d);
                        }
                    }
                }
            }
            self.give(dy);
        }
        for rest in due.into_iter().flatten() {
            self.give(rest);
        }
        self.steps = steps;
    }

    /// Adds a gradient to those already due at a value.
    fn collect(&mut self, due: &mut [Option<Vec<f32>>], id: Id, gradient: Vec<f32>) {
        match &mut due[id] {
            Some(sum) => {
                sum.iter_mut().zip(&gradient).for_each(|(s, g)| *s += g);
                self.give(gradient);
            }
            empty => *empty = Some(gradient),
        }
    }
}

impl Step {
    fn output(&self) -> Id {
        match self {
            Self::Conv { y, .. }
            | Self::Linear { y, .. }
            | Self::BatchNorm { y, .. }
            | Self::AveragePool { y, .. }
            | Self::AddRelu { y, .. }
            | Self::Add { y, .. }
            | Self::LayerNorm { y, .. }
            | Self::QuickGelu { y, .. }
            | Self::Attention { y, .. }
            | Self::MeanToken { y, .. }
            | Self::Rows { y, .. }
            | Self::Embedding { y, .. } => *y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::params::{Kind, Params};
    use super::*;

    /// The gradient of `sum(output · direction)` along a random line must be
    /// its difference quotient.
    fn check(params: &Params, build: impl Fn(&mut Tape, &[f32]) -> Id) {
        let mut tape = Tape::default();
        let out = build(&mut tape, &params.values);
        let direction: Vec<f32> = (0..tape.data(out).len())
            .map(|i| ((i * 37 % 19) as f32 - 9.0) / 9.0)
            .collect();
        let mut grads = vec![0.0; params.values.len()];
        tape.backward(&params.values, out, &direction, &mut grads);
        for (name, slot, _) in &params.entries {
            let line: Vec<f32> = (0..slot.len)
                .map(|i| ((i * 53 % 23) as f32 - 11.0) / 11.0)
                .collect();
            let expected: f64 = slot
                .of(&grads)
                .iter()
                .zip(&line)
                .map(|(g, l)| f64::from(*g) * f64::from(*l))
                .sum();
            let value = |step: f32| -> f64 {
                let mut moved = params.values.clone();
                slot.of_mut(&mut moved)
                    .iter_mut()
                    .zip(&line)
                    .for_each(|(v, l)| *v += step * l);
                let mut tape = Tape::default();
                let out = build(&mut tape, &moved);
                tape.data(out)
                    .iter()
                    .zip(&direction)
                    .map(|(y, d)| f64::from(*y) * f64::from(*d))
                    .sum()
            };
            let found = (value(1e-3) - value(-1e-3)) / 2e-3;
            let scale = expected.abs().max(found.abs()).max(1.0);
            assert!(
                (expected - found).abs() < 0.02 * scale,
                "{name}: gradient {expected}, difference {found}"
            );
        }
    }

    #[test]
    fn picture_layers() {
        let mut params = Params::default();
        let first = params.normal("first", Kind::Plain, 9 * 3 * 4, 0.3);
        let conv = params.normal("conv", Kind::Plain, 9 * 4 * 6, 0.3);
        let gain = params.normal("gain", Kind::Plain, 6, 1.0);
        let offset = params.normal("offset", Kind::Plain, 6, 1.0);
        let side = params.normal("side", Kind::Plain, 4 * 6, 0.5);
        let positions = params.normal("positions", Kind::Plain, 5 * 6, 0.5);
        let q = params.normal("q", Kind::Plain, 36, 0.5);
        let k = params.normal("k", Kind::Plain, 36, 0.5);
        let bias = params.normal("bias", Kind::Plain, 6, 0.5);
        let pixels: Vec<f32> = (0..2 * 8 * 8 * 3)
            .map(|i| ((i * 29 % 31) as f32 - 15.0) / 15.0)
            .collect();
        check(&params, |tape, p| {
            let x = tape.input(&pixels, 3);
            let x = tape.conv(p, x, first, Grid::square(2, 8).stride(2));
            let y = tape.conv(p, x, conv, Grid::square(2, 4));
            let y = tape.batch_norm(p, y, gain, offset, false, None);
            let x = tape.linear(p, x, side, None);
            let x = tape.add(x, y);
            let x = tape.average_pool(x, Grid::square(2, 4));
            let tokens = tape.mean_token(p, x, positions, 4);
            let first = tape.select(tokens, vec![0, 5]);
            let query = tape.linear(p, first, q, Some(bias));
            let key = tape.linear(p, tokens, k, None);
            let shape = AttentionShape {
                heads: 2,
                queries: vec![1; 2],
                keys: vec![5; 2],
                causal: false,
            };
            tape.attention(query, key, tokens, shape)
        });
    }

    #[test]
    fn text_layers() {
        let mut params = Params::default();
        let tokens = params.normal("tokens", Kind::Plain, 7 * 8, 1.0);
        let positions = params.normal("positions", Kind::Plain, 4 * 8, 1.0);
        let gain = params.normal("gain", Kind::Plain, 8, 1.0);
        let offset = params.normal("offset", Kind::Plain, 8, 1.0);
        let q = params.normal("q", Kind::Plain, 64, 0.4);
        let k = params.normal("k", Kind::Plain, 64, 0.4);
        let bias = params.normal("bias", Kind::Plain, 8, 0.5);
        check(&params, |tape, p| {
            let x = tape.embedding(
                p,
                vec![0, 3, 6, 1, 3],
                vec![0, 1, 2, 0, 1],
                tokens,
                positions,
                8,
            );
            let normed = tape.layer_norm(p, x, gain, offset);
            let query = tape.linear(p, normed, q, Some(bias));
            let key = tape.linear(p, normed, k, None);
            let shape = AttentionShape {
                heads: 2,
                queries: vec![3, 2],
                keys: vec![3, 2],
                causal: true,
            };
            let mixed = tape.attention(query, key, normed, shape);
            let x = tape.add(x, mixed);
            tape.quick_gelu(x)
        });
    }
}
