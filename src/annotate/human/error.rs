//! What can go wrong with a session of judgements.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::super::error::AnnotateError;

/// Why a session cannot begin or go on.
#[derive(Debug, Error)]
pub enum HumanError {
    /// Annotation or prediction files.
    #[error(transparent)]
    Annotate(#[from] AnnotateError),
    /// A file could not be used.
    #[error("failed to {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another session has the file.
    #[error(
        "{} is being annotated by another process; end that session first, or look with --read-only",
        path.display()
    )]
    InUse {
        /// The annotation file.
        path: PathBuf,
    },
    /// A journal of something else.
    #[error(
        "{} (line {line}) is no journal of annotations; move it away and start again",
        path.display()
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// The line that cannot be read.
        line: usize,
    },
    /// A file of somebody else where the backup belongs.
    #[error(
        "{} is there and is no backup that a session has made; move it away or rename it, so that \
         it is not overwritten",
        path.display()
    )]
    ForeignBackup {
        /// Where the backup belongs.
        path: PathBuf,
    },
    /// A folder that is missing.
    #[error("there is no folder {}; name the one that holds {what}", path.display())]
    NoFolder {
        /// What was given.
        path: PathBuf,
        /// What is looked for in it.
        what: &'static str,
    },
    /// Something in the description of the sets.
    #[error("{0}")]
    Sets(String),
    /// Two sets write to the same file.
    #[error("the sets {first:?} and {second:?} have the same annotations file; give each its own")]
    SameFile {
        /// One set.
        first: String,
        /// The other one.
        second: String,
    },
    /// What is asked for is not there.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// Set, image or noun.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing may be written.
    #[error("this session is read-only")]
    ReadOnly,
    /// There is nothing to undo or to redo.
    #[error("there is nothing to {0}")]
    Nothing(&'static str),
}

impl HumanError {
    /// Wraps an I/O error.
    pub(super) fn file(
        what: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
