//! How long a training is: batches of an epoch, of a chunk, number of chunks
//! (`training.md` 2.2). A chunk is the unit of learning rate, metrics and
//! checkpoints; chunks run across epoch boundaries.

use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};

/// Number of chunks that stands for "no limit".
pub const UNLIMITED_CHUNKS: u64 = i64::MAX as u64 - 1;

/// What lengths follow from.
#[derive(Clone, Copy, Debug)]
pub struct LengthInput {
    /// Samples of the data source.
    pub samples: u64,
    /// Target nouns, without the empty noun of caches.
    pub valid_nouns: u64,
    /// `data.batch_size`.
    pub batch_size: u64,
    /// `train.accum_factor`.
    pub accum_factor: u64,
    /// `train.chunk_scale`.
    pub chunk_scale: f64,
    /// `train.max_epochs`, 0 = no limit.
    pub max_epochs: u64,
    /// `train.max_chunks`, 0 = no limit.
    pub max_chunks: u64,
}

/// Lengths of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// Samples per batch.
    pub batch_size: u64,
    /// Batches per optimizer step.
    pub accum_factor: u64,
    /// Batches per epoch, a multiple of `accum_factor`.
    pub epoch_batches: u64,
    /// Batches per chunk; need not be a multiple of `accum_factor`.
    pub chunk_batches: u64,
    /// Number of chunks; [`UNLIMITED_CHUNKS`] without a limit, 0 if one chunk
    /// is longer than all epochs.
    pub max_chunks: u64,
}

impl Lengths {
    /// Derives the lengths.
    ///
    /// # Errors
    /// A setting outside its range; fewer samples than one optimizer step.
    pub fn new(input: &LengthInput) -> Result<Self> {
        for (key, value) in [
            ("data.batch_size", input.batch_size),
            ("train.accum_factor", input.accum_factor),
        ] {
            if value < 1 {
                return Err(TrainError::Setting {
                    key,
                    value: value.to_string(),
                    rule: "it must be at least 1",
                });
            }
        }
        if !(input.chunk_scale.is_finite() && input.chunk_scale >= 0.0) {
            return Err(TrainError::Setting {
                key: "train.chunk_scale",
                value: input.chunk_scale.to_string(),
                rule: "it must be a number of at least 0",
            });
        }
        let epoch_batches =
            input.samples / input.batch_size / input.accum_factor * input.accum_factor;
        if epoch_batches == 0 {
            return Err(TrainError::TooFewSamples {
                samples: input.samples,
                needed: input.batch_size.saturating_mul(input.accum_factor),
                batch_size: input.batch_size,
                accum_factor: input.accum_factor,
            });
        }
        let nominal =
            (input.valid_nouns as f64 * input.chunk_scale / input.batch_size as f64).ceil() as u64;
        let chunk_batches = nominal.max(input.accum_factor);
        let mut max_chunks = UNLIMITED_CHUNKS;
        if input.max_chunks >= 1 {
            max_chunks = max_chunks.min(input.max_chunks);
        }
        if input.max_epochs >= 1 {
            let batches = u128::from(input.max_epochs) * u128::from(epoch_batches);
            let chunks = u64::try_from(batches / u128::from(chunk_batches)).unwrap_or(u64::MAX);
            max_chunks = max_chunks.min(chunks);
        }
        Ok(Self {
            batch_size: input.batch_size,
            accum_factor: input.accum_factor,
            epoch_batches,
            chunk_batches,
            max_chunks,
        })
    }

    /// Fails if no chunk would be trained (a chunk longer than all epochs).
    ///
    /// # Errors
    /// [`TrainError::NoChunk`].
    pub fn require_a_chunk(&self, max_epochs: u64) -> Result<()> {
        if self.max_chunks >= 1 {
            return Ok(());
        }
        Err(TrainError::NoChunk {
            max_epochs,
            batches: max_epochs.saturating_mul(self.epoch_batches),
            chunk_batches: self.chunk_batches,
        })
    }

    /// Samples seen in one epoch.
    pub fn epoch_samples(&self) -> u64 {
        self.epoch_batches * self.batch_size
    }

    /// Optimizer steps in one epoch.
    pub fn epoch_steps(&self) -> u64 {
        self.epoch_batches / self.accum_factor
    }

    /// Samples of one chunk.
    pub fn chunk_samples(&self) -> u64 {
        self.chunk_batches * self.batch_size
    }

    /// Most optimizer steps that can fall into one chunk.
    pub fn chunk_steps(&self) -> u64 {
        self.chunk_batches.div_ceil(self.accum_factor)
    }

    /// Whether the number of chunks has a limit.
    pub fn limited(&self) -> bool {
        self.max_chunks < UNLIMITED_CHUNKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: LengthInput = LengthInput {
        samples: 1000,
        valid_nouns: 10,
        batch_size: 100,
        accum_factor: 3,
        chunk_scale: 50.0,
        max_epochs: 1,
        max_chunks: 0,
    };

    #[test]
    fn a_chunk_longer_than_all_epochs_is_refused() {
        let lengths = Lengths::new(&LengthInput {
            chunk_scale: 500.0,
            ..INPUT
        })
        .unwrap();
        assert_eq!(lengths.max_chunks, 0);
        let message = lengths.require_a_chunk(1).unwrap_err().to_string();
        assert!(
            message.contains("max_epochs = 1 allows 9 batches"),
            "{message}"
        );
        assert!(Lengths::new(&INPUT).unwrap().require_a_chunk(1).is_ok());
    }

    #[test]
    fn too_few_samples_are_refused() {
        let error = Lengths::new(&LengthInput {
            samples: 299,
            ..INPUT
        });
        assert!(matches!(
            error,
            Err(TrainError::TooFewSamples { needed: 300, .. })
        ));
    }

    #[test]
    fn the_smaller_limit_counts_and_none_is_unlimited() {
        let both = LengthInput {
            max_epochs: 100,
            max_chunks: 7,
            ..INPUT
        };
        assert_eq!(Lengths::new(&both).unwrap().max_chunks, 7);
        let none = LengthInput {
            max_epochs: 0,
            max_chunks: 0,
            ..INPUT
        };
        assert!(!Lengths::new(&none).unwrap().limited());
    }
}
