//! What can go wrong with a classification dataset.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::images::ImageError;
use crate::net::UnpackError;
use crate::pickle::PickleError;

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
    /// A known dataset that does not lie where it should.
    #[error("dataset {name} is not at {path}{}", advice(.resource, .archive))]
    NotThere {
        /// Name of the dataset.
        name: &'static str,
        /// Where it should lie.
        path: PathBuf,
        /// Id of the download that brings it.
        resource: Option<&'static str>,
        /// Its archive, if that lies near.
        archive: Option<PathBuf>,
    },
    /// A part that the dataset does not have.
    #[error("dataset {name} has no split {split}; it has valid")]
    NoSplit {
        /// Name of the dataset.
        name: &'static str,
        /// What was asked for.
        split: &'static str,
    },
    /// Files of a known dataset that are not as they should be.
    #[error("dataset file or folder {path} {reason}")]
    Layout {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, as the rest of a sentence.
        reason: String,
    },
    /// A pickle of a dataset could not be read.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// An archive of a dataset could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
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

fn advice(resource: &Option<&'static str>, archive: &Option<PathBuf>) -> String {
    if let (Some(archive), Some(id)) = (archive, resource) {
        return format!(
            "; `novic hub get {id} --from {}` unpacks it there (with --datasets for another root)",
            archive.display()
        );
    }
    match resource {
        Some(id) => format!("; `novic hub get {id}` fetches it, or name its root in cls.root"),
        None => "; put your copy there, or name its root in cls.root".to_owned(),
    }
}
