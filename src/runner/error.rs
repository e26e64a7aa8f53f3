//! What can go wrong in a stage and around it.

use std::error::Error;
use std::fmt;

use crate::causes::with_causes;
use crate::config::{UnknownRead, nearest};
use crate::store::StoreError;
use crate::tracking::TrackingError;

/// Why a stage has no output.
///
/// Not an [`Error`] itself, so that `?` turns every error of the rooms below
/// into a failed stage.
#[derive(Debug)]
pub enum StageError {
    /// It was asked to stop, and did so at a safe point.
    Interrupted,
    /// It failed, for this reason.
    Failed(String),
}

impl StageError {
    /// A failure told in words: what failed and what to do about it.
    pub fn failed(message: impl fmt::Display) -> StageError {
        StageError::Failed(message.to_string())
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageError::Interrupted => f.write_str("interrupted"),
            StageError::Failed(message) => f.write_str(message),
        }
    }
}

impl<E: Error> From<E> for StageError {
    fn from(error: E) -> StageError {
        StageError::Failed(with_causes(&error))
    }
}

/// Why a plan cannot be made or executed, beyond what its stages report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run cannot be recorded.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// A stage kind declares to read what the schema does not have.
    #[error("stage kind `{kind}`: {source}")]
    Reads {
        /// The kind.
        kind: String,
        /// What it declares.
        #[source]
        source: UnknownRead,
    },
    /// A stage was named that the plan does not have.
    #[error(
        "there is no stage `{wanted}`; {}the experiment has {}",
        nearest.as_ref().map(|name| format!("did you mean `{name}`? ")).unwrap_or_default(),
        known.join(", ")
    )]
    UnknownStage {
        /// What was named.
        wanted: String,
        /// The stage that was probably meant.
        nearest: Option<String>,
        /// Stages there are.
        known: Vec<String>,
    },
    /// Stages were chosen in ways that exclude each other.
    #[error("--only, --from and --until together choose no stage; leave one of them out")]
    NothingChosen,
}

impl RunError {
    pub(super) fn unknown_stage<'a>(
        wanted: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> RunError {
        RunError::UnknownStage {
            wanted: wanted.to_owned(),
            nearest: nearest(wanted, known.clone()).map(str::to_owned),
            known: known.map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_can_fail_a_stage() {
        let fails = || -> Result<(), StageError> {
            std::fs::read("/no/such/file")?;
            Ok(())
        };
        let error = fails().unwrap_err();
        assert!(
            matches!(&error, StageError::Failed(message) if message.contains("No such file")),
            "{error}"
        );
    }
}
