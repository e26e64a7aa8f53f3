//! What stages that use trained decoders share: finding them, and opening them
//! with their embedders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use serde_json::{Map, Value, json};

use super::inputs;
use crate::config::schema::Config;
use crate::decoder::DecoderError;
use crate::decoder::generate::{GenerationConfig, Stop};
use crate::embedders::{Embedder, EmbedderSpec};
use crate::evaluate::PredictionFile;
use crate::infer::{
    CheckpointNames, DecodingTask, Guide, InferError, Label, NounDecoder, ProjectPlaces,
    TrainedDecoder,
};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError};
use crate::store::{ContentHash, Project, replace_file};
use crate::tracking;
use crate::train::exchange;

/// The file that `checkpoint.load` names, for the plan.
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
    usable(all_named(query.project, query.config))
        .iter()
        .map(|path| resource(query, path))
        .collect()
}

/// Those of several that are there: an evaluation leaves out the others, and
/// says so. What cannot be used at all is missing as a whole.
fn usable(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_here = |path: &PathBuf| exchange::embedded(path).is_some() || path.exists();
    match paths.iter().any(is_here) {
        true => paths.into_iter().filter(is_here).collect(),
        false => paths,
    }
}

/// The checkpoints and their embedders, for the plan of a stage that cannot do
/// without a model.
pub(super) fn model_resources(query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
    if query.inputs.contains(&"train") {
        return Ok(vec![inputs::embedder(query)?]);
    }
    let paths = usable(all_named(query.project, query.config));
    if paths.is_empty() {
        return Err(StageError::failed(NO_MODEL));
    }
    let mut resources = Vec::new();
    let mut specs: Vec<String> = Vec::new();
    for path in &paths {
        resources.push(resource(query, path)?);
        // A file that cannot be read is told of when the stage runs.
        let spec = exchange::load_header(path)
            .ok()
            .and_then(|header| stored_spec(&header.config));
        specs.extend(spec.filter(|spec| !specs.contains(spec)));
    }
    if specs.is_empty() {
        resources.push(inputs::embedder(query)?);
    }
    for spec in &specs {
        resources.push(inputs::embedder_named(query, spec)?);
    }
    Ok(resources)
}

const NO_MODEL: &str = "no decoder to use: give the stage `inputs = [\"train\"]` or set \
                        checkpoint.load or checkpoint.load_many (`embedded` is the one in the \
                        program)";

fn stored_spec(config: &Value) -> Option<String> {
    Some(config.get("embedder")?.get("spec")?.as_str()?.to_owned())
}

fn resource(query: &ResourceQuery<'_>, path: &Path) -> Result<Resource, StageError> {
    if let Some(content) = exchange::embedded(path) {
        let identity = ContentHash::of(content);
        return Ok(Resource::present(
            "checkpoint",
            exchange::EMBEDDED_NAME,
            None,
            identity,
        ));
    }
    inputs::file(query, "checkpoint", &path.display().to_string())
}

/// The file that a name stands for: a path, a run, the newest of a directory,
/// or `embedded`.
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

fn checkpoint_of(entry: &crate::store::Entry) -> Result<PathBuf, StageError> {
    let results = &entry.manifest().description.results;
    let name = results.get("checkpoint").and_then(|name| name.as_str());
    let name = name.ok_or_else(|| {
        StageError::failed(format!("{} holds no checkpoint", entry.dir().display()))
    })?;
    Ok(entry.file(name)?)
}

/// A decoder with its embedder.
pub(super) struct Model {
    /// Shared by all decoders that were trained on it.
    pub embedder: Arc<Embedder>,
    /// The decoder.
    pub decoder: NounDecoder,
}

/// The decoders of a running stage.
pub(super) struct Models {
    /// Those that could be opened, in the order of their paths.
    pub open: Vec<Model>,
    /// How many could not.
    pub failed: usize,
}

