//! Measured rows of the project: what stages left in the store, each with the
//! run that made it and the training behind it (`reports.md` 10.1, kind
//! `runs`).

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::Value;

use super::experiment::RECORDS_FILE;
use super::record::Record;
use super::wanted::Wanted;
use crate::store::{Entry, Key, Manifest, Project, StoreError};
use crate::tracking::{METRICS_FILE, read_metrics};

/// Records of all finished outputs.
pub fn local_records(project: &Project, wanted: &Wanted<'_>) -> Result<Vec<Record>, StoreError> {
    let entries = all_entries(project)?;
    let by_key: HashMap<Key, &Entry> = entries
        .iter()
        .map(|entry| (entry.manifest().key, entry))
        .collect();
    let mut records: Vec<Vec<Record>> = entries
        .par_iter()
        .map(|entry| records_of(entry, &by_key, wanted))
        .collect();
    Ok(records.drain(..).flatten().collect())
}

/// Prediction files of an output.
pub struct StoredFiles {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The run that made them.
    pub run: Record,
    /// Runs of the trainings behind them, by the folder that their models lie
    /// in.
    pub trainings: HashMap<String, String>,
}

/// Prediction files in the store. Their configuration stands in themselves, but
/// for the fields that are wanted.
pub fn stored_predictions(
    project: &Project,
    wanted: &Wanted<'_>,
) -> Result<Vec<StoredFiles>, StoreError> {
    let wanted = Wanted {
        fields: Some(wanted.fields.clone().unwrap_or_default()),
        ..Wanted::default()
    };
    let entries = all_entries(project)?;
    let by_key: HashMap<Key, &Entry> = entries
        .iter()
        .map(|entry| (entry.manifest().key, entry))
        .collect();
    let is_prediction = |path: &str| {
        let is_known = ["predictions_", "infer_"]
            .iter()
            .any(|start| path.starts_with(start));
        is_known && path.ends_with(".json")
    };
    let stored = entries.iter().filter_map(|entry| {
        let files = entry.manifest().files.iter();
        let files: Vec<PathBuf> = files
            .filter(|file| is_prediction(&file.path))
            .map(|file| entry.dir().join(&file.path))
            .collect();
        let mut run = Record::new();
        describe(&mut run, entry, &by_key, &wanted);
        // The files name their model themselves, by its folder.
        run.0.retain(|name, _| !name.starts_with("model."));
        let mut behind = Vec::new();
        ancestors(entry, &by_key, &mut behind);
        let trainings = behind.iter().map(|entry| entry.manifest());
        let trainings = trainings.filter(|manifest| manifest.kind == "train");
        let named = |own: &Manifest| (own.key.to_string(), own.description.run.clone());
        let trainings: HashMap<String, String> = trainings.map(named).collect();
        if trainings.len() > 1 {
            // Of several models each file has its own configuration.
            run.0.retain(|name, _| !name.starts_with("train.config."));
        }
        (!files.is_empty()).then(|| StoredFiles {
            trainings,
            files,
            run,
        })
    });
    Ok(stored.collect())
}

/// Files of angles in the store, each with what is known of its run. The
/// dataset is the one that they name.
pub(super) fn stored_angles(
    project: &Project,
    wanted: &Wanted<'_>,
) -> Result<Vec<(PathBuf, Record)>, StoreError> {
    let entries = all_entries(project)?;
    let mut found = Vec::new();
    for entry in &entries {
        let files = entry.manifest().files.iter();
        for file in files.filter(|file| super::angles::is_file(&file.path)) {
            let mut run = Record::new();
            describe(&mut run, entry, &HashMap::new(), wanted);
            found.push((entry.dir().join(&file.path), run));
        }
    }
    Ok(found)
}

/// One record per logged row of all trainings.
pub fn local_metrics(project: &Project, wanted: &Wanted<'_>) -> Result<Vec<Record>, StoreError> {
    let entries = all_entries(project)?;
    let all: Vec<&Entry> = entries.iter().collect();
    Ok(metric_records(&all, wanted))
}

