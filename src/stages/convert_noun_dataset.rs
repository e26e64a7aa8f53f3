//! `convert_noun_dataset`: prompts × nouns → text embeddings → an embedding
//! cache. Each unique text is embedded once and written as often as it counts.

use serde_json::json;

use super::inputs;
use super::text_cache::TextCache;
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
        &[
            "embedder.spec",
            "nouns.vocab_path",
            "nouns.vocab_threshold",
            "nouns.prompt_path",
            "nouns.prompts",
            "nouns.hypernyms",
            "target.start_token",
            "target.end_token",
            "target.compact_ids",
            "target.fixed_length",
            "target.auto_length",
            "target.masks",
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
        let embedder = inputs::open_embedder(context)?;
        let dataset = inputs::open_noun_dataset(context.project(), &context.config().nouns)?;
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
        cache.write(context, &embedder, |start| dataset.texts_from(start))?;
        Ok(StageOutput::of(json!({
            "summary": summary,
            "nouns": dataset.targets().len(),
            "unique_texts": dataset.num_unique_samples(),
            "samples": dataset.num_samples(),
        })))
    }
}
