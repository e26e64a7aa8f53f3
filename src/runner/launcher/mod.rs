//! Launchers: where the pieces of work of a sweep run.

mod error;
mod processes;
pub mod slurm;

pub use error::LaunchError;
pub use processes::Processes;
