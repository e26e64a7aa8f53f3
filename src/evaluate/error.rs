//! What can go wrong with an evaluation.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Result of this room.
pub type Result<T> = std::result::Result<T, EvaluateError>;

/// Why something cannot be evaluated.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// A label without class.
    #[error(
        "a sample has label {label}, but there are {classes} classes; check that class names and data set belong together"
    )]
    LabelOutside {
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Arrays that do not belong together.
    #[error("{what}: {found} given, {expected} needed")]
    Shape {
        /// Which array.
        what: &'static str,
        /// What it is.
        found: String,
        /// What fits.
        expected: String,
    },
    /// A class without any prompt, or prompts whose embeddings cancel out.
    #[error("class {class} has no direction in the embedding space; give it at least one prompt")]
    NoClassEmbedding {
        /// Index of the class.
        class: usize,
    },
    /// A tensor operation failed.
    #[error("failed to compare embeddings: {0}")]
    Tensor(#[from] candle_core::Error),

    /// A dataset without targets.
    #[error("the data have no target nouns to compare with")]
    NoTargets,
    /// Data that cannot be read.
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
    /// A file of this program could not be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The embedder failed.
    #[error(transparent)]
    Embedder(#[from] crate::embedders::EmbedderError),
    /// The model failed.
    #[error(transparent)]
    Decoder(#[from] crate::decoder::DecoderError),

    /// Who asked for it wants it no longer.
    #[error("interrupted")]
    Interrupted,
    /// No model to evaluate.
    #[error("no model was found; name a checkpoint or a directory that holds some in model.load")]
    NoModels,

    /// A file could not be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write {}: {source}; free some space or choose another place", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A prediction file that is none.
    #[error("{} is not a prediction file: {reason}", path.display())]
    PredictionFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
