//! What stages that write texts into an embedding cache share: resumable
//! embedding and writing of any sequence of texts.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cache_noun_dataset::CacheNounDataset;
use super::inputs;
use super::shard::{self, Shard};
use crate::cache::{
    CacheFile, FileFlags, FilePlan, FloatDtype, FloatSlice, NounTable, OpenOptions,
    ResumableCacheWriter, RowOrder, SampleRows, TargetConfig, TargetPlan,
};
use crate::embedders::Embedder;
use crate::nouns::{NounsError, TextSamples, Vocabulary};
use crate::runner::{StageContext, StageError, StageKind, StageOutput};
use crate::store::Entry;

/// File name of the cache in the output.
pub(super) const CACHE_FILE: &str = "cache.bin";

/// File name of a virtual merge in the output.
pub(super) const VIRTUAL_FILE: &str = "cache.json";

/// Different texts that are embedded together; neighbours are sorted by length
/// inside, so more is faster until memory matters.
const TEXTS: usize = 2048;
/// Most samples that are written together.
const SAMPLES: usize = 2048;
/// Time between two points from which a killed stage goes on.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// A cache of texts.
pub(super) struct TextCache<'a> {
    /// Nouns that can be targets.
    pub vocabulary: &'a Vocabulary,
    /// Number of samples.
    pub samples: u64,
    /// Most targets of a sample.
    pub targets: usize,
    /// Whether every sample has as many.
    pub full: bool,
}

impl TextCache<'_> {
    /// Embeds the texts and writes them in random order; or one part of them,
    /// in the order of the texts; or joins parts that were made before.
    /// `texts_from` gives the texts from a sample on.
    pub(super) fn write<T: TextSamples>(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        texts_from: impl FnOnce(u64) -> Result<T, NounsError>,
    ) -> Result<Written, StageError> {
        self.write_vectors(context, embedder, texts_from, |texts| {
            let vectors = embedder.embed_texts(texts)?;
            inputs::tell(context, embedder);
            Ok(vectors.flatten_all()?.to_vec1()?)
        })
    }

    /// The same with the vectors `[texts, F]` that `vectors` gives for texts.
    pub(super) fn write_vectors<T: TextSamples>(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        texts_from: impl FnOnce(u64) -> Result<T, NounsError>,
        mut vectors: impl FnMut(&[&str]) -> Result<Vec<f32>, StageError>,
    ) -> Result<Written, StageError> {
        let (rows, shard) = Shard::share(context, self.samples, joins_parts(context))?;
        let (plan, config) = self.plan(context, embedder, &rows, shard)?;
        let path = context.out().join(CACHE_FILE);
        let written = Written::new(shard);
        if ResumableCacheWriter::is_finished(&path)? {
            // Complete, but the stage was killed before its output was published.
            return Ok(written);
        }
        let mut writer = Writer {
            context,
            cache: ResumableCacheWriter::open(path, &plan)?,
            safe: Instant::now(),
        };
        context.begin(
            "samples",
            writer.cache.written(),
            Some(rows.end - rows.start),
        );
        if joins_parts(context) {
            self.join(embedder, &config, &mut writer)?;
        } else {
            let mut texts = texts_from(rows.start + writer.cache.written())?;
            let mut batch = TextBatch::default();
            while batch.fill(
                &mut texts,
                self.targets,
                rows.end - rows.start - writer.cache.written(),
            )? {
                let texts: Vec<&str> = batch.texts.iter().map(String::as_str).collect();
                let vectors = vectors(&texts)?;
                batch.write(&vectors, self.targets, &mut writer)?;
                writer.pause()?;
            }
        }
        writer.cache.finish()?;
        Ok(written)
    }

    fn plan(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        rows: &Range<u64>,
        shard: Option<Shard>,
    ) -> Result<(FilePlan, TargetConfig), StageError> {
        let tokenizer = embedder.tokenizer();
        let nouns = NounTable::new(self.vocabulary.targets())?;
        let options = inputs::target_options(context, &context.config().target);
        let config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
        let targets = TargetPlan::new(&config, tokenizer.as_ref(), nouns, self.targets)?;
        let flags = FileFlags {
            full_targets: self.full,
            ..FileFlags::default()
        };
        let order = match shard {
            Some(_) => RowOrder::AsWritten,
            None => RowOrder::Shuffled {
                seed: context.seed(),
            },
        };
        let signature = inputs::signature(embedder);
        let plan = FilePlan::new(
            rows.end - rows.start,
            &signature,
            Some(&targets),
            flags,
            order,
        )?;
        // Parts keep full precision: they are rounded once, when joined.
        let stored = match shard {
            Some(_) => FloatDtype::F32,
            None => inputs::stored_dtype(context),
        };
        Ok((plan.stored_as(stored)?, config))
    }

    /// Writes the samples of all parts.
    fn join(
        &self,
        embedder: &Embedder,
        config: &TargetConfig,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), StageError> {
        let signature = inputs::signature(embedder);
        let mut first = 0;
        for path in shard::parts(writer.context)? {
            let file = CacheFile::open(&path, &signature, OpenOptions::default())?;
            let end = first + file.samples();
            if end > self.samples {
                return Err(StageError::failed(
                    "the parts have more samples than the whole",
                ));
            }
            let done = writer.cache.written().clamp(first, end) - first;
            let cache = file.enter(Some(config), None)?;
            cache.for_each_chunk(done..cache.len(), |samples| -> Result<(), StageError> {
                writer.cache.write(&samples.rows(true))?;
                writer.pause()
            })?;
            first = end;
        }
        Ok(())
    }
}

