//! Selection and reinterpretation of rows.

use candle_core::{Result, Shape};

use super::host::{host, tensor};
use super::math::{add_scaled, kernel};
use super::record::{Tape, Value};

kernel! {
    pub(super) fn scatter_add(out: &mut [f32], rows: &[u32], values: &[f32], width: usize) {
        for (&row, values) in rows.iter().zip(values.chunks_exact(width)) {
            let start = row as usize * width;
            add_scaled(&mut out[start..start + width], 1.0, values);
        }
    }
}

pub(super) fn gather(values: &[f32], rows: &[u32], width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let start = row as usize * width;
        out.extend_from_slice(&values[start..start + width]);
    }
    out
}

impl Tape {
    /// Rows `rows` of `[T, E]`, repetitions allowed; every index is below `T`.
    pub fn rows(&mut self, x: &Value, rows: &[u32]) -> Result<Value> {
        let (count, width) = x.tensor.dims2()?;
        let y = gather(&host(&x.tensor)?, rows, width);
        let y = tensor(y, (rows.len(), width))?;
        let saved = (x.slot, rows.to_vec());
        Ok(self.push(y, &[x], move |gradient, gradients| {
            let (slot, rows) = saved;
            if let Some(slot) = slot {
                let mut dx = vec![0.0; count * width];
                scatter_add(&mut dx, &rows, &host(&gradient)?, width);
                gradients.add(slot, tensor(dx, (count, width))?)?;
            }
            Ok(())
        }))
    }

    /// First `count` rows of a matrix or vector; the others get gradient zero.
    pub fn leading_rows(&mut self, x: &Value, count: usize) -> Result<Value> {
        if x.tensor.dim(0)? == count {
            return Ok(x.clone());
        }
        let y = x.tensor.narrow(0, 0, count)?;
        let (slot, shape) = (x.slot, x.tensor.shape().clone());
        Ok(self.push(y, &[x], move |gradient, gradients| {
            if let Some(slot) = slot {
                let mut dx = host(&gradient)?.to_vec();
                dx.resize(shape.elem_count(), 0.0);
                gradients.add(slot, tensor(dx, shape)?)?;
            }
            Ok(())
        }))
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: &Value, shape: impl Into<Shape>) -> Result<Value> {
        let y = x.tensor.reshape(shape.into())?;
        let (slot, shape) = (x.slot, x.tensor.shape().clone());
        Ok(self.push(y, &[x], move |gradient, gradients| {
            if let Some(slot) = slot {
                gradients.add(slot, gradient.reshape(shape)?)?;
            }
            Ok(())
        }))
    }
}
