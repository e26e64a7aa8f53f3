//! The prompt texts of a noun dataset as training data without an embedding
//! cache: embedded once into a text cache, or again whenever they are read.

use std::fmt;
use std::path::PathBuf;

use super::cache_noun_dataset::{self, CacheNounDataset, TEXTS_FILE};
use super::inputs;
use super::noun_dataset;
use crate::cache::{Cache, MadeSamples, NounTable, TargetConfig, TargetPlan, TextFile};
use crate::embedders::Embedder;
use crate::nouns::{NounDataset, SampleId, SampleNumbers};
use crate::runner::{InputEntry, Resource, ResourceQuery, StageContext, StageError, StageKind};

/// The value of `data.dataset` that means the texts.
const NAME: &str = "NounDataset";

/// Whether `data.dataset` means the texts.
pub(super) fn is_named(dataset: &str) -> bool {
    dataset.eq_ignore_ascii_case(NAME)
}

/// Whether a stage reads texts: its input is a text cache, or it has none and
/// its configuration says so.
pub(super) fn are_wanted(context: &StageContext<'_>) -> bool {
    match context.inputs() {
        [] => is_named(&context.config().data.dataset),
        [input] => input.entry.manifest().kind == CacheNounDataset.name(),
        _ => false,
    }
}

/// What the texts are made of, for the plan.
pub(super) fn resources(query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
    let mut resources = vec![inputs::dictionary(query)?];
    resources.extend(inputs::prompts(query)?);
    Ok(resources)
}

/// The text cache that is the input of a stage, if one of these is.
pub(super) fn text_cache(inputs: &[InputEntry]) -> Result<Option<PathBuf>, StageError> {
    let is_texts = |input: &&InputEntry| input.entry.manifest().kind == CacheNounDataset.name();
    let input = inputs.iter().find(is_texts);
    let file = input.map(|input| input.entry.file(TEXTS_FILE));
    Ok(file.transpose()?)
}

/// The texts as if they were a cache, and the tokens of their nouns; `made` is
/// a text cache of them.
pub(super) fn open(
    context: &StageContext<'_>,
    embedder: &Embedder,
    made: Option<PathBuf>,
) -> Result<(Cache, TargetConfig), StageError> {
    let config = context.config();
    let dataset = noun_dataset::open(context)?;
    let tokenizer = embedder.tokenizer();
    let nouns = NounTable::new(dataset.targets())?;
    let options = inputs::target_options(context, &config.target);
    let target_config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
    let targets = TargetPlan::new(&target_config, tokenizer.as_ref(), nouns, 1)?;
    let vectors = match made {
        None if !config.nouns.cache => {
            context.note("the texts are embedded whenever they are read (nouns.cache = false)");
            Vectors::Embedder(Box::new(inputs::open_embedder(context)?))
        }
        made => {
            let (_, shape) = cache_noun_dataset::tokens_and_shape(context, embedder, &dataset)?;
            let path = match made {
                Some(path) => path,
                None => {
                    let path = context.work().join(TEXTS_FILE);
                    cache_noun_dataset::write(context, embedder, &dataset, None, path.clone())?;
                    path
                }
            };
            Vectors::File(TextFile::open(path, shape)?)
        }
    };
    let cache = Cache::of_samples(
        dataset.num_samples(),
        Box::new(NounTexts { dataset, vectors }),
        &inputs::signature(embedder),
        targets,
        &target_config,
    )?;
    Ok((cache, target_config))
}

/// Shows and checks the texts as `[test]` asks for: the first samples, lookup
/// of every one of them, vectors of a text cache.
pub(super) fn check(context: &StageContext<'_>, embedder: &Embedder) -> Result<(), StageError> {
    let test = &context.config().test;
    let dataset = noun_dataset::load(context)?;
    noun_dataset::show(context, &dataset, test.print);
    if test.consistent {
        noun_dataset::check_lookup(context, &dataset)?;
    }
    if let [input] = context.inputs() {
        let (_, shape) = cache_noun_dataset::tokens_and_shape(context, embedder, &dataset)?;
        let file = TextFile::open(input.entry.file(TEXTS_FILE)?, shape)?;
        noun_dataset::check_texts(context, embedder, &dataset, &file, test.consistent)?;
    }
    Ok(())
}

/// Samples of a noun dataset.
#[derive(Debug)]
struct NounTexts {
    dataset: NounDataset,
    vectors: Vectors,
}

/// Where the vectors of texts come from.
enum Vectors {
    Embedder(Box<Embedder>),
    File(TextFile),
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedder(_) => "Embedder",
            Self::File(_) => "File",
        })
    }
}

impl MadeSamples for NounTexts {
    fn embeds(&self, samples: &[u64]) -> Result<Vec<f32>, String> {
        match &self.vectors {
            Vectors::Embedder(embedder) => {
                let mut texts = Vec::with_capacity(samples.len());
                for &sample in samples {
                    let mut text = String::new();
                    self.dataset
                        .lookup(SampleId::Frequency(sample), &mut text)
                        .map_err(|error| error.to_string())?;
                    texts.push(text);
                }
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let vectors = embedder
                    .embed_texts(&texts)
                    .map_err(|error| error.to_string())?;
                vectors
                    .flatten_all()
                    .and_then(|vectors| vectors.to_vec1())
                    .map_err(|error| error.to_string())
            }
            Vectors::File(file) => {
                let places = self.numbers(samples, |numbers| numbers.usid)?;
                file.vectors(&places).map_err(|error| error.to_string())
            }
        }
    }

    fn nouns(&self, samples: &[u64]) -> Result<Vec<u32>, String> {
        self.numbers(samples, |numbers| numbers.target as u32)
    }
}

impl NounTexts {
    fn numbers<T>(
        &self,
        samples: &[u64],
        wanted: impl Fn(SampleNumbers) -> T,
    ) -> Result<Vec<T>, String> {
        let number = |&sample: &u64| {
            self.dataset
                .numbers(SampleId::Frequency(sample))
                .map(&wanted)
        };
        let numbers: Result<_, _> = samples.iter().map(number).collect();
        numbers.map_err(|error| error.to_string())
    }
}
