//! What can go wrong with annotations.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::merge::Conflict;

/// Result of this room.
pub type Result<T> = std::result::Result<T, AnnotateError>;

/// An error of this room.
#[derive(Debug, Error)]
pub enum AnnotateError {
    /// The operating system refused something.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was attempted: a verb such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it was refused.
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A file that is no annotation file.
    #[error("{} is not an annotation file: {reason}; nothing is changed", path.display())]
    NotAnnotations {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is no prediction file.
    #[error("{} is not a prediction file: {reason}", path.display())]
    NotPredictions {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A prediction file without any of the wanted configurations.
    #[error(
        "{} has none of the generation configurations {}; it has {}",
        path.display(), wanted.join(", "), available.join(", ")
    )]
    NoConfig {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        wanted: Vec<String>,
        /// What it has.
        available: Vec<String>,
    },
    /// A path that leads to no predictions.
    #[error("{} is neither a .json file nor a directory of them; name prediction files", path.display())]
    NoPredictions {
        /// The path.
        path: PathBuf,
    },
    /// Images that cannot be used.
    #[error("{} images cannot be used:{}", failures.len(), indented(failures))]
    Images {
        /// What is wrong with each.
        failures: Vec<String>,
    },
    /// An image that cannot be read.
    #[error(transparent)]
    Image(#[from] crate::images::ImageError),
    /// A directory without images.
    #[error("{} has no images; name a directory of jpg, jpeg, png, bmp, gif, webp or tiff files", path.display())]
    NoImages {
        /// The directory.
        path: PathBuf,
    },
    /// A path that cannot be that of a new state.
    #[error("no new state at {}: {reason}", path.display())]
    StatePath {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is no state.
    #[error("{} is not a state of annotation: {reason}", path.display())]
    NotState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process writes the state.
    #[error("{} is in use by another process; wait for it to end", path.display())]
    InUse {
        /// The state file.
        path: PathBuf,
    },
    /// A journal without its state.
    #[error(
        "{} is left of another state and may hold answers that were paid for; move it away by hand, \
         or choose another name",
        path.display()
    )]
    StrayJournal {
        /// The journal.
        path: PathBuf,
    },
    /// A journal that this program cannot read.
    #[error(
        "{} is not a journal that this program can read; it may hold answers that were paid for, \
         so move it away by hand",
        path.display()
    )]
    NotJournal {
        /// The journal.
        path: PathBuf,
    },
    /// A file that is no log of requests.
    #[error("{} is not a log of requests; nothing is changed, choose another file with --log", path.display())]
    NotLog {
        /// The file.
        path: PathBuf,
    },
    /// A state that was changed by something else than this program.
    #[error(
        "{} is not as its journal says: something else has written it; if the file is right as it \
         is, move {} away",
        path.display(), journal.display()
    )]
    ForeignState {
        /// The state file.
        path: PathBuf,
        /// Its journal.
        journal: PathBuf,
    },
    /// Batches are under way, and what is wanted needs that there are none.
    #[error(
        "batches are under way; let them end with `novic annotate gpt run`, or cancel them first"
    )]
    Pending,
    /// The run was taken apart under way, which cannot happen.
    #[error(
        "the run has lost its state; run the same command again, nothing that was answered is lost"
    )]
    Lost,
    /// The service could not be asked.
    #[error(transparent)]
    Service(#[from] crate::net::llm::LlmError),
    /// An image that is another one in another state.
    #[error("the image {image:?} is not the same in both states: {what}; nothing is taken")]
    OtherImage {
        /// Its name.
        image: String,
        /// What differs.
        what: String,
    },
    /// The same pair in several categories, and nobody says which one counts.
    #[error("{}", conflicts_text(conflicts))]
    Conflicts {
        /// All of them.
        conflicts: Vec<Conflict>,
    },
}

impl AnnotateError {
    /// Wraps an I/O error: `map_err(AnnotateError::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// Whether a file is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

fn conflicts_text(conflicts: &[Conflict]) -> String {
    let mut text = format!(
        "{} pairs stand in several categories; choose with --policy first, last, lower or majority:",
        conflicts.len()
    );
    for conflict in conflicts {
        text.push_str(&format!("\n  {conflict}"));
    }
    text
}
