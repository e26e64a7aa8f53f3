//! Weights & Biases: a run's record mirrored to the service while the run is at
//! work, files for the official `wandb sync`, late upload, and reading runs
//! back.
//!
//! The record is the truth and the queue: [`Mirrors`] only read it, so the
//! service can never block, slow down or fail a run. Knows nothing of stages
//! but their names.

mod client;
mod control;
mod definitions;
mod encodings;
mod error;
mod fault;
mod files;
mod follower;
pub mod framing;
mod graphql;
mod key;
mod late;
mod mirror;
mod numbering;
mod offline;
mod pending;
mod read;
pub mod records;
mod resume;
mod source;
mod state;
mod sync;

pub use client::Client;
pub use control::{OnStop, Say, each_once};
pub use encodings::{config_values, plain};
pub use error::WandbError;
pub use fault::Fault;
pub use follower::{Continues, Mirrors, Wanted};
pub use key::ApiKey;
pub use late::{LateMirrors, unsent};
pub use offline::write_offline;
pub use read::{RemoteFile, RemoteRun, RunQuery};
pub use resume::check_strict;
pub use source::count_unsent;
pub use state::{Counts, Description, MirrorState, Progress, Resume, Settings, ca_file};
pub use sync::{SyncAction, SyncReport, Synced, sync};
