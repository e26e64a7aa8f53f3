//! `cache_noun_multiset`: prompts × combinations of nouns → text embeddings →
//! an embedding cache with several targets per sample.

use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, NOUNS, PROMPTS, TOKENS, WRITTEN_CACHE, keys};
use super::text_cache::TextCache;
use crate::nouns::Multiset;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct CacheNounMultiset;

impl StageKind for CacheNounMultiset {
    fn name(&self) -> &'static str {
        "cache_noun_multiset"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            NOUNS,
            PROMPTS,
            TOKENS,
            WRITTEN_CACHE,
            &["multiset.freq"]
        ]
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
        let config = context.config();
        let embedder = inputs::open_embedder(context)?;
        let dataset = super::noun_dataset::open(context)?;
        let multiset = Multiset::new(&dataset, &config.multiset.freq, context.seed())?;
        let summary = format!(
            "{} nouns, up to {} per text, {} samples",
            dataset.targets().len(),
            multiset.most_nouns(),
            multiset.num_samples()
        );
        context.note(&summary);
        let cache = TextCache {
            vocabulary: dataset.vocabulary(),
            samples: multiset.num_samples(),
            targets: multiset.most_nouns(),
            full: multiset.is_full(),
        };
        let written = cache.write(context, &embedder, |start| Ok(multiset.texts_from(start)))?;
        Ok(written.output(json!({
            "summary": summary,
            "nouns": dataset.targets().len(),
            "targets": multiset.most_nouns(),
            "samples": multiset.num_samples(),
        })))
    }
}
