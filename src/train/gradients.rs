//! Gradients of the batches of one optimizer step, added up, and their norm.

use candle_core::{CpuStorage, Layout};

use crate::ops::{tape::Buffer, updates};

use super::error::{Result, TrainError};

/// Gradient sums of a list of parameters.
pub struct GradientSums {
    sums: Vec<Option<Buffer>>,
    batches: u64,
}

impl GradientSums {
    /// No gradients yet for `parameters` parameters.
    pub fn new(parameters: usize) -> Self {
        Self {
            sums: (0..parameters).map(|_| None).collect(),
            batches: 0,
        }
    }

    /// Sums that were taken after `batches` batches.
    pub(super) fn from_sums(sums: Vec<Option<Buffer>>, batches: u64) -> Self {
        Self { sums, batches }
    }

    /// Adds the gradients of one batch, in parameter order.
    ///
    /// # Errors
    /// A wrong number of gradients or of their elements.
    pub fn add(&mut self, gradients: Vec<Option<Buffer>>) -> Result<()> {
        let error = |reason: String| TrainError::Parameter {
            name: "all".to_string(),
            reason,
        };
        let (found, expected) = (gradients.len(), self.sums.len());
        if found != expected {
            return Err(error(format!(
                "{found} gradients for {expected} parameters"
            )));
        }
        for (sum, gradient) in self.sums.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else {
                continue;
            };
            let Some(sum) = sum else {
                *sum = Some(gradient);
                continue;
            };
            let (found, expected) = (gradient.len(), sum.len());
            if found != expected {
                let reason = format!("a gradient of {found} elements, not {expected}");
                return Err(error(reason));
            }
            updates::add(sum, &gradient);
        }
        self.batches += 1;
        Ok(())
    }

    /// Batches added since the last [`GradientSums::clear`].
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Gradient of parameter `index`, if it has one.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.sums.get(index)?.as_deref()
    }

    /// Forgets all gradients.
    pub fn clear(&mut self) {
        self.sums.fill_with(|| None);
        self.batches = 0;
    }

    /// 2-norm over all gradients, summed in f64 in a fixed order, so that it
    /// does not depend on the number of threads.
    pub fn norm(&self) -> f64 {
        let sums = self.sums.iter().flatten();
        sums.map(|sum| updates::sum_of_squares(sum))
            .sum::<f64>()
            .sqrt()
    }
}

/// The elements of a contiguous f32 tensor, to be written to.
pub(super) fn contiguous_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        candle_core::bail!("an f32 tensor is needed");
    };
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&mut values[from..to]),
        None => candle_core::bail!("a contiguous tensor is needed"),
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::tape::Pool;

    use super::*;

    #[test]
    fn batches_add_up_and_the_norm_is_that_of_all_parameters() {
        let pool = Pool::default();
        let mut sums = GradientSums::new(3);
        for batch in 1..=3u8 {
            let gradient = |values: &[f32]| {
                let scaled: Vec<f32> = values.iter().map(|v| v * f32::from(batch)).collect();
                Some(pool.copy(&scaled))
            };
            let delivered = vec![gradient(&[1.0, -2.0, 3.0]), None, gradient(&[0.5; 40_000])];
            sums.add(delivered).unwrap();
        }
        assert_eq!(sums.batches(), 3);
        assert_eq!(sums.get(0), Some(&[6.0, -12.0, 18.0][..]));
        assert!(sums.get(1).is_none());
        let expected = (36.0 + 144.0 + 324.0 + 9.0 * 40_000.0f64).sqrt();
        assert!((sums.norm() - expected).abs() < 1e-9);
        sums.clear();
        assert_eq!(sums.norm(), 0.0);
        assert!(sums.add(Vec::new()).is_err());
        let one = |len| vec![Some(pool.zeros(len)), None, None];
        sums.add(one(3)).unwrap();
        assert!(sums.add(one(4)).is_err());
    }
}
