//! `y = x·Wᵀ + b` with the weight as it is stored.

use candle_core::{Result, Tensor};

use super::host::{host, tensor};
use super::math::kernel;
use super::record::{Tape, Value};

kernel! {
    fn add_row(sums: &mut [f32], row: &[f32]) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

/// Column sums of `[T, N]`.
pub(super) fn column_sums(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(1)?;
    let mut sums = vec![0.0; width];
    for row in host(x)?.chunks_exact(width.max(1)) {
        add_row(&mut sums, row);
    }
    tensor(sums, width)
}

impl Tape {
    /// `[T, K]` and a weight `[N, K]` (bias `[N]`) to `[T, N]`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Value> {
        let mut y = x.tensor.matmul(&weight.tensor.t()?)?;
        if let Some(bias) = bias {
            y = y.broadcast_add(&bias.tensor)?;
        }
        let mut inputs = vec![x, weight];
        inputs.extend(bias);
        let saved = (x.clone(), weight.clone(), bias.and_then(|bias| bias.slot));
        Ok(self.push(y, &inputs, move |gradient, gradients| {
            let (x, weight, bias) = saved;
            if let Some(slot) = bias {
                gradients.add(slot, column_sums(&gradient)?)?;
            }
            if let Some(slot) = weight.slot {
                gradients.add(slot, gradient.t()?.matmul(&x.tensor)?)?;
            }
            if let Some(slot) = x.slot {
                gradients.add(slot, gradient.matmul(&weight.tensor)?)?;
            }
            Ok(())
        }))
    }
}
