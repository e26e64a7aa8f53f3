//! Layer norm over the last dimension: eps 1e-5, biased variance.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::host::{host, tensor};
use super::math::{kernel, sum_by, sum_by2};
use super::record::{Tape, Value};

const EPSILON: f32 = 1e-5;

/// Rows of one parallel task. Fixed, so that sums over rows do not depend on
/// the number of threads.
const TASK_ROWS: usize = 64;

#[inline(always)]
fn moments(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum_by(x, |v| v) / n;
    let variance = sum_by(x, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

kernel! {
    fn forward(x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let width = weight.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x);
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                *y = (x - mean) * scale * w;
            }
            if let Some(bias) = bias {
                for (y, &b) in y.iter_mut().zip(bias) {
                    *y += b;
                }
            }
        }
    }
}

kernel! {
    /// Adds to `dx`, `dweight` and `dbias` what the rows `dy` give.
    fn backward(
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) {
        let width = weight.len();
        let n = width as f32;
        let mut scaled = vec![0.0f32; width];
        for ((x, dy), dx) in x
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width))
        {
            let (mean, scale) = moments(x);
            for ((s, &d), &w) in scaled.iter_mut().zip(dy).zip(weight) {
                *s = d * w;
            }
            let shift = sum_by(&scaled, |v| v) / n;
            let slope = sum_by2(&scaled, x, |s, v| s * (v - mean)) * scale / n;
            for i in 0..width {
                let normed = (x[i] - mean) * scale;
                dx[i] += scale * (scaled[i] - shift - normed * slope);
                dweight[i] += dy[i] * normed;
            }
            for (sum, &d) in dbias.iter_mut().zip(dy) {
                *sum += d;
            }
        }
    }
}

fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (values, weight) = (host(x)?, host(weight)?);
    let weight: &[f32] = &weight;
    let bias = bias.map(host).transpose()?;
    let bias = bias.as_deref();
    let task = TASK_ROWS * weight.len();
    let mut y = vec![0.0; values.len()];
    y.par_chunks_mut(task)
        .zip(values.par_chunks(task))
        .for_each(|(y, x)| forward(x, weight, bias, y));
    tensor(y, x.shape())
}

impl Tape {
    /// `[T, E]` with weight and bias `[E]`.
    pub fn layer_norm(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Value> {
        let y = layer_norm(&x.tensor, &weight.tensor, bias.map(|bias| &bias.tensor))?;
        let mut inputs = vec![x, weight];
        inputs.extend(bias);
        let saved = (x.clone(), weight.clone(), bias.and_then(|bias| bias.slot));
        Ok(self.push(y, &inputs, move |gradient, gradients| {
            let (x, weight, bias) = saved;
            let present = x.slot.and_then(|slot| gradients.take(slot));
            let (values, w, dy) = (host(&x.tensor)?, host(&weight.tensor)?, host(&gradient)?);
            let w: &[f32] = &w;
            let width = w.len();
            let task = TASK_ROWS * width;
            let mut dx = match &present {
                Some(present) => host(present)?.to_vec(),
                None => vec![0.0; values.len()],
            };
            let parts: Vec<(Vec<f32>, Vec<f32>)> = dx
                .par_chunks_mut(task)
                .zip(values.par_chunks(task))
                .zip(dy.par_chunks(task))
                .map(|((dx, x), dy)| {
                    let mut dweight = vec![0.0; width];
                    let mut dbias = vec![0.0; if bias.is_some() { width } else { 0 }];
                    backward(x, w, dy, dx, &mut dweight, &mut dbias);
                    (dweight, dbias)
                })
                .collect();
            let (mut dweight, mut dbias) = (vec![0.0; width], vec![0.0; width]);
            for (weight_part, bias_part) in &parts {
                add(&mut dweight, weight_part);
                add(&mut dbias, bias_part);
            }
            if let Some(slot) = weight.slot {
                gradients.add(slot, tensor(dweight, width)?)?;
            }
            if let Some(slot) = bias {
                gradients.add(slot, tensor(dbias, width)?)?;
            }
            if let Some(slot) = x.slot {
                gradients.add(slot, tensor(dx, x.tensor.shape())?)?;
            }
            Ok(())
        }))
    }
}

/// Adds `part` to `sum`, element by element.
fn add(sum: &mut [f32], part: &[f32]) {
    for (sum, &value) in sum.iter_mut().zip(part) {
        *sum += value;
    }
}
