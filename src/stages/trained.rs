//! What stages that use a trained decoder share: finding it, and writing
//! prediction files.

use std::path::{Path, PathBuf};

use super::inputs;
use crate::config::schema::Config;
use crate::decoder::generate::GenerationConfig;
use crate::evaluate::{
    GenerationFields, Percentages, PredictionEntry, PredictionFile, PredictionType,
};
use crate::infer::{CheckpointNames, CheckpointSource, Label, NovicModel, ProjectPlaces};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError};
use crate::store::Project;

/// The checkpoint for the plan, if it does not come from another stage.
pub(super) fn resources(query: &ResourceQuery<'_>) -> Result<Option<Resource>, StageError> {
    if !query.inputs.is_empty() {
        return Ok(None);
    }
    let name = &query.config.checkpoint.load;
    if name.is_empty() {
        return Err(StageError::failed(
            "no decoder to use: give the stage `inputs = [\"train\"]` or set checkpoint.load",
        ));
    }
    start_resource(query, name).map(Some)
}

/// The checkpoint that `checkpoint.load` names, for the plan.
pub(super) fn start_resource(
    query: &ResourceQuery<'_>,
    name: &str,
) -> Result<Resource, StageError> {
    resource(query, &named(query.project, name))
}

/// All checkpoints that the configuration names, for the plan.
pub(super) fn all_resources(query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
    if query.inputs.contains(&"train") {
        return Ok(Vec::new());
    }
    all_named(query.project, query.config)
        .iter()
        .map(|path| resource(query, path))
        .collect()
}

fn resource(query: &ResourceQuery<'_>, path: &Path) -> Result<Resource, StageError> {
    inputs::file(
        query,
        "checkpoint",
        &path.display().to_string(),
        "checkpoint",
    )
}

/// The file that a name stands for: a path, a run, or the newest of a
/// directory.
pub(super) fn named(project: &Project, name: &str) -> PathBuf {
    if name.starts_with("$SOURCE") {
        return inputs::path(project, name);
    }
    let found = CheckpointNames {
        load: name,
        per_dir: 1,
        ..CheckpointNames::default()
    }
    .find(&ProjectPlaces::of(project).places());
    let found = found.into_iter().next();
    found.unwrap_or_else(|| inputs::path(project, name))
}

fn all_named(project: &Project, config: &Config) -> Vec<PathBuf> {
    CheckpointNames {
        load: &config.checkpoint.load,
        load_many: &config.checkpoint.load_many,
        per_dir: config.checkpoint.per_dir,
    }
    .find(&ProjectPlaces::of(project).places())
}

/// All checkpoints of a running stage, newest first: those of its inputs, else
/// those that the configuration names.
pub(super) fn paths(context: &StageContext<'_>) -> Result<Vec<PathBuf>, StageError> {
    let made: Vec<PathBuf> = (context.inputs().iter())
        .filter(|input| input.entry.manifest().kind == "train")
        .map(|input| checkpoint_of(&input.entry))
        .collect::<Result<_, _>>()?;
    if made.is_empty() {
        return Ok(all_named(context.project(), context.config()));
    }
    Ok(made)
}

/// The decoder of a running stage.
pub(super) fn open(context: &StageContext<'_>) -> Result<NovicModel, StageError> {
    let path = match context.inputs() {
        [] => named(context.project(), &context.config().checkpoint.load),
        [input] => checkpoint_of(&input.entry)?,
        _ => {
            return Err(StageError::failed(
                "one trained decoder is needed, not several",
            ));
        }
    };
    Ok(NovicModel::load(&CheckpointSource::File(path))?)
}

fn checkpoint_of(entry: &crate::store::Entry) -> Result<PathBuf, StageError> {
    let results = &entry.manifest().description.results;
    let name = results.get("checkpoint").and_then(|name| name.as_str());
    let name = name.ok_or_else(|| {
        StageError::failed(format!("{} holds no checkpoint", entry.dir().display()))
    })?;
    Ok(entry.file(name)?)
}

/// Predictions of many samples under one configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct PredictionRows {
    /// Labels of each sample, best first.
    pub labels: Vec<Vec<Label>>,
    /// What they are.
    pub kinds: Vec<Vec<PredictionType>>,
}

impl PredictionRows {
    /// Adds a sample.
    pub(super) fn push(&mut self, labels: Vec<Label>, kinds: Vec<PredictionType>) {
        self.labels.push(labels);
        self.kinds.push(kinds);
    }
}

/// The prediction file of a model (`eval-infer.md` 8.1) made by `action`.
pub(super) fn prediction_file(
    context: &StageContext<'_>,
    action: &str,
    model: &NovicModel,
    samples: Vec<String>,
    configurations: Vec<(&GenerationConfig, &PredictionRows, Percentages)>,
) -> PredictionFile {
    let path = model.path();
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let model_dir = part(path.parent().and_then(|parent| parent.file_name()));
    let model_name = part(path.file_name());
    let mut nouns = model.vocabulary().to_vec();
    nouns.sort();
    let mut infer_cfg = context.config().flat();
    infer_cfg.insert("action".to_owned(), action.into());
    PredictionFile {
        model: format!("{model_dir}/{model_name}"),
        model_path: path.display().to_string(),
        model_dir,
        model_name,
        model_cfg: model.header().cfg_flat.clone(),
        infer_cfg,
        guide_targets: nouns.clone(),
        vocab_targets: nouns,
        samples,
        predictions: configurations
            .into_iter()
            .map(|(configuration, rows, percentages)| {
                (
                    configuration.to_string(),
                    entry(configuration, rows, percentages),
                )
            })
            .collect(),
    }
}

fn entry(
    configuration: &GenerationConfig,
    rows: &PredictionRows,
    percentages: Percentages,
) -> PredictionEntry {
    let k = configuration.topk;
    let padded = |count: usize| std::iter::repeat_n((), k.saturating_sub(count));
    PredictionEntry {
        gen_cfg: GenerationFields::from(configuration),
        valid_guide: percentages.guide,
        valid_vocab: percentages.vocabulary,
        valid: percentages.valid,
        invalid: percentages.invalid,
        pred: rows
            .labels
            .iter()
            .map(|labels| {
                let nouns = labels.iter().map(|label| Some(label.noun.clone()));
                nouns.chain(padded(labels.len()).map(|()| None)).collect()
            })
            .collect(),
        score: rows
            .labels
            .iter()
            .map(|labels| {
                let scores = labels.iter().map(|label| Some(label.score as f32));
                scores.chain(padded(labels.len()).map(|()| None)).collect()
            })
            .collect(),
        result: rows
            .kinds
            .iter()
            .map(|kinds| {
                let absent = padded(kinds.len()).map(|()| PredictionType::Other);
                kinds.iter().copied().chain(absent).collect()
            })
            .collect(),
    }
}

/// Writes a prediction file to the output and to what people take away.
pub(super) fn export(
    context: &StageContext<'_>,
    file: &PredictionFile,
    name: &str,
) -> Result<(), StageError> {
    file.write(&context.out().join(name))?;
    let path = context.outputs()?.join(name);
    file.write(&path)?;
    context.note(&format!("Saved predictions JSON: {}", path.display()));
    Ok(())
}
