//! Selection of rows.

use candle_core::Result;

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

impl Tape {
    /// Rows `rows` of `[T, E]`, repetitions allowed; every index is below `T`.
    pub fn rows(&mut self, x: &Value, rows: &[u32]) -> Result<Value> {
        let (count, width) = x.dims2()?;
        let mut y = self.pool.take(rows.len() * width);
        {
            let values = x.values()?;
            for (y, &row) in y.chunks_exact_mut(width).zip(rows) {
                let start = row as usize * width;
                y.copy_from_slice(&values[start..start + width]);
            }
        }
        let saved = (x.slot, rows.to_vec());
        let shape = (rows.len(), width);
        Ok(self.push(y, shape, &[x.slot], move |gradient, gradients| {
            let (slot, rows) = saved;
            if let Some(slot) = slot {
                let mut dx = gradients.take_or_zeros(slot, count * width);
                scatter_add(&mut dx, &rows, &gradient, width);
                gradients.add(slot, dx);
            }
            Ok(())
        }))
    }
}
