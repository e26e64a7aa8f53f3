//! AdamW and AdamP over named parameters in groups (`training.md` 2.4). The
//! state is two moments and a step count per parameter; updates run in place.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor};
use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};
use super::gradients::{Gradient, GradientSums, contiguous_mut};
use super::{adamp, adamw, device_update};
use crate::ops::updates::{Denominator, MomentUpdate};

/// Which update rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay.
    AdamW,
    /// Adam with projection of the radial part.
    AdamP {
        /// Nesterov momentum.
        nesterov: bool,
    },
}

/// Rule and hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Update rule.
    pub kind: OptimizerKind,
    /// `train.optimizer.beta1`: decay of the first moment.
    pub beta1: f64,
    /// `train.optimizer.beta2`: decay of the second moment.
    pub beta2: f64,
    /// `train.optimizer.weight_decay`.
    pub weight_decay: f64,
    /// `train.optimizer.decay_1d`: decay parameters with fewer than two
    /// dimensions too.
    pub decay_1d: bool,
}

/// Parameters that share a weight decay.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGroup {
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Indices into the optimizer's parameters, in registration order.
    pub parameters: Vec<usize>,
}

/// Optimizer state of one parameter.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Updates so far.
    pub steps: u64,
    /// First moment, shape and device of the parameter, f32.
    pub exp_avg: Tensor,
    /// Second moment, shape and device of the parameter, f32.
    pub exp_avg_sq: Tensor,
}

/// An optimizer over a fixed list of parameters.
pub struct Optimizer {
    settings: OptimizerSettings,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    groups: Vec<ParameterGroup>,
    moments: Vec<Moments>,
}

