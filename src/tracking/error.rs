//! What can go wrong with run records.

use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// An error of run tracking.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// A file of the record could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is no record, or its beginning is missing.
    #[error("{} is not a run record: {what}", path.display())]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The record has a newer format.
    #[error("{} has format {found}, this program reads up to {supported}; use a newer novic", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// Tags and note cannot be read, so they are not replaced either.
    #[error("{} holds no tags and note that this program can read: {what}; mend it or move it away", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No run has this id.
    #[error("there is no run `{wanted}` in {}{}; `novic ls` lists the runs", dir.display(), nearest_text(nearest))]
    UnknownRun {
        /// What was asked for.
        wanted: String,
        /// Where the runs are.
        dir: PathBuf,
        /// A run with a similar id.
        nearest: Option<String>,
    },
    /// Several runs match the beginning of an id.
    #[error("`{wanted}` could be {}; give more of the id", candidates.join(" or "))]
    AmbiguousRun {
        /// What was asked for.
        wanted: String,
        /// The runs it could be.
        candidates: Vec<String>,
    },
    /// The writing thread could not be started or has died.
    #[error("the writer of the run record {} is gone", path.display())]
    WriterGone {
        /// The record.
        path: PathBuf,
    },
}

impl TrackingError {
    /// Wraps an I/O error.
    pub(super) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> TrackingError {
        let path = path.to_path_buf();
        move |source| {
            TrackingError::Store(StoreError::File {
                action,
                path,
                source,
            })
        }
    }
}

fn nearest_text(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|id| format!(" (is it `{id}`?)"))
        .unwrap_or_default()
}
