//! Content-addressed outputs of stages, and who is making them.
//!
//! [`Project`] finds `.novic/`; [`Store`] hands out finished [`Entry`]s and,
//! under a [`Lease`], unfinished [`Building`]s; [`ContentHashes`] identifies
//! external files. The room knows nothing of what the outputs mean.

mod building;
#[cfg(test)]
pub(crate) mod child;
mod content;
mod durable;
mod entry;
mod error;
#[cfg(test)]
mod fault_tests;
mod key;
mod lease;
mod process;
mod project;
mod removal;
mod shelf;

pub use building::{Building, Failure, PartialState, Progress};
pub use content::{ContentHash, ContentHashes, Stamp};
pub use durable::{append_line, publish_file, replace_file, sync_dir, write_file};
pub use entry::{Entry, EntryDescription, EntryFile, EntryInput, FORMAT as ENTRY_FORMAT, Manifest};
pub use error::StoreError;
pub use key::{EntryId, Key};
pub use lease::{Attempt, Holder, Lease, LeaseState, LockSupport};
pub use process::boot_id;
pub use project::Project;
pub use removal::{PartialWork, Removal};
pub use shelf::{Claim, Store};