impl Optimizer {
    /// An optimizer with zero moments for `parameters`, the trainable ones in
    /// registration order, each once. Updates write into their storage.
    ///
    /// # Errors
    /// Hyper-parameters outside their range; parameters that are not
    /// contiguous f32 tensors.
    pub fn new(parameters: Vec<(String, Tensor)>, settings: OptimizerSettings) -> Result<Self> {
        for (key, value) in [
            ("train.optimizer.beta1", settings.beta1),
            ("train.optimizer.beta2", settings.beta2),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(TrainError::Setting {
                    key,
                    value: value.to_string(),
                    rule: "it must be at least 0 and below 1",
                });
            }
        }
        if !(settings.weight_decay.is_finite() && settings.weight_decay >= 0.0) {
            return Err(TrainError::Setting {
                key: "train.optimizer.weight_decay",
                value: settings.weight_decay.to_string(),
                rule: "it must be a number of at least 0",
            });
        }
        let (names, parameters): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let mut moments = Vec::with_capacity(parameters.len());
        for (name, parameter) in names.iter().zip(&parameters) {
            let reason = if parameter.dtype() != DType::F32 {
                "it must be f32"
            } else if !parameter.is_contiguous() {
                "it must be contiguous"
            } else {
                moments.push(Moments::zeros(parameter)?);
                continue;
            };
            return Err(TrainError::Parameter {
                name: name.clone(),
                reason: reason.to_string(),
            });
        }
        Ok(Self {
            settings,
            groups: parameter_groups(&parameters, &settings),
            names,
            parameters,
            moments,
        })
    }

    /// Rule and hyper-parameters.
    pub fn settings(&self) -> &OptimizerSettings {
        &self.settings
    }

    /// Names of the parameters, in registration order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The parameters, in registration order.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Groups: without decay first; a group without parameters is left out.
    pub fn groups(&self) -> &[ParameterGroup] {
        &self.groups
    }

    /// State of each parameter, in registration order.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Takes over the state of parameter `index`, by copying.
    ///
    /// # Errors
    /// Another shape or dtype; an index out of range.
    pub fn restore(&mut self, index: usize, state: &Moments) -> Result<()> {
        let (Some(own), Some(name)) = (self.moments.get_mut(index), self.names.get(index)) else {
            return Err(TrainError::Parameter {
                name: format!("number {index}"),
                reason: "there is no such parameter".to_string(),
            });
        };
        for tensor in [&state.exp_avg, &state.exp_avg_sq] {
            if tensor.dims() != own.exp_avg.dims() || tensor.dtype() != DType::F32 {
                return Err(TrainError::Parameter {
                    name: name.clone(),
                    reason: format!(
                        "its stored moments are {:?} {:?}, not f32 {:?}",
                        tensor.dtype(),
                        tensor.dims(),
                        own.exp_avg.dims()
                    ),
                });
            }
        }
        *own = Moments {
            steps: state.steps,
            exp_avg: own_copy(&state.exp_avg, own.exp_avg.device())?,
            exp_avg_sq: own_copy(&state.exp_avg_sq, own.exp_avg.device())?,
        };
        Ok(())
    }

    /// One update with learning rate `rate`; gradients are multiplied by
    /// `gradient_scale` (clipping) on the way. Parameters without a gradient
    /// stay as they are.
    ///
    /// # Errors
    /// Tensor arithmetic.
    pub fn step(&mut self, gradients: &GradientSums, gradient_scale: f64, rate: f64) -> Result<()> {
        for group in &self.groups {
            for &index in &group.parameters {
                let Some(gradient) = gradients.get(index) else {
                    continue;
                };
                let moments = &mut self.moments[index];
                moments.steps += 1;
                let factors = UpdateFactors {
                    rate,
                    beta1: self.settings.beta1,
                    beta2: self.settings.beta2,
                    weight_decay: group.weight_decay,
                    gradient_scale,
                    steps: moments.steps,
                };
                let (kind, parameter) = (self.settings.kind, &self.parameters[index]);
                match gradient {
                    Gradient::Host(gradient) => {
                        update(parameter, moments, gradient, kind, &factors)?;
                    }
                    Gradient::Device(gradient) => {
                        device_update::update(parameter, moments, gradient, kind, &factors)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Moments {
    fn zeros(parameter: &Tensor) -> Result<Self> {
        let zeros = || Tensor::zeros(parameter.dims(), DType::F32, parameter.device());
        Ok(Self {
            steps: 0,
            exp_avg: zeros()?,
            exp_avg_sq: zeros()?,
        })
    }
}

/// A tensor on a device, in memory of its own.
fn own_copy(tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    tensor.to_device(device)?.force_contiguous()
}

fn parameter_groups(parameters: &[Tensor], settings: &OptimizerSettings) -> Vec<ParameterGroup> {
    group_indices(parameters.iter().map(Tensor::rank), settings)
        .into_iter()
        .map(|(weight_decay, parameters)| ParameterGroup {
            weight_decay,
            parameters,
        })
        .collect()
}

/// Weight decay and parameter numbers of each group, for parameters with these
/// numbers of dimensions: without decay first, empty groups left out.
pub(super) fn group_indices(
    ranks: impl Iterator<Item = usize>,
    settings: &OptimizerSettings,
) -> Vec<(f64, Vec<usize>)> {
    let decays = |(_, rank): &(usize, usize)| settings.decay_1d || *rank >= 2;
    let (with, without): (Vec<_>, Vec<_>) = ranks.enumerate().partition(decays);
    [(0.0, without), (settings.weight_decay, with)]
        .into_iter()
        .filter(|(_, parameters)| !parameters.is_empty())
        .map(|(weight_decay, parameters)| {
            let indices = parameters.into_iter().map(|(index, _)| index);
            (weight_decay, indices.collect())
        })
        .collect()
}

/// Scalars of one update of one parameter.
pub(super) struct UpdateFactors {
    rate: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
    gradient_scale: f64,
    steps: u64,
}

impl UpdateFactors {
    pub(super) fn moments(&self) -> MomentUpdate {
        MomentUpdate {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            new1: (1.0 - self.beta1) as f32,
            new2: (1.0 - self.beta2) as f32,
            scale: self.gradient_scale as f32,
        }
    }

    pub(super) fn denominator(&self) -> Denominator {
        Denominator {
            correction: bias_correction(self.beta2, self.steps).sqrt() as f32,
        }
    }

    /// What the weights are multiplied with for the decay, of which the share
    /// `ratio` is in force.
    pub(super) fn decay_multiplier(&self, ratio: f64) -> f64 {
        1.0 - self.rate * self.weight_decay * ratio
    }

    /// Rate with the bias correction of the first moment.
    pub(super) fn step_size(&self) -> f64 {
        self.rate / bias_correction(self.beta1, self.steps)
    }
}

fn bias_correction(beta: f64, steps: u64) -> f64 {
    1.0 - beta.powf(steps as f64)
}

/// One update of one parameter.
fn update(
    parameter: &Tensor,
    moments: &Moments,
    gradient: &[f32],
    kind: OptimizerKind,
    factors: &UpdateFactors,
) -> candle_core::Result<()> {
    let (found, dims) = (gradient.len(), parameter.dims());
    if found != parameter.elem_count() {
        candle_core::bail!("a gradient of {found} elements for a parameter of shape {dims:?}");
    }
    in_place(parameter, |parameter| {
        in_place(&moments.exp_avg, |m| {
            in_place(&moments.exp_avg_sq, |v| {
                match kind {
                    OptimizerKind::AdamW => adamw::update(parameter, m, v, gradient, factors),
                    OptimizerKind::AdamP { nesterov } => {
                        adamp::update(parameter, m, v, gradient, dims, nesterov, factors);
                    }
                }
                Ok(())
            })
        })
    })
}

/// Runs `change` on the elements of a contiguous f32 tensor.
fn in_place(
    tensor: &Tensor,
    change: impl FnOnce(&mut [f32]) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    /// A closure that runs once behind the shared reference an operation is
    /// given.
    struct Once<F>(RefCell<Option<F>>);

    impl<F: FnOnce(&mut [f32]) -> candle_core::Result<()>> InplaceOp1 for Once<F> {
        fn name(&self) -> &'static str {
            "in-place"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let values = contiguous_mut(storage, layout)?;
            match self.0.take() {
                Some(change) => change(values),
                None => Ok(()),
            }
        }
    }

    tensor.inplace_op1(&Once(RefCell::new(Some(change))))
}

#[cfg(test)]
mod tests {
    use crate::ops::tape::Buffer;

    use super::*;

    fn settings(kind: OptimizerKind) -> OptimizerSettings {
        OptimizerSettings {
            kind,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.1,
            decay_1d: false,
        }
    }

    fn quadratic(kind: OptimizerKind) -> f32 {
        let device = Device::Cpu;
        let matrix = Tensor::new(&[[3f32, -1.0], [0.5, 2.0]], &device).unwrap();
        let target = Tensor::new(&[[1f32, 2.0], [-1.0, 0.5]], &device).unwrap();
        let mut optimizer =
            Optimizer::new(vec![("matrix".into(), matrix.clone())], settings(kind)).unwrap();
        let difference = || (&matrix - &target).unwrap();
        for step in 0..300 {
            let mut gradients = GradientSums::new(1);
            let gradient = Buffer::of(&difference()).unwrap();
            gradients.add(vec![Some(Gradient::Host(gradient))]).unwrap();
            let rate = 0.05 * (1.0 - f64::from(step) / 300.0);
            optimizer.step(&gradients, 1.0, rate).unwrap();
        }
        let squares = difference().sqr().unwrap();
        squares.sum_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn both_rules_reach_a_minimum() {
        assert!(quadratic(OptimizerKind::AdamW) < 0.1);
        assert!(quadratic(OptimizerKind::AdamP { nesterov: true }) < 0.1);
    }

    #[test]
    fn groups_split_by_dimension_and_leave_out_empty_ones() {
        let device = Device::Cpu;
        let var = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &device).unwrap();
        let parameters = || {
            vec![
                ("a".to_string(), var(&[2, 3])),
                ("b".to_string(), var(&[3])),
                ("c".to_string(), var(&[])),
                ("d".to_string(), var(&[3, 1])),
            ]
        };
        let split = Optimizer::new(parameters(), settings(OptimizerKind::AdamW)).unwrap();
        assert_eq!(split.groups()[0].parameters, [1, 2]);
        assert_eq!(split.groups()[0].weight_decay, 0.0);
        assert_eq!(split.groups()[1].parameters, [0, 3]);
        let all = OptimizerSettings {
            decay_1d: true,
            ..settings(OptimizerKind::AdamW)
        };
        let all = Optimizer::new(parameters(), all).unwrap();
        assert_eq!(all.groups().len(), 1);
        assert_eq!(all.groups()[0].parameters, [0, 1, 2, 3]);
    }

    #[test]
    fn restored_state_must_fit() {
        let var = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let mut optimizer =
            Optimizer::new(vec![("a".into(), var)], settings(OptimizerKind::AdamW)).unwrap();
        let wrong = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let state = Moments {
            steps: 4,
            exp_avg: wrong.clone(),
            exp_avg_sq: wrong,
        };
        assert!(optimizer.restore(0, &state).is_err());
        assert!(optimizer.restore(1, &state).is_err());
    }
}
