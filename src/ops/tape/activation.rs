//! Activation functions, with the dropout behind them in one pass.

use candle_core::Result;
use rayon::prelude::*;

use super::dropout::{Dropout, factor};
use super::math::{erf, exp, kernel};
use super::record::{Tape, Value};

/// Activation of feed-forward layers and the prefix MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x·Φ(x) with the error function.
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Elements of one parallel task.
const TASK: usize = 16_384;

#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn map(y: &mut [f32], x: &[f32], first: u32, dropout: Option<Dropout>, f: impl Fn(f32) -> f32) {
    match dropout {
        None => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(x);
            }
        }
        Some(dropout) => {
            for (i, (y, &x)) in (first..).zip(y.iter_mut().zip(x)) {
                *y = f(x) * dropout.factor(i);
            }
        }
    }
}

kernel! {
    fn forward(kind: Activation, dropout: Option<Dropout>, first: u32, x: &[f32], y: &mut [f32]) {
        match kind {
            Activation::Relu => map(y, x, first, dropout, |x| if x > 0.0 { x } else { 0.0 }),
            Activation::Gelu => map(y, x, first, dropout, |x| x * normal_cdf(x)),
            Activation::Tanh => map(y, x, first, dropout, f32::tanh),
        }
    }
}

kernel! {
    /// `dx` holds the gradient of the result and becomes that of the argument.
    fn backward(kind: Activation, dropout: Option<Dropout>, first: u32, x: &[f32], dx: &mut [f32]) {
        for (i, (dx, &x)) in (first..).zip(dx.iter_mut().zip(x)) {
            let slope = match kind {
                Activation::Relu => if x > 0.0 { 1.0 } else { 0.0 },
                Activation::Gelu => {
                    const DENSITY: f32 = 0.398_942_3; // 1/√(2π)
                    normal_cdf(x) + x * DENSITY * exp(-0.5 * x * x)
                }
                Activation::Tanh => {
                    let y = x.tanh();
                    1.0 - y * y
                }
            };
            *dx *= slope * factor(dropout, i);
        }
    }
}

impl Tape {
    /// `dropout(activation(x))`, any shape.
    pub fn activation(
        &mut self,
        x: &Value,
        kind: Activation,
        dropout: Option<Dropout>,
    ) -> Result<Value> {
        let mut y = self.pool.take(x.shape().elem_count());
        y.par_chunks_mut(TASK)
            .zip(x.values()?.par_chunks(TASK))
            .enumerate()
            .for_each(|(task, (y, x))| forward(kind, dropout, (task * TASK) as u32, x, y));
        let (saved, shape) = (x.clone(), x.shape().clone());
        Ok(
            self.push(y, shape, &[x.slot], move |mut gradient, gradients| {
                let x = saved;
                gradient
                    .par_chunks_mut(TASK)
                    .zip(x.values()?.par_chunks(TASK))
                    .enumerate()
                    .for_each(|(task, (dx, x))| {
                        backward(kind, dropout, (task * TASK) as u32, x, dx)
                    });
                if let Some(slot) = x.slot {
                    gradients.add(slot, gradient);
                }
                Ok(())
            }),
        )
    }
}
