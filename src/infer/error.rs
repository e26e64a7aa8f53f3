//! Why a model cannot be loaded or used.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::decoder::DecoderError;
use crate::embedders::EmbedderError;
use crate::store::StoreError;

/// Why a model cannot be loaded or used.
#[derive(Debug, Error)]
pub enum InferError {
    /// No such trained decoder.
    #[error(
        "no trained decoder `{wanted}` in {folder}; train one with `novic run`, name a file, or use `embedded`"
    )]
    NoCheckpoint {
        /// What was asked for.
        wanted: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The checkpoint's header does not fit this program.
    #[error("checkpoint {path}: {reason}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The decoder belongs to another version of its embedder.
    #[error(
        "checkpoint {path} was trained on another version of embedder {spec}; its labels would be meaningless: train it again"
    )]
    OtherEmbedder {
        /// The file.
        path: PathBuf,
        /// The embedder.
        spec: String,
    },
    /// Embeddings of another dimension.
    #[error("embeddings are {found}, the decoder takes [B, {expected}]: use its own embedder")]
    Dimension {
        /// Shape of the embeddings.
        found: String,
        /// Dimension of the decoder.
        expected: usize,
    },
    /// An embedding that says nothing.
    #[error("embedding {index}: {fault}")]
    BadEmbedding {
        /// Its row.
        index: usize,
        /// What is wrong with it.
        fault: EmbeddingFault,
    },
    /// A guide list that cannot be read.
    #[error("guide list {path}: {reason}")]
    GuideList {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Decoder.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// Embedder.
    #[error(transparent)]
    Embedder(#[from] EmbedderError),
    /// Store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EmbeddingFault {
    /// Infinite or not a number.
    #[error("it has values that are not finite, so no noun can be read from it")]
    NotFinite,
    /// Length 0.
    #[error("all of its values are 0, so it says nothing")]
    Zero,
    /// Another number of values.
    #[error("it has another number of values than the model's embeddings")]
    Length,
}

impl InferError {
    /// A checkpoint without noun list.
    pub(super) fn no_nouns(path: &Path) -> Self {
        Self::Header {
            path: path.to_owned(),
            reason: "it has no noun list, as old files of the original: give it one with `novic \
                     checkpoint fix`"
                .to_owned(),
        }
    }
}
