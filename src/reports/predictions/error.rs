//! What can go wrong with prediction files and annotations.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::score::Conflict;
use crate::reports::row_sort::SortError;

/// Result of this folder.
pub type Result<T> = std::result::Result<T, PredictionsError>;

/// Why predictions cannot be scored or shown.
#[derive(Debug, Error)]
pub enum PredictionsError {
    /// Something that is no prediction file is named.
    #[error("{} is no JSON file; name prediction files ending in .json, or directories of them", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A prediction file that is none.
    #[error("{} is no valid prediction file: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// An annotation file that is none.
    #[error("{} is no valid annotation file: {reason}", path.display())]
    Annotations {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A specificity list that is none.
    #[error("{} is no valid specificity list: {reason}", path.display())]
    Specificity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nouns worth points that a specificity list lacks.
    #[error(
        "the specificity list {list} lacks {} nouns that are worth points; add them, or choose zero or fine: {}",
        nouns.len(), nouns.join(", ")
    )]
    WithoutSpecificity {
        /// Name of the list.
        list: String,
        /// The nouns, sorted.
        nouns: Vec<String>,
    },
    /// Predictions that cannot be scored because something is not known of them.
    #[error("{}", lacking_text(.0))]
    Lacking(Vec<(&'static str, Vec<String>)>),
    /// There is nothing to show.
    #[error("no predictions: {what}")]
    Nothing {
        /// What is empty.
        what: String,
    },
    /// No prediction is to be considered.
    #[error("the number of predictions to consider must be at least 1")]
    TopkZero,
    /// A sample has fewer predictions than are to be considered.
    #[error(
        "{}: sample {sample} has {found} predictions under {gencfg}, {wanted} are to be considered; lower the number of predictions to consider, or make the file again",
        path.display()
    )]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Generation configuration.
        gencfg: String,
        /// Sample.
        sample: String,
        /// Predictions it has.
        found: usize,
        /// Predictions wanted.
        wanted: usize,
    },
    /// Nouns that stand in several categories.
    #[error(
        "{} predictions are annotated in several categories; correct the annotations, or choose best, worst or first:{}",
        .0.len(), conflict_lines(.0)
    )]
    Ambiguous(Vec<Conflict>),
    /// Rows cannot be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
}

fn conflict_lines(conflicts: &[Conflict]) -> String {
    const SHOWN: usize = 20;
    let mut lines: String = conflicts
        .iter()
        .take(SHOWN)
        .map(|conflict| {
            let categories = conflict.categories.join(", ");
            format!("\n  {}: {} is {categories}", conflict.sample, conflict.noun)
        })
        .collect();
    if conflicts.len() > SHOWN {
        lines.push_str(&format!("\n  and {} more", conflicts.len() - SHOWN));
    }
    lines
}

/// What lacks, with how many there are of each, and some of them.
fn lacking_text(lacking: &[(&'static str, Vec<String>)]) -> String {
    const SHOWN: usize = 20;
    let mut text = "the predictions cannot be scored".to_owned();
    for (what, items) in lacking {
        text.push_str(&format!("\n  {} {what}: ", items.len()));
        text.push_str(&items[..items.len().min(SHOWN)].join(", "));
        if items.len() > SHOWN {
            text.push_str(", …");
        }
    }
    text.push_str(
        "\nadd what is missing, or choose --missing zero (worth nothing) or fine (as specific as can be)",
    );
    text
}
