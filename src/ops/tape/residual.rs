//! `x + scale·dropout(branch)`: the skip connection of a transformer layer.

use candle_core::Result;
use rayon::prelude::*;

use super::dropout::{Dropout, factor};
use super::math::kernel;
use super::record::{Tape, Value};

/// Elements of one parallel task. Fixed: the gradient of the scale is a sum of
/// one part per task.
const TASK: usize = 16_384;

kernel! {
    /// `y` holds the branch and becomes the sum.
    fn forward(x: &[f32], scale: f32, dropout: Option<Dropout>, first: u32, y: &mut [f32]) {
        for (i, (y, &x)) in (first..).zip(y.iter_mut().zip(x)) {
            *y = x + *y * (scale * factor(dropout, i));
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
        branch: Value,
        scale: Option<&Value>,
        dropout: Option<Dropout>,
    ) -> Result<Value> {
        let factor = match scale {
            Some(scale) => scale.values()?[0],
            None => 1.0,
        };
        let inputs = [x.slot, branch.slot, scale.and_then(|scale| scale.slot)];
        let (shape, [x_slot, branch_slot, scale_slot]) = (x.shape().clone(), inputs);
        // Only the gradient of the scale needs the branch again.
        let kept = scale_slot.map(|slot| (slot, branch.clone()));
        let mut y = branch.into_buffer(&self.pool)?;
        y.par_chunks_mut(TASK)
            .zip(x.values()?.par_chunks(TASK))
            .enumerate()
            .for_each(|(task, (y, x))| forward(x, factor, dropout, (task * TASK) as u32, y));
        Ok(self.push(y, shape, &inputs, move |gradient, gradients| {
            if let Some((slot, branch)) = kept {
                let parts: Vec<f64> = gradient
                    .par_chunks(TASK)
                    .zip(branch.values()?.par_chunks(TASK))
                    .enumerate()
                    .map(|(task, (dy, b))| scale_gradient(dy, b, dropout, (task * TASK) as u32))
                    .collect();
                let total = parts.iter().sum::<f64>() as f32;
                let total = gradients.pool.copy(&[total]);
                gradients.add(slot, total);
            }
            if let Some(slot) = branch_slot {
                let mut dbranch = gradients.pool.take(gradient.len());
                dbranch
                    .par_chunks_mut(TASK)
                    .zip(gradient.par_chunks(TASK))
                    .enumerate()
                    .for_each(|(task, (d, dy))| {
                        backward(dy, factor, dropout, (task * TASK) as u32, d);
                    });
                gradients.add(slot, dbranch);
            }
            if let Some(slot) = x_slot {
                gradients.add(slot, gradient);
            }
            Ok(())
        }))
    }
}
