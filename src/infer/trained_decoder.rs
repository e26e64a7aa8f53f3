//! A decoder built from a checkpoint under a configuration (`training.md` 3.5).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model::InferError;
use crate::cache::TargetConfig;
use crate::config::compare::with_checkpoint;
use crate::config::schema::{Config, Key, ModelType};
use crate::decoder::checkpoint::CheckpointHeader;
use crate::decoder::{Decoder, Dimensions, DudDecoder};
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
        let checkpoint = exchange::load(path)?;
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
        let (config, notes) = with_checkpoint(used, &stored, given);
        let dimensions = Dimensions {
            embed_dim: header.embed_dim,
            vocab_size: target.vocab_size,
            token_length: target.token_length,
        };
        let subject = Subject::new(&config, dimensions, 1)?;
        if let Subject::Decoder(decoder) = &subject {
            decoder.load_state_dict(&checkpoint.weights())?;
        }
        Ok(Self {
            path: path.to_owned(),
            target,
            config,
            notes,
            subject,
            header: checkpoint.header,
        })
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
