//! Log-sum-exp, arg-max and cross entropy of logit rows, without copies of
//! the vocabulary's width (`decoder.md` section 4).

use rayon::prelude::*;

use super::math::{exp, kernel, max, sum_by};

/// What the loss and the accuracy need of one row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSummary {
    /// Largest logit.
    pub max: f32,
    /// log Σ exp(logit − max): kept apart, because the loss of a confident
    /// prediction is smaller than the rounding of log Σ exp.
    pub log_sum: f32,
    /// First index of the largest logit.
    pub arg_max: u32,
}

/// Σ exp(logit − max) in the order of torch's AVX2 kernel. Where a prediction
/// is confident the sum is 1 plus little, and which of the small terms are
/// rounded away is all the loss consists of: another order is not less exact,
/// but does not reproduce the original's losses to five digits.
#[inline(always)]
fn sum_exp(row: &[f32], max: f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += exp(value - max);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += exp(value - max);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// First index of `value`, 0 if it does not occur.
#[inline(always)]
fn first_index(row: &[f32], value: f32) -> usize {
    const BLOCK: usize = 64;
    let equal = |block: &[f32]| block.iter().fold(false, |found, &v| found | (v == value));
    let block = row.chunks(BLOCK).position(equal).unwrap_or(0) * BLOCK;
    let rest = row.get(block..).unwrap_or_default();
    rest.iter()
        .position(|&v| v == value)
        .map_or(0, |i| block + i)
}

kernel! {
    fn sum(row: &[f32]) -> f32 {
        sum_by(row, |value| value)
    }
}

kernel! {
    /// Summary of one row.
    pub fn summarize(row: &[f32]) -> RowSummary {
        let top = max(row);
        RowSummary {
            max: top,
            log_sum: sum_exp(row, top).ln(),
            arg_max: first_index(row, top) as u32,
        }
    }
}

/// Summaries of the rows of `logits` `[R, V]`.
pub fn summarize_rows(logits: &[f32], width: usize) -> Vec<RowSummary> {
    logits
        .par_chunks_exact(width.max(1))
        .map(summarize)
        .collect()
}

/// Cross entropy of rows with label smoothing. A row may have several targets:
/// those of a sample begin behind the same prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Target ids.
    pub targets: Vec<u32>,
    /// Row of logits of each target.
    pub rows: Vec<u32>,
    /// ε: share of the uniform distribution in the target distribution.
    pub label_smoothing: f32,
}

impl CrossEntropy {
    /// Loss of each target in nats: −(1−ε)·log p\[target\] − (ε/V)·Σ log p.
    pub fn losses(&self, logits: &[f32], width: usize, summaries: &[RowSummary]) -> Vec<f32> {
        let smooth = self.label_smoothing;
        let targets = self.targets.par_iter().zip(&self.rows);
        targets
            .map(|(&target, &row)| {
                let summary = &summaries[row as usize];
                let start = row as usize * width;
                let logits = &logits[start..start + width];
                let against = |logit: f32| summary.log_sum - (logit - summary.max);
                let mut loss = (1.0 - smooth) * against(logits[target as usize]);
                if smooth != 0.0 {
                    loss += smooth * against(sum(logits) / width as f32);
                }
                loss
            })
            .collect()
    }

    /// Replaces `logits` by the gradient of Σ factorᵢ·lossᵢ.
    pub fn replace_by_gradient(
        &self,
        logits: &mut [f32],
        width: usize,
        summaries: &[RowSummary],
        factors: &[f32],
    ) {
        let mut sums = vec![0.0f32; summaries.len()];
        for (&row, factor) in self.rows.iter().zip(factors) {
            sums[row as usize] += factor;
        }
        let uniform = self.label_smoothing / width as f32;
        logits
            .par_chunks_exact_mut(width.max(1))
            .zip(summaries.par_iter().zip(&sums))
            .for_each(|(row, (summary, &factor))| {
                gradient_row(row, summary.max + summary.log_sum, factor, uniform);
            });
        for ((&target, &row), factor) in self.targets.iter().zip(&self.rows).zip(factors) {
            logits[row as usize * width + target as usize] -= factor * (1.0 - self.label_smoothing);
        }
    }
}

/// Probabilities below it give no gradient. What they would change is lost
/// beside ε = 1e-8 of the optimizers, but where a training makes most tokens
/// this improbable, their gradients would be subnormal numbers, with which a
/// matrix product takes ten times as long.
const NEGLIGIBLE: f32 = 1e-15;

kernel! {
    fn gradient_row(row: &mut [f32], log_sum_exp: f32, factor: f32, uniform: f32) {
        for value in row.iter_mut() {
            let probability = exp(*value - log_sum_exp);
            let probability = if probability < NEGLIGIBLE { 0.0 } else { probability };
            *value = factor * (probability - uniform);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improbable_tokens_give_no_subnormal_gradients() {
        let mut row: Vec<f32> = (0..200).map(|i| -(i as f32)).collect();
        let summary = summarize(&row);
        gradient_row(&mut row, summary.max + summary.log_sum, 1e-3, 0.0);
        assert!(
            row.iter()
                .all(|&gradient| gradient == 0.0 || gradient.is_normal())
        );
        assert!(row[30] > 0.0 && row[40] == 0.0);
    }
}
