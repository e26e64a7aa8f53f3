//! What can go wrong when pictures are collected.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::images::ImageError;

/// Why an image set was not made.
#[derive(Debug, Error)]
pub enum CollectError {
    /// A file or folder could not be used.
    #[error("failed to {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Pictures could not be listed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Numbers of nouns and of their settings differ.
    #[error("{nouns} nouns have {given} {what}: give one for each of them")]
    Unequal {
        /// How many nouns.
        nouns: usize,
        /// How many settings.
        given: usize,
        /// What was given.
        what: &'static str,
    },
    /// A number that weights cannot be made of.
    #[error("{what} is {value}; give a finite number")]
    NotFinite {
        /// Which number.
        what: String,
        /// Its value.
        value: f64,
    },
    /// There is nothing to draw from.
    #[error("{path} holds no picture (jpg, jpeg, png, bmp, gif, webp, tiff); name another folder")]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing that was drawn can be read.
    #[error("none of {count} pictures in {path} can be read; name another folder")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// How many were tried.
        count: usize,
    },
    /// The output is there already.
    #[error("{path} is not empty; name a new folder, so that nothing is overwritten")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Pictures could not be embedded.
    #[error("failed to embed pictures: {0}")]
    Embed(String),
    /// Another process collects into the same folder.
    #[error("{path} is in use by another process; wait for it, or name another folder")]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// A file that is not of this program.
    #[error(
        "{path} is no journal of `novic images wiki` (line {line}); move it away, or name another folder"
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// The line that cannot be read.
        line: usize,
    },
    /// A manifest of something else.
    #[error(
        "{path} is no manifest of `novic images wiki` (line {line}); move it away, or name another folder"
    )]
    NotAManifest {
        /// The manifest.
        path: PathBuf,
        /// The line that cannot be read.
        line: usize,
    },
    /// The service cannot be asked at all.
    #[error("the service cannot be asked: {0}")]
    Client(String),
    /// The user ended it.
    #[error("interrupted; the same command goes on")]
    Interrupted,
}

impl CollectError {
    /// An error of the file system.
    pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