/// The same of these outputs; inputs are looked for among them.
pub fn metric_records(entries: &[&Entry], wanted: &Wanted<'_>) -> Vec<Record> {
    let by_key: HashMap<Key, &Entry> = entries
        .iter()
        .map(|entry| (entry.manifest().key, *entry))
        .collect();
    let logged = |entry: &&Entry| -> Vec<Record> {
        let Ok(path) = entry.file(METRICS_FILE) else {
            return Vec::new();
        };
        // A damaged record of metrics has no rows to show.
        let Ok(metrics) = read_metrics(&path) else {
            return Vec::new();
        };
        let mut common = Record::new();
        describe(&mut common, entry, &by_key, wanted);
        let row = |row: crate::tracking::Row| {
            let mut record = common.clone();
            for (name, value) in row.values {
                if wanted.has(&name) {
                    record.set(&name, value.to_json());
                }
            }
            record
        };
        metrics.rows().into_iter().map(row).collect()
    };
    let trainings = entries
        .iter()
        .filter(|entry| entry.manifest().kind == "train");
    trainings.flat_map(logged).collect()
}

/// One record per training and value of its configuration, which includes
/// those of what it was made from: `key`, `value`, and what else is known.
pub fn local_values(project: &Project, wanted: &Wanted<'_>) -> Result<Vec<Record>, StoreError> {
    Ok(values_of(
        local_records(project, &Wanted::default())?,
        wanted,
    ))
}

/// The values of the configurations of trainings among records.
pub(super) fn values_of(trainings: Vec<Record>, wanted: &Wanted<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    for training in trainings {
        if training.text("run.action") != Some("train") {
            continue;
        }
        let mut common = training.clone();
        if let Some(fields) = &wanted.fields {
            common.0.retain(|name, _| {
                !name.contains("config.") || fields.iter().any(|f| f.names().any(|own| own == name))
            });
        }
        for (name, value) in &training.0 {
            if let Some(key) = name.strip_prefix("train.config.") {
                let record = common.clone().with("key", key);
                records.push(record.with("value", value.clone()));
            }
        }
    }
    records
}

