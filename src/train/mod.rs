//! Training of the object decoder: lengths, optimizers, learning rate, running
//! averages, save decisions, the loop and its resume (`training.md` 2 and 3).
//! Knows nothing of the command line.

mod adamp;
mod adamw;
pub mod averages;
pub mod error;
pub mod gradients;
pub mod lengths;
pub mod optimizer;
pub mod saving;
pub mod schedule;

pub use averages::{BatchSums, RunningAverages};
pub use error::{Result, TrainError};
pub use gradients::Gradients;
pub use lengths::{LengthInput, Lengths, UNLIMITED_CHUNKS};
pub use optimizer::{Optimizer, OptimizerKind, OptimizerSettings};
pub use saving::{SaveRule, SaveState};
pub use schedule::{Schedule, ScheduleSettings};
