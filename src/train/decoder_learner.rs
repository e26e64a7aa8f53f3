//! The object decoder as the training loop sees it: mean shift, noise, forward
//! and backward pass, checkpoints.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::cache::batch::Batch;
use crate::cache::batch::TargetBatch;
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader};
use crate::decoder::noise::EmbeddingNoise;
use crate::decoder::{
    Autocast, ComposedOptions, Decoder, DecoderError, DropoutSites, ForwardOptions,
};
use crate::device::is_out_of_memory;

use super::averages::BatchSums;
use super::error::{Result, TrainError};
use super::exchange;
use super::gradients::Gradient;
use super::learned::{Learned, LearnedSums};
use super::mean_shift::MeanShift;
use super::snapshot::{Snapshot, SnapshotEntry};
use super::trainer::{LearnStep, Learner};

/// A decoder that learns.
pub struct DecoderLearner {
    decoder: Decoder,
    seed: u64,
    mean_shift: Option<MeanShift>,
    noise: Option<EmbeddingNoise>,
    header: CheckpointHeader,
    repeat_prefix: bool,
    /// Precision of composed operations; none: the fused kernels of the CPU.
    composed: Option<Autocast>,
    /// Whether the device's generator follows from the seed.
    seeded: bool,
}

impl DecoderLearner {
    /// `seed` is that of the run; `header` describes the training for its
    /// checkpoints, without the section `training`. A decoder on the CPU learns
    /// by its fused kernels, one on another device by composed operations.
    pub fn new(
        decoder: Decoder,
        seed: u64,
        mean_shift: Option<MeanShift>,
        noise: Option<EmbeddingNoise>,
        header: CheckpointHeader,
    ) -> Self {
        Self {
            composed: (!decoder.device().is_cpu()).then_some(Autocast::Off),
            decoder,
            seed,
            mean_shift,
            noise,
            header,
            repeat_prefix: false,
            seeded: false,
        }
    }

    /// Learns by composed tensor operations on whatever device the decoder is,
    /// with matrix products in this precision.
    pub fn with_composed(mut self, autocast: Autocast) -> Self {
        self.composed = Some(autocast);
        self
    }

