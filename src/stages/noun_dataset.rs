//! The noun dataset of a running stage, with what people should know about it.

use std::collections::HashMap;

use super::cache_noun_dataset;
use super::inputs;
use crate::cache::TextFile;
use crate::embedders::{Embedder, Precision};
use crate::nouns::{NounDataset, Number, SampleId, Vocabulary};
use crate::random::{Draws, Purpose};
use crate::runner::{StageContext, StageError};

/// Entries and texts that are named in warnings.
const NAMED: usize = 12;
/// Texts of a text cache that are embedded again to see whether it is right.
const SAMPLE: u64 = 64;
/// Texts embedded together.
const TEXTS: usize = 512;

/// The texts of `[nouns]`, and nothing said about them.
pub(super) fn load(context: &StageContext<'_>) -> Result<NounDataset, StageError> {
    let nouns = &context.config().nouns;
    let vocabulary = inputs::open_vocabulary(context.project(), nouns, nouns.vocab_threshold)?;
    let (prompts, hypernyms) = inputs::open_templates(context.project(), nouns)?;
    let dataset = NounDataset::new(vocabulary, prompts, hypernyms)?;
    Ok(dataset.with_articles(inputs::article_rules(nouns)))
}

/// The texts of `[nouns]`, with their numbers and what is unusual in them.
pub(super) fn open(context: &StageContext<'_>) -> Result<NounDataset, StageError> {
    let dataset = load(context)?;
    warn_of_entries(context, dataset.vocabulary());
    tell(context, &dataset);
    context.note(&format!(
        "{} target nouns (TIDs), {} samples (FSIDs), {} unique texts (USIDs); the nouns take \
         {:.1} MB",
        dataset.targets().len(),
        dataset.num_samples(),
        dataset.num_unique_samples(),
        memory(dataset.vocabulary()) as f64 / 1e6
    ));
    Ok(dataset)
}

/// Says which entries of the dictionary are unusual.
pub(super) fn warn_of_entries(context: &StageContext<'_>, vocabulary: &Vocabulary) {
    let warnings = vocabulary.dictionary().warnings();
    for warning in warnings.iter().take(NAMED) {
        context.warn(&format!("{}: {warning}", vocabulary.dictionary().source()));
    }
    if warnings.len() > NAMED {
        context.warn(&format!(
            "{}: {} more entries like these; `novic nouns inspect` lists them",
            vocabulary.dictionary().source(),
            warnings.len() - NAMED
        ));
    }
}

fn tell(context: &StageContext<'_>, dataset: &NounDataset) {
    let nouns = &context.config().nouns;
    let (vocabulary, prompts) = (dataset.vocabulary(), dataset.prompts());
    context.note(&format!(
        "{}: {} entries, {} with a frequency above {}, at most {} hypernyms each",
        vocabulary.dictionary().source(),
        vocabulary.dictionary().nouns().len(),
        vocabulary.len(),
        vocabulary.threshold(),
        vocabulary
            .nouns()
            .map(|noun| noun.hypernyms.len())
            .max()
            .unwrap_or(0)
    ));
    context.note(&format!(
        "prompts {}: {} singular, {} plural; hypernyms {}: {} templates",
        nouns.prompts,
        prompts.of(Number::Singular).len(),
        prompts.of(Number::Plural).len(),
        nouns.hypernyms,
        dataset.hypernyms().templates().len()
    ));
    for text in prompts.merged_texts() {
        context.warn(&format!(
            "two templates become the same text {text:?} and count as one"
        ));
    }
}

/// Bytes that nouns and spellings take, nearly.
fn memory(vocabulary: &Vocabulary) -> usize {
    let nouns = vocabulary.dictionary().nouns().iter();
    nouns
        .map(|noun| {
            let spellings = noun
                .variants()
                .map(|spelling| std::mem::size_of_val(spelling) + spelling.text.len());
            std::mem::size_of_val(noun)
                + noun.target.len()
                + noun.pretty.len()
                + 8 * noun.hypernyms.len()
                + spellings.sum::<usize>()
        })
        .sum()
}

