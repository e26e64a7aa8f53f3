//! What can go wrong with models, batches, noise, decoding and checkpoints.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of the decoder room.
#[derive(Debug, Error)]
pub enum DecoderError {
    /// A configuration value that no model can have.
    #[error("invalid {key}: {reason}")]
    Config {
        /// Dotted name of the key.
        key: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The state dictionary lacks a tensor.
    #[error("weights lack {name}: they belong to a model of another configuration")]
    MissingWeight {
        /// Name of the tensor.
        name: String,
    },
    /// The state dictionary has a tensor the model does not know.
    #[error("weights have {name}, which this configuration does not: check the model keys")]
    UnexpectedWeight {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has another shape or type.
    #[error("weight {name} is {found}, expected {expected}: check the model keys")]
    WeightShape {
        /// Name of the tensor.
        name: String,
        /// Shape of the configuration.
        expected: String,
        /// Shape and type in the file.
        found: String,
    },
    /// Rows beyond the vocabulary are not zero.
    #[error(
        "weight {name} has non-zero rows beyond the vocabulary of {vocab_size}: the file is damaged or belongs to another vocabulary"
    )]
    UnusedRows {
        /// Name of the tensor.
        name: String,
        /// Vocabulary size.
        vocab_size: usize,
    },
    /// Two names of one shared tensor hold different numbers.
    #[error("weights {name} and {other} should be one tensor but differ: the file is damaged")]
    SharedWeights {
        /// One name.
        name: String,
        /// The other.
        other: String,
    },
    /// A batch does not fit the model or itself.
    #[error("the batch does not fit the model: {reason}")]
    Batch {
        /// What is wrong.
        reason: String,
    },
    /// A guide or vocabulary list cannot be used.
    #[error("unusable noun list: {reason}")]
    Nouns {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A generation configuration cannot be used.
    #[error("invalid generation configuration {name:?}: {reason}")]
    Generation {
        /// As given.
        name: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// Decoding was told to stop.
    #[error("decoding was interrupted")]
    Interrupted,
    /// Tokens could not be turned into text.
    #[error("failed to read generated tokens: {reason}")]
    Detokenize {
        /// What the tokenizer said.
        reason: String,
    },
    /// A checkpoint could not be read or written.
    #[error("failed to {action} checkpoint {}: {reason}", .path.display())]
    Checkpoint {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The tensor library refused an operation.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl DecoderError {
    /// Whether the user's list or configuration is wrong, and nothing failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Nouns { .. } | Self::Generation { .. })
    }
}
