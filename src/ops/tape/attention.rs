//! Multi-head attention over packed sequences without padding, and over a
//! key-value cache (`decoder.md` sections 2 and 12).
//!
//! Rows hold query, key and value side by side: `[T, 3E]`, each with its heads
//! as contiguous blocks of `E / heads`. Sequences are a handful of rows long,
//! so scores are recomputed in the backward pass rather than stored.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::dropout::{Dropout, factor};
use super::host::tensor;
use super::math::{add_scaled, dot, exp, kernel, max};
use super::record::{Gradients, Tape, Value};

/// Rows of a batch: first `groups × prefix_len` prefix rows, then the token
/// rows of all sequences in order. The sequences of a group share its prefix
/// and see nothing of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedSequences {
    /// Number of heads; divides `E`.
    pub heads: usize,
    /// Prefix rows `P` per group.
    pub prefix_len: usize,
    /// Whether a prefix row sees only itself and those before it.
    pub causal_prefix: bool,
    /// Number of sequences of each group.
    pub group_sizes: Vec<u32>,
    /// Token rows of each sequence.
    pub lengths: Vec<u32>,
}

impl PackedSequences {
    fn max_keys(&self) -> usize {
        self.prefix_len
            + self
                .lengths
                .iter()
                .max()
                .map_or(0, |&length| length as usize)
    }

    /// Splits prefix and token rows into one piece per group: (sequence
    /// lengths, first token row, prefix rows, token rows).
    fn groups<'a>(
        &'a self,
        rows: &'a [f32],
        width: usize,
    ) -> impl Iterator<Item = (&'a [u32], u32, &'a [f32], &'a [f32])> {
        let (prefix, mut tokens) = rows.split_at(self.group_sizes.len() * self.prefix_len * width);
        let mut lengths = self.lengths.as_slice();
        let mut first = 0;
        self.group_sizes
            .iter()
            .zip(prefix.chunks_exact(self.prefix_len * width))
            .map(move |(&size, prefix)| {
                let (own, other) = lengths.split_at(size as usize);
                lengths = other;
                let count: u32 = own.iter().sum();
                let (own_tokens, other) = tokens.split_at(count as usize * width);
                tokens = other;
                let start = first;
                first += count;
                (own, start, prefix, own_tokens)
            })
    }

    fn groups_mut<'a>(
        &'a self,
        rows: &'a mut [f32],
        width: usize,
    ) -> impl Iterator<Item = (&'a mut [f32], &'a mut [f32])> {
        let (prefix, mut tokens) =
            rows.split_at_mut(self.group_sizes.len() * self.prefix_len * width);
        let mut lengths = self.lengths.as_slice();
        self.group_sizes
            .iter()
            .zip(prefix.chunks_exact_mut(self.prefix_len * width))
            .map(move |(&size, prefix)| {
                let (own, other) = lengths.split_at(size as usize);
                lengths = other;
                let count = own.iter().sum::<u32>() as usize;
                let (own_tokens, other) = std::mem::take(&mut tokens).split_at_mut(count * width);
                tokens = other;
                (prefix, own_tokens)
            })
    }

    fn visible_prefix(&self, row: usize) -> usize {
        if self.causal_prefix {
            row + 1
        } else {
            self.prefix_len
        }
    }
}

/// Where a query's dropout factors come from: element `first + head·stride +
/// key` of the site.
#[derive(Clone, Copy)]
struct Mask {
    dropout: Option<Dropout>,
    first: u32,
    stride: u32,
}

impl Mask {
    fn row(dropout: Option<Dropout>, row: usize, heads: usize, keys: usize) -> Self {
        Self {
            dropout,
            first: (row * heads * keys) as u32,
            stride: keys as u32,
        }
    }

    #[inline(always)]
    fn factor(self, head: usize, key: usize) -> f32 {
        let index = self.first + head as u32 * self.stride + key as u32;
        factor(self.dropout, index)
    }
}

