//! `y = x·Wᵀ + b` with the weight as it is stored.

use candle_core::Result;

use super::product::{Matrix, add_rows, product};
use super::record::{Gradients, Tape, Value};

impl Gradients {
    /// Adds `a·b` to slot `slot`, without a copy.
    fn add_product(&mut self, slot: usize, a: Matrix<'_>, b: Matrix<'_>) {
        let present = self.take(slot);
        let add = present.is_some();
        let mut sum = present.unwrap_or_else(|| self.pool.take(a.rows() * b.columns()));
        product(&mut sum, a, b, add);
        self.add(slot, sum);
    }
}

impl Tape {
    /// `[T, K]` and a weight `[N, K]` (bias `[N]`) to `[T, N]`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Value> {
        let ((rows, inner), (outer, width)) = (x.dims2()?, weight.dims2()?);
        if inner != width {
            candle_core::bail!("rows of {inner} do not fit a weight of {outer} × {width}");
        }
        let mut y = self.pool.take(rows * outer);
        if let Some(bias) = bias {
            let bias = bias.values()?;
            for row in y.chunks_exact_mut(outer.max(1)) {
                row.copy_from_slice(&bias);
            }
        }
        product(
            &mut y,
            Matrix::new(&x.values()?, rows, inner),
            Matrix::new(&weight.values()?, outer, inner).transposed(),
            bias.is_some(),
        );
        let bias = bias.and_then(|bias| bias.slot);
        let inputs = [x.slot, weight.slot, bias];
        let saved = (x.clone(), weight.clone());
        Ok(
            self.push(y, (rows, outer), &inputs, move |gradient, gradients| {
                let (x, weight) = saved;
                let dy = Matrix::new(&gradient, rows, outer);
                if let Some(slot) = bias {
                    let mut db = gradients.take_or_zeros(slot, outer);
                    add_rows(&mut db, &gradient);
                    gradients.add(slot, db);
                }
                if let Some(slot) = weight.slot {
                    let x = x.values()?;
                    gradients.add_product(slot, dy.transposed(), Matrix::new(&x, rows, inner));
                }
                if let Some(slot) = x.slot {
                    let weight = weight.values()?;
                    gradients.add_product(slot, dy, Matrix::new(&weight, outer, inner));
                }
                Ok(())
            }),
        )
    }
}
