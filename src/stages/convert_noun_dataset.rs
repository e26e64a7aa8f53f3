//! `convert_noun_dataset`: prompts × nouns → text embeddings → an embedding
//! cache. Each unique text is embedded once and written as often as it counts.

use serde_json::json;

use super::cache_noun_dataset::{self, CacheNounDataset};
use super::inputs;
use super::keys::{EMBEDDER, NOUNS, PROMPTS, TOKENS, WRITTEN_CACHE, keys};
use super::text_cache::TextCache;
use crate::cache::TextFile;
use crate::embedders::Embedder;
use crate::nouns::{NounDataset, Samples};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct ConvertNounDataset;

impl StageKind for ConvertNounDataset {
    fn name(&self) -> &'static str {
        "convert_noun_dataset"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, NOUNS, PROMPTS, TOKENS, WRITTEN_CACHE]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?, inputs::dictionary(query)?];
        resources.extend(inputs::prompts(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let dataset = super::noun_dataset::open(context)?;
        let summary = format!(
            "{} nouns, {} unique texts, {} samples",
            dataset.targets().len(),
            dataset.num_unique_samples(),
            dataset.num_samples()
        );
        context.note(&summary);
        let cache = TextCache {
            vocabulary: dataset.vocabulary(),
            samples: dataset.num_samples(),
            targets: 1,
            full: true,
        };
        let written = match text_file(context, &embedder, &dataset)? {
            None => cache.write(context, &embedder, |start| dataset.texts_from(start))?,
            Some(file) => {
                let mut known = KnownVectors {
                    file,
                    dataset: &dataset,
                    samples: None,
                };
                cache.write_vectors(
                    context,
                    &embedder,
                    |start| dataset.texts_from(start),
                    |texts| known.of(texts),
                )?
            }
        };
        Ok(written.output(json!({
            "summary": summary,
            "nouns": dataset.targets().len(),
            "unique_texts": dataset.num_unique_samples(),
            "samples": dataset.num_samples(),
        })))
    }
}

/// The texts that another stage has embedded, if there is one.
fn text_file(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &NounDataset,
) -> Result<Option<TextFile>, StageError> {
    let [input] = context.inputs() else {
        return Ok(None);
    };
    if input.entry.manifest().kind != CacheNounDataset.name() {
        return Ok(None);
    }
    let (_, shape) = cache_noun_dataset::tokens_and_shape(context, embedder, dataset)?;
    let path = input.entry.file(cache_noun_dataset::TEXTS_FILE)?;
    Ok(Some(TextFile::open(path, shape)?))
}

/// Vectors of the texts of a noun dataset, from a file in its order.
struct KnownVectors<'a> {
    file: TextFile,
    dataset: &'a NounDataset,
    /// Where the next text is looked for.
    samples: Option<Samples<'a>>,
}

impl KnownVectors<'_> {
    /// Vectors `[texts, F]` of texts that come in the order of the dataset,
    /// those that occur again left out.
    fn of(&mut self, texts: &[&str]) -> Result<Vec<f32>, StageError> {
        let dataset = self.dataset;
        let samples = self.samples.get_or_insert_with(|| dataset.unique_samples());
        let mut places = Vec::with_capacity(texts.len());
        for &text in texts {
            while let Some(sample) = samples.next_sample() {
                if sample.text == text {
                    places.push(sample.usid);
                    break;
                }
            }
        }
        let (Some(&first), Some(&last), true) =
            (places.first(), places.last(), places.len() == texts.len())
        else {
            return Err(StageError::failed(
                "the text cache is of other texts; give both stages the same [nouns]",
            ));
        };
        let rows = self.file.texts(first, last + 1)?;
        let dim = self.file.shape().dim;
        let mut vectors = Vec::with_capacity(texts.len() * dim);
        for place in places {
            let row = usize::try_from(place - first)?;
            vectors.extend_from_slice(&rows.embeds[row * dim..][..dim]);
        }
        Ok(vectors)
    }
}
