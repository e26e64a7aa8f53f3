//! [`ClassifyStream`]: any number of inputs through a model, with bounded
//! memory and in order.
//!
//! One thread asks for inputs, one decodes and prepares pictures (with all
//! cores) while the batch before is embedded and decoded by whoever asks the
//! stream for its next result.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use super::embedding_model::{EmbeddingModel, PreparedImage};
use super::error::InferError;
use super::label::Label;
use super::model::NovicModel;
use super::sample::{Content, Sample, SampleError};
use crate::decoder::DecoderError;
use crate::decoder::generate::GenerationConfig;
use crate::images::DecodeOptions;

/// How inputs are taken through a model.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Inputs that are embedded and decoded together, at least 1.
    pub batch_size: usize,
    /// Take smaller batches rather than wait for inputs.
    pub eager: bool,
    /// How pictures are decoded.
    pub decode: DecodeOptions,
    /// Hand out the embeddings too.
    pub keep_embeddings: bool,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            batch_size: 128,
            eager: false,
            decode: DecodeOptions::default(),
            keep_embeddings: false,
        }
    }
}

/// Milliseconds of an input: its share of its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Reading, decoding and preparing pictures.
    pub decode: f64,
    /// Embedding.
    pub embed: f64,
    /// Generating nouns.
    pub generate: f64,
}

/// What came of one input.
#[derive(Clone, Debug)]
pub struct Classified {
    /// Place among the inputs, from 0.
    pub index: usize,
    /// Number of its batch, from 0.
    pub batch: usize,
    /// Name of the input.
    pub name: String,
    /// What came with the input.
    pub tag: Option<Value>,
    /// How its labels were generated.
    pub generation: GenerationConfig,
    /// Its labels, best first.
    pub outcome: Result<Vec<Label>, SampleError>,
    /// Its embedding, if asked for and there is one.
    pub embedding: Option<Vec<f32>>,
    /// What it took.
    pub timings: Timings,
}

/// An input on its way; pictures are prepared.
enum Prepared {
    Image(PreparedImage),
    Text(String),
    Embedding(Vec<f32>),
    Failed(SampleError),
}

/// Name and tag of an input.
type Origin = (String, Option<Value>);

struct PreparedBatch {
    inputs: Vec<(Origin, Prepared)>,
    milliseconds: f64,
}

/// What a [`ClassifyStream`] has at the moment.
#[derive(Debug)]
pub enum Polled {
    /// The next result, or why there will be no more.
    Ready(Box<Result<Classified, InferError>>),
    /// Inputs are still awaited.
    Waiting,
    /// Everything was given out.
    Ended,
}

/// Results in the order of the inputs; see [`NovicModel::stream`]. Ends early
/// if the model itself fails.
pub struct ClassifyStream {
    /// The model under each way of generating.
    models: Vec<NovicModel>,
    options: StreamOptions,
    batches: Option<Receiver<PreparedBatch>>,
    threads: Vec<JoinHandle<()>>,
    ready: VecDeque<Classified>,
    next_index: usize,
    next_batch: usize,
}

impl ClassifyStream {
    pub(super) fn start(
        models: Vec<NovicModel>,
        embedder: Arc<dyn EmbeddingModel>,
        inputs: impl Iterator<Item = Sample> + Send + 'static,
        options: StreamOptions,
    ) -> Self {
        let options = StreamOptions {
            batch_size: options.batch_size.max(1),
            ..options
        };
        let (sample_sender, samples) = sync_channel(options.batch_size.min(1024));
        let (batch_sender, batches) = sync_channel(1);
        let feeder = std::thread::spawn(move || {
            for sample in inputs {
                if sample_sender.send(sample).is_err() {
                    break;
                }
            }
        });
        let preparer = std::thread::spawn(move || {
            prepare(&samples, &batch_sender, &embedder, &options);
        });
        Self {
            models,
            options,
            batches: Some(batches),
            threads: vec![feeder, preparer],
            ready: VecDeque::new(),
            next_index: 0,
            next_batch: 0,
        }
    }

    fn classify(&mut self, batch: PreparedBatch) -> Result<(), InferError> {
        let count = batch.inputs.len() as f64;
        let mut timings = Timings {
            decode: batch.milliseconds / count,
            ..Timings::default()
        };
        let Some(first) = self.models.first() else {
            return Ok(());
        };
        let start = Instant::now();
        let rows = embed(first, batch.inputs)?;
        timings.embed = start.elapsed().as_secs_f64() * 1e3 / count;
        let embeds: Vec<f32> = rows
            .iter()
            .filter_map(|(_, embedding)| embedding.as_deref().ok())
            .flatten()
            .copied()
            .collect();
        let dim = first.decoder().dim();
        let mut made = Vec::with_capacity(self.models.len());
        let shape = (embeds.len() / dim, dim);
        let embeds = Tensor::from_vec(embeds, shape, &Device::Cpu).map_err(DecoderError::from)?;
        for model in &self.models {
            let start = Instant::now();
            let labels = if shape.0 == 0 {
                Vec::new()
            } else {
                model.classify_embeddings(&embeds)?
            };
            let generate = start.elapsed().as_secs_f64() * 1e3 / count;
            made.push((*model.generation(), labels.into_iter(), generate));
        }
        for ((name, tag), embedding) in rows {
            let index = self.next_index;
            self.next_index += 1;
            let failed = embedding.as_ref().err().cloned();
            let embedding = embedding.ok().filter(|_| self.options.keep_embeddings);
            for (place, (generation, labels, generate)) in made.iter_mut().enumerate() {
                timings.generate = *generate;
                self.ready.push_back(Classified {
                    index,
                    batch: self.next_batch,
                    name: name.clone(),
                    tag: tag.clone(),
                    generation: *generation,
                    outcome: match &failed {
                        Some(error) => Err(error.clone()),
                        None => Ok(labels.next().unwrap_or_default()),
                    },
                    embedding: embedding.clone().filter(|_| place == 0),
                    timings,
                });
                if failed.is_some() {
                    break;
                }
            }
        }
        self.next_batch += 1;
        Ok(())
    }
}

