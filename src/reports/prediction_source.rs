//! Prediction files as a source of records: those of the project's stages and
//! those in named files, scored against the annotations of their image set.

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::condition::Condition;
use super::field::CONFIGURATIONS;
use super::local::{StoredFiles, stored_predictions};
use super::predictions::{
    Annotations, ModelPredictions, RecordSources, image_set, prediction_records, sample_records,
};
use super::record::Record;
use super::remote;
use super::sources::{Loader, SourceError};
use super::spec::{PredictionOptions, SourceKind, SourceSpec};
use super::specificity::{EMBEDDED, Specificity};
use super::statistics::Bootstrap;
use super::wanted::{Wanted, is_interval};

/// Points of each sample, of which intervals are made.
const EACH_SCORE: &str = "pred.each.score";

/// Predictions that are considered where a source does not say.
const TOPK: usize = 10;

/// Where the annotations of an image set lie by default.
const ANNOTATIONS: [(&str, &str); 2] = [
    ("human", "extras/{dataset}/_class_annotations.json"),
    ("llm", "extras/{dataset}/_class_annotations_gpt.json"),
];

/// The records of a source of predictions or samples.
pub(super) fn records(
    loader: &Loader<'_>,
    source: &SourceSpec,
    wanted: &Wanted<'_>,
) -> Result<Vec<Record>, SourceError> {
    let options = &source.predictions;
    let found = files(loader, source, wanted)?;
    // Which annotations there are depends on the pictures.
    let base = base(loader, options, wanted)?;
    let mut known: HashMap<PathBuf, Annotations> = HashMap::new();
    let mut of_set: HashMap<String, RecordSources> = HashMap::new();
    for (file, _) in &found {
        let set = image_set(&file.infer_cfg).unwrap_or_default();
        if let Vacant(place) = of_set.entry(set) {
            let mut own = base.clone();
            own.annotations = annotations(loader, options, place.key(), &mut known)?;
            place.insert(own);
        }
    }
    let of_file = |(file, run): &(ModelPredictions, Option<Record>)| {
        let set = image_set(&file.infer_cfg).unwrap_or_default();
        let sources = &of_set[&set];
        let mut records = match source.kind {
            SourceKind::Samples => sample_records(std::slice::from_ref(file), sources)?,
            _ => prediction_records(std::slice::from_ref(file), sources)?,
        };
        for record in &mut records {
            for (name, value) in run.iter().flat_map(|run| &run.0) {
                record.set(name, value.clone());
            }
            if file.path.as_os_str().is_empty() {
                // Of runs at a service only the nouns are known.
                let unknown = |name: &str| name.starts_with("prob@") || name.starts_with("class@");
                record.0.retain(|name, _| !unknown(name));
            }
            let Some(fields) = &wanted.fields else {
                continue;
            };
            // There is a record per sample, and configurations are long.
            let is_wanted = |name: &str| fields.iter().any(|f| f.names().any(|own| own == name));
            (record.0).retain(|name, _| !is_configuration(name) || is_wanted(name));
            // The store knows more than the file: which nouns the inputs had.
            for field in fields.iter().filter(|field| is_configuration(field.name())) {
                if let Some(value) = run.as_ref().and_then(|run| field.of(run)) {
                    field
                        .names()
                        .for_each(|name| record.set(name, value.clone()));
                }
            }
        }
        Ok(records)
    };
    let all: Result<Vec<Vec<Record>>, SourceError> = found.par_iter().map(of_file).collect();
    let mut all: Vec<Record> = all?.into_iter().flatten().collect();
    if wanted.intervals {
        set_intervals(&mut all, &source.condition, wanted);
    }
    Ok(all)
}

fn is_configuration(field: &str) -> bool {
    CONFIGURATIONS.iter().any(|start| field.starts_with(start))
}

/// Intervals of the scores of records that count; the others need none.
fn set_intervals(records: &mut [Record], condition: &Condition, wanted: &Wanted<'_>) {
    let mut asked = Vec::new();
    condition.fields(&mut asked);
    let depends = asked.iter().any(|field| is_interval(field));
    records.par_iter_mut().for_each(|record| {
        let points = record.get(EACH_SCORE).and_then(Value::as_array);
        let points: Vec<f64> = points
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect();
        if (depends || condition.holds(record))
            && let Some(interval) = Bootstrap::default().interval(&points)
        {
            record.set("pred.ci_lo", interval.low);
            record.set("pred.ci_hi", interval.high);
        }
        if wanted.each.is_empty() {
            record.0.retain(|name, _| !name.starts_with("pred.each."));
        }
    });
}

/// The prediction files of a source, each with the run that made it.
fn files(
    loader: &Loader<'_>,
    source: &SourceSpec,
    wanted: &Wanted<'_>,
) -> Result<Vec<(ModelPredictions, Option<Record>)>, SourceError> {
    let mut found = Vec::new();
    for from in source.from.iter().chain(&source.predictions.files) {
        if from == "local" {
            found.extend(local(loader, &source.condition, wanted)?);
            continue;
        }
        if let Some(project) = from.strip_prefix(remote::PREFIX) {
            let service = loader.service(source)?;
            found.extend(loader.warned(|warnings| {
                remote::prediction_files(project, &service, wanted, warnings)
            })?);
            continue;
        }
        let read = |path: &PathBuf| match ModelPredictions::read(path)? {
            Some(file) => Ok((file, None)),
            None => Err(SourceError::Files(format!(
                "{}: this is no prediction file",
                path.display()
            ))),
        };
        let paths = loader.prediction_files(from)?;
        let read: Result<Vec<_>, SourceError> = paths.par_iter().map(read).collect();
        found.extend(read?);
    }
    Ok(found)
}

