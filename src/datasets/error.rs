//! What can go wrong with a classification dataset.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::images::ImageError;

/// Errors of opening datasets and reading their pictures.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The name is neither a known dataset nor a path.
    #[error(
        "dataset {name:?} is not known; known are {known}, or give a folder with one sub-folder per class, or a list file (a path contains a separator or starts with . or ~){hint}",
        known = .known.join(", ")
    )]
    Unknown {
        /// What was given.
        name: String,
        /// Names that would do.
        known: Vec<String>,
        /// Nearest name, as a sentence.
        hint: String,
    },
    /// A path that is neither a folder nor a file.
    #[error("dataset {path} does not exist")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A folder or list file could not be read.
    #[error("failed to read dataset {path}: {source}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder without sub-folders, or a list without lines.
    #[error("dataset {path} has no classes; it needs one sub-folder of pictures per class")]
    NoClasses {
        /// The folder or file.
        path: PathBuf,
    },
    /// A class folder without pictures.
    #[error("dataset {path}: class {class} has no pictures; remove the folder or add some")]
    EmptyClass {
        /// The dataset's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A folder or file name that is not UTF-8.
    #[error("dataset {path}: the name is not UTF-8; rename it")]
    NotUtf8 {
        /// The folder or file.
        path: PathBuf,
    },
    /// A line of a list file that is not path, tab, class.
    #[error("list {path}, line {line}: {reason}")]
    BadLine {
        /// The list file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The names of the classes are ids.
    #[error(
        "dataset {path}: class {class:?} is a WordNet id, not a name; rename the folders, or list the pictures with class names"
    )]
    ClassIsId {
        /// The dataset's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A pack of drawings whose list and archive do not belong together.
    #[error("pack of drawings {pack}: {reason}")]
    BadPack {
        /// Name of the pack.
        pack: String,
        /// What is wrong.
        reason: String,
    },
    /// A picture could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}
