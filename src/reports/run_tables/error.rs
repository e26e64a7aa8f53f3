//! What can go wrong with tables of runs.

use thiserror::Error;

use crate::reports::predictions::PredictionsError;
use crate::reports::row_sort::SortError;
use crate::reports::time_filter::TimeFilterError;
use crate::tracking::wandb::WandbError;

/// Result of this folder.
pub type Result<T> = std::result::Result<T, RunTablesError>;

/// Why there is no table of runs.
#[derive(Debug, Error)]
pub enum RunTablesError {
    /// A limit of time cannot be read.
    #[error(transparent)]
    Time(#[from] TimeFilterError),
    /// A pattern of hosts cannot be read.
    #[error("`{pattern}` is no pattern of hosts: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A condition that the local records cannot be asked.
    #[error("runs cannot be found by {0}")]
    Condition(String),
    /// Annotations cannot be read, or predictions not be scored.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// Rows cannot be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The tracking service did not answer as wished.
    #[error(transparent)]
    Wandb(#[from] WandbError),
    /// Runs cannot be read.
    #[error("failed to read runs: {0}")]
    Source(String),
    /// A run of an action that these tables do not show.
    #[error("run {run} is of action `{action}`, which these tables do not show")]
    Action {
        /// Id of the run.
        run: String,
        /// Its action.
        action: String,
    },
}
