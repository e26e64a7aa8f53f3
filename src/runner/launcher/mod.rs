//! Launchers: where the pieces of work of a sweep run.

mod error;
mod processes;

pub use error::LaunchError;
pub use processes::Processes;
