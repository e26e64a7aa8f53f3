//! `cache_noun_dataset`: prompts × nouns → text embeddings → a text cache, one
//! slot per unique text in the order of the noun dataset. Other stages take it
//! in so that they need not embed the texts again.

use std::path::PathBuf;

use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, NOUNS, PROMPTS, TOKENS, keys};
use super::known_texts::{HASHES_FILE, KnownTexts, write_hashes};
use crate::cache::{NounTable, TargetConfig, TextFileShape, TextFileWriter, TextRows, TokenRows};
use crate::embedders::Embedder;
use crate::nouns::NounDataset;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// File name of the text cache in the output.
pub(super) const TEXTS_FILE: &str = "noun_dataset.bin";

/// Texts that are embedded together.
const TEXTS: usize = 2048;
/// Most texts that are written together, when vectors of some are known.
const ROWS: usize = 8 * TEXTS;

/// The stage kind.
#[derive(Debug)]
pub(super) struct CacheNounDataset;

impl StageKind for CacheNounDataset {
    fn name(&self) -> &'static str {
        "cache_noun_dataset"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, NOUNS, PROMPTS, TOKENS, &["nouns.reuse"]]
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
            "{} nouns, {} unique texts",
            dataset.targets().len(),
            dataset.num_unique_samples()
        );
        context.note(&summary);
        let known = KnownTexts::find(context, &embedder, &dataset)?;
        let path = context.out().join(TEXTS_FILE);
        write(context, &embedder, &dataset, known.as_ref(), path)?;
        write_hashes(&dataset, &context.out().join(HASHES_FILE))?;
        Ok(StageOutput::of(json!({
            "summary": summary,
            "nouns": dataset.targets().len(),
            "unique_texts": dataset.num_unique_samples(),
        })))
    }
}

/// Tokens of the nouns and the shape of the file.
pub(super) fn tokens_and_shape(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &NounDataset,
) -> Result<(TokenRows, TextFileShape), StageError> {
    let tokenizer = embedder.tokenizer();
    let nouns = NounTable::new(dataset.targets())?;
    let options = inputs::target_options(context, &context.config().target);
    let config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
    let tokens = config.token_table(tokenizer.as_ref(), &nouns)?;
    let shape = TextFileShape::new(embedder.dim(), &config, dataset.num_unique_samples());
    Ok((tokens, shape))
}

/// Embeds all texts that are not `known` into the text cache `path`, or goes on
/// with it.
pub(super) fn write(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &NounDataset,
    known: Option<&KnownTexts>,
    path: PathBuf,
) -> Result<(), StageError> {
    let (tokens, shape) = tokens_and_shape(context, embedder, dataset)?;
    if path.exists() {
        // Complete, but the stage was killed before its output was published.
        return Ok(());
    }
    let mut writer = TextFileWriter::open(path, shape)?;
    context.begin("texts", writer.written(), Some(shape.texts));
    let mut samples = dataset.unique_samples_from(writer.written());
    let mut reused = 0;
    loop {
        let mut rows = TextRows {
            embeds: Vec::new(),
            tokens: TokenRows {
                columns: shape.columns,
                ids: Vec::new(),
                padding: Vec::new(),
            },
        };
        // Texts to embed, and the places of their vectors.
        let (mut texts, mut places) = (Vec::new(), Vec::new());
        while texts.len() < TEXTS
            && rows.embeds.len() < ROWS * shape.dim
            && let Some(sample) = samples.next_sample()
        {
            let vector = match known {
                Some(known) => known.vector(sample.text)?,
                None => None,
            };
            match vector {
                Some(vector) => {
                    rows.embeds.extend(vector);
                    reused += 1;
                }
                None => {
                    places.push(rows.embeds.len());
                    rows.embeds.resize(rows.embeds.len() + shape.dim, 0.0);
                    texts.push(sample.text.to_owned());
                }
            }
            // Row 0 of the table is the absent noun.
            let cells = (sample.target + 1) * shape.columns..(sample.target + 2) * shape.columns;
            rows.tokens
                .ids
                .extend_from_slice(&tokens.ids[cells.clone()]);
            rows.tokens
                .padding
                .extend_from_slice(&tokens.padding[cells]);
        }
        if rows.embeds.is_empty() {
            break;
        }
        if !texts.is_empty() {
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = embedder
                .embed_texts(&borrowed)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            inputs::tell(context, embedder);
            for (place, vector) in places.into_iter().zip(vectors.chunks_exact(shape.dim)) {
                rows.embeds[place..place + shape.dim].copy_from_slice(vector);
            }
        }
        writer.write(&rows)?;
        context.reach(writer.written());
        context.check_interrupt()?;
    }
    if let Some(known) = known {
        context.note(&format!(
            "vectors of {reused} texts were taken from {} text caches of the store",
            known.caches()
        ));
    }
    Ok(writer.finish()?)
}
