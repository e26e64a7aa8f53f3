//! Where a training stands: counters, running averages, past saves, and their
//! stored form (`training.md` 3.3).

use serde::{Deserialize, Serialize};

use super::averages::RunningAverages;
use super::loop_config::LoopConfig;
use super::saving::SaveState;

/// State of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopState {
    /// Running epoch, from 1.
    pub epoch_id: u64,
    /// Running or next chunk, from 1.
    pub chunk_id: u64,
    /// Next batch, from 1.
    pub batch_id: u64,
    /// Next sample, from 1.
    pub sample_id: u64,
    /// Whether the running epoch has begun.
    pub epoch_started: bool,
    /// Whether the running chunk has begun.
    pub chunk_started: bool,
    /// Batches left in the running epoch; none before the first epoch.
    pub epoch_batches_left: Option<u64>,
    /// Clock reading at the start of training, in seconds.
    pub start_time: Option<f64>,
    /// Clock reading at the start of the epoch.
    pub epoch_start_time: Option<f64>,
    /// Clock reading at the start of the chunk.
    pub chunk_start_time: Option<f64>,
    /// Gradient norms of the running chunk; none without clipping.
    pub norms: Option<GradientNorms>,
    /// Running loss and accuracy.
    pub averages: RunningAverages,
    /// Past saves.
    pub saves: SaveState,
    /// Token accuracy of the last batch, 0–1; not stored.
    pub last_batch_top1: f64,
}

impl LoopState {
    /// State before the first batch; `norm_slots` as of [`GradientNorms::new`].
    pub fn new(norm_slots: Option<u64>) -> Self {
        Self {
            epoch_id: 1,
            chunk_id: 1,
            batch_id: 1,
            sample_id: 1,
            epoch_started: false,
            chunk_started: false,
            epoch_batches_left: None,
            start_time: None,
            epoch_start_time: None,
            chunk_start_time: None,
            norms: norm_slots.map(GradientNorms::new),
            averages: RunningAverages::default(),
            saves: SaveState::default(),
            last_batch_top1: 0.0,
        }
    }

    /// Place of the next batch in its chunk.
    pub fn chunk_place(&self, config: &LoopConfig) -> u64 {
        (self.batch_id - 1) % config.lengths.chunk_batches
    }

    /// Gives the gradient norms room for `slots` steps, or takes them away, as
    /// for a resume with other settings.
    pub fn fit_norms(&mut self, slots: Option<u64>) {
        self.norms = match (self.norms.take(), slots) {
            (Some(norms), Some(_)) => Some(norms),
            (None, Some(slots)) => Some(GradientNorms::new(slots)),
            (_, None) => None,
        };
    }
}

/// Gradient norms of the optimizer steps of one chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientNorms {
    /// Values of this chunk, then what past chunks left.
    values: Vec<f32>,
    count: usize,
}

/// Statistics of a chunk's gradient norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormStatistics {
    /// Smallest.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation; 0 for a single step.
    pub std: f64,
    /// Largest.
    pub max: f64,
}

impl GradientNorms {
    /// Room for the norms of `slots` steps (⌈batches of a chunk / accumulation⌉).
    pub fn new(slots: u64) -> Self {
        Self {
            values: vec![0.0; usize::try_from(slots).unwrap_or(0)],
            count: 0,
        }
    }

    /// Adds the norm of a step.
    pub fn push(&mut self, norm: f64) {
        if self.count == self.values.len() {
            self.values.push(0.0);
        }
        self.values[self.count] = norm as f32;
        self.count += 1;
    }

    /// Norms of the running chunk so far.
    pub fn current(&self) -> &[f32] {
        &self.values[..self.count]
    }

