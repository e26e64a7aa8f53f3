//! [`NovicModel`]: an embedder and an object decoder, loaded once.

use std::collections::HashSet;
use std::path::PathBuf;

use candle_core::Tensor;
use image::RgbImage;
use serde::Serialize;
use thiserror::Error;

use super::checkpoint_source::CheckpointSource;
use crate::cache::TargetConfig;
use crate::config::schema::Config;
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader};
use crate::decoder::generate::{
    EncodedNouns, GenerationConfig, Generator, Guiding, NounReader, NounTrie,
};
use crate::decoder::{Decoder, DecoderError, Dimensions};
use crate::embedders::{Embedder, EmbedderError, EmbedderSpec};
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

impl InferError {
    /// A checkpoint without noun list.
    pub(super) fn no_nouns(path: &std::path::Path) -> Self {
        Self::Header {
            path: path.to_owned(),
            reason: "it has no noun list, as old files of the original: give it one with `novic \
                     checkpoint fix`"
                .to_owned(),
        }
    }
}

/// A predicted noun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The noun, blanks collapsed.
    pub noun: String,
    /// Ranking value; a log-probability if `probability` is given.
    pub score: f64,
    /// exp(score), where the configuration makes it a probability.
    pub probability: Option<f64>,
    /// Whether the noun is in the model's vocabulary.
    pub in_vocabulary: bool,
}

/// A trained classifier without candidate labels.
///
/// ```no_run
/// use novic::infer::{CheckpointSource, NovicModel};
///
/// let model = NovicModel::load(&CheckpointSource::Embedded)?;
/// let picture = image::open("picture.png")?.to_rgb8();
/// for label in &model.classify_images(&[picture])?[0][..3] {
///     println!("{} {:?}", label.noun, label.probability);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NovicModel {
    embedder: Embedder,
    decoder: Decoder,
    target: TargetConfig,
    header: CheckpointHeader,
    path: PathBuf,
    vocabulary: HashSet<String>,
    trie: NounTrie,
    generation: GenerationConfig,
}

impl NovicModel {
    /// Loads a decoder and opens its embedder, whose weights are loaded when
    /// they are first needed.
    ///
    /// # Errors
    /// A checkpoint that cannot be found or read, or whose embedder is not
    /// here or another one.
    pub fn load(source: &CheckpointSource) -> Result<Self, InferError> {
        let (checkpoint, path) = source.load()?;
        Self::of_checkpoint(checkpoint, path)
    }

    fn of_checkpoint(checkpoint: Checkpoint, path: PathBuf) -> Result<Self, InferError> {
        let header = &checkpoint.header;
        let wrong = |reason: String| InferError::Header {
            path: path.clone(),
            reason,
        };
        if !header.has_nouns() {
            return Err(InferError::no_nouns(&path));
        }
        let config: Config = serde_json::from_value(header.config.clone())
            .map_err(|error| wrong(format!("its configuration: {error}")))?;
        let target: TargetConfig = serde_json::from_value(header.target_config.clone())
            .map_err(|error| wrong(format!("its target configuration: {error}")))?;
        let spec: EmbedderSpec = config.embedder.spec.parse()?;
        let embedder = Embedder::open(&spec)?;
        let stored = header
            .embedder
            .get("identity")
            .and_then(|value| value.as_str());
        let other = match stored {
            Some(stored) => stored != embedder.identity()?.to_hex().as_str(),
            None => false,
        };
        if other || embedder.dim() != header.embed_dim {
            return Err(InferError::OtherEmbedder {
                path,
                spec: spec.to_string(),
            });
        }
        let dimensions = Dimensions {
            embed_dim: header.embed_dim,
            vocab_size: target.vocab_size,
            token_length: target.token_length,
        };
        let decoder = Decoder::new(&config.model, dimensions, 1)?;
        decoder.load_state_dict(&checkpoint.weights())?;
        let nouns = EncodedNouns::new(&target, embedder.tokenizer().as_ref(), header.vocabulary())?;
        Ok(Self {
            trie: nouns.trie()?,
            vocabulary: header.vocabulary().iter().cloned().collect(),
            header: checkpoint.header,
            path,
            embedder,
            decoder,
            target,
            generation: GenerationConfig::default(),
        })
    }

    /// The same with another generation configuration.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// How nouns are generated.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// The embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &CheckpointHeader {
        &self.header
    }

    /// The checkpoint file; `embedded` for the one in the program.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Nouns of the model.
    pub fn vocabulary(&self) -> &[String] {
        self.header.vocabulary()
    }

    /// Labels of each picture, best first.
    ///
    /// # Errors
    /// A model whose output is not a number.
    pub fn classify_images(&self, images: &[RgbImage]) -> Result<Vec<Vec<Label>>, InferError> {
        self.classify_embeddings(&self.embedder.embed_images(images)?)
    }

    /// Labels of each text, best first.
    ///
    /// # Errors
    /// A model whose output is not a number.
    pub fn classify_texts(&self, texts: &[&str]) -> Result<Vec<Vec<Label>>, InferError> {
        self.classify_embeddings(&self.embedder.embed_texts(texts)?)
    }

    /// Labels of each embedding of `embeds` `[B, F]`, best first.
    ///
    /// # Errors
    /// Embeddings that do not fit the model.
    pub fn classify_embeddings(&self, embeds: &Tensor) -> Result<Vec<Vec<Label>>, InferError> {
        let generation = self.generation;
        let guide = (generation.guide != Guiding::None).then_some(&self.trie);
        let prior = generation.prior.map(|_| &self.trie);
        let generator = Generator::new(&self.decoder, generation, guide, prior)?;
        let tokenizer = self.embedder.tokenizer();
        let reader = NounReader {
            target: &self.target,
            tokenizer: tokenizer.as_ref(),
        };
        let is_probability = generation.prior.is_none()
            && generation.length_alpha == 0.0
            && generation.temperature == 1.0;
        let mut labels = Vec::new();
        for hypotheses in generator.generate(embeds)? {
            let predictions = reader.predictions(hypotheses, false)?;
            labels.push(
                predictions
                    .into_iter()
                    .map(|prediction| Label {
                        noun: crate::nouns::collapse_spaces(&prediction.text),
                        in_vocabulary: self.vocabulary.contains(&prediction.text),
                        probability: is_probability.then(|| prediction.score.exp()),
                        score: prediction.score,
                    })
                    .collect(),
            );
        }
        Ok(labels)
    }
}
