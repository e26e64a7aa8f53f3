//! Settings of the loop, derived once from configuration and data sizes; part
//! of every checkpoint (`train_loop_config` of `training.md` 3.2).

use serde::{Deserialize, Serialize};

use crate::config::schema::{self, LrSchedule, OptimizerType};

use super::averages::decay_factor;
use super::error::{Result, TrainError};
use super::lengths::{LengthInput, Lengths};
use super::optimizer::{OptimizerKind, OptimizerSettings};
use super::saving::SaveRule;
use super::schedule::ScheduleSettings;
use super::state::any_number;

/// Sizes of the data a training runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSize {
    /// Samples.
    pub samples: u64,
    /// Target nouns, without the empty noun of caches.
    pub valid_nouns: u64,
    /// `data.batch_size`.
    pub batch_size: u64,
}

/// Settings of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopConfig {
    /// Lengths of epochs, chunks and the whole.
    pub lengths: Lengths,
    /// Minimum chunks between checkpoints.
    pub save_every_min: u64,
    /// Maximum chunks between checkpoints.
    pub save_every_max: u64,
    /// Least accuracy of an early save, 0–1.
    pub save_top1_min: f64,
    /// Gain per chunk that counts as flattened, 0–1.
    pub save_top1_delta: f64,
    /// Maximum gradient norm; 0 or less: no clipping. The original's files may
    /// have infinity.
    #[serde(with = "any_number")]
    pub gradient_clip: f64,
    /// Length of the final phase with rescaled dropout, in chunks.
    pub last_dropout_chunks: u64,
    /// Factor of dropout probabilities in it.
    pub last_dropout_factor: f64,
    /// Decay of running averages per batch.
    pub ewa_factor: f64,
}

impl LoopConfig {
    /// Derives the settings.
    ///
    /// # Errors
    /// Settings outside their range; data too small for one optimizer step, or
    /// epochs too short for one chunk.
    pub fn new(
        train: &schema::Train,
        checkpoint: &schema::Checkpoint,
        data: DataSize,
    ) -> Result<Self> {
        let lengths = Lengths::new(&LengthInput {
            samples: data.samples,
            valid_nouns: data.valid_nouns,
            batch_size: data.batch_size,
            accum_factor: train.accum_factor as u64,
            chunk_scale: train.chunk_scale,
            max_epochs: train.max_epochs as u64,
            max_chunks: train.max_chunks as u64,
        })?;
        lengths.require_a_chunk(train.max_epochs as u64)?;
        if checkpoint.save_every_min > checkpoint.save_every_max {
            return Err(TrainError::Setting {
                key: "checkpoint.save_every_min",
                value: checkpoint.save_every_min.to_string(),
                rule: "it must not exceed checkpoint.save_every_max",
            });
        }
        if train.gradient_clip.is_nan() {
            return Err(TrainError::Setting {
                key: "train.gradient_clip",
                value: train.gradient_clip.to_string(),
                rule: "it must be a number",
            });
        }
        Ok(Self {
            lengths,
            save_every_min: checkpoint.save_every_min as u64,
            save_every_max: checkpoint.save_every_max as u64,
            save_top1_min: checkpoint.save_top1_min / 100.0,
            save_top1_delta: checkpoint.save_top1_delta / 100.0,
            gradient_clip: train.gradient_clip,
            last_dropout_chunks: train.last_dropout.chunks as u64,
            last_dropout_factor: train.last_dropout.factor,
            ewa_factor: decay_factor(train.ewa_halflife_chunks, lengths.chunk_batches)?,
        })
    }