    /// Whether every target of a sample gets a prefix of its own, which dropout
    /// changes independently of the others. By composed operations it always
    /// does.
    pub fn with_repeated_prefix(mut self, repeat: bool) -> Self {
        self.repeat_prefix = repeat;
        self
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Header of its checkpoints, without the section `training`.
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// Takes the weights of a checkpoint and nothing else.
    ///
    /// # Errors
    /// A file that cannot be read, has other nouns or does not fit the model.
    pub fn load_weights(&mut self, path: &Path) -> Result<()> {
        let checkpoint = exchange::load(path)?;
        self.take_weights(path, &checkpoint)
    }

    /// One pass forth and back through the fused kernels.
    fn learn_fused(
        &self,
        embeds: &Tensor,
        targets: &TargetBatch,
        dropout: DropoutSites,
        step: LearnStep,
    ) -> Result<Learned> {
        let options = ForwardOptions {
            loss: self.decoder.loss_config(),
            gradients: true,
            dropout: Some(dropout),
            repeat_prefix: self.repeat_prefix,
            ..ForwardOptions::default()
        };
        let forward = self.decoder.forward(embeds, targets, options)?;
        let loss = forward.loss;
        let gradients = forward.backward(scale(step, loss.basis))?.into_iter();
        Ok(Learned {
            sums: LearnedSums::Known(BatchSums {
                loss_sum: loss.sum,
                loss_basis: loss.basis,
                correct: loss.correct as u64,
                tokens: loss.tokens as u64,
            }),
            gradients: gradients.map(|g| g.map(Gradient::Host)).collect(),
        })
    }

    /// The same by composed operations; sums and gradients stay on the device.
    fn learn_composed(
        &mut self,
        embeds: &Tensor,
        targets: &TargetBatch,
        mut dropout: DropoutSites,
        step: LearnStep,
        autocast: Autocast,
    ) -> Result<Learned> {
        let device = self.decoder.device();
        if !self.seeded && !device.is_cpu() {
            device.set_seed(dropout.key())?;
        }
        self.seeded = true;
        let options = ComposedOptions {
            loss: self.decoder.loss_config(),
            gradients: true,
            dropout: Some(dropout),
            autocast,
            ..ComposedOptions::default()
        };
        let forward = self.decoder.forward_composed(embeds, targets, options)?;
        let sums = LearnedSums::OnDevice {
            loss_sum: forward.loss_sum.clone(),
            correct: forward.correct_count()?,
            loss_basis: forward.basis,
            tokens: forward.tokens() as u64,
        };
        let scale = scale(step, forward.basis);
        let gradients = forward.backward(scale)?.into_iter();
        Ok(Learned {
            sums,
            gradients: gradients.map(|g| g.map(Gradient::Device)).collect(),
        })
    }

    fn take_weights(&mut self, path: &Path, checkpoint: &Checkpoint) -> Result<()> {
        if let Some(reason) = difference(&checkpoint.header, &self.header) {
            return Err(TrainError::Resume {
                path: path.to_path_buf(),
                reason,
            });
        }
        let weights = checkpoint.weights();
        self.decoder
            .load_state_dict(&weights)
            .map_err(|error| TrainError::Resume {
                path: path.to_path_buf(),
                reason: error.to_string(),
            })
    }
}

/// What the sum of losses is multiplied with to give the scaled mean; where
/// nothing counts, nothing is learnt.
fn scale(step: LearnStep, basis: f64) -> f64 {
    match basis > 0.0 {
        true => step.loss_scale / basis,
        false => 0.0,
    }
}

/// Why weights of a checkpoint mean something else in the present training.
fn difference(stored: &CheckpointHeader, now: &CheckpointHeader) -> Option<String> {
    let advice = "train from scratch, or name the data it was trained on";
    if stored.embed_dim != now.embed_dim {
        return Some(format!(
            "its embeddings have {} dimensions, these {}: {advice}",
            stored.embed_dim, now.embed_dim
        ));
    }
    let identity = |header: &CheckpointHeader| {
        let identity = header.embedder.get("identity");
        identity.and_then(Value::as_str).map(str::to_owned)
    };
    if let (Some(old), Some(new)) = (identity(stored), identity(now))
        && old != new
    {
        return Some(format!(
            "it was trained on another embedder or another version of it: {advice}"
        ));
    }
    if stored.has_nouns() && stored.vocabulary() != now.vocabulary() {
        let (old, new) = (stored.vocabulary(), now.vocabulary());
        let first = old.iter().zip(new).find(|(old, new)| old != new);
        let detail = match first {
            Some((old, new)) => format!("where it has {old:?}, the data have {new:?}"),
            None => format!("it has {} nouns, the data {}", old.len(), new.len()),
        };
        return Some(format!(
            "it was trained on other nouns ({detail}): {advice}"
        ));
    }
    if stored.target_config != now.target_config {
        let keys = match (&stored.target_config, &now.target_config) {
            (Value::Object(old), Value::Object(new)) => old
                .iter()
                .filter(|(key, value)| new.get(*key) != Some(value))
                .map(|(key, _)| key.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            _ => "all".to_string(),
        };
        return Some(format!(
            "its tokens are numbered differently (target configuration: {keys}): {advice}"
        ));
    }
    None
}

impl Learner for DecoderLearner {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.decoder
            .named_parameters()
            .into_iter()
            .map(|(name, parameter)| (name, parameter.as_tensor().clone()))
            .collect()
    }

    fn learn(&mut self, mut batch: Batch, step: LearnStep) -> Result<Learned> {
        let targets = batch.targets.ok_or(TrainError::NoTargets)?;
        if let Some(mean_shift) = &self.mean_shift {
            mean_shift.apply(&mut batch.embeds);
        }
        if let Some(noise) = &self.noise {
            noise.apply(
                &mut batch.embeds,
                batch.dim,
                self.seed,
                step.epoch,
                step.batch,
            );
        }
        let embeds = Tensor::from_vec(batch.embeds, (batch.samples, batch.dim), &Device::Cpu)?;
        let dropout = DropoutSites::new(self.seed, step.epoch, step.batch, step.dropout_factor);
        match self.composed {
            Some(autocast) => self
                .learn_composed(&embeds, &targets, dropout, step, autocast)
                .map_err(|error| match error {
                    TrainError::Tensor(cause)
                    | TrainError::Decoder(DecoderError::Tensor(cause))
                        if is_out_of_memory(&cause) =>
                    {
                        let samples = batch.samples;
                        TrainError::NoMemory { samples }
                    }
                    other => other,
                }),
            None => self.learn_fused(&embeds, &targets, dropout, step),
        }
    }

    fn load(&mut self, path: &Path) -> Result<Snapshot> {
        let checkpoint = exchange::load(path)?;
        let unusable = |reason: String| TrainError::Resume {
            path: path.to_path_buf(),
            reason,
        };
        let training = checkpoint.header.training.clone().ok_or_else(|| {
            unusable(
                "it holds weights only; set checkpoint.resume=false to start from them".to_string(),
            )
        })?;
        let entry: SnapshotEntry = serde_json::from_value(training)
            .map_err(|error| unusable(format!("its training section is damaged: {error}")))?;
        self.take_weights(path, &checkpoint)?;
        let tensors = checkpoint.tensors.into_iter();
        let own = tensors.filter(|(name, _)| Snapshot::is_tensor_name(name));
        Ok(Snapshot::from_parts(entry, own.collect()))
    }

    fn save(&self, path: &Path, training: &Snapshot) -> Result<()> {
        let mut header = self.header.clone();
        let entry =
            serde_json::to_value(training.entry()).map_err(|error| DecoderError::Checkpoint {
                action: "write",
                path: path.to_path_buf(),
                reason: error.to_string(),
            })?;
        header.training = Some(entry);
        let mut tensors: HashMap<String, Tensor> = self.decoder.state_dict()?.into_iter().collect();
        tensors.extend(training.tensors().iter().cloned());
        Ok(Checkpoint { header, tensors }.save(path)?)
    }
}
