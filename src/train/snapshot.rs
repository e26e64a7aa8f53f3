//! A training at one point, as a checkpoint holds it beside the weights:
//! everything that going on bit for bit needs.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::ops::tape::Buffer;

use super::error::{Result, TrainError};
use super::gradients::{Gradient, GradientSums};
use super::loop_config::LoopConfig;
use super::loss_scaler::LossScaler;
use super::optimizer::{Moments, Optimizer, OptimizerKind, OptimizerSettings};
use super::schedule::Schedule;
use super::state::StoredLoopState;
use super::stopping::StopState;

/// Tensors of a snapshot by name.
pub type NamedTensors = Vec<(String, Tensor)>;

/// Prefixes of tensor names; none of them begins another.
pub(super) const EXP_AVG: &str = "optimizer.exp_avg.";
pub(super) const EXP_AVG_SQ: &str = "optimizer.exp_avg_sq.";
pub(super) const GRADIENT: &str = "optimizer.gradient.";

/// Where the training stands in its data and in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Batches taken from the order of the running epoch.
    pub epoch_place: u64,
    /// Batches of the running optimizer step; their gradient sums are part of
    /// the snapshot.
    pub accumulated: u64,
    /// Seconds of training.
    pub seconds: f64,
}

/// The optimizer of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredOptimizer {
    /// Update rule and hyper-parameters.
    pub settings: OptimizerSettings,
    /// Parameters in registration order, with their number of updates.
    pub parameters: Vec<(String, u64)>,
}

/// The part of a snapshot that is not tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotEntry {
    /// Settings of the loop.
    pub train_loop_config: LoopConfig,
    /// State of the loop.
    pub train_loop_state: StoredLoopState,
    /// Learning rate.
    pub schedule: Schedule,
    /// Place in the data.
    pub position: Position,
    /// Optimizer.
    pub optimizer: StoredOptimizer,
    /// What the rule for ending early has seen; absent in earlier versions.
    #[serde(default)]
    pub stop: StopState,
    /// Factor of the loss in half precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<LossScaler>,
}

/// A training at one point.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Settings of the loop.
    pub config: LoopConfig,
    /// State of the loop.
    pub state: StoredLoopState,
    /// Learning rate.
    pub schedule: Schedule,
    /// Place in the data.
    pub position: Position,
    /// Optimizer.
    pub optimizer: StoredOptimizer,
    /// What the rule for ending early has seen.
    pub stop: StopState,
    /// Factor of the loss in half precision.
    pub scaler: Option<LossScaler>,
    tensors: NamedTensors,
}

impl Snapshot {
    /// A snapshot; it shares the optimizer's tensors, so it must be written
    /// before the training goes on.
    ///
    /// # Errors
    /// None on the CPU.
    pub(super) fn take(
        config: LoopConfig,
        state: StoredLoopState,
        schedule: Schedule,
        position: Position,
        stop: StopState,
        optimizer: &Optimizer,
        gradients: &GradientSums,
    ) -> Result<Self> {
        let mut tensors = Vec::new();
        let named = optimizer.names().iter().zip(optimizer.moments());
        for (index, (name, moments)) in named.enumerate() {
            tensors.push((format!("{EXP_AVG}{name}"), moments.exp_avg.clone()));
            tensors.push((format!("{EXP_AVG_SQ}{name}"), moments.exp_avg_sq.clone()));
            if let Some(gradient) = gradients.get(index) {
                let gradient = gradient.to_tensor(moments.exp_avg.shape())?;
                tensors.push((format!("{GRADIENT}{name}"), gradient));
            }
        }
        let steps = optimizer.moments().iter().map(|moments| moments.steps);
        Ok(Self {
            config,
            state,
            schedule,
            position,
            optimizer: StoredOptimizer {
                settings: *optimizer.settings(),
                parameters: optimizer.names().iter().cloned().zip(steps).collect(),
            },
            stop,
            scaler: None,
            tensors,
        })
    }