/// Shows the first unique samples, and which texts among them come again.
pub(super) fn show(context: &StageContext<'_>, dataset: &NounDataset, count: usize) {
    let mut owners: HashMap<String, usize> = HashMap::new();
    let (mut same_noun, mut shared) = (0, 0);
    let mut samples = dataset.unique_samples();
    for _ in 0..count {
        let Some(sample) = samples.next_sample() else {
            break;
        };
        context.note(&format!(
            "{}:{}: {} × {}",
            sample.fsid, sample.usid, sample.count, sample.text
        ));
        match owners.get(sample.text) {
            Some(&owner) if owner == sample.target => same_noun += 1,
            Some(_) => shared += 1,
            None => {
                owners.insert(sample.text.to_owned(), sample.target);
            }
        }
    }
    if count > 0 {
        context.note(&format!(
            "of these texts {same_noun} come again because plural and singular of a noun are \
             alike, {shared} because two nouns share a spelling"
        ));
    }
}

/// Compares enumeration with lookup for every frequency sample.
pub(super) fn check_lookup(
    context: &StageContext<'_>,
    dataset: &NounDataset,
) -> Result<(), StageError> {
    context.begin("samples looked up", 0, Some(dataset.num_samples()));
    let mut samples = dataset.unique_samples();
    let mut text = String::new();
    let mut next = 0;
    while let Some(sample) = samples.next_sample() {
        if sample.fsid != next {
            return Err(StageError::failed(format!(
                "unique sample {} begins at {}, not at {next}",
                sample.usid, sample.fsid
            )));
        }
        next += sample.count;
        for id in (sample.fsid..next)
            .map(SampleId::Frequency)
            .chain([SampleId::Unique(sample.usid)])
        {
            if dataset.lookup(id, &mut text)? != sample {
                return Err(StageError::failed(format!(
                    "{id:?} is looked up as another sample than {sample:?}"
                )));
            }
        }
        if sample.usid % 4096 == 0 {
            context.reach(next);
            context.check_interrupt()?;
        }
    }
    match next == dataset.num_samples() {
        true => Ok(()),
        false => Err(StageError::failed(format!(
            "{next} samples are enumerated, {} announced",
            dataset.num_samples()
        ))),
    }
}

/// Embeds texts of a text cache again, a sample or `all`, and compares.
pub(super) fn check_texts(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &NounDataset,
    file: &TextFile,
    all: bool,
) -> Result<(), StageError> {
    let total = dataset.num_unique_samples();
    let chosen: Vec<u64> = match all || total <= SAMPLE {
        true => (0..total).collect(),
        false => {
            let mut draws = Draws::new(Purpose::Shown, context.seed(), 0);
            let mut chosen: Vec<u64> = (0..SAMPLE).map(|_| draws.below(total)).collect();
            chosen.sort_unstable();
            chosen
        }
    };
    let (tokens, _) = cache_noun_dataset::tokens_and_shape(context, embedder, dataset)?;
    let tolerance = match embedder.precision() {
        Precision::Single => 1e-5,
        _ => 4e-3,
    };
    context.begin("texts checked", 0, Some(chosen.len() as u64));
    for chosen in chosen.chunks(TEXTS) {
        let (mut texts, mut targets) = (Vec::new(), Vec::new());
        for &usid in chosen {
            let mut text = String::new();
            targets.push(dataset.lookup(SampleId::Unique(usid), &mut text)?.target);
            texts.push(text);
        }
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let fresh = embedder.embed_texts(&borrowed)?.flatten_all()?;
        let fresh = fresh.to_vec1::<f32>()?;
        for (place, &usid) in chosen.iter().enumerate() {
            let row = file.texts(usid, usid + 1)?;
            let wrong = |what: &str| {
                StageError::failed(format!(
                    "text {usid} of the text cache, {:?}, has {what} than it should; make the \
                     cache again",
                    texts[place]
                ))
            };
            let columns = row.tokens.columns;
            let cells = (targets[place] + 1) * columns..(targets[place] + 2) * columns;
            if row.tokens.ids != tokens.ids[cells.clone()]
                || file.shape().masks && row.tokens.padding != tokens.padding[cells]
            {
                return Err(wrong("other target tokens"));
            }
            let dim = embedder.dim();
            let fresh = &fresh[place * dim..(place + 1) * dim];
            let worst = (row.embeds.iter().zip(fresh))
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, f32::max);
            if worst.is_nan() || worst > tolerance {
                return Err(wrong(&format!("another embedding (by {worst:.1e})")));
            }
        }
        context.advance(chosen.len() as u64);
        context.check_interrupt()?;
    }
    Ok(())
}
