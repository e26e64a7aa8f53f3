//! What can go wrong with pictures and lists of pictures.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Every variant names the file.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file could not be opened or read.
    #[error("failed to read image {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, socket or other thing that holds no picture.
    #[error("{path} is not a regular file; name a picture, or the folder as a folder")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The content is none of the known formats.
    #[error("{path} is not an image: its content is none of JPEG, PNG, WebP, GIF, BMP, TIFF")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Truncated, damaged, or of a kind that cannot be decoded.
    #[error("image {path} cannot be decoded: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// More bytes than allowed.
    #[error(
        "image {path} has {bytes} bytes, more than the limit of {limit}; raise the limit if it is meant to be that large"
    )]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// More pixels than allowed, or none.
    #[error(
        "image {path} has {width}×{height} pixels; between 1 and {limit} pixels are allowed, raise the limit if it is meant to be that large"
    )]
    BadSize {
        /// The file.
        path: PathBuf,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Most pixels allowed.
        limit: u64,
    },
    /// A folder could not be listed.
    #[error("failed to list folder {path}: {source}")]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A glob pattern is malformed.
    #[error("{pattern:?} is not a valid glob pattern: {reason}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file, folder or pattern that matches nothing.
    #[error("no image matches {input:?}; check the spelling, or allow empty inputs")]
    NothingFound {
        /// The input as given.
        input: String,
    },
}
