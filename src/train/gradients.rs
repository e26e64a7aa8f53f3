//! Gradients of the batches of one optimizer step, added up, and their norm.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor, Var};
use rayon::prelude::*;

use super::error::Result;

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
pub struct Gradients {
    sums: Vec<Option<Sum>>,
}

impl Gradients {
    /// No gradients yet for `parameters` parameters.
    pub fn new(parameters: usize) -> Self {
        Self {
            sums: (0..parameters).map(|_| None).collect(),
        }
    }

    /// Adds the gradients of one backward pass, in the order of `parameters`.
    ///
    /// # Errors
    /// Tensor arithmetic.
    pub fn add(&mut self, parameters: &[Var], store: &mut GradStore) -> Result<()> {
        for (sum, parameter) in self.sums.iter_mut().zip(parameters) {
            let Some(gradient) = store.remove(parameter.as_tensor()) else {
                continue;
            };
            *sum = Some(match sum.take() {
                None => Sum::Delivered(gradient.contiguous()?.detach()),
                Some(Sum::Delivered(first)) => Sum::Owned((first + gradient)?.detach()),
                Some(Sum::Owned(owned)) => {
                    owned.inplace_op2(&gradient.contiguous()?, &AddInPlace)?;
                    Sum::Owned(owned)
                }
            });
        }
        Ok(())
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
        let a = Var::from_slice(&[1f32, -2.0, 3.0], 3, &device).unwrap();
        let b = Var::from_slice(&[0.5f32; 40_000], 40_000, &device).unwrap();
        let unused = Var::from_slice(&[7f32], 1, &device).unwrap();
        let parameters = [a.clone(), unused, b.clone()];
        let mut gradients = Gradients::new(3);
        for _ in 0..3 {
            let loss = (a.sqr().unwrap().sum_all().unwrap() + b.sum_all().unwrap()).unwrap();
            let mut store = loss.backward().unwrap();
            gradients.add(&parameters, &mut store).unwrap();
        }
        assert_eq!(
            gradients.get(0).unwrap().to_vec1::<f32>().unwrap(),
            [6.0, -12.0, 18.0]
        );
        assert!(gradients.get(1).is_none());
        let expected = (36.0 + 144.0 + 324.0 + 9.0 * 40_000.0f64).sqrt();
        assert!((gradients.norm().unwrap() - expected).abs() < 1e-9);
        gradients.clear();
        assert_eq!(gradients.norm().unwrap(), 0.0);
    }
}
