//! What stages that write texts into an embedding cache share: resumable
//! embedding and writing of any sequence of texts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::inputs;
use crate::cache::{
    FileFlags, FilePlan, FloatSlice, NounTable, ResumableCacheWriter, RowOrder, SampleRows,
    TargetConfig, TargetPlan,
};
use crate::embedders::Embedder;
use crate::nouns::{NounsError, TextSamples, Vocabulary};
use crate::runner::{StageContext, StageError};

/// File name of the cache in the output.
pub(super) const CACHE_FILE: &str = "cache.bin";

/// Different texts that are embedded together; neighbours are sorted by length
/// inside, so more is faster until memory matters.
const TEXTS: usize = 2048;
/// Most samples that are written together.
const SAMPLES: usize = 2048;
/// Time between two points from which a killed stage goes on.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

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
    /// Embeds the texts and writes them in random order. `texts_from` gives
    /// the texts from a sample on.
    pub(super) fn write<T: TextSamples>(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        texts_from: impl FnOnce(u64) -> Result<T, NounsError>,
    ) -> Result<(), StageError> {
        let plan = self.plan(context, embedder)?;
        let path = context.out().join(CACHE_FILE);
        if path.exists() {
            // Complete, but the stage was killed before its output was published.
            return Ok(());
        }
        let mut writer = ResumableCacheWriter::open(path, &plan)?;
        context.begin("samples", writer.written(), Some(self.samples));
        let mut texts = texts_from(writer.written())?;
        let mut safe = Instant::now();
        let mut batch = TextBatch::default();
        while batch.fill(&mut texts, self.targets)? {
            batch.write(embedder, self.targets, &mut writer)?;
            context.reach(writer.written());
            if safe.elapsed() >= CHECKPOINT_EVERY || context.is_interrupted() {
                writer.checkpoint()?;
                safe = Instant::now();
            }
            context.check_interrupt()?;
        }
        Ok(writer.finish()?)
    }

    fn plan(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
    ) -> Result<FilePlan, StageError> {
        let tokenizer = embedder.tokenizer();
        let nouns = NounTable::new(self.vocabulary.targets())?;
        let options = inputs::target_options(context, &context.config().target);
        let config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
        let targets = TargetPlan::new(&config, tokenizer.as_ref(), nouns, self.targets)?;
        Ok(FilePlan::new(
            self.samples,
            &inputs::signature(embedder),
            Some(&targets),
            FileFlags {
                full_targets: self.full,
                ..FileFlags::default()
            },
            RowOrder::Shuffled {
                seed: context.seed(),
            },
        )?)
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
    /// Takes the next texts; false if there are none.
    fn fill(&mut self, source: &mut impl TextSamples, width: usize) -> Result<bool, StageError> {
        self.texts.clear();
        self.places.clear();
        self.samples.clear();
        self.ids.clear();
        let (mut text, mut targets) = (String::new(), Vec::new());
        // Texts that come again cost little, but not nothing.
        while self.texts.len() < TEXTS && self.samples.len() < 16 * TEXTS {
            let Some(count) = source.next_text(&mut text, &mut targets) else {
                break;
            };
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
        embedder: &Embedder,
        width: usize,
        writer: &mut ResumableCacheWriter,
    ) -> Result<(), StageError> {
        let dim = embedder.dim();
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let vectors = embedder
            .embed_texts(&texts)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let (mut embeds, mut ids) = (Vec::new(), Vec::new());
        let mut flush = |embeds: &mut Vec<f32>, ids: &mut Vec<u32>| -> Result<(), StageError> {
            if !ids.is_empty() {
                writer.write(&SampleRows {
                    embeds: FloatSlice::F32(embeds),
                    target_ids: Some(ids),
                    weights: None,
                })?;
            }
            embeds.clear();
            ids.clear();
            Ok(())
        };
        for (&(place, count), targets) in self.samples.iter().zip(self.ids.chunks_exact(width)) {
            let vector = &vectors[place * dim..][..dim];
            for _ in 0..count {
                embeds.extend_from_slice(vector);
                ids.extend_from_slice(targets);
                if ids.len() == SAMPLES * width {
                    flush(&mut embeds, &mut ids)?;
                }
            }
        }
        flush(&mut embeds, &mut ids)
    }
}
