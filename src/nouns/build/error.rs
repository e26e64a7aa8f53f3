//! What can go wrong while the dictionary is built.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::nouns::NounsError;

/// An error of the dictionary builder.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A source cannot be read or a shipped list is damaged.
    #[error(transparent)]
    Source(#[from] NounsError),
    /// A source is not the version the dictionary is defined by.
    #[error(
        "{} is not the pinned version: its BLAKE3 is {found}, but must be {expected}; fetch the \
         packages as extras/dictionary/README.md says",
        path.display()
    )]
    NotPinned {
        /// The file.
        path: PathBuf,
        /// Hash of the pinned version.
        expected: &'static str,
        /// Hash of the file.
        found: String,
    },
    /// A source does not have the format of its package.
    #[error("{file}, line {line}: {reason}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A source does not unpack.
    #[error("failed to unpack {file}: {reason}")]
    Unpack {
        /// The file.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// WordNet lacks a sense that the selection names.
    #[error("WordNet has no noun sense {0}")]
    NoSense(String),
    /// The dictionary cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