fn all_entries(project: &Project) -> Result<Vec<Entry>, StoreError> {
    let store = project.store();
    let kinds = match std::fs::read_dir(store.root()) {
        Ok(kinds) => kinds,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", store.root())(error)),
    };
    let mut names: Vec<String> = kinds
        .flatten()
        .filter(|kind| kind.path().is_dir())
        .filter_map(|kind| kind.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let mut entries = Vec::new();
    for kind in &names {
        // A folder that is no kind holds no outputs.
        entries.extend(store.entries(kind).unwrap_or_default());
    }
    entries.sort_by_key(|entry| (entry.manifest().published_ms, entry.manifest().key));
    Ok(entries)
}

/// The measured rows of an output; of a training, what it found out.
fn records_of(entry: &Entry, by_key: &HashMap<Key, &Entry>, wanted: &Wanted<'_>) -> Vec<Record> {
    let manifest = entry.manifest();
    let has_rows = manifest.files.iter().any(|file| file.path == RECORDS_FILE);
    let mut records: Vec<Record> = if has_rows {
        // An output whose rows cannot be read has none to show.
        std::fs::read(entry.dir().join(RECORDS_FILE))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    } else if manifest.kind == "train" {
        vec![Record::new()]
    } else {
        return Vec::new();
    };
    for record in &mut records {
        describe(record, entry, by_key, wanted);
    }
    records
}

/// Adds to a measured row what it belongs to.
pub fn describe(
    record: &mut Record,
    entry: &Entry,
    by_key: &HashMap<Key, &Entry>,
    wanted: &Wanted<'_>,
) {
    let manifest = entry.manifest();
    let own = &manifest.description;
    record.set("stage", own.stage.as_str());
    record.set("run.id", own.run.as_str());
    record.set("run.name", own.experiment.as_str());
    record.set("run.action", manifest.kind.as_str());
    record.set("run.state", "finished");
    record.set("run.created_at", time(manifest.published_ms));
    if let Some(seed) = own.seed {
        record.set("seed", seed);
    }
    if let Some(split) = own.config.get("cls.split") {
        record.set("dataset.split", split.clone());
    }
    configure(record, "config.", &[entry], wanted, |_| true);
    let Some(train) = training(entry, by_key) else {
        return;
    };
    let description = &train.manifest().description;
    record.set("model.dir", description.run.as_str());
    let name = ["model_name", "model"].into_iter().find_map(|field| {
        let text = record.text(field)?;
        text.rsplit('/').next().map(str::to_owned)
    });
    if let Some(name) = name {
        record.set("model.spec", format!("{}/{name}", description.run));
        record.set("model.name", name);
    }
    record.set("train.created_at", time(train.manifest().published_ms));
    if let Some(seed) = description.seed {
        record.set("train.seed", seed);
    }
    if let Some(results) = description.results.as_object() {
        for (name, value) in results {
            record.set(&format!("train.summary.{name}"), value.clone());
        }
    }
    let mut behind = Vec::new();
    ancestors(train, by_key, &mut behind);
    // The training may name other nouns, which it reads only where no input has texts.
    configure(record, "train.config.", &behind, wanted, is_of_texts);
    behind.insert(0, train);
    configure(record, "train.config.", &behind, wanted, |_| true);
    let batch = ["data.batch_size", "train.accum_factor"].map(|key| {
        let value = description.config.get(key);
        value.and_then(Value::as_u64)
    });
    if let [Some(batch), Some(factor)] = batch {
        record.set("train.config.effective_batch", batch * factor);
    }
}

/// Whether a key says which texts there are.
fn is_of_texts(path: &str) -> bool {
    ["nouns.", "multiset.", "captions."]
        .iter()
        .any(|section| path.starts_with(section))
}

/// Values of the configurations of outputs, the first that has one, of the keys
/// that are `chosen`.
fn configure(
    record: &mut Record,
    prefix: &str,
    from: &[&Entry],
    wanted: &Wanted<'_>,
    chosen: impl Fn(&str) -> bool,
) {
    for entry in from {
        let Some(values) = entry.manifest().description.config.as_object() else {
            continue;
        };
        match &wanted.fields {
            None => {
                for (path, value) in values.iter().filter(|(path, _)| chosen(path)) {
                    let name = format!("{prefix}{path}");
                    if record.get(&name).is_none() {
                        record.set(&name, value.clone());
                    }
                }
            }
            Some(fields) => {
                for name in fields.iter().flat_map(|field| field.names()) {
                    let Some(path) = name.strip_prefix(prefix).filter(|path| chosen(path)) else {
                        continue;
                    };
                    if let (Some(value), None) = (values.get(path), record.get(name)) {
                        record.set(name, value.clone());
                    }
                }
            }
        }
    }
}

/// The training that an output comes from, itself included.
fn training<'a>(entry: &'a Entry, by_key: &HashMap<Key, &'a Entry>) -> Option<&'a Entry> {
    if entry.manifest().kind == "train" {
        return Some(entry);
    }
    let mut behind = Vec::new();
    ancestors(entry, by_key, &mut behind);
    behind
        .into_iter()
        .find(|entry| entry.manifest().kind == "train")
}

/// All outputs that one was made from, the nearest first.
fn ancestors<'a>(entry: &'a Entry, by_key: &HashMap<Key, &'a Entry>, found: &mut Vec<&'a Entry>) {
    let mut next = 0;
    let mut queue = vec![entry];
    while next < queue.len() {
        for input in &queue[next].manifest().description.inputs {
            let Some(source) = by_key.get(&input.key) else {
                continue;
            };
            let key = source.manifest().key;
            if !queue.iter().any(|known| known.manifest().key == key) {
                queue.push(source);
                found.push(source);
            }
        }
        next += 1;
    }
}

/// Milliseconds since 1970 as UTC.
fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}