impl Models {
    /// Opens all of them. One that cannot be opened is told of and left out if
    /// there are others.
    pub(super) fn open(context: &StageContext<'_>) -> Result<Self, StageError> {
        let paths = paths(context)?;
        if paths.is_empty() {
            return Err(StageError::failed(NO_MODEL));
        }
        let mut models = Self {
            open: Vec::new(),
            failed: 0,
        };
        let mut first_error = None;
        for path in &paths {
            match open_model(context, path, &models.open) {
                Ok(model) => models.open.push(model),
                Err(error) if paths.len() == 1 => return Err(error),
                Err(error) => {
                    context.warn(&format!("model left out: {error}"));
                    models.failed += 1;
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if models.open.is_empty() => Err(error),
            _ => Ok(models),
        }
    }
}

fn open_model(
    context: &StageContext<'_>,
    path: &Path,
    others: &[Model],
) -> Result<Model, StageError> {
    let trained = TrainedDecoder::of_checkpoint(exchange::load(path)?, path)?;
    let wished = &context.config().embedder.spec;
    let default = &Config::default().embedder.spec;
    let spec = if wished == default || *wished == trained.embedder_spec {
        trained.embedder_spec.clone()
    } else if context.config().data.strict_embedder {
        return Err(StageError::failed(format!(
            "{} was trained on {}, not on {wished}: leave embedder.spec out (a stage of kind \
             `infer` takes another embedder of the same space with data.strict_embedder = false)",
            path.display(),
            trained.embedder_spec
        )));
    } else {
        wished.clone()
    };
    let embedder = match others
        .iter()
        .find(|other| other.embedder.spec().to_string() == spec)
    {
        Some(other) => other.embedder.clone(),
        None => {
            let parsed: EmbedderSpec = spec.parse()?;
            Arc::new(Embedder::open_with(
                &parsed,
                &inputs::open_options(context),
            )?)
        }
    };
    if spec == trained.embedder_spec {
        trained.check_embedder(&embedder)?;
    } else if embedder.dim() != trained.header.embed_dim {
        return Err(InferError::OtherEmbedder {
            path: path.to_owned(),
            spec,
        }
        .into());
    }
    let decoder = NounDecoder::new(trained, embedder.tokenizer())?;
    Ok(Model { embedder, decoder })
}

/// A way of decoding that ends when the stage is to stop.
pub(super) fn task<'a>(
    context: &StageContext<'_>,
    decoder: &'a NounDecoder,
    configuration: GenerationConfig,
    guide: &'a Guide,
) -> Result<DecodingTask<'a>, StageError> {
    let interrupt = context.interrupt();
    let stop = Stop::when(move || interrupt.is_raised());
    Ok(decoder.task(configuration, guide)?.with_stop(stop))
}

/// The labels of a task of [`task`].
pub(super) fn labels(
    task: &DecodingTask<'_>,
    embeds: &Tensor,
) -> Result<Vec<Vec<Label>>, StageError> {
    task.labels(embeds).map_err(|error| match error {
        InferError::Decoder(DecoderError::Interrupted) => StageError::Interrupted,
        error => error.into(),
    })
}

/// Records values that belong together, each under its name.
pub(super) fn track(
    context: &StageContext<'_>,
    values: &Map<String, Value>,
) -> Result<(), StageError> {
    let row: Vec<(&str, tracking::Value)> = values
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Null => tracking::Value::Null,
                Value::Bool(value) => tracking::Value::Bool(*value),
                Value::Number(number) => match number.as_i64() {
                    Some(whole) => tracking::Value::Integer(whole),
                    None => tracking::Value::Number(number.as_f64().unwrap_or(f64::NAN)),
                },
                Value::String(text) => tracking::Value::Text(text.clone()),
                other => tracking::Value::Json(other.clone()),
            };
            (name.as_str(), value)
        })
        .collect();
    context.metrics()?.row(&row);
    Ok(())
}

/// Shows a text of several lines without its colours.
pub(super) fn show_table(context: &StageContext<'_>, text: &str) {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    for line in plain.lines() {
        context.note(line);
    }
}

/// Writes all that an evaluation counted to `results.json`, in its output and
/// in what people take away.
pub(super) fn write_results(
    context: &StageContext<'_>,
    results: &[Value],
) -> Result<(), StageError> {
    let results = json!({
        "version": 1,
        "program": env!("CARGO_PKG_VERSION"),
        "run": context.run_id(),
        "results": results,
    });
    let text = serde_json::to_vec_pretty(&results)?;
    replace_file(&context.out().join("results.json"), &text)?;
    replace_file(&context.outputs()?.join("results.json"), &text)?;
    Ok(())
}

/// Part of a file name that stands for a text.
pub(super) fn in_file_name(text: &str) -> String {
    text.replace(['/', '\\', '.', ' '], "_")
}

/// Writes a prediction file to the output and to what people take away.
/// `name` gets a number if another file of the stage has it.
pub(super) fn export(
    context: &StageContext<'_>,
    file: &PredictionFile,
    name: &str,
    taken: &mut Vec<String>,
) -> Result<(), StageError> {
    let mut unique = name.to_owned();
    let mut number = 1;
    while taken.contains(&unique) {
        number += 1;
        unique = format!("{name}_{number}");
    }
    taken.push(unique.clone());
    let name = format!("{unique}.json");
    file.write(&context.out().join(&name))?;
    let path = context.outputs()?.join(&name);
    file.write(&path)?;
    context.note(&format!("Saved predictions JSON: {}", path.display()));
    Ok(())
}
