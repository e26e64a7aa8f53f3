//! `x + scale·dropout(branch)`: the skip connection of a transformer layer.

use candle_core::Result;
use rayon::prelude::*;

use super::dropout::{Dropout, factor};
use super::host::{host, tensor};
use super::math::kernel;
use super::record::{Tape, Value};

/// Elements of one parallel task. Fixed: the gradient of the scale is a sum of
/// one part per task.
const TASK: usize = 16_384;

kernel! {
    fn forward(x: &[f32], branch: &[f32], scale: f32, dropout: Option<Dropout>, first: u32, y: &mut [f32]) {
        for (i, ((y, &x), &b)) in (first..).zip(y.iter_mut().zip(x).zip(branch)) {
            *y = x + b * (scale * factor(dropout, i));
        }
    }
}

kernel! {
    fn backward(dy: &[f32], scale: f32, dropout: Option<Dropout>, first: u32, dbranch: &mut [f32]) {
        for (i, (d, &dy)) in (first..).zip(dbranch.iter_mut().zip(dy)) {
            *d = dy * (scale * factor(dropout, i));
        }
    }
}

kernel! {
    fn scale_gradient(dy: &[f32], branch: &[f32], dropout: Option<Dropout>, first: u32) -> f64 {
        let mut sum = 0.0;
        for (i, (&dy, &b)) in (first..).zip(dy.iter().zip(branch)) {
            sum += f64::from(dy * b * factor(dropout, i));
        }
        sum
    }
}

impl Tape {
    /// `x` and `branch` of one shape; `scale` is a scalar (ReZero), absent = 1.
    pub fn residual(
        &mut self,
        x: &Value,
        branch: &Value,
        scale: Option<&Value>,
        dropout: Option<Dropout>,
    ) -> Result<Value> {
        let factor = match scale {
            Some(scale) => scale.tensor.to_scalar::<f32>()?,
            None => 1.0,
        };
        let mut y = vec![0.0; x.tensor.elem_count()];
        y.par_chunks_mut(TASK)
            .zip(host(&x.tensor)?.par_chunks(TASK))
            .zip(host(&branch.tensor)?.par_chunks(TASK))
            .enumerate()
            .for_each(|(task, ((y, x), b))| {
                forward(x, b, factor, dropout, (task * TASK) as u32, y);
            });
        let y = tensor(y, x.tensor.shape())?;
        let mut inputs = vec![x, branch];
        inputs.extend(scale);
        let saved = (x.slot, branch.clone(), scale.and_then(|scale| scale.slot));
        Ok(self.push(y, &inputs, move |gradient, gradients| {
            let (x, branch, scale) = saved;
            {
                let dy = host(&gradient)?;
                if let Some(slot) = scale {
                    let parts: Vec<f64> = dy
                        .par_chunks(TASK)
                        .zip(host(&branch.tensor)?.par_chunks(TASK))
                        .enumerate()
                        .map(|(task, (dy, b))| scale_gradient(dy, b, dropout, (task * TASK) as u32))
                        .collect();
                    let total = parts.iter().sum::<f64>() as f32;
                    gradients.add(slot, tensor(vec![total], ())?)?;
                }
                if let Some(slot) = branch.slot {
                    let mut dbranch = vec![0.0; dy.len()];
                    dbranch
                        .par_chunks_mut(TASK)
                        .zip(dy.par_chunks(TASK))
                        .enumerate()
                        .for_each(|(task, (d, dy))| {
                            backward(dy, factor, dropout, (task * TASK) as u32, d);
                        });
                    gradients.add(slot, tensor(dbranch, gradient.shape())?)?;
                }
            }
            if let Some(slot) = x {
                gradients.add(slot, gradient)?;
            }
            Ok(())
        }))
    }
}