/// Softmax of the scaled scores of one head, into `probabilities`.
#[inline(always)]
fn probabilities(query: &[f32], keys: &[&[f32]], offset: usize, scale: f32, p: &mut [f32]) {
    for (p, key) in p.iter_mut().zip(keys) {
        *p = dot(query, &key[offset..offset + query.len()]) * scale;
    }
    let top = max(p);
    let mut sum = 0.0;
    for p in p.iter_mut() {
        *p = exp(*p - top);
        sum += *p;
    }
    for p in p.iter_mut() {
        *p /= sum;
    }
}

kernel! {
    /// One query row over the key rows it sees; `p` has one place per key.
    fn attend(heads: usize, query: &[f32], keys: &[&[f32]], mask: Mask, p: &mut [f32], out: &mut [f32]) {
        let width = out.len();
        let size = width / heads;
        let scale = 1.0 / (size as f32).sqrt();
        for (head, out) in out.chunks_exact_mut(size).enumerate() {
            let start = head * size;
            probabilities(&query[start..start + size], keys, width + start, scale, p);
            out.fill(0.0);
            for (j, (&p, key)) in p.iter().zip(keys).enumerate() {
                let value = &key[2 * width + start..2 * width + start + size];
                add_scaled(out, p * mask.factor(head, j), value);
            }
        }
    }
}

kernel! {
    /// Gradients of one query row: `dquery` `[E]` is set, `dkeys` (key and
    /// value side by side, `[keys, 2E]`) is added to. `p` and `dp` have one
    /// place per key.
    fn attend_backward(
        heads: usize,
        query: &[f32],
        keys: &[&[f32]],
        mask: Mask,
        dout: &[f32],
        p: &mut [f32],
        dp: &mut [f32],
        dquery: &mut [f32],
        dkeys: &mut [f32],
    ) {
        let width = dout.len();
        let size = width / heads;
        let scale = 1.0 / (size as f32).sqrt();
        for (head, (dout, dquery)) in dout
            .chunks_exact(size)
            .zip(dquery.chunks_exact_mut(size))
            .enumerate()
        {
            let start = head * size;
            let query = &query[start..start + size];
            probabilities(query, keys, width + start, scale, p);
            let mut mean = 0.0;
            for (j, key) in keys.iter().enumerate() {
                let kept = mask.factor(head, j);
                let value = &key[2 * width + start..2 * width + start + size];
                let dvalue = &mut dkeys[(2 * j + 1) * width + start..(2 * j + 1) * width + start + size];
                add_scaled(dvalue, p[j] * kept, dout);
                dp[j] = dot(dout, value) * kept;
                mean += p[j] * dp[j];
            }
            dquery.fill(0.0);
            for (j, key) in keys.iter().enumerate() {
                let slope = p[j] * (dp[j] - mean) * scale;
                // Saturated attention leaves subnormal numbers, which the
                // matrix products behind this would multiply many times slower.
                let slope = if slope.abs() < 1e-30 { 0.0 } else { slope };
                add_scaled(dquery, slope, &key[width + start..width + start + size]);
                add_scaled(&mut dkeys[2 * j * width + start..2 * j * width + start + size], slope, query);
            }
        }
    }
}