/// Prediction files in the store, with the fields of the run that made them:
/// of runs that can fulfil a condition.
fn local(
    loader: &Loader<'_>,
    condition: &Condition,
    wanted: &Wanted<'_>,
) -> Result<Vec<(ModelPredictions, Option<Record>)>, SourceError> {
    let mut stored = stored_predictions(loader.project, wanted)?;
    stored.retain(|stored| condition.can_hold(&stored.run));
    let read = |stored: &StoredFiles| {
        let mut found = Vec::new();
        for path in &stored.files {
            let Some(file) = ModelPredictions::read(path)? else {
                continue;
            };
            let mut run = stored.run.clone();
            // As everywhere, a model is called after the run that trained it.
            if let Some(training) = stored.trainings.get(&file.model_dir) {
                run.set("model.dir", training.as_str());
                run.set("model.spec", format!("{training}/{}", file.model_name));
            }
            found.push((file, Some(run)));
        }
        Ok(found)
    };
    let all: Result<Vec<Vec<_>>, SourceError> = stored.par_iter().map(read).collect();
    Ok(all?.into_iter().flatten().collect())
}

/// What records are measured with, but for the annotations.
fn base(
    loader: &Loader<'_>,
    options: &PredictionOptions,
    wanted: &Wanted<'_>,
) -> Result<RecordSources, SourceError> {
    let mut each = wanted.each.clone();
    if wanted.intervals && !each.contains(&"score") {
        each.push("score");
    }
    let parsed = |text: &Option<String>| text.clone().unwrap_or_else(|| "error".to_owned());
    let specificity = match &options.specificity {
        None => None,
        Some(name) if name == EMBEDDED => Some(Specificity::embedded()?),
        Some(path) => Some(Specificity::read(&loader.file(path)?)?),
    };
    let mut lists = std::collections::BTreeMap::new();
    for (name, path) in &options.lists {
        // A list that is not there leaves its field out, as nobody may pass it on.
        let Ok(path) = loader.file(path) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).map_err(|source| SourceError::Read {
            path: path.clone(),
            source,
        })?;
        let nouns = text.lines().map(|line| line.trim().to_owned());
        lists.insert(
            name.clone(),
            nouns.filter(|noun| !noun.is_empty()).collect(),
        );
    }
    Ok(RecordSources {
        annotations: Vec::new(),
        ambiguous: parsed(&options.ambiguous)
            .parse()
            .map_err(SourceError::Files)?,
        missing: parsed(&options.missing)
            .parse()
            .map_err(SourceError::Files)?,
        topk: options.topk.unwrap_or(TOPK),
        bootstrap: None,
        each,
        specificity,
        lists,
    })
}

/// Where the sets of annotations of a source may lie, for whatever image set.
pub(super) fn annotation_patterns(source: &SourceSpec) -> impl Iterator<Item = String> {
    let scored = matches!(source.kind, SourceKind::Predictions | SourceKind::Samples);
    let sets = annotation_sets(&source.predictions).into_iter();
    sets.filter(move |_| scored)
        .map(|(_, path)| path.replace("{dataset}", "*"))
}

/// Sets of annotations: name and file.
fn annotation_sets(options: &PredictionOptions) -> Vec<(&str, &str)> {
    let named = options.annotations.iter();
    let sets: Vec<(&str, &str)> = named
        .map(|(name, path)| (name.as_str(), path.as_str()))
        .collect();
    match sets.is_empty() {
        true => ANNOTATIONS.to_vec(),
        false => sets,
    }
}

/// The sets of annotations of an image set. `{dataset}` in a path is its name
/// in lower case; a set whose file is not there is left out for such paths.
fn annotations(
    loader: &Loader<'_>,
    options: &PredictionOptions,
    dataset: &str,
    known: &mut HashMap<PathBuf, Annotations>,
) -> Result<Vec<(String, Annotations)>, SourceError> {
    let mut found = Vec::new();
    for (name, path) in annotation_sets(options) {
        let depends = path.contains("{dataset}");
        let path = path.replace("{dataset}", &dataset.to_lowercase());
        let path = match loader.file(&path) {
            Ok(path) => path,
            Err(_) if depends => continue,
            Err(error) => return Err(error),
        };
        if !known.contains_key(&path) {
            known.insert(path.clone(), Annotations::read(&path)?);
        }
        found.push((name.to_owned(), known[&path].clone()));
    }
    Ok(found)
}

impl Loader<'_> {
    /// A file, relative to the working directory or to the report.
    fn file(&self, path: &str) -> Result<PathBuf, SourceError> {
        let mut files = self.files(path)?;
        Ok(files.swap_remove(0))
    }

    /// Prediction files of a path or pattern; of a folder, its JSON files.
    /// Patterns may find nothing.
    pub(super) fn prediction_files(&self, from: &str) -> Result<Vec<PathBuf>, SourceError> {
        let folder = self.project.working_dir().join(from);
        if folder.is_dir() {
            return self.files(&Path::new(from).join("*.json").display().to_string());
        }
        match self.files(from) {
            Err(_) if from.contains('*') => Ok(Vec::new()),
            other => other,
        }
    }
}
