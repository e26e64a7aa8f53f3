//! `DudDecoder`: no parameters, looks at the targets; shows the best reachable
//! metric (`decoder.md` section 11).

use crate::cache::batch::{TargetBatch, TargetLayout};

use super::architecture::Dimensions;
use super::error::DecoderError;
use super::generate::{END, GenerationConfig, Hypothesis, Method};
use super::packing::Targets;

/// Decoder that predicts the most frequent true continuation.
#[derive(Clone, Debug)]
pub struct DudDecoder {
    dimensions: Dimensions,
    noun: Vec<u32>,
}

/// Predictions for a batch of targets, in their layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DudPrediction {
    /// Predicted ids `[A, C]`.
    pub ids: Vec<u32>,
    /// Effective padding `[A, C]`.
    pub padding: Vec<bool>,
    /// Counted positions whose prediction is right `[A, C]`.
    pub correct: Vec<bool>,
}

impl DudDecoder {
    /// A dud that generates `noun`, closed by the end token: the word "unknown"
    /// where the model can encode it, else an end token alone.
    pub fn new(dimensions: Dimensions, noun: Option<Vec<u32>>) -> Self {
        let noun = noun.unwrap_or_else(|| vec![END]);
        Self { dimensions, noun }
    }

    /// One token per distinct true prefix of a sample: that of the largest
    /// weight among its targets, the smallest id among equals. Loss sum and
    /// basis are 1 by definition.
    ///
    /// # Errors
    /// A batch that does not fit.
    pub fn predict(
        &self,
        batch: &TargetBatch,
        samples: usize,
        num_end_loss: usize,
    ) -> Result<DudPrediction, DecoderError> {
        let targets = Targets::new(batch, samples, self.dimensions, num_end_loss)?;
        let mut ids = batch.ids.clone();
        let per_sample = match batch.layout {
            TargetLayout::Single => 1,
            TargetLayout::Multi { targets } | TargetLayout::MultiFirst { targets } => targets,
        };
        for sample in 0..samples {
            let rows: Vec<usize> = (0..per_sample)
                .map(|target| match batch.layout {
                    TargetLayout::MultiFirst { .. } => target * samples + sample,
                    _ => sample * per_sample + target,
                })
                .collect();
            for column in 0..batch.columns {
                for first in 0..rows.len() {
                    unite(batch, &targets.padding, &rows[first..], column, &mut ids);
                }
            }
        }
        let correct = ids
            .iter()
            .zip(&batch.ids)
            .zip(&targets.padding)
            .map(|((id, target), padded)| id == target && !padded)
            .collect();
        Ok(DudPrediction {
            ids,
            padding: targets.padding,
            correct,
        })
    }

    /// Score of the fixed noun: log-probabilities of one-hot logits 1.0 under
    /// greedy decoding, −1 for other methods.
    pub fn generate(&self, config: &GenerationConfig) -> Hypothesis {
        let sharpness = 1.0 / config.temperature;
        let others = self.dimensions.vocab_size.saturating_sub(1) as f64;
        let log_prob = sharpness - (sharpness.exp() + others).ln();
        let length = self.noun.len() as f64;
        let score = match config.method {
            Method::Greedy => log_prob * length * length.powf(-config.length_alpha),
            Method::Beam | Method::All => -1.0,
        };
        Hypothesis {
            tokens: self.noun.clone(),
            score,
            log_probs: vec![log_prob as f32; self.noun.len()],
        }
    }
}

/// Gives one prediction to those of `rows` that share the true prefix of the
/// first of them and count at `column`.
fn unite(batch: &TargetBatch, padding: &[bool], rows: &[usize], column: usize, ids: &mut [u32]) {
    let columns = batch.columns;
    let prefix = |row: usize| &batch.ids[row * columns..row * columns + column];
    let group: Vec<usize> = rows
        .iter()
        .copied()
        .filter(|&row| !padding[row * columns + column] && prefix(row) == prefix(rows[0]))
        .collect();
    let weight = |row: usize| {
        batch
            .weights
            .as_ref()
            .map_or(1.0, |weights| f64::from(weights[row]))
    };
    let total = |id: u32| -> f64 {
        let same = group
            .iter()
            .filter(|&&row| ids[row * columns + column] == id);
        same.map(|&row| weight(row)).sum()
    };
    let best = group
        .iter()
        .map(|&row| ids[row * columns + column])
        .max_by(|&a, &b| total(a).total_cmp(&total(b)).then(b.cmp(&a)));
    if let Some(best) = best {
        for row in group {
            ids[row * columns + column] = best;
        }
    }
}