    /// What differs from the settings of a checkpoint, in words.
    pub fn differences(&self, stored: &Self) -> Vec<String> {
        let numbers = |config: &Self| {
            let lengths = config.lengths;
            [
                ("batch_size", lengths.batch_size as f64),
                ("accum_factor", lengths.accum_factor as f64),
                ("epoch_batches", lengths.epoch_batches as f64),
                ("chunk_batches", lengths.chunk_batches as f64),
                ("max_chunks", lengths.max_chunks as f64),
                ("save_every_min", config.save_every_min as f64),
                ("save_every_max", config.save_every_max as f64),
                ("save_top1_min", config.save_top1_min),
                ("save_top1_delta", config.save_top1_delta),
                ("gradient_clip", config.gradient_clip),
                ("last_dropout_chunks", config.last_dropout_chunks as f64),
                ("last_dropout_factor", config.last_dropout_factor),
                ("ewa_factor", config.ewa_factor),
            ]
        };
        let pairs = numbers(stored).into_iter().zip(numbers(self));
        pairs
            .filter(|((_, stored), (_, now))| stored != now)
            .map(|((name, stored), (_, now))| format!("{name} was {stored}, now {now}"))
            .collect()
    }

    /// When checkpoints are written.
    pub fn save_rule(&self) -> SaveRule {
        SaveRule {
            every_min: self.save_every_min,
            every_max: self.save_every_max,
            top1_min: self.save_top1_min,
            top1_delta: self.save_top1_delta,
        }
    }

    /// Whether gradients are clipped (and their norms reported).
    pub fn clips(&self) -> bool {
        self.gradient_clip > 0.0
    }

    /// Whether chunk `chunk_id` belongs to the final phase with rescaled
    /// dropout.
    pub fn in_last_dropout_phase(&self, chunk_id: u64) -> bool {
        self.last_dropout_chunks >= 1
            && chunk_id.saturating_add(self.last_dropout_chunks) > self.lengths.max_chunks
    }
}

impl From<&schema::TrainLr> for ScheduleSettings {
    fn from(lr: &schema::TrainLr) -> Self {
        Self {
            init: lr.init,
            last: lr.r#final,
            cosine: lr.schedule == LrSchedule::Cosine,
            warmup_chunks: lr.warmup_chunks as u64,
        }
    }
}

impl From<&schema::TrainOptimizer> for OptimizerSettings {
    fn from(optimizer: &schema::TrainOptimizer) -> Self {
        Self {
            kind: match optimizer.r#type {
                OptimizerType::AdamW => OptimizerKind::AdamW,
                OptimizerType::AdamP => OptimizerKind::AdamP {
                    nesterov: optimizer.nesterov,
                },
            },
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            weight_decay: optimizer.weight_decay,
            decay_1d: optimizer.decay_1d,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: DataSize = DataSize {
        samples: 1000,
        valid_nouns: 10,
        batch_size: 10,
    };

    fn config(
        change: impl FnOnce(&mut schema::Train, &mut schema::Checkpoint),
    ) -> Result<LoopConfig> {
        let (mut train, mut checkpoint) = Default::default();
        change(&mut train, &mut checkpoint);
        LoopConfig::new(&train, &checkpoint, DATA)
    }

    #[test]
    fn percentages_become_shares_and_the_last_phase_counts_from_the_end() {
        let config = config(|train, _| {
            train.max_epochs = 0;
            train.max_chunks = 9;
            train.last_dropout.chunks = 2;
        })
        .unwrap();
        assert_eq!(config.save_top1_min, 0.95);
        assert!(!config.in_last_dropout_phase(7));
        assert!(config.in_last_dropout_phase(8));
    }

    #[test]
    fn differences_are_named() {
        let base = config(|train, _| train.max_epochs = 0).unwrap();
        let other = config(|train, _| {
            train.max_epochs = 0;
            train.gradient_clip = 0.5;
        })
        .unwrap();
        assert!(base.differences(&base).is_empty());
        assert_eq!(other.differences(&base), ["gradient_clip was 1, now 0.5"]);
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(config(|_, checkpoint| checkpoint.save_every_min = 99).is_err());
        assert!(config(|train, _| train.gradient_clip = f64::NAN).is_err());
        assert!(config(|train, _| train.ewa_halflife_chunks = 0.0).is_err());
        assert!(config(|train, _| train.chunk_scale = 1e6).is_err());
    }
}
