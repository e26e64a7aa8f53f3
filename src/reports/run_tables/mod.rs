//! Tables of runs: the original's action `format_wandb` (`reports.md` section
//! 6), over local run records and over runs of a tracking service.
//!
//! A [`RunSource`] finds runs by the conditions of [`Selection`];
//! [`format_runs`] collects what they measured and prints it. Knows nothing of
//! where runs are kept.

mod collect;
mod console_log;
mod error;
mod filters;
mod local;
mod matching;
mod models;
mod remote;
mod source;
mod tables;

pub use console_log::{LogPredictions, parse_log};
pub use error::{Result, RunTablesError};
pub use filters::{HostTag, Selection};
pub use local::{LocalRuns, recorded_origin};
pub use matching::{RunFilter, time};
pub use remote::{WandbRuns, head};
pub use source::{LogFailure, RunHead, RunOrigin, RunSource};
pub use tables::{RunsRequest, format_runs};
