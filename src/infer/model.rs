//! [`NovicModel`]: an embedder and an object decoder, loaded once.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use image::RgbImage;

use super::checkpoint_source::CheckpointSource;
use super::embedding_model::EmbeddingModel;
use super::error::InferError;
use super::guide::Guide;
use super::label::Label;
use super::noun_decoder::NounDecoder;
use super::sample::Sample;
use super::stream::{ClassifyStream, StreamOptions};
use super::task::DecodingTask;
use super::trained_decoder::TrainedDecoder;
use crate::decoder::checkpoint::CheckpointHeader;
use crate::decoder::generate::{GenerationConfig, Stop};
use crate::embedders::Precision;

/// A trained classifier without candidate labels.
///
/// Loading reads the decoder; the weights of the embedder are loaded when the
/// first picture comes. A model may be used from several threads, and clones
/// share all that is large.
///
/// ```no_run
/// use novic::infer::{CheckpointSource, NovicModel};
///
/// let model = NovicModel::load(&CheckpointSource::Embedded)?;
/// let picture = image::open("picture.png")?.to_rgb8();
/// for label in model.classify_image(&picture)?.iter().take(3) {
///     println!("{} {:?}", label.noun, label.probability);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct NovicModel {
    embedder: Arc<dyn EmbeddingModel>,
    decoder: Arc<NounDecoder>,
    guide: Arc<Guide>,
    generation: GenerationConfig,
    with_tokens: bool,
    stop: Stop,
}

/// How a [`NovicModel`] is made.
///
/// ```no_run
/// use novic::infer::{CheckpointSource, NovicModel};
///
/// let model = NovicModel::builder(&CheckpointSource::Latest)
///     .generation("all_k3_vnone_gr_t1_a0".parse()?)
///     .guide(["cat", "dog", "horse"])
///     .token_log_probs(true)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NovicModelBuilder {
    source: CheckpointSource,
    embedder: Option<Arc<dyn EmbeddingModel>>,
    device: Device,
    precision: Option<Precision>,
    generation: GenerationConfig,
    guide: Option<Vec<String>>,
    with_tokens: bool,
    for_pictures: bool,
}

