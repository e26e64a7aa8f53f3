//! A decoder built from a checkpoint under a configuration (`training.md` 3.5).

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::Value;

use super::error::InferError;
use crate::cache::TargetConfig;
use crate::config::compare::with_checkpoint;
use crate::config::schema::{Config, Key, ModelType};
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader};
use crate::decoder::{Decoder, Dimensions, DudDecoder};
use crate::embedders::{Embedder, EmbedderSpec, OpenOptions, Precision};
use crate::evaluate::Subject;
use crate::train::exchange;

/// A decoder with what its checkpoint says of itself.
pub struct TrainedDecoder {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: CheckpointHeader,
    /// Tokens it knows.
    pub target: TargetConfig,
    /// The configuration it was built with.
    pub config: Config,
    /// Configured values that gave way to the checkpoint's, in words.
    pub notes: Vec<String>,
    /// Specification of the embedder that it was trained on.
    pub embedder_spec: String,
    /// The decoder.
    pub subject: Subject,
}

impl TrainedDecoder {
    /// Builds the decoder of a checkpoint of either form. What the weights
    /// depend on is taken from the checkpoint, and so is what its losses depend
    /// on unless it is `given`; everything else from `used`.
    ///
    /// # Errors
    /// A file that cannot be read, without noun list, or with weights that do
    /// not fit its configuration.
    pub fn load(
        path: &Path,
        used: &Config,
        given: impl Fn(&Key) -> bool,
    ) -> Result<Self, InferError> {
        Self::build(exchange::load(path)?, path, |stored| {
            with_checkpoint(used, stored, given)
        })
    }

    /// Builds the decoder of a checkpoint with the configuration it was trained
    /// with.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of_checkpoint(checkpoint: Checkpoint, path: &Path) -> Result<Self, InferError> {
        Self::build(checkpoint, path, |stored| (stored.clone(), Vec::new()))
    }

    fn build(
        checkpoint: Checkpoint,
        path: &Path,
        configure: impl FnOnce(&Config) -> (Config, Vec<String>),
    ) -> Result<Self, InferError> {
        let header = &checkpoint.header;
        let wrong = |reason: String| InferError::Header {
            path: path.to_owned(),
            reason,
        };
        if !header.has_nouns() {
            return Err(InferError::no_nouns(path));
        }
        let stored: Config = serde_json::from_value(header.config.clone())
            .map_err(|error| wrong(format!("its configuration: {error}")))?;
        let target: TargetConfig = serde_json::from_value(header.target_config.clone())
            .map_err(|error| wrong(format!("its target configuration: {error}")))?;
        let (config, notes) = configure(&stored);
        let dimensions = Dimensions {
            embed_dim: header.embed_dim,
            vocab_size: target.vocab_size,
            token_length: target.token_length,
        };
        let subject = match config.model.r#type {
            ModelType::PrefixedIterDecoder => {
                let weights = checkpoint.weights();
                let decoder = Decoder::of_state_dict(&config.model, dimensions, &weights)?;
                Subject::Decoder(Box::new(decoder))
            }
            ModelType::DudDecoder => Subject::Dud(DudDecoder::new(dimensions, None)),
        };
        Ok(Self {
            path: path.to_owned(),
            target,
            config,
            notes,
            subject,
            embedder_spec: stored.embedder.spec,
            header: checkpoint.header,
        })
    }

    /// Opens the embedder that it was trained on, on a device; with matrices in
    /// this precision, if one is given.
    ///
    /// # Errors
    /// An embedder that is not here, or another version of it.
    pub fn open_embedder(
        &self,
        device: &Device,
        precision: Option<Precision>,
    ) -> Result<Embedder, InferError> {
        let spec: EmbedderSpec = self.embedder_spec.parse()?;
        let wanted = &self.config.embedder;
        let options = OpenOptions {
            precision: precision
                .unwrap_or_else(|| Precision::automatic(device, wanted.amp, wanted.amp_bf16)),
            device: device.clone(),
            ..OpenOptions::default()
        };
        let embedder = Embedder::open_with(&spec, &options)?;
        self.check_embedder(&embedder)?;
        Ok(embedder)
    }

    /// Whether an embedder is the one that it was trained on.
    ///
    /// # Errors
    /// It is not.
    pub fn check_embedder(&self, embedder: &Embedder) -> Result<(), InferError> {
        let other = match self.header.embedder.get("identity") {
            Some(_) => self.is_of_other_embedder(embedder.identity()?.to_hex().as_str()),
            None => false,
        };
        if other || embedder.dim() != self.header.embed_dim {
            return Err(InferError::OtherEmbedder {
                path: self.path.clone(),
                spec: embedder.spec().to_string(),
            });
        }
        Ok(())
    }

    /// Whether its embedder is another one than that with this identity; none
    /// of the original's files says.
    pub fn is_of_other_embedder(&self, identity: &str) -> bool {
        let stored = self.header.embedder.get("identity").and_then(Value::as_str);
        stored.is_some_and(|stored| stored != identity)
    }
}

impl Subject {
    /// A fresh model of a configuration.
    ///
    /// # Errors
    /// A configuration that no model can have.
    pub fn new(config: &Config, dimensions: Dimensions, seed: u64) -> Result<Self, InferError> {
        Ok(match config.model.r#type {
            ModelType::PrefixedIterDecoder => {
                Self::Decoder(Box::new(Decoder::new(&config.model, dimensions, seed)?))
            }
            ModelType::DudDecoder => Self::Dud(DudDecoder::new(dimensions, None)),
        })
    }
}