    /// A snapshot read from a checkpoint; `tensors` are those whose names
    /// begin as [`Snapshot::is_tensor_name`] says.
    pub fn from_parts(entry: SnapshotEntry, tensors: NamedTensors) -> Self {
        Self {
            config: entry.train_loop_config,
            state: entry.train_loop_state,
            schedule: entry.schedule,
            position: entry.position,
            optimizer: entry.optimizer,
            stop: entry.stop,
            scaler: entry.scaler,
            tensors,
        }
    }

    /// Whether a tensor of a checkpoint belongs to the snapshot and not to the
    /// weights.
    pub fn is_tensor_name(name: &str) -> bool {
        [EXP_AVG, EXP_AVG_SQ, GRADIENT]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }

    /// The part that is not tensors.
    pub fn entry(&self) -> SnapshotEntry {
        SnapshotEntry {
            train_loop_config: self.config,
            train_loop_state: self.state.clone(),
            schedule: self.schedule.clone(),
            position: self.position,
            optimizer: self.optimizer.clone(),
            stop: self.stop,
            scaler: self.scaler,
        }
    }

    /// The tensors: `optimizer.exp_avg.NAME`, `optimizer.exp_avg_sq.NAME` and,
    /// amid an optimizer step, `optimizer.gradient.NAME`.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }

    fn tensor(&self, kind: &str, name: &str) -> Option<&Tensor> {
        let full = format!("{kind}{name}");
        let found = self.tensors.iter().find(|(name, _)| *name == full);
        found.map(|(_, tensor)| tensor)
    }

    /// Whether the moments make sense for an optimizer of this kind.
    pub fn fits(&self, kind: OptimizerKind) -> bool {
        std::mem::discriminant(&self.optimizer.settings.kind) == std::mem::discriminant(&kind)
    }

    /// Copies the moments into `optimizer`.
    ///
    /// # Errors
    /// Other parameters or shapes; missing tensors.
    pub(super) fn restore_moments(&self, optimizer: &mut Optimizer) -> Result<()> {
        let names: Vec<String> = optimizer.names().to_vec();
        if names.len() != self.optimizer.parameters.len() {
            return Err(TrainError::Parameter {
                name: "all".to_string(),
                reason: format!(
                    "the checkpoint has {} trained parameters, the model {}",
                    self.optimizer.parameters.len(),
                    names.len()
                ),
            });
        }
        let stored = self.optimizer.parameters.iter();
        for (index, (name, (stored_name, steps))) in names.iter().zip(stored).enumerate() {
            let error = |reason: String| TrainError::Parameter {
                name: name.clone(),
                reason,
            };
            if name != stored_name {
                return Err(error(format!(
                    "the checkpoint has {stored_name} in its place"
                )));
            }
            let tensor = |kind| {
                self.tensor(kind, name)
                    .cloned()
                    .ok_or_else(|| error(format!("the checkpoint lacks {kind}{name}")))
            };
            let moments = Moments {
                steps: *steps,
                exp_avg: tensor(EXP_AVG)?,
                exp_avg_sq: tensor(EXP_AVG_SQ)?,
            };
            optimizer.restore(index, &moments)?;
        }
        Ok(())
    }

    /// Gradient sums of the optimizer step the snapshot was taken amid.
    ///
    /// # Errors
    /// Gradients of another shape.
    pub(super) fn unfinished_gradients(&self, optimizer: &Optimizer) -> Result<GradientSums> {
        let mut sums = Vec::with_capacity(optimizer.names().len());
        for (name, parameter) in optimizer.names().iter().zip(optimizer.parameters()) {
            let gradient = self.tensor(GRADIENT, name);
            if let Some(gradient) = gradient
                && (gradient.dims() != parameter.dims() || gradient.dtype() != DType::F32)
            {
                return Err(TrainError::Parameter {
                    name: name.clone(),
                    reason: "its stored gradient has another shape".to_string(),
                });
            }
            let gradient = gradient.map(|gradient| match parameter.device() {
                Device::Cpu => Ok(Gradient::Host(Buffer::of(gradient)?)),
                device => gradient.to_device(device).map(Gradient::Device),
            });
            sums.push(gradient.transpose()?);
        }
        Ok(GradientSums::from_sums(sums, self.position.accumulated))
    }
}
