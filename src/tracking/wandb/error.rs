//! What can go wrong with Weights & Biases.

use std::io;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use crate::store::StoreError;
use crate::tracking::TrackingError;

/// An error of the mirror, of late upload or of reading back.
#[derive(Debug, thiserror::Error)]
pub enum WandbError {
    /// There is no API key.
    #[error(
        "there is no API key for {host}: set WANDB_API_KEY, or give the password of the machine \
         {host} in ~/.netrc"
    )]
    NoKey {
        /// Name of the service's machine.
        host: String,
    },
    /// The address of the service is none.
    #[error("tracking.wandb.base_url is `{0}`, which is no address such as https://api.wandb.ai")]
    Address(String),
    /// The certificates to trust cannot be read.
    #[error("tracking.wandb.ca_file: failed to read {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The HTTP client cannot be made.
    #[error("failed to prepare connections: {0}")]
    Client(String),
    /// The service did not do what was asked.
    #[error("Weights & Biases at {address}: {fault}")]
    Service {
        /// Its address.
        address: String,
        /// What it did.
        fault: Fault,
    },
    /// The service has no such run.
    #[error("there is no run `{run}` in {entity}/{project}")]
    UnknownRun {
        /// Entity; empty for that of the key.
        entity: String,
        /// Project.
        project: String,
        /// Run id.
        run: String,
    },
    /// A file cannot be read or written.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What says how a run is mirrored cannot be read.
    #[error("{} does not say how a run is mirrored: {what}; remove it to forget the mirror", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A run's record cannot be used.
    #[error(transparent)]
    Record(#[from] TrackingError),
    /// A file of the store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WandbError {
    /// Wraps an I/O error.
    pub(super) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> WandbError {
        let path = path.to_path_buf();
        move |source| WandbError::File {
            action,
            path: path.clone(),
            source,
        }
    }
}