/// Whether the inputs of the stage are parts of its cache.
fn joins_parts(context: &StageContext<'_>) -> bool {
    let mut kinds = context
        .inputs()
        .iter()
        .map(|input| &input.entry.manifest().kind);
    kinds.any(|kind| kind != CacheNounDataset.name())
}

/// What a stage wrote.
pub(super) struct Written {
    shard: Option<Shard>,
}

impl Written {
    /// A cache, or this part of one.
    pub(super) fn new(shard: Option<Shard>) -> Self {
        Self { shard }
    }

    /// The results of a stage, with the part that was made.
    pub(super) fn output(&self, mut results: Value) -> StageOutput {
        if let (Some(shard), Some(object)) = (self.shard, results.as_object_mut()) {
            object.insert("shard".to_owned(), shard.to_string().into());
            let summary = object
                .get("summary")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let summary = format!("part {shard} of {summary}");
            object.insert("summary".to_owned(), summary.into());
        }
        StageOutput::of(results)
    }
}

/// A cache that is being written by a stage.
pub(super) struct Writer<'a, 'c> {
    pub context: &'a StageContext<'c>,
    pub cache: ResumableCacheWriter,
    /// When a killed stage would go on from.
    pub safe: Instant,
}

impl Writer<'_, '_> {
    /// Between two writes: shows progress, makes a checkpoint when it is time,
    /// and stops if somebody wants it.
    pub(super) fn pause(&mut self) -> Result<(), StageError> {
        self.context.reach(self.cache.written());
        if self.safe.elapsed() >= CHECKPOINT_EVERY || self.context.is_interrupted() {
            self.cache.checkpoint()?;
            self.safe = Instant::now();
        }
        self.context.check_interrupt()
    }
}

/// The cache in the output of a stage: a file or a virtual merge.
pub(super) fn cache_of(entry: &Entry) -> Result<PathBuf, StageError> {
    match entry.file(VIRTUAL_FILE) {
        Ok(path) => Ok(path),
        Err(_) => Ok(entry.file(CACHE_FILE)?),
    }
}

/// Samples whose texts are embedded together, each different text once.
#[derive(Default)]
struct TextBatch {
    texts: Vec<String>,
    places: HashMap<String, usize>,
    /// Text and number of samples, in the order of writing.
    samples: Vec<(usize, u64)>,
    /// Noun ids of each entry of `samples`, as many as a sample can have.
    ids: Vec<u32>,
}

impl TextBatch {
    /// Takes the next texts, of at most `limit` samples; false if there are
    /// none.
    fn fill(
        &mut self,
        source: &mut impl TextSamples,
        width: usize,
        mut limit: u64,
    ) -> Result<bool, StageError> {
        self.texts.clear();
        self.places.clear();
        self.samples.clear();
        self.ids.clear();
        let (mut text, mut targets) = (String::new(), Vec::new());
        // Texts that come again cost little, but not nothing.
        while limit > 0 && self.texts.len() < TEXTS && self.samples.len() < 16 * TEXTS {
            let Some(count) = source.next_text(&mut text, &mut targets) else {
                break;
            };
            let count = count.min(limit);
            limit -= count;
            let place = match self.places.get(&text) {
                Some(&place) => place,
                None => {
                    let place = self.texts.len();
                    self.places.insert(text.clone(), place);
                    self.texts.push(text.clone());
                    place
                }
            };
            self.samples.push((place, count));
            for &target in &targets {
                // Id 0 is the absent noun.
                self.ids.push(u32::try_from(target)? + 1);
            }
            self.ids.resize(self.samples.len() * width, 0);
        }
        Ok(!self.samples.is_empty())
    }

    fn write(
        &self,
        vectors: &[f32],
        width: usize,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), StageError> {
        let dim = vectors.len() / self.texts.len().max(1);
        let (mut embeds, mut ids) = (Vec::new(), Vec::new());
        for (&(place, count), targets) in self.samples.iter().zip(self.ids.chunks_exact(width)) {
            let vector = &vectors[place * dim..][..dim];
            for _ in 0..count {
                embeds.extend_from_slice(vector);
                ids.extend_from_slice(targets);
                if ids.len() == SAMPLES * width {
                    flush(&mut embeds, &mut ids, writer)?;
                }
            }
        }
        flush(&mut embeds, &mut ids, writer)
    }
}

/// Writes samples with default weights.
fn flush(
    embeds: &mut Vec<f32>,
    ids: &mut Vec<u32>,
    writer: &mut Writer<'_, '_>,
) -> Result<(), StageError> {
    if !ids.is_empty() {
        writer.cache.write(&SampleRows {
            embeds: FloatSlice::F32(embeds),
            target_ids: Some(ids),
            weights: None,
        })?;
    }
    embeds.clear();
    ids.clear();
    Ok(())
}