impl ClassifyStream {
    /// The next result, if one is there within `wait` from now (and while a
    /// batch is worked on): for those who may be told to stop while inputs are
    /// awaited.
    pub fn poll(&mut self, wait: Duration) -> Polled {
        loop {
            if let Some(classified) = self.ready.pop_front() {
                return Polled::Ready(Box::new(Ok(classified)));
            }
            let Some(batches) = &self.batches else {
                return Polled::Ended;
            };
            match batches.recv_timeout(wait) {
                Ok(batch) => {
                    if let Err(error) = self.classify(batch) {
                        self.batches = None;
                        return Polled::Ready(Box::new(Err(error)));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Polled::Waiting,
                Err(RecvTimeoutError::Disconnected) => {
                    self.batches = None;
                    // Both threads have nothing left to do.
                    for thread in self.threads.drain(..) {
                        if let Err(panic) = thread.join() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                    return Polled::Ended;
                }
            }
        }
    }
}

impl Iterator for ClassifyStream {
    type Item = Result<Classified, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.poll(Duration::from_secs(3600)) {
                Polled::Ready(result) => return Some(*result),
                Polled::Waiting => {}
                Polled::Ended => return None,
            }
        }
    }
}

/// Collects batches and prepares their pictures until there are no more inputs
/// or nobody wants them.
fn prepare(
    samples: &Receiver<Sample>,
    batches: &SyncSender<PreparedBatch>,
    embedder: &Arc<dyn EmbeddingModel>,
    options: &StreamOptions,
) {
    let mut is_loading = false;
    while let Ok(first) = samples.recv() {
        let mut batch = vec![first];
        while batch.len() < options.batch_size {
            let next = if options.eager {
                samples.try_recv().ok()
            } else {
                samples.recv().ok()
            };
            match next {
                Some(sample) => batch.push(sample),
                None => break,
            }
        }
        if !is_loading && batch.iter().any(|sample| sample.content.is_picture()) {
            is_loading = true;
            let embedder = embedder.clone();
            // Weights load while the first pictures are decoded. What goes
            // wrong is told of by whoever embeds them.
            std::thread::spawn(move || embedder.load_image_weights());
        }
        let start = Instant::now();
        let inputs = batch
            .into_par_iter()
            .map(|sample| {
                let content = sample.content.decoded(&sample.name, &options.decode);
                let prepared = match content {
                    Content::Picture(picture) => Prepared::Image(embedder.prepare(picture)),
                    Content::Text(text) => Prepared::Text(text),
                    Content::Embedding(embedding) => Prepared::Embedding(embedding),
                    Content::Failed(error) => Prepared::Failed(error),
                    Content::File(_) | Content::Bytes(_) => {
                        Prepared::Failed(SampleError::input("it was not decoded"))
                    }
                };
                ((sample.name, sample.tag), prepared)
            })
            .collect();
        let batch = PreparedBatch {
            inputs,
            milliseconds: start.elapsed().as_secs_f64() * 1e3,
        };
        if batches.send(batch).is_err() {
            break;
        }
    }
}

type Row = (Origin, Result<Vec<f32>, SampleError>);

/// Embeddings of a batch, all pictures and all texts together.
fn embed(model: &NovicModel, inputs: Vec<(Origin, Prepared)>) -> Result<Vec<Row>, InferError> {
    let (mut rows, mut images, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut image_places, mut text_places) = (Vec::new(), Vec::new());
    for (origin, input) in inputs {
        let embedding = match input {
            Prepared::Image(image) => {
                images.push(image);
                image_places.push(rows.len());
                Ok(Vec::new())
            }
            Prepared::Text(text) => {
                texts.push(text);
                text_places.push(rows.len());
                Ok(Vec::new())
            }
            Prepared::Embedding(embedding) => Ok(embedding),
            Prepared::Failed(error) => Err(error),
        };
        rows.push((origin, embedding));
    }
    if !images.is_empty() {
        let embeds = model.embedder().embed_prepared(images)?;
        place(&mut rows, &image_places, &embeds)?;
    }
    if !texts.is_empty() {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embeds = model.embedder().embed_texts(&texts)?;
        place(&mut rows, &text_places, &embeds)?;
    }
    for (_, embedding) in &mut rows {
        if let Ok(values) = embedding
            && let Err(fault) = model.decoder().check_embedding(values)
        {
            *embedding = Err(fault.into());
        }
    }
    Ok(rows)
}

fn place(rows: &mut [Row], places: &[usize], embeds: &Tensor) -> Result<(), InferError> {
    let values = embeds
        .to_dtype(DType::F32)
        .and_then(|embeds| embeds.to_vec2::<f32>())
        .map_err(DecoderError::from)?;
    for (&place, embedding) in places.iter().zip(values) {
        rows[place].1 = Ok(embedding);
    }
    Ok(())
}
