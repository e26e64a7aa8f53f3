//! Log-sum-exp, arg-max and cross entropy of logit rows, without copies of
//! the vocabulary's width (`decoder.md` section 4).

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::host::host;
use super::math::{exp, kernel, max, sum_by};

/// What the loss and the accuracy need of one row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSummary {
    /// Largest logit.
    pub max: f32,
    /// log Σ exp(logit − max): kept apart, because the loss of a confident
    /// prediction is smaller than the rounding of log Σ exp.
    pub log_sum: f32,
    /// Sum of the logits.
    pub sum: f32,
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

kernel! {
    /// Summary of one row.
    pub fn summarize(row: &[f32]) -> RowSummary {
        let top = max(row);
        let arg_max = row.iter().position(|&value| value == top).unwrap_or(0);
        RowSummary {
            max: top,
            log_sum: sum_exp(row, top).ln(),
            sum: sum_by(row, |value| value),
            arg_max: arg_max as u32,
        }
    }
}

/// Summaries of the rows of `logits` `[N, V]`.
pub fn summarize_rows(logits: &Tensor) -> Result<Vec<RowSummary>> {
    let width = logits.dim(1)?;
    Ok(host(logits)?
        .par_chunks_exact(width.max(1))
        .map(summarize)
        .collect())
}

/// Cross entropy of rows with label smoothing.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Target id of each row.
    pub targets: Vec<u32>,
    /// ε: share of the uniform distribution in the target distribution.
    pub label_smoothing: f32,
}

impl CrossEntropy {
    /// Loss of each row in nats: −(1−ε)·log p\[target\] − (ε/V)·Σ log p.
    pub fn losses(&self, logits: &Tensor, summaries: &[RowSummary]) -> Result<Vec<f32>> {
        let width = logits.dim(1)?;
        let values = host(logits)?;
        let smooth = self.label_smoothing;
        Ok(self
            .targets
            .iter()
            .zip(summaries)
            .zip(values.chunks_exact(width.max(1)))
            .map(|((&target, summary), row)| {
                let against = |logit: f32| summary.log_sum - (logit - summary.max);
                let mut loss = (1.0 - smooth) * against(row[target as usize]);
                if smooth != 0.0 {
                    loss += smooth * against(summary.sum / width as f32);
                }
                loss
            })
            .collect())
    }

    /// Replaces `logits` by the gradient of Σ factorᵢ·lossᵢ.
    pub fn into_gradient(
        self,
        logits: Tensor,
        summaries: &[RowSummary],
        factors: Vec<f32>,
    ) -> Result<Tensor> {
        let width = logits.dim(1)?;
        let rows = self
            .targets
            .iter()
            .zip(summaries)
            .zip(factors)
            .map(|((&target, summary), factor)| GradientRow {
                target,
                log_sum_exp: summary.max + summary.log_sum,
                factor,
            })
            .collect();
        logits.inplace_op1(&InplaceGradient {
            width,
            label_smoothing: self.label_smoothing,
            rows,
        })?;
        Ok(logits)
    }
}

struct GradientRow {
    target: u32,
    log_sum_exp: f32,
    factor: f32,
}

struct InplaceGradient {
    width: usize,
    label_smoothing: f32,
    rows: Vec<GradientRow>,
}

kernel! {
    fn gradient_row(row: &mut [f32], log_sum_exp: f32, factor: f32, uniform: f32) {
        for value in row.iter_mut() {
            *value = factor * (exp(*value - log_sum_exp) - uniform);
        }
    }
}

impl InplaceOp1 for InplaceGradient {
    fn name(&self) -> &'static str {
        "cross-entropy-gradient"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("cross entropy needs contiguous f32 logits");
        };
        let uniform = self.label_smoothing / self.width as f32;
        values[start..end]
            .par_chunks_exact_mut(self.width.max(1))
            .zip(self.rows.par_iter())
            .for_each(|(row, of)| {
                gradient_row(row, of.log_sum_exp, of.factor, uniform);
                row[of.target as usize] -= of.factor * (1.0 - self.label_smoothing);
            });
        Ok(())
    }
}