impl NovicModelBuilder {
    /// How nouns are generated; `beam_k10_vnone_gp_t1_a0` unless given.
    #[must_use]
    pub fn generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = generation;
        self
    }

    /// The nouns to choose from, each once; the model's vocabulary unless
    /// given. Configurations that do not guide only tell by them what a noun
    /// is.
    #[must_use]
    pub fn guide<S: Into<String>>(mut self, nouns: impl IntoIterator<Item = S>) -> Self {
        self.guide = Some(nouns.into_iter().map(Into::into).collect());
        self
    }

    /// Where the embedder computes; the CPU unless given. Nouns are generated on
    /// the CPU.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Precision in which the embedder keeps its matrices; unless given, single
    /// on the CPU, and on other devices what the checkpoint's configuration says.
    #[must_use]
    pub fn precision(mut self, precision: impl Into<Option<Precision>>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Another embedder than the one that the checkpoint names.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn EmbeddingModel>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Whether labels come with their tokens and the log-probability of each.
    #[must_use]
    pub fn token_log_probs(mut self, with_tokens: bool) -> Self {
        self.with_tokens = with_tokens;
        self
    }

    /// Whether pictures will come at once: the weights for them are loaded beside
    /// everything else, not when the first one comes.
    #[must_use]
    pub fn for_pictures(mut self, for_pictures: bool) -> Self {
        self.for_pictures = for_pictures;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// A checkpoint that cannot be found or read, whose embedder is not here or
    /// another one; a configuration that has no meaning; a guide list that
    /// guides nothing.
    pub fn build(self) -> Result<NovicModel, InferError> {
        self.generation.check(true, true)?;
        let (checkpoint, path) = self.source.load()?;
        let trained = TrainedDecoder::of_checkpoint(checkpoint, &path)?;
        let embedder = match self.embedder {
            Some(embedder) => embedder,
            None => Arc::new(trained.open_embedder(&self.device, self.precision)?),
        };
        if self.for_pictures {
            let embedder = embedder.clone();
            std::thread::spawn(move || embedder.load_image_weights());
        }
        let decoder = NounDecoder::new(trained, embedder.tokenizer())?;
        let mut model = NovicModel::new(embedder, Arc::new(decoder))?
            .with_generation(self.generation)?
            .with_token_log_probs(self.with_tokens);
        if let Some(nouns) = &self.guide {
            let guide = model.decoder.guide(nouns)?;
            model = model.with_guide(Arc::new(guide))?;
        }
        Ok(model)
    }
}

impl NovicModel {
    /// Loads a decoder and opens its embedder.
    ///
    /// # Errors
    /// A checkpoint that cannot be found or read, or whose embedder is not
    /// here or another one.
    pub fn load(source: &CheckpointSource) -> Result<Self, InferError> {
        Self::builder(source).build()
    }

    /// A model that is made step by step.
    pub fn builder(source: &CheckpointSource) -> NovicModelBuilder {
        NovicModelBuilder {
            source: source.clone(),
            embedder: None,
            device: Device::Cpu,
            precision: None,
            generation: GenerationConfig::default(),
            guide: None,
            with_tokens: false,
            for_pictures: false,
        }
    }

    /// A model of parts that are loaded already.
    ///
    /// # Errors
    /// Parts whose embeddings have different dimensions.
    pub fn new(
        embedder: Arc<dyn EmbeddingModel>,
        decoder: Arc<NounDecoder>,
    ) -> Result<Self, InferError> {
        if embedder.dim() != decoder.dim() {
            return Err(InferError::Dimension {
                found: format!("[B, {}]", embedder.dim()),
                expected: decoder.dim(),
            });
        }
        Ok(Self {
            embedder,
            guide: decoder.vocabulary().clone(),
            decoder,
            generation: GenerationConfig::default(),
            with_tokens: false,
            stop: Stop::default(),
        })
    }

    /// The same with another generation configuration.
    ///
    /// # Errors
    /// A configuration that has no meaning.
    pub fn with_generation(mut self, generation: GenerationConfig) -> Result<Self, InferError> {
        generation.check(true, true)?;
        self.generation = generation;
        Ok(self)
    }

    /// The same with another guide, made by [`NounDecoder::guide`] of its
    /// decoder.
    ///
    /// # Errors
    /// A guide of a decoder with other tokens.
    pub fn with_guide(mut self, guide: Arc<Guide>) -> Result<Self, InferError> {
        self.decoder.task(self.generation, &guide)?;
        self.guide = guide;
        Ok(self)
    }

    /// The same with or without tokens in the labels.
    #[must_use]
    pub fn with_token_log_probs(mut self, with_tokens: bool) -> Self {
        self.with_tokens = with_tokens;
        self
    }

    /// The same whose decoding may be stopped while it is under way; it then
    /// fails with [`DecoderError::Interrupted`](crate::decoder::DecoderError).
    #[must_use]
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// How nouns are generated.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// The embedder.
    pub fn embedder(&self) -> &Arc<dyn EmbeddingModel> {
        &self.embedder
    }

    /// The decoder.
    pub fn decoder(&self) -> &Arc<NounDecoder> {
        &self.decoder
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &CheckpointHeader {
        self.decoder.header()
    }

    /// The checkpoint file; `embedded` for the one in the program.
    pub fn path(&self) -> &Path {
        self.decoder.path()
    }

    /// Nouns of the model.
    pub fn vocabulary(&self) -> &[String] {
        self.header().vocabulary()
    }

    /// Nouns that guide it.
    pub fn guide(&self) -> &Arc<Guide> {
        &self.guide
    }

    /// Its way of decoding, for many batches of embeddings.
    ///
    /// # Errors
    /// A configuration that has no meaning.
    pub fn task(&self) -> Result<DecodingTask<'_>, InferError> {
        let task = self.decoder.task(self.generation, &self.guide)?;
        Ok(task
            .with_tokens(self.with_tokens)
            .with_stop(self.stop.clone()))
    }

    /// Loads the weights of the embedder now, so that the first picture does
    /// not wait for them.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    pub fn warm_up(&self) -> Result<(), InferError> {
        Ok(self.embedder.warm_up()?)
    }

    /// Labels of a picture, best first.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    pub fn classify_image(&self, image: &RgbImage) -> Result<Vec<Label>, InferError> {
        let labels = self.classify_images(std::slice::from_ref(image))?;
        Ok(labels.into_iter().next().unwrap_or_default())
    }

    /// Labels of each of any number of pictures, best first.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    pub fn classify_images(&self, images: &[RgbImage]) -> Result<Vec<Vec<Label>>, InferError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        self.classify_embeddings(&self.embedder.embed_images(images)?)
    }

    /// Labels of each of any number of texts, best first.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    pub fn classify_texts(&self, texts: &[&str]) -> Result<Vec<Vec<Label>>, InferError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.classify_embeddings(&self.embedder.embed_texts(texts)?)
    }

    /// Labels of each of any number of embeddings `[B, F]` of any length, best
    /// first.
    ///
    /// # Errors
    /// Embeddings that do not fit the model, are not finite or all zero.
    pub fn classify_embeddings(&self, embeds: &Tensor) -> Result<Vec<Vec<Label>>, InferError> {
        self.task()?.labels(embeds)
    }

    /// Labels of what `inputs` gives, in its order, while it is still giving;
    /// inputs that cannot be read are told of in their place.
    ///
    /// ```no_run
    /// use novic::infer::{CheckpointSource, NovicModel, Sample, StreamOptions};
    ///
    /// let model = NovicModel::load(&CheckpointSource::Embedded)?;
    /// let files = ["a.jpg", "b.jpg"].map(Sample::file);
    /// for classified in model.stream(files.into_iter(), StreamOptions::default()) {
    ///     let classified = classified?;
    ///     match &classified.outcome {
    ///         Ok(labels) => println!("{}: {}", classified.name, labels[0].noun),
    ///         Err(error) => eprintln!("{}: {error}", classified.name),
    ///     }
    /// }
    /// # Ok::<(), novic::infer::InferError>(())
    /// ```
    pub fn stream(
        &self,
        inputs: impl Iterator<Item = Sample> + Send + 'static,
        options: StreamOptions,
    ) -> ClassifyStream {
        ClassifyStream::start(vec![self.clone()], self.embedder.clone(), inputs, options)
    }

    /// As [`stream`](Self::stream), under several ways of generating: every
    /// input is embedded once and has a result for each of `generations`, in
    /// their order; one that cannot be read has a single result.
    ///
    /// # Errors
    /// A configuration that has no meaning.
    pub fn stream_each(
        &self,
        inputs: impl Iterator<Item = Sample> + Send + 'static,
        options: StreamOptions,
        generations: &[GenerationConfig],
    ) -> Result<ClassifyStream, InferError> {
        let models = generations
            .iter()
            .map(|&generation| self.clone().with_generation(generation))
            .collect::<Result<_, _>>()?;
        let embedder = self.embedder.clone();
        Ok(ClassifyStream::start(models, embedder, inputs, options))
    }
}
