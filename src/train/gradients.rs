//! Gradients of the batches of one optimizer step, added up, and their norm.

use candle_core::{CpuStorage, DType, Layout, Tensor};

use crate::ops::{tape::Buffer, updates};

use super::error::{Result, TrainError};

/// Gradient of one parameter.
#[derive(Debug)]
pub enum Gradient {
    /// Of the fused kernels of the CPU.
    Host(Buffer),
    /// A tensor of the parameter's device.
    Device(Tensor),
}

impl Gradient {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Host(values) => values.len(),
            Self::Device(tensor) => tensor.elem_count(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy as a tensor of this shape on the CPU.
    pub(super) fn to_tensor(&self, shape: &candle_core::Shape) -> candle_core::Result<Tensor> {
        match self {
            Self::Host(values) => crate::ops::tape::tensor(values.to_vec(), shape),
            Self::Device(tensor) => tensor.to_device(&candle_core::Device::Cpu),
        }
    }

    fn add(&mut self, other: Self) -> Result<()> {
        match (&mut *self, other) {
            (Self::Host(sum), Self::Host(part)) => updates::add(sum, &part),
            (Self::Device(sum), Self::Device(part)) => *sum = (&*sum + part)?,
            // A sum from a checkpoint.
            (Self::Host(_), Self::Device(part)) => {
                let sum = self.to_tensor(part.shape())?.to_device(part.device())?;
                *self = Self::Device((sum + part)?);
            }
            (Self::Device(_), Self::Host(_)) => {
                return Err(error("gradients of two devices do not add up".to_string()));
            }
        }
        Ok(())
    }
}

fn error(reason: String) -> TrainError {
    TrainError::Parameter {
        name: "all".to_string(),
        reason,
    }
}

/// 2-norm over all gradients.
#[derive(Clone, Debug)]
pub enum GradientNorm {
    /// Of gradients on the host.
    Known(f64),
    /// Of gradients on a device, where it stays until it is asked for: an f64
    /// scalar.
    OnDevice(Tensor),
}

impl GradientNorm {
    /// Its value; waits for the device.
    ///
    /// # Errors
    /// What the device says.
    pub fn value(&self) -> Result<f64> {
        match self {
            Self::Known(norm) => Ok(*norm),
            Self::OnDevice(norm) => Ok(norm.to_scalar()?),
        }
    }
}

/// Gradient sums of a list of parameters.
pub struct GradientSums {
    sums: Vec<Option<Gradient>>,
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
    pub(super) fn from_sums(sums: Vec<Option<Gradient>>, batches: u64) -> Self {
        Self { sums, batches }
    }

    /// Adds the gradients of one batch, in parameter order.
    ///
    /// # Errors
    /// A wrong number of gradients or of their elements; gradients of another
    /// device.
    pub fn add(&mut self, gradients: Vec<Option<Gradient>>) -> Result<()> {
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
            sum.add(gradient)?;
        }
        self.batches += 1;
        Ok(())
    }

    /// Batches added since the last [`GradientSums::clear`].
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Gradient of parameter `index`, if it has one.
    pub fn get(&self, index: usize) -> Option<&Gradient> {
        self.sums.get(index)?.as_ref()
    }

    /// Forgets all gradients.
    pub fn clear(&mut self) {
        self.sums.fill_with(|| None);
        self.batches = 0;
    }

    /// 2-norm over all gradients. On the host it is summed in f64 in a fixed
    /// order, so that it does not depend on the number of threads.
    ///
    /// # Errors
    /// What the device says.
    pub fn norm(&self) -> Result<GradientNorm> {
        let (mut known, mut on_device) = (0.0, Vec::new());
        for sum in self.sums.iter().flatten() {
            match sum {
                Gradient::Host(values) => known += updates::sum_of_squares(values),
                Gradient::Device(tensor) => on_device.push(tensor.sqr()?.sum_all()?),
            }
        }
        if on_device.is_empty() {
            return Ok(GradientNorm::Known(known.sqrt()));
        }
        let squares = Tensor::stack(&on_device, 0)?.to_dtype(DType::F64)?;
        Ok(GradientNorm::OnDevice(squares.sum_all()?.sqrt()?))
    }

    /// Multiplies gradients on a device by an f64 scalar there.
    ///
    /// # Errors
    /// What the device says.
    pub(super) fn multiply(&mut self, factor: &Tensor) -> Result<()> {
        let factor = factor.to_dtype(DType::F32)?;
        for sum in self.sums.iter_mut().flatten() {
            if let Gradient::Device(tensor) = sum {
                *tensor = tensor.broadcast_mul(&factor)?;
            }
        }
        Ok(())
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
                Some(Gradient::Host(pool.copy(&scaled)))
            };
            let delivered = vec![gradient(&[1.0, -2.0, 3.0]), None, gradient(&[0.5; 40_000])];
            sums.add(delivered).unwrap();
        }
        assert_eq!(sums.batches(), 3);
        let Some(Gradient::Host(first)) = sums.get(0) else {
            panic!("no gradient of the host");
        };
        assert_eq!(**first, [6.0, -12.0, 18.0]);
        assert!(sums.get(1).is_none());
        let expected = (36.0 + 144.0 + 324.0 + 9.0 * 40_000.0f64).sqrt();
        assert!((sums.norm().unwrap().value().unwrap() - expected).abs() < 1e-9);
        sums.clear();
        assert_eq!(sums.norm().unwrap().value().unwrap(), 0.0);
        assert!(sums.add(Vec::new()).is_err());
        let one = |len| vec![Some(Gradient::Host(pool.zeros(len))), None, None];
        sums.add(one(3)).unwrap();
        assert!(sums.add(one(4)).is_err());
    }

    #[test]
    fn gradients_of_a_device_add_up_there_and_are_multiplied_there() {
        let device = &candle_core::Device::Cpu;
        let mut sums = GradientSums::new(2);
        let gradient = |values: &[f32]| Tensor::new(values, device).unwrap();
        for _ in 0..2 {
            let first = Gradient::Device(gradient(&[1.0, -2.0]));
            sums.add(vec![Some(first), Some(Gradient::Device(gradient(&[0.5])))])
                .unwrap();
        }
        let norm = sums.norm().unwrap();
        assert!(matches!(norm, GradientNorm::OnDevice(_)));
        assert!((norm.value().unwrap() - (4.0f64 + 16.0 + 1.0).sqrt()).abs() < 1e-6);
        let half = Tensor::new(0.5f64, device).unwrap();
        sums.multiply(&half).unwrap();
        let Some(Gradient::Device(first)) = sums.get(0) else {
            panic!("no gradient of the device");
        };
        assert_eq!(first.to_vec1::<f32>().unwrap(), [1.0, -2.0]);
        let host = Gradient::Host(Pool::default().zeros(2));
        assert!(sums.add(vec![Some(host), None]).is_err());
    }
}
