//! What can go wrong while captions are written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::nouns::NounsError;

/// An error of this module.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// The dictionary or the caption file is not as it should be.
    #[error(transparent)]
    Nouns(#[from] NounsError),
    /// A file could not be read or written.
    #[error("failed to {what} {}: {source}", path.display())]
    File {
        /// `read`, `write` or `lock`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes the same captions.
    #[error(
        "{} is in use: another process writes captions for the same file; wait for it, or choose \
         another file",
        path.display()
    )]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// The journal is of a newer program, or no journal.
    #[error(
        "{} is not a journal of captions that this program can read; it may hold answers that \
         were paid for, so move it away by hand",
        path.display()
    )]
    NotAJournal {
        /// The journal.
        path: PathBuf,
    },
    /// There is nothing to write captions for.
    #[error("neither {dictionary} nor {} has a noun", captions.display())]
    NoNouns {
        /// The dictionary.
        dictionary: String,
        /// The caption file.
        captions: PathBuf,
    },
}
