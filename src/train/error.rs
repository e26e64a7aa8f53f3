//! What can go wrong in training.

use std::path::PathBuf;

use crate::cache::CacheError;
use crate::decoder::DecoderError;

/// Failure of a training run or of one of its parts.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An epoch holds no whole optimizer step.
    #[error(
        "train on {samples} samples: one optimizer step takes {needed} \
         (data.batch_size {batch_size} × train.accum_factor {accum_factor}); \
         lower one of them or use a larger cache"
    )]
    TooFewSamples {
        /// Samples of the data source.
        samples: u64,
        /// Samples of one optimizer step.
        needed: u64,
        /// Samples per batch.
        batch_size: u64,
        /// Batches per optimizer step.
        accum_factor: u64,
    },
    /// The limits leave no whole chunk.
    #[error(
        "train.max_epochs = {max_epochs} allows {batches} batches, but one chunk takes \
         {chunk_batches}: nothing would be trained; raise train.max_epochs, lower \
         train.chunk_scale, or set train.max_chunks alone"
    )]
    NoChunk {
        /// Epoch limit.
        max_epochs: u64,
        /// Batches all epochs have together.
        batches: u64,
        /// Batches of one chunk.
        chunk_batches: u64,
    },
    /// A setting outside its range.
    #[error("{key} = {value} is not allowed: {rule}")]
    Setting {
        /// Configuration field.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// Loss or gradients are no longer finite.
    #[error(
        "{what} is {value} at batch {batch} (chunk {chunk}, rate {rate:.3e}): the run is \
         stopped and its last checkpoint kept; lower train.lr.init, clip more \
         (train.gradient_clip), or look for NaN in the cache"
    )]
    NotFinite {
        /// What is not finite.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Batch number, from 1.
        batch: u64,
        /// Chunk number, from 1.
        chunk: u64,
        /// Learning rate in force.
        rate: f64,
    },
    /// A checkpoint belongs to another training.
    #[error("resume from {}: {reason}", path.display())]
    Resume {
        /// Checkpoint file.
        path: PathBuf,
        /// What differs, and what to do.
        reason: String,
    },
    /// A mean-shift file cannot be used.
    #[error("use mean-shift file {}: {reason}", path.display())]
    MeanShift {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Tensors that do not belong together.
    #[error("parameter {name}: {reason}")]
    Parameter {
        /// Parameter name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder cannot be used.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Data could not be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The model failed, or a checkpoint could not be read or written.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// The data end before the epoch does.
    #[error("no batch {place} in epoch {epoch}: the data are smaller than when the training began")]
    NoBatch {
        /// Epoch, from 1.
        epoch: u64,
        /// Place in the epoch, from 0.
        place: u64,
    },
    /// A batch without targets.
    #[error("the data have no target nouns: train on a cache of nouns or captions")]
    NoTargets,
    /// The device has no memory for a batch.
    #[error(
        "the device has no memory for a batch of {samples} samples: lower data.batch_size (and \
         raise train.accum_factor as much, so that a step takes as many), or set model.amp"
    )]
    NoMemory {
        /// Samples of the batch.
        samples: usize,
    },
    /// Tensor arithmetic failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, TrainError>;
