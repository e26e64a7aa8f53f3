//! What can go wrong with a sweep as a whole.

use std::path::PathBuf;

use crate::config::ConfigErrors;
use crate::runner::RunError;
use crate::runner::launcher::LaunchError;
use crate::store::{Holder, StoreError};
use crate::tracking::TrackingError;

/// Why a sweep cannot be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The sweep file, the experiment or a point of it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A plan cannot be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The store or the sweep's own files cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run cannot be recorded.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// Jobs cannot be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Another process works at the sweep.
    #[error(
        "sweep `{name}` is being run by {}; wait for it (`novic sweep status {name} --wait`), or stop it (`novic sweep cancel {name}`)",
        holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string)
    )]
    Busy {
        /// Name of the sweep.
        name: String,
        /// Who.
        holder: Option<Holder>,
    },
    /// The name belongs to a sweep of another file.
    #[error(
        "sweep `{name}` belongs to {}; give this one another name (--name, or name = … under [sweep])",
        file.display()
    )]
    OtherFile {
        /// Name of the sweep.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// What the points are based on is not what it was.
    #[error(
        "the experiment changed since sweep `{name}` was begun:\n{}\nrun `novic sweep resume {name}` to go on with what it was, `novic sweep run … --update` to take the changes into all points, or give this sweep another name (--name)",
        changes.join("\n")
    )]
    Changed {
        /// Name of the sweep.
        name: String,
        /// What is different, a line each.
        changes: Vec<String>,
    },
    /// There is no such sweep.
    #[error("there is no sweep `{wanted}`{}", advice(known))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A file of the sweep does not hold what it should.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Something about it is not possible.
    #[error("{0}")]
    Refused(String),
}

fn advice(known: &[String]) -> String {
    match known {
        [] => "; `novic sweep run FILE` begins one".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    }
}
