//! Why a PyTorch file cannot be read.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum Fault {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No zip archive, or a damaged one.
    #[error("truncated or no PyTorch archive ({reason})")]
    Container {
        /// What the archive reader said.
        reason: String,
    },
    /// A member of the archive is not as it must be.
    #[error("member {name:?} of the archive {reason}")]
    Member {
        /// Name in the archive.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pickle names something that is not on the list.
    #[error(
        "it asks for {module}.{name}, which is not among the few things such files may name: \
         nothing was executed; do not trust this file"
    )]
    Forbidden {
        /// Module of the global.
        module: String,
        /// Its name.
        name: String,
    },
    /// An operation that does not belong into such files.
    #[error("its pickle has operation 0x{code:02x} at byte {at}, which no such file needs")]
    Operation {
        /// The operation.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// The pickle makes no sense.
    #[error("its pickle is damaged at byte {at}: {reason}")]
    Malformed {
        /// Where.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// Larger than anything such files need.
    #[error("its pickle has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A tensor does not fit its storage.
    #[error("a tensor of shape {shape:?} {reason}")]
    Tensor {
        /// Its shape.
        shape: Vec<usize>,
        /// What is wrong.
        reason: String,
    },
    /// An entry is missing or of another kind.
    #[error("{reason}")]
    Content {
        /// Which, and what it should be.
        reason: String,
    },
}

/// A [`Fault`] with its file.
#[derive(Debug, Error)]
#[error("failed to read {}: {fault}", .path.display())]
pub struct PickleError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}