    /// Statistics of the chunk, then starts the next; none without a step.
    pub fn finish_chunk(&mut self) -> Option<NormStatistics> {
        let values = &self.values[..self.count];
        self.count = 0;
        if values.is_empty() {
            return None;
        }
        let number = values.len() as f64;
        let wide = || values.iter().map(|value| f64::from(*value));
        let mean = wide().sum::<f64>() / number;
        let squares: f64 = wide().map(|value| (value - mean).powi(2)).sum();
        Some(NormStatistics {
            min: wide().fold(f64::INFINITY, f64::min),
            mean,
            std: if values.len() > 1 {
                (squares / (number - 1.0)).sqrt()
            } else {
                0.0
            },
            max: wide().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// The state as stored: exactly the fields of `training.md` 3.3. Numbers that
/// JSON lacks are the texts `inf`, `-inf`, `nan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredLoopState {
    /// Running epoch, from 1.
    pub epoch_id: u64,
    /// Next chunk.
    pub chunk_id: u64,
    /// Next batch.
    pub batch_id: u64,
    /// Next sample.
    pub sample_id: u64,
    /// Whether the epoch has begun.
    pub epoch_started: bool,
    /// Whether the chunk has begun.
    pub chunk_started: bool,
    /// Batches left in the epoch; −1 before the first.
    pub epoch_batches_left: i64,
    /// Clock reading at the start of training.
    pub start_time: Option<f64>,
    /// Clock reading at the start of the epoch.
    pub epoch_start_time: Option<f64>,
    /// Clock reading at the start of the chunk.
    pub chunk_start_time: Option<f64>,
    /// Gradient norms of the running chunk.
    pub num_grad_norms: u64,
    /// They, then what past chunks left; null without clipping.
    pub grad_norms: Option<Vec<f32>>,
    /// Decayed loss sum.
    #[serde(with = "any_number")]
    pub ewa_train_loss_sum: f64,
    /// Decayed loss basis.
    #[serde(with = "any_number")]
    pub ewa_train_loss_basis: f64,
    /// Running loss.
    pub ewa_train_loss: Option<f64>,
    /// Decayed number of correct tokens.
    #[serde(with = "any_number")]
    pub ewa_train_correct: f64,
    /// Decayed number of tokens.
    #[serde(with = "any_number")]
    pub ewa_train_tokens: f64,
    /// Running token accuracy, 0–1.
    #[serde(with = "any_number")]
    pub ewa_train_top1: f64,
    /// Its maximum.
    #[serde(with = "any_number")]
    pub ewa_train_top1_max: f64,
    /// Its value at the last chunk end.
    #[serde(with = "any_number")]
    pub ewa_train_top1_last: f64,
    /// Whether the curve has flattened.
    pub allow_save_delta: bool,
    /// Checkpoints written.
    pub saved_num: u64,
    /// Chunk of the last one.
    pub saved_chunk_id: u64,
    /// Running loss then.
    #[serde(with = "any_number")]
    pub saved_ewa_train_loss: f64,
    /// Running accuracy then.
    #[serde(with = "any_number")]
    pub saved_ewa_train_top1: f64,
    /// Best running accuracy at any save.
    #[serde(with = "any_number")]
    pub saved_ewa_train_top1_max: f64,
}

impl From<&LoopState> for StoredLoopState {
    fn from(state: &LoopState) -> Self {
        let LoopState {
            norms,
            averages,
            saves,
            ..
        } = state;
        Self {
            epoch_id: state.epoch_id,
            chunk_id: state.chunk_id,
            batch_id: state.batch_id,
            sample_id: state.sample_id,
            epoch_started: state.epoch_started,
            chunk_started: state.chunk_started,
            epoch_batches_left: state
                .epoch_batches_left
                .and_then(|left| i64::try_from(left).ok())
                .unwrap_or(-1),
            start_time: state.start_time,
            epoch_start_time: state.epoch_start_time,
            chunk_start_time: state.chunk_start_time,
            num_grad_norms: norms.as_ref().map_or(0, |norms| norms.count as u64),
            grad_norms: norms.as_ref().map(|norms| norms.values.clone()),
            ewa_train_loss_sum: averages.loss_sum,
            ewa_train_loss_basis: averages.loss_basis,
            ewa_train_loss: averages.loss,
            ewa_train_correct: averages.correct,
            ewa_train_tokens: averages.tokens,
            ewa_train_top1: averages.top1,
            ewa_train_top1_max: averages.top1_max,
            ewa_train_top1_last: saves.top1_last,
            allow_save_delta: saves.allow_save_delta,
            saved_num: saves.saved_num,
            saved_chunk_id: saves.saved_chunk_id,
            saved_ewa_train_loss: saves.saved_loss,
            saved_ewa_train_top1: saves.saved_top1,
            saved_ewa_train_top1_max: saves.saved_top1_max,
        }
    }
}

impl TryFrom<StoredLoopState> for LoopState {
    type Error = &'static str;

    fn try_from(stored: StoredLoopState) -> Result<Self, Self::Error> {
        let counters = [
            stored.epoch_id,
            stored.chunk_id,
            stored.batch_id,
            stored.sample_id,
        ];
        if counters.contains(&0) {
            return Err("epochs, chunks, batches and samples count from 1");
        }
        Ok(Self {
            epoch_id: stored.epoch_id,
            chunk_id: stored.chunk_id,
            batch_id: stored.batch_id,
            sample_id: stored.sample_id,
            epoch_started: stored.epoch_started,
            chunk_started: stored.chunk_started,
            epoch_batches_left: u64::try_from(stored.epoch_batches_left).ok(),
            start_time: stored.start_time,
            epoch_start_time: stored.epoch_start_time,
            chunk_start_time: stored.chunk_start_time,
            norms: stored.grad_norms.map(|values| GradientNorms {
                count: usize::try_from(stored.num_grad_norms)
                    .unwrap_or(usize::MAX)
                    .min(values.len()),
                values,
            }),
            averages: RunningAverages {
                loss_sum: stored.ewa_train_loss_sum,
                loss_basis: stored.ewa_train_loss_basis,
                loss: stored.ewa_train_loss,
                correct: stored.ewa_train_correct,
                tokens: stored.ewa_train_tokens,
                top1: stored.ewa_train_top1,
                top1_max: stored.ewa_train_top1_max,
            },
            saves: SaveState {
                allow_save_delta: stored.allow_save_delta,
                top1_last: stored.ewa_train_top1_last,
                saved_num: stored.saved_num,
                saved_chunk_id: stored.saved_chunk_id,
                saved_loss: stored.saved_ewa_train_loss,
                saved_top1: stored.saved_ewa_train_top1,
                saved_top1_max: stored.saved_ewa_train_top1_max,
            },
            last_batch_top1: 0.0,
        })
    }
}

/// Numbers including those that JSON lacks.
pub(super) mod any_number {
    use serde::de::{Deserializer, Error, Unexpected, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else if value.is_nan() {
            serializer.serialize_str("nan")
        } else {
            serializer.serialize_str(if *value > 0.0 { "inf" } else { "-inf" })
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        struct AnyNumber;

        impl Visitor<'_> for AnyNumber {
            type Value = f64;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("a number, or one of the texts inf, -inf, nan")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
                match value {
                    "inf" => Ok(f64::INFINITY),
                    "-inf" => Ok(f64::NEG_INFINITY),
                    "nan" => Ok(f64::NAN),
                    _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
                }
            }
        }

        deserializer.deserialize_any(AnyNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_comes_back_exactly() {
        let mut state = LoopState::new(Some(3));
        state.averages.loss_sum = 0.1 + 0.2;
        state.averages.top1 = 1.0 / 3.0;
        if let Some(norms) = &mut state.norms {
            norms.push(0.3);
        }
        let text = serde_json::to_string(&StoredLoopState::from(&state)).unwrap();
        assert!(text.contains(r#""epoch_batches_left":-1"#), "{text}");
        assert!(text.contains(r#""saved_ewa_train_loss":"inf""#), "{text}");
        let back: StoredLoopState = serde_json::from_str(&text).unwrap();
        assert_eq!(LoopState::try_from(back).unwrap(), state);
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        let stored = StoredLoopState::from(&LoopState::new(None));
        let value = serde_json::to_value(stored).unwrap();
        let mut more = value.clone();
        more["extra"] = 1.into();
        assert!(serde_json::from_value::<StoredLoopState>(more).is_err());
        let mut less = value;
        less.as_object_mut().unwrap().remove("sample_id");
        assert!(serde_json::from_value::<StoredLoopState>(less).is_err());
        let mut stored = StoredLoopState::from(&LoopState::new(None));
        stored.batch_id = 0;
        assert!(LoopState::try_from(stored).is_err());
    }

    #[test]
    fn norm_statistics() {
        let mut norms = GradientNorms::new(2);
        assert_eq!(norms.finish_chunk(), None);
        for value in [1.0, 2.0, 4.5] {
            norms.push(value);
        }
        let statistics = norms.finish_chunk().unwrap();
        assert_eq!((statistics.min, statistics.max), (1.0, 4.5));
        assert_eq!(statistics.mean, 2.5);
        assert!((statistics.std - 1.802_775_637).abs() < 1e-9);
        norms.push(7.0);
        assert_eq!(norms.finish_chunk().unwrap().std, 0.0);
    }
}