/// Attention of `qkv` `[T, 3E]` into `out` `[T, E]`.
fn forward(
    qkv: &[f32],
    width: usize,
    sequences: &PackedSequences,
    dropout: Option<Dropout>,
    out: &mut [f32],
) {
    let (heads, prefix_len) = (sequences.heads, sequences.prefix_len);
    let max_keys = sequences.max_keys();
    let token_base = sequences.group_sizes.len() * prefix_len;
    let tasks: Vec<_> = sequences
        .groups(qkv, 3 * width)
        .zip(sequences.groups_mut(out, width))
        .collect();
    tasks.into_par_iter().enumerate().for_each_init(
        || vec![0.0; max_keys],
        |p, (group, ((lengths, first, prefix, tokens), (out_prefix, mut out_tokens)))| {
            let mut keys: Vec<&[f32]> = prefix.chunks_exact(3 * width).collect();
            for (i, out) in out_prefix.chunks_exact_mut(width).enumerate() {
                let mask = Mask::row(dropout, group * prefix_len + i, heads, max_keys);
                let seen = &keys[..sequences.visible_prefix(i)];
                attend(heads, keys[i], seen, mask, &mut p[..seen.len()], out);
            }
            let mut row = token_base + first as usize;
            let mut tokens = tokens.chunks_exact(3 * width);
            for &length in lengths {
                keys.truncate(prefix_len);
                for _ in 0..length {
                    let Some(query) = tokens.next() else { break };
                    keys.push(query);
                    let (out, rest) = std::mem::take(&mut out_tokens).split_at_mut(width);
                    out_tokens = rest;
                    let mask = Mask::row(dropout, row, heads, max_keys);
                    attend(heads, query, &keys, mask, &mut p[..keys.len()], out);
                    row += 1;
                }
            }
        },
    );
}

/// Scratch memory of one thread in the backward pass.
struct Scratch {
    p: Vec<f32>,
    dp: Vec<f32>,
    dkeys: Vec<f32>,
}

/// Gradient of `qkv` `[T, 3E]` into `dqkv`, of which nothing is kept.
fn backward(
    qkv: &[f32],
    dout: &[f32],
    width: usize,
    sequences: &PackedSequences,
    dropout: Option<Dropout>,
    dqkv: &mut [f32],
) {
    let (heads, prefix_len) = (sequences.heads, sequences.prefix_len);
    let max_keys = sequences.max_keys();
    let token_base = sequences.group_sizes.len() * prefix_len;
    let tasks: Vec<_> = sequences
        .groups(qkv, 3 * width)
        .zip(sequences.groups(dout, width))
        .zip(sequences.groups_mut(dqkv, 3 * width))
        .collect();
    let scratch = || Scratch {
        p: vec![0.0; max_keys],
        dp: vec![0.0; max_keys],
        dkeys: vec![0.0; max_keys * 2 * width],
    };
    let tasks = tasks.into_par_iter().enumerate();
    tasks.for_each_init(scratch, |Scratch { p, dp, dkeys }, (group, task)| {
        let (((lengths, first, prefix, tokens), (_, _, dout_prefix, dout_tokens)), out) = task;
        let (dprefix, dtokens) = out;
        // Gradients of the keys and values in sight; those of the prefix
        // collect the contributions of all sequences.
        dkeys.fill(0.0);
        let mut keys: Vec<&[f32]> = prefix.chunks_exact(3 * width).collect();
        let mut query_gradient =
            |query, keys: &[&[f32]], row, dout, dquery: &mut [f32], dkeys: &mut [f32]| {
                let (p, dp) = (&mut p[..keys.len()], &mut dp[..keys.len()]);
                let mask = Mask::row(dropout, row, heads, max_keys);
                attend_backward(
                    heads,
                    query,
                    keys,
                    mask,
                    dout,
                    p,
                    dp,
                    &mut dquery[..width],
                    dkeys,
                );
            };
        for (i, (dout, drow)) in dout_prefix
            .chunks_exact(width)
            .zip(dprefix.chunks_exact_mut(3 * width))
            .enumerate()
        {
            let seen = &keys[..sequences.visible_prefix(i)];
            query_gradient(keys[i], seen, group * prefix_len + i, dout, drow, dkeys);
        }
        let mut row = 0;
        for &length in lengths {
            keys.truncate(prefix_len);
            let start = row;
            dkeys[prefix_len * 2 * width..].fill(0.0);
            for _ in 0..length {
                let query = &tokens[row * 3 * width..(row + 1) * 3 * width];
                keys.push(query);
                let dout = &dout_tokens[row * width..(row + 1) * width];
                let drow = &mut dtokens[row * 3 * width..(row + 1) * 3 * width];
                query_gradient(
                    query,
                    &keys,
                    token_base + first as usize + row,
                    dout,
                    drow,
                    dkeys,
                );
                row += 1;
            }
            let own = dkeys[prefix_len * 2 * width..].chunks_exact(2 * width);
            let drows = dtokens[start * 3 * width..row * 3 * width].chunks_exact_mut(3 * width);
            for (drow, dkey) in drows.zip(own) {
                drow[width..].copy_from_slice(dkey);
            }
        }
        for (drow, dkey) in dprefix
            .chunks_exact_mut(3 * width)
            .zip(dkeys.chunks_exact(2 * width))
        {
            drow[width..].copy_from_slice(dkey);
        }
    });
}

