//! Training of the object decoder: lengths, optimizers, learning rate, running
//! averages, save decisions, the loop and its resume (`training.md` 2 and 3).
//! Knows nothing of the command line.

mod adamp;
mod adamw;
pub mod averages;
pub mod checkpoints;
pub mod decoder_learner;
mod device_update;
pub mod error;
pub mod exchange;
pub mod gradients;
pub mod keeping;
pub mod learned;
pub mod lengths;
pub mod loader_source;
pub mod loop_config;
pub mod loss_scaler;
pub mod mean_shift;
pub mod metrics;
pub mod optimizer;
pub mod repair;
#[cfg(test)]
mod resume_tests;
pub mod saving;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod stopping;
pub mod trainer;

pub use averages::{BatchSums, RunningAverages};
pub use checkpoints::CheckpointFolder;
pub use decoder_learner::DecoderLearner;
pub use error::{Result, TrainError};
pub use gradients::{Gradient, GradientNorm, GradientSums};
pub use keeping::KeepPolicy;
pub use learned::{Learned, LearnedSums};
pub use lengths::{LengthInput, Lengths, UNLIMITED_CHUNKS};
pub use loader_source::LoaderSource;
pub use loop_config::{DataSize, LoopConfig};
pub use loss_scaler::LossScaler;
pub use mean_shift::MeanShift;
pub use metrics::Observer;
pub use optimizer::{Optimizer, OptimizerKind, OptimizerSettings};
pub use saving::{SaveRule, SaveState};
pub use schedule::{Schedule, ScheduleSettings, ScheduleState};
pub use snapshot::Snapshot;
pub use state::{LoopState, StoredLoopState};
pub use stopping::{StopRule, StopState};
pub use trainer::{BatchSource, LearnStep, Learner, Outcome, Trainer};
