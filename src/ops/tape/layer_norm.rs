//! Layer norm over the last dimension: eps 1e-5, biased variance.

use candle_core::Result;
use rayon::prelude::*;

use super::math::{kernel, sum_by, sum_by2};
use super::product::add_rows;
use super::record::{Tape, Value};

const EPSILON: f32 = 1e-5;

/// Rows of one parallel task. Fixed, so that sums over rows do not depend on
/// the number of threads.
const TASK_ROWS: usize = 64;

/// What one task adds to the gradients of weight and bias.
type Parts = (Vec<f32>, Vec<f32>);

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

impl Tape {
    /// `[T, E]` with weight and bias `[E]`.
    pub fn layer_norm(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Value> {
        let y = {
            let (values, weight) = (x.values()?, weight.values()?);
            let weight: &[f32] = &weight;
            let bias = bias.map(Value::values).transpose()?;
            let bias = bias.as_deref();
            let task = TASK_ROWS * weight.len();
            let mut y = self.pool.take(values.len());
            y.par_chunks_mut(task)
                .zip(values.par_chunks(task))
                .for_each(|(y, x)| forward(x, weight, bias, y));
            y
        };
        let bias = bias.and_then(|bias| bias.slot);
        let inputs = [x.slot, weight.slot, bias];
        let saved = (x.clone(), weight.clone());
        let shape = x.shape().clone();
        Ok(self.push(y, shape, &inputs, move |gradient, gradients| {
            let (x, weight) = saved;
            let (values, w) = (x.values()?, weight.values()?);
            let w: &[f32] = &w;
            let width = w.len();
            let task = TASK_ROWS * width;
            let mut dx = match x.slot {
                Some(slot) => gradients.take_or_zeros(slot, values.len()),
                None => gradients.pool.take(values.len()),
            };
            let parts: Vec<Parts> = dx
                .par_chunks_mut(task)
                .zip(values.par_chunks(task))
                .zip(gradient.par_chunks(task))
                .map(|((dx, x), dy)| {
                    let mut dweight = vec![0.0; width];
                    let mut dbias = vec![0.0; if bias.is_some() { width } else { 0 }];
                    backward(x, w, dy, dx, &mut dweight, &mut dbias);
                    (dweight, dbias)
                })
                .collect();
            let mut sum_of_parts = |slot: usize, part: fn(&Parts) -> &[f32]| {
                let mut sum = gradients.take_or_zeros(slot, width);
                for parts in &parts {
                    add_rows(&mut sum, part(parts));
                }
                gradients.add(slot, sum);
            };
            if let Some(slot) = weight.slot {
                sum_of_parts(slot, |parts| &parts.0);
            }
            if let Some(slot) = bias {
                sum_of_parts(slot, |parts| &parts.1);
            }
            if let Some(slot) = x.slot {
                gradients.add(slot, dx);
            }
            Ok(())
        }))
    }
}
