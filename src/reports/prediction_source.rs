//! Prediction files as a source of records: those of the project's stages and
//! those in named files, scored against the annotations of their image set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::local::{StoredFiles, stored_predictions};
use super::predictions::{
    Annotations, ModelPredictions, RecordSources, prediction_records, sample_records,
};
use super::record::Record;
use super::sources::{Loader, SourceError};
use super::spec::{PredictionOptions, SourceKind, SourceSpec};
use super::specificity::{EMBEDDED, Specificity};

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
) -> Result<Vec<Record>, SourceError> {
    let options = &source.predictions;
    let mut found: Vec<(ModelPredictions, Option<Record>)> = Vec::new();
    let named = source.from.iter().chain(&options.files);
    for from in named {
        if from == "local" {
            found.extend(local(loader)?);
            continue;
        }
        for path in loader.prediction_files(from)? {
            match ModelPredictions::read(&path)? {
                Some(file) => found.push((file, None)),
                None => {
                    return Err(SourceError::Files(format!(
                        "{}: this is no prediction file",
                        path.display()
                    )));
                }
            }
        }
    }
    let mut sources = base(loader, options)?;
    let plain = RecordSources {
        topk: 1,
        ..RecordSources::default()
    };
    let mut known: HashMap<PathBuf, Annotations> = HashMap::new();
    let mut all = Vec::new();
    for (file, run) in found {
        let files = [file];
        // Which annotations there are depends on the pictures.
        let dataset = prediction_records(&files, &plain)?
            .first()
            .and_then(|record| record.text("dataset").map(str::to_owned))
            .unwrap_or_default();
        sources.annotations = annotations(loader, options, &dataset, &mut known)?;
        let mut records = match source.kind {
            SourceKind::Samples => sample_records(&files, &sources)?,
            _ => prediction_records(&files, &sources)?,
        };
        for record in &mut records {
            if let Some(run) = &run {
                for (name, value) in &run.0 {
                    record.set(name, value.clone());
                }
            }
        }
        all.append(&mut records);
    }
    Ok(all)
}

/// Prediction files in the store, with the fields of the run that made them.
fn local(loader: &Loader<'_>) -> Result<Vec<(ModelPredictions, Option<Record>)>, SourceError> {
    let stored = stored_predictions(loader.project)?;
    let read = |stored: &StoredFiles| {
        let mut found = Vec::new();
        for path in &stored.files {
            if let Some(file) = ModelPredictions::read(path)? {
                found.push((file, Some(stored.run.clone())));
            }
        }
        Ok(found)
    };
    let all: Result<Vec<Vec<_>>, SourceError> = stored.par_iter().map(read).collect();
    Ok(all?.into_iter().flatten().collect())
}

/// What records are measured with, but for the annotations.
fn base(loader: &Loader<'_>, options: &PredictionOptions) -> Result<RecordSources, SourceError> {
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
        specificity,
        lists,
    })
}

/// The sets of annotations of an image set. `{dataset}` in a path is its name
/// in lower case; a set whose file is not there is left out for such paths.
fn annotations(
    loader: &Loader<'_>,
    options: &PredictionOptions,
    dataset: &str,
    known: &mut HashMap<PathBuf, Annotations>,
) -> Result<Vec<(String, Annotations)>, SourceError> {
    let named = options.annotations.iter();
    let mut sets: Vec<(&str, &str)> = named
        .map(|(name, path)| (name.as_str(), path.as_str()))
        .collect();
    if sets.is_empty() {
        sets.extend(ANNOTATIONS);
    }
    let mut found = Vec::new();
    for (name, path) in sets {
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
    fn prediction_files(&self, from: &str) -> Result<Vec<PathBuf>, SourceError> {
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
