//! `convert_noun_dataset`: prompts × nouns → text embeddings → an embedding
//! cache. Each unique text is embedded once and written as often as it counts.

use std::time::{Duration, Instant};

use serde_json::json;

use super::inputs;
use crate::cache::{
    FileFlags, FilePlan, FloatSlice, NounTable, ResumableCacheWriter, RowOrder, SampleRows,
    TargetConfig, TargetPlan,
};
use crate::embedders::Embedder;
use crate::nouns::{NounDataset, SampleId};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// File name of the cache in the output.
pub(super) const CACHE_FILE: &str = "cache.bin";

/// Unique texts that are embedded together; neighbours are sorted by length
/// inside, so more is faster until memory matters.
const TEXTS: usize = 2048;
/// Time between two points from which a killed stage goes on.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

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
        context.note(&format!(
            "{} nouns, {} unique texts, {} samples",
            dataset.targets().len(),
            dataset.num_unique_samples(),
            dataset.num_samples()
        ));
        write(context, &embedder, &dataset)?;
        Ok(StageOutput::of(json!({
            "summary": format!(
                "{} nouns, {} texts, {} samples",
                dataset.targets().len(),
                dataset.num_unique_samples(),
                dataset.num_samples()
            ),
            "nouns": dataset.targets().len(),
            "unique_texts": dataset.num_unique_samples(),
            "samples": dataset.num_samples(),
        })))
    }
}

fn write(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &NounDataset,
) -> Result<(), StageError> {
    let tokenizer = embedder.tokenizer();
    let nouns = NounTable::new(dataset.targets())?;
    let options = inputs::target_options(context, &context.config().target);
    let config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
    let targets = TargetPlan::new(&config, tokenizer.as_ref(), nouns, 1)?;
    let plan = FilePlan::new(
        dataset.num_samples(),
        &inputs::signature(embedder),
        Some(&targets),
        FileFlags::default(),
        RowOrder::Shuffled {
            seed: context.seed(),
        },
    )?;
    let path = context.out().join(CACHE_FILE);
    if path.exists() {
        // Complete, but the stage was killed before its output was published.
        return Ok(());
    }
    let mut writer = ResumableCacheWriter::open(path, &plan)?;
    context.begin("samples", writer.written(), Some(dataset.num_samples()));

    let dim = embedder.dim();
    let mut safe = Instant::now();
    // Samples of the first text that an earlier attempt wrote already.
    let mut skip = 0;
    let mut samples = match writer.written() {
        done if done == dataset.num_samples() => {
            dataset.unique_samples_from(dataset.num_unique_samples())
        }
        done => {
            let mut text = String::new();
            let sample = dataset.lookup(SampleId::Frequency(done), &mut text)?;
            skip = done - sample.fsid;
            dataset.unique_samples_from(sample.usid)
        }
    };
    let mut texts: Vec<String> = Vec::with_capacity(TEXTS);
    let mut repeats: Vec<(u32, u64)> = Vec::with_capacity(TEXTS);
    loop {
        texts.clear();
        repeats.clear();
        while texts.len() < TEXTS {
            let Some(sample) = samples.next_sample() else {
                break;
            };
            texts.push(sample.text.to_owned());
            // Id 0 is the absent noun.
            repeats.push((u32::try_from(sample.target)? + 1, sample.count - skip));
            skip = 0;
        }
        if texts.is_empty() {
            break;
        }
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = embedder
            .embed_texts(&borrowed)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        for (vector, &(target, count)) in vectors.chunks_exact(dim).zip(&repeats) {
            let count = usize::try_from(count)?;
            let embeds = vector.repeat(count);
            writer.write(&SampleRows {
                embeds: FloatSlice::F32(&embeds),
                target_ids: Some(&vec![target; count]),
                weights: None,
            })?;
        }
        context.reach(writer.written());
        if safe.elapsed() >= CHECKPOINT_EVERY || context.is_interrupted() {
            writer.checkpoint()?;
            safe = Instant::now();
        }
        context.check_interrupt()?;
    }
    writer.finish()?;
    Ok(())
}
