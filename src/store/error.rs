//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use super::lease::Holder;

/// An error of the store. Every message names the path and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation on a file or directory.
    #[error("failed to {action} {}: {source}{}", path.display(), advice(action, source))]
    File {
        /// What was attempted: a verb such as `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
    /// A file of the store does not hold what it should.
    #[error("{} is damaged: {what}; remove it, and the next run makes it again", path.display())]
    Damaged {
        /// The damaged file or entry.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file of the store was written in a format this program does not know.
    #[error("{} has format {found}, this program reads up to {supported}; use a newer novic", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// Another process took over what this one was building.
    #[error("lost the lease {} to {holder}; run the command again to use its result", path.display())]
    LeaseLost {
        /// The lease file.
        path: PathBuf,
        /// Who has it now.
        holder: Holder,
    },
    /// Something else than a file or a directory, such as a pipe.
    #[error("{} is no plain file: only those, and folders of them, are read and stored", path.display())]
    NotPlain {
        /// The offending path.
        path: PathBuf,
    },
    /// An external file changed while it was being read.
    #[error("{} changed while it was being read; run again when nothing writes to it", path.display())]
    Unstable {
        /// The file.
        path: PathBuf,
    },
    /// A name or key that cannot be part of a path in the store.
    #[error("`{text}` is not {what}")]
    BadName {
        /// The text.
        text: String,
        /// What it should have been.
        what: &'static str,
    },
}

impl StoreError {
    /// Wraps an I/O error: `map_err(StoreError::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| StoreError::File {
            action,
            path,
            source,
        }
    }

    /// Whether the file or directory in question does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What to do about an I/O error of `action`, as the tail of a message.
fn advice(action: &str, error: &io::Error) -> &'static str {
    let reads = matches!(action, "read" | "open" | "list" | "look at");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space there (`novic gc`), or keep the project's outputs elsewhere with NOVIC_HOME or `store.dir`"
        }
        io::ErrorKind::PermissionDenied if reads => {
            "; make it readable, or keep the project's outputs elsewhere with NOVIC_HOME or `store.dir`"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; make it writable, or keep the project's outputs elsewhere with NOVIC_HOME or `store.dir`"
        }
        io::ErrorKind::NotADirectory => {
            "; a file stands where a folder should be: move it away, or keep the project's outputs elsewhere with NOVIC_HOME or `store.dir`"
        }
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}