impl Tape {
    /// `qkv` `[T, 3E]` to `[T, E]`, before the output projection; dropout on
    /// the probabilities.
    pub fn attention(
        &mut self,
        qkv: &Value,
        sequences: &Arc<PackedSequences>,
        dropout: Option<Dropout>,
    ) -> Result<Value> {
        let (rows, triple) = qkv.dims2()?;
        let width = triple / 3;
        let mut y = self.pool.take(rows * width);
        forward(&qkv.values()?, width, sequences, dropout, &mut y);
        let saved = (qkv.clone(), Arc::clone(sequences));
        let back = move |gradient: Buffer, gradients: &mut Gradients| -> Result<()> {
            let (qkv, sequences) = saved;
            if let Some(slot) = qkv.slot {
                let mut dqkv = gradients.pool.take(rows * triple);
                let values = qkv.values()?;
                backward(&values, &gradient, width, &sequences, dropout, &mut dqkv);
                gradients.add(slot, dqkv);
            }
            Ok(())
        };
        Ok(self.push(y, (rows, width), &[qkv.slot], back))
    }
}

/// Place of a token's row in a cache: number of the step that computed it and
/// row within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// Step.
    pub step: u32,
    /// Row.
    pub row: u32,
}

/// Keys and values of one layer: `[B·P, 3E]` of the prefixes, and one `[R, 3E]`
/// per step for tokens (the query part is not read).
pub struct CachedKeys<'a> {
    /// Number of heads.
    pub heads: usize,
    /// Prefix rows per sample.
    pub prefix_len: usize,
    /// Prefix rows.
    pub prefix: &'a [f32],
    /// Token rows.
    pub steps: Vec<&'a [f32]>,
}

/// Attention of new rows `[R, 3E]`: row `r` sees the prefix of sample
/// `samples[r]`, the cached rows `pages[r]` and itself. Result `[R, E]`.
pub fn cached_attention(
    cache: &CachedKeys<'_>,
    rows: &Value,
    samples: &[u32],
    pages: &[&[PageRef]],
) -> Result<Tensor> {
    let (count, triple) = rows.dims2()?;
    let width = triple / 3;
    let values = rows.values()?;
    let row_of = |row: usize| row * triple..(row + 1) * triple;
    let prefix_len = cache.prefix_len;
    let mut out = vec![0.0; count * width];
    out.par_chunks_exact_mut(width)
        .zip(values.par_chunks_exact(triple))
        .zip(samples.par_iter().zip(pages.par_iter()))
        .for_each(|((out, query), (&sample, pages))| {
            let first = sample as usize * prefix_len;
            let mut keys: Vec<&[f32]> = (first..first + prefix_len)
                .map(|row| &cache.prefix[row_of(row)])
                .collect();
            keys.extend(
                pages
                    .iter()
                    .map(|page| &cache.steps[page.step as usize][row_of(page.row as usize)]),
            );
            keys.push(query);
            let mask = Mask::row(None, 0, cache.heads, keys.len());
            attend(
                cache.heads,
                query,
                &keys,
                mask,
                &mut vec![0.0; keys.len()],
                out,
            );
        });
    tensor(out, (count, width))
}
