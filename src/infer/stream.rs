//! [`ClassifyStream`]: any number of inputs through a model, with bounded
//! memory and in order.
//!
//! One thread asks for inputs, one decodes and prepares pictures (with all
//! cores) while the batch before is embedded and decoded by whoever asks the
//! stream for its next result.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use super::embedding_model::{EmbeddingModel, PreparedImage};
use super::error::InferError;
use super::label::Label;
use super::model::NovicModel;
use super::sample::{Content, Sample, SampleError};
use crate::decoder::DecoderError;
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

/// Results in the order of the inputs; see [`NovicModel::stream`]. Ends early
/// if the model itself fails.
pub struct ClassifyStream {
    model: NovicModel,
    options: StreamOptions,
    batches: Option<Receiver<PreparedBatch>>,
    threads: Vec<JoinHandle<()>>,
    ready: VecDeque<Classified>,
    next_index: usize,
    next_batch: usize,
}

impl ClassifyStream {
    pub(super) fn start(
        model: NovicModel,
        inputs: impl Iterator<Item = Sample> + Send + 'static,
        options: StreamOptions,
    ) -> Self {
        let options = StreamOptions {
            batch_size: options.batch_size.max(1),
            ..options
        };
        let (sample_sender, samples) = sync_channel(options.batch_size.min(1024));
        let (batch_sender, batches) = sync_channel(1);
        let embedder = model.embedder().clone();
        let feeder = std::thread::spawn(move || {
            for sample in inputs {
                if sample_sender.send(sample).is_err() {
                    break;
                }
            }
        });
        let preparer = std::thread::spawn(move || {
            prepare(&samples, &batch_sender, embedder.as_ref(), &options);
        });
        Self {
            model,
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
        let start = Instant::now();
        let rows = embed(&self.model, batch.inputs)?;
        timings.embed = start.elapsed().as_secs_f64() * 1e3 / count;
        let start = Instant::now();
        let embeds: Vec<f32> = rows
            .iter()
            .filter_map(|(_, embedding)| embedding.as_deref().ok())
            .flatten()
            .copied()
            .collect();
        let dim = self.model.decoder().dim();
        let labels = if embeds.is_empty() {
            Vec::new()
        } else {
            let shape = (embeds.len() / dim, dim);
            let embeds =
                Tensor::from_vec(embeds, shape, &Device::Cpu).map_err(DecoderError::from)?;
            self.model.classify_embeddings(&embeds)?
        };
        timings.generate = start.elapsed().as_secs_f64() * 1e3 / count;
        let mut labels = labels.into_iter();
        for ((name, tag), embedding) in rows {
            let (outcome, embedding) = match embedding {
                Ok(embedding) => (Ok(labels.next().unwrap_or_default()), Some(embedding)),
                Err(error) => (Err(error), None),
            };
            self.ready.push_back(Classified {
                index: self.next_index,
                batch: self.next_batch,
                name,
                tag,
                outcome,
                embedding: embedding.filter(|_| self.options.keep_embeddings),
                timings,
            });
            self.next_index += 1;
        }
        self.next_batch += 1;
        Ok(())
    }
}

impl Iterator for ClassifyStream {
    type Item = Result<Classified, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(classified) = self.ready.pop_front() {
                return Some(Ok(classified));
            }
            let Ok(batch) = self.batches.as_ref()?.recv() else {
                self.batches = None;
                // Both threads have nothing left to do.
                for thread in self.threads.drain(..) {
                    if let Err(panic) = thread.join() {
                        std::panic::resume_unwind(panic);
                    }
                }
                return None;
            };
            if let Err(error) = self.classify(batch) {
                self.batches = None;
                return Some(Err(error));
            }
        }
    }
}

/// Collects batches and prepares their pictures until there are no more inputs
/// or nobody wants them.
fn prepare(
    samples: &Receiver<Sample>,
    batches: &SyncSender<PreparedBatch>,
    embedder: &dyn EmbeddingModel,
    options: &StreamOptions,
) {
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
