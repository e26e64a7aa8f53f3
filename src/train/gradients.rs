//! Gradients of the batches of one optimizer step, added up, and their norm.

use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor};
use rayon::prelude::*;

use super::error::{Result, TrainError};

/// Elements that one task works on.
pub(super) const TASK_ELEMENTS: usize = 1 << 14;

/// A parameter's gradient sum.
enum Sum {
    /// As delivered by backward; may share storage with other gradients.
    Delivered(Tensor),
    /// Owned by nobody else: added to in place.
    Owned(Tensor),
}

/// Gradient sums of a list of parameters.
pub struct GradientSums {
    sums: Vec<Option<Sum>>,
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
    pub(super) fn from_sums(sums: Vec<Option<Tensor>>, batches: u64) -> Self {
        Self {
            sums: sums
                .into_iter()
                .map(|sum| sum.map(Sum::Delivered))
                .collect(),
            batches,
        }
    }

    /// Adds the gradients of one batch, in parameter order.
    ///
    /// # Errors
    /// A wrong number of gradients; tensor arithmetic.
    pub fn add(&mut self, gradients: Vec<Option<Tensor>>) -> Result<()> {
        if gradients.len() != self.sums.len() {
            return Err(TrainError::Parameter {
                name: "all".to_string(),
                reason: format!(
                    "{} gradients for {} parameters",
                    gradients.len(),
                    self.sums.len()
                ),
            });
        }
        for (sum, gradient) in self.sums.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else {
                continue;
            };
            *sum = Some(match sum.take() {
                None => Sum::Delivered(gradient.contiguous()?),
                Some(Sum::Delivered(first)) => Sum::Owned((first + gradient)?),
                Some(Sum::Owned(owned)) => {
                    owned.inplace_op2(&gradient.contiguous()?, &AddInPlace)?;
                    Sum::Owned(owned)
                }
            });
        }
        self.batches += 1;
        Ok(())
    }

    /// Batches added since the last [`GradientSums::clear`].
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Gradient of parameter `index`, if it has one.
    pub fn get(&self, index: usize) -> Option<&Tensor> {
        match self.sums.get(index)?.as_ref()? {
            Sum::Delivered(tensor) | Sum::Owned(tensor) => Some(tensor),
        }
    }

    /// Forgets all gradients.
    pub fn clear(&mut self) {
        self.sums.fill_with(|| None);
        self.batches = 0;
    }

    /// 2-norm over all gradients, summed in f64 in a fixed order, so that it
    /// does not depend on the number of threads.
    ///
    /// # Errors
    /// Gradients that are not on the CPU or not f32.
    pub fn norm(&self) -> Result<f64> {
        let mut squares = 0.0;
        for index in 0..self.sums.len() {
            if let Some(gradient) = self.get(index) {
                squares += sum_of_squares(gradient)?;
            }
        }
        Ok(squares.sqrt())
    }
}

fn sum_of_squares(tensor: &Tensor) -> candle_core::Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("gradient norm: only the CPU is supported");
    };
    let values = contiguous(storage, layout)?;
    let parts: Vec<f64> = values
        .par_chunks(TASK_ELEMENTS)
        .map(|part| {
            let mut lanes = [0.0f64; 8];
            let mut groups = part.chunks_exact(8);
            for group in &mut groups {
                for (lane, value) in lanes.iter_mut().zip(group) {
                    *lane += f64::from(*value) * f64::from(*value);
                }
            }
            let rest: f64 = groups
                .remainder()
                .iter()
                .map(|value| f64::from(*value) * f64::from(*value))
                .sum();
            lanes.iter().sum::<f64>() + rest
        })
        .collect();
    Ok(parts.iter().sum())
}

/// The elements of a contiguous f32 tensor.
pub(super) fn contiguous<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => candle_core::bail!("a contiguous tensor is needed"),
    }
}

/// As [`contiguous`], to be written to.
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

/// `target += other`, without a new allocation.
struct AddInPlace;

impl InplaceOp2 for AddInPlace {
    fn name(&self) -> &'static str {
        "add-in-place"
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        target_layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> candle_core::Result<()> {
        let target = contiguous_mut(target, target_layout)?;
        let other = contiguous(other, other_layout)?;
        target
            .par_chunks_mut(TASK_ELEMENTS)
            .zip(other.par_chunks(TASK_ELEMENTS))
            .for_each(|(target, other)| {
                for (target, other) in target.iter_mut().zip(other) {
                    *target += other;
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn batches_add_up_and_the_norm_is_that_of_all_parameters() {
        let device = Device::Cpu;
        let mut sums = GradientSums::new(3);
        for batch in 1..=3u8 {
            let gradient = |values: &[f32]| {
                let scaled: Vec<f32> = values.iter().map(|v| v * f32::from(batch)).collect();
                Some(Tensor::new(scaled, &device).unwrap())
            };
            let delivered = vec![gradient(&[1.0, -2.0, 3.0]), None, gradient(&[0.5; 40_000])];
            let first = delivered[0].clone().unwrap();
            sums.add(delivered).unwrap();
            assert_eq!(first.to_vec1::<f32>().unwrap()[0], f32::from(batch));
        }
        assert_eq!(sums.batches(), 3);
        assert_eq!(
            sums.get(0).unwrap().to_vec1::<f32>().unwrap(),
            [6.0, -12.0, 18.0]
        );
        assert!(sums.get(1).is_none());
        let expected = (36.0 + 144.0 + 324.0 + 9.0 * 40_000.0f64).sqrt();
        assert!((sums.norm().unwrap() - expected).abs() < 1e-9);
        sums.clear();
        assert_eq!(sums.norm().unwrap(), 0.0);
        assert!(sums.add(Vec::new()).is_err());
    }
}
