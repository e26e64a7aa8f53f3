//! `cache_captions`: captions of nouns → text embeddings → an embedding cache.

use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, NOUNS, TOKENS, WRITTEN_CACHE, keys};
use super::text_cache::TextCache;
use crate::nouns::{
    CaptionCounts, CaptionNumbers, CaptionStatistics, Captions, ChosenCaptions, TextRules,
    TextSamples,
};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Nouns that are named in a warning.
const NAMED: usize = 12;

/// The stage kind.
#[derive(Debug)]
pub(super) struct CacheCaptions;

impl StageKind for CacheCaptions {
    fn name(&self) -> &'static str {
        "cache_captions"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, NOUNS, TOKENS, WRITTEN_CACHE, &["captions"]]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let path = &query.config.captions.path;
        if path.is_empty() {
            return Err(StageError::failed(
                "no captions are named: set captions.path, for instance to \
                 \"extras/data/captions_dataset.json\"",
            ));
        }
        Ok(vec![
            inputs::embedder(query)?,
            inputs::dictionary(query)?,
            inputs::file(query, "captions", path)?,
        ])
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let counts = CaptionCounts::new(
            config.captions.templates as u64,
            config.captions.samples as u64,
        )?;
        let nouns = &config.nouns;
        let vocabulary = inputs::open_vocabulary(context.project(), nouns, nouns.vocab_threshold)?;
        super::noun_dataset::warn_of_entries(context, &vocabulary);
        let path = inputs::path(context.project(), &config.captions.path);
        let captions = Captions::load(&path, &vocabulary, TextRules::Mended)?;
        let source = path.display().to_string();
        let chosen = ChosenCaptions::draw(
            &source,
            &captions,
            vocabulary.clone(),
            counts,
            context.seed(),
        )?;
        let statistics = CaptionStatistics::new(&captions, &chosen);
        drop(captions);
        tell(context, &statistics);
        show(context, &chosen, &vocabulary);

        let embedder = inputs::open_embedder(context)?;
        let cache = TextCache {
            vocabulary: &vocabulary,
            samples: chosen.num_samples(),
            targets: 1,
            full: true,
        };
        let written = cache.write(context, &embedder, |start| Ok(chosen.texts_from(start)))?;
        Ok(written.output(json!({
            "summary": format!(
                "{} nouns, {} captions, {} samples",
                chosen.nouns().len(),
                statistics.unique_templates(),
                statistics.samples
            ),
            "nouns": chosen.nouns().len(),
            "unknown_nouns": statistics.unknown_nouns,
            "nouns_without_entry": statistics.without_entry.len(),
            "captions": statistics.unique_templates(),
            "unused_captions": statistics.unused.sum(),
            "unique_texts": statistics.unique_texts(),
            "samples": statistics.samples,
        })))
    }
}

/// What people should know about the captions.
fn tell(context: &StageContext<'_>, statistics: &CaptionStatistics) {
    let numbers = |numbers: CaptionNumbers| {
        let CaptionNumbers { singular, plural } = numbers;
        format!("{} ({singular} singular, {plural} plural)", numbers.sum())
    };
    context.note(&format!(
        "the captions name {} nouns of the vocabulary and {} others",
        statistics.known_nouns, statistics.unknown_nouns
    ));
    for (nouns, what) in [
        (&statistics.without_entry, "have no captions"),
        (&statistics.lacking_singular, "have no singular captions"),
        (&statistics.lacking_plural, "have no plural captions"),
    ] {
        if !nouns.is_empty() {
            context.warn(&format!("{} nouns {what}: {}", nouns.len(), some(nouns)));
        }
    }
    if statistics.respaced > 0 {
        context.note(&format!(
            "white space was put in order in {} captions",
            statistics.respaced
        ));
    }
    context.note(&format!(
        "captions: {}; of unknown nouns: {}; used: {}; left over: {}",
        numbers(statistics.total),
        numbers(statistics.unknown),
        numbers(statistics.used),
        numbers(statistics.unused)
    ));
    context.note(&format!(
        "captions by times used: {:?}; texts by times used: {:?}",
        statistics.template_reuse, statistics.text_reuse
    ));
    context.note(&format!(
        "{} captions and {} texts make {} samples",
        statistics.unique_templates(),
        statistics.unique_texts(),
        statistics.samples
    ));
}

fn some(nouns: &[String]) -> String {
    let mut text = nouns[..nouns.len().min(NAMED)].join(", ");
    if nouns.len() > NAMED {
        text.push_str(", …");
    }
    text
}

/// Prints about as many samples as wanted, drawn evenly.
fn show(
    context: &StageContext<'_>,
    chosen: &ChosenCaptions,
    vocabulary: &crate::nouns::Vocabulary,
) {
    let wanted = context.config().captions.print as u64;
    let (mut text, mut targets) = (String::new(), Vec::new());
    for sample in chosen.shown(wanted, context.seed()) {
        if chosen
            .texts_from(sample)
            .next_text(&mut text, &mut targets)
            .is_some()
            && let Some(&target) = targets.first()
        {
            context.note(&format!("{} = {text}", vocabulary.noun(target).target));
        }
    }
}
