//! Training of the object decoder: lengths, optimizers, learning rate, running
//! averages, save decisions, the loop and its resume (`training.md` 2 and 3).
//! Knows nothing of the command line.

mod adamp;
mod adamw;
pub mod averages;
pub mod error;
pub mod gradients;
pub mod lengths;
pub mod loop_config;
pub mod mean_shift;
pub mod metrics;
pub mod optimizer;
pub mod saving;
pub mod schedule;
pub mod state;
pub mod streams;

pub use averages::{BatchSums, RunningAverages};
pub use error::{Result, TrainError};
pub use gradients::GradientSums;
pub use lengths::{LengthInput, Lengths, UNLIMITED_CHUNKS};
pub use loop_config::{DataSize, LoopConfig};
pub use mean_shift::MeanShift;
pub use metrics::Observer;
pub use optimizer::{Optimizer, OptimizerKind, OptimizerSettings};
pub use saving::{SaveRule, SaveState};
pub use schedule::{Schedule, ScheduleSettings};
pub use state::{LoopState, StoredLoopState};
pub use streams::{Purpose, stream};
