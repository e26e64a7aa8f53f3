//! `eval`: loss, token accuracy and noun accuracy of decoders on embedding
//! caches or the texts of nouns, under teacher forcing (`training.md` 4).

mod dataset;
mod report;

use std::path::{Path, PathBuf};
use std::slice;

use serde_json::json;

use self::dataset::{Dataset, Source};
use self::report::report;
use super::cache_noun_dataset::CacheNounDataset;
use super::keys::{EMBEDDER, NOUNS, PROMPTS, READ_CACHE, keys};
use super::text_cache::CACHE_FILE;
use super::{inputs, noun_texts, pictures, trained};
use crate::config::compare::{self, Weight};
use crate::config::keys_read;
use crate::config::schema::{Action, Config, Key};
use crate::embedders::Embedder;
use crate::infer::TrainedDecoder;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct Eval;

impl StageKind for Eval {
    fn name(&self) -> &'static str {
        "eval"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            NOUNS,
            PROMPTS,
            READ_CACHE,
            &[
                "data.dataset",
                "data.datasets",
                "data.batch_size",
                "nouns.cache",
                "target",
                "model",
                "eval.train_mode",
                "eval.guided",
                "eval.debug",
                "eval.batch_independent",
                "eval.skip_unknown",
                "checkpoint.load",
                "checkpoint.load_many",
                "checkpoint.per_dir",
            ]
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn rows(&self) -> Option<&'static [&'static [&'static str]]> {
        None
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        if !query.inputs.iter().any(|kind| is_cache(kind)) {
            let datasets = datasets(query.config);
            if datasets.iter().any(|name| noun_texts::is_named(name)) {
                resources.extend(noun_texts::resources(query)?);
            }
            for name in datasets.iter().filter(|name| !noun_texts::is_named(name)) {
                let path = inputs::cache_path(query.project, query.config, name);
                let path = path.display().to_string();
                resources.push(inputs::file(query, "cache", &path)?);
            }
        }
        resources.extend(trained::all_resources(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let paths = trained::paths(context)?;
        if paths.is_empty() {
            context.warn(
                "no checkpoint was found: a model with random weights is evaluated; set \
                 checkpoint.load or checkpoint.load_many",
            );
        }
        let (models, failed) = models(context, self, &embedder, &paths)?;
        let datasets = sources(context)?;
        let mut records = Vec::new();
        let mut summary = Vec::new();
        for (name, source) in &datasets {
            let dataset = Dataset::open(context, &embedder, name, source)?;
            if models.is_empty() {
                let random = dataset.random_model(context, &embedder)?;
                let results = dataset.evaluate(context, &embedder, None, &random)?;
                report(context, &mut records, &mut summary, name, None, results)?;
            }
            for model in &models {
                context.check_interrupt()?;
                let results = dataset.evaluate(context, &embedder, Some(model), &model.subject)?;
                report(
                    context,
                    &mut records,
                    &mut summary,
                    name,
                    Some(model),
                    results,
                )?;
            }
        }
        pictures::write_records(context, &records)?;
        Ok(StageOutput {
            results: json!({ "summary": summary.join("; ") }),
            parked: (failed > 0).then(|| format!("{failed} models left out")),
        })
    }
}

/// Whether a stage of this kind makes caches.
fn is_cache(kind: &str) -> bool {
    kind != "train"
}

/// Names of the datasets of a configuration.
fn datasets(config: &Config) -> Vec<String> {
    if config.data.datasets.is_empty() {
        vec![config.data.dataset.clone()]
    } else {
        config.data.datasets.clone()
    }
}

/// Datasets by name with where their samples are.
fn sources(context: &StageContext<'_>) -> Result<Vec<(String, Source)>, StageError> {
    let texts = CacheNounDataset.name();
    let made: Vec<_> = (context.inputs().iter())
        .filter(|input| is_cache(&input.entry.manifest().kind))
        .map(|input| {
            let source = match input.entry.manifest().kind == texts {
                true => Source::Texts(noun_texts::text_cache(slice::from_ref(input))?),
                false => Source::File(input.entry.file(CACHE_FILE)?),
            };
            Ok((input.stage.clone(), source))
        })
        .collect::<Result<_, StageError>>()?;
    if !made.is_empty() {
        return Ok(made);
    }
    let config = context.config();
    let source = |name: &str| match noun_texts::is_named(name) {
        true => Source::Texts(None),
        false => Source::File(inputs::cache_path(context.project(), config, name)),
    };
    let named = datasets(config).into_iter();
    Ok(named.map(|name| (name.clone(), source(&name))).collect())
}

/// The decoders, and how many of several cannot be used.
fn models(
    context: &StageContext<'_>,
    kind: &Eval,
    embedder: &Embedder,
    paths: &[PathBuf],
) -> Result<(Vec<TrainedDecoder>, usize), StageError> {
    let mut models = Vec::with_capacity(paths.len());
    let mut first_error = None;
    for path in paths {
        match model(context, kind, embedder, path) {
            Ok(model) => models.push(model),
            Err(error) => {
                if paths.len() > 1 {
                    context.warn(&format!("model left out: {error}"));
                }
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if models.is_empty() => Err(error),
        _ => {
            let failed = paths.len() - models.len();
            Ok((models, failed))
        }
    }
}

fn model(
    context: &StageContext<'_>,
    kind: &Eval,
    embedder: &Embedder,
    path: &Path,
) -> Result<TrainedDecoder, StageError> {
    let read = keys_read(kind.reads())?;
    let used = context.config();
    let given = |key: &Key| compare::differs_from_default(used, key);
    let model = TrainedDecoder::load(path, used, given)?;
    let name = model.path.display();
    let identity = embedder.identity()?.to_hex();
    if model.is_of_other_embedder(identity.as_str()) || model.header.embed_dim != embedder.dim() {
        return Err(StageError::failed(format!(
            "{name} was trained on another embedder than {}",
            context.config().embedder.spec
        )));
    }
    for note in &model.notes {
        context.warn(&format!("{name}: {note}"));
    }
    let loaded = &model.header.cfg_flat;
    for difference in compare::differences(loaded, &model.config, Action::Eval) {
        let is_read = read.iter().any(|key| key.path == difference.key.path);
        if is_read && difference.weight <= Weight::Relevant {
            context.warn(&format!("{name}: {difference}"));
        }
    }
    Ok(model)
}
