//! Errors of the embedder maker.

use std::path::{Path, PathBuf};

/// What can go wrong while the embedder is made.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file was read but does not hold what its package promises.
    #[error("{path}: {reason}; is the package the pinned version?", path = path.display())]
    Content { path: PathBuf, reason: String },
    /// The command line does not fit.
    #[error("{0}")]
    Usage(String),
}

/// Result of the embedder maker.
pub type Outcome<T> = Result<T, Failure>;

/// Marks an I/O error with the file it belongs to.
pub fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    |source| Failure::File {
        path: path.to_path_buf(),
        source,
    }
}

/// A file that does not hold what it should.
pub fn content(path: &Path, reason: impl std::fmt::Display) -> Failure {
    Failure::Content {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

/// Reads a whole JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Outcome<T> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&bytes).map_err(|e| content(path, e))
}

/// Writes a JSON file.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Outcome<()> {
    let text = serde_json::to_string(value).map_err(|e| content(path, e))?;
    std::fs::write(path, text).map_err(at(path))
}
