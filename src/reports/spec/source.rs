//! Where records come from: `[source]` and `[source.NAME]`.

use super::reading::{Entry, Item, Keys, Problems};
use crate::config::Location;
use crate::reports::condition::Condition;

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A measured row of a run.
    Runs,
    /// A prediction file, generation configuration and set of annotations.
    Predictions,
    /// A sample of these.
    Samples,
    /// A value of the configuration of a training.
    Values,
    /// A logged row of a training.
    Metrics,
    /// An angle between pictures and texts, with how often it occurs.
    Angles,
    /// A line of a file.
    File,
    /// A measured row of the stages of this experiment.
    Stages,
}

/// How prediction files are scored.
#[derive(Clone, Debug, Default)]
pub struct PredictionOptions {
    /// Files, folders or patterns.
    pub files: Vec<String>,
    /// Sets of annotations: name and file.
    pub annotations: Vec<(String, String)>,
    /// File of specificities, or `embedded`.
    pub specificity: Option<String>,
    /// Lists of nouns: name and file.
    pub lists: Vec<(String, String)>,
    /// Predictions considered.
    pub topk: Option<usize>,
    /// What a noun in several categories is.
    pub ambiguous: Option<String>,
    /// What a noun without annotation or specificity is.
    pub missing: Option<String>,
}

/// A source of records.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Its name; empty for the only one.
    pub name: String,
    /// What its records stand for.
    pub kind: SourceKind,
    /// `local`, `wandb:ENTITY/PROJECT`, or paths.
    pub from: Vec<String>,
    /// Records that count.
    pub condition: Condition,
    /// How prediction files are scored.
    pub predictions: PredictionOptions,
    /// File with certificates (PEM) that are trusted where `from` names a
    /// project at Weights & Biases, beside those of the system.
    pub ca_file: Option<String>,
    /// Where it stands.
    pub location: Location,
}

impl SourceSpec {
    /// The records of an experiment's stages.
    pub fn of_stages(location: Location) -> Self {
        Self {
            name: String::new(),
            kind: SourceKind::Stages,
            from: Vec::new(),
            condition: Condition::default(),
            predictions: PredictionOptions::default(),
            ca_file: None,
            location,
        }
    }

    /// Whether it reads runs at Weights & Biases.
    pub fn is_remote(&self) -> bool {
        let mut from = self.from.iter().chain(&self.predictions.files);
        from.any(|from| from.starts_with("wandb:"))
    }

    /// The sources that a cell names, else `own`.
    pub(in crate::reports) fn read_or(keys: &Keys<'_>, own: Self) -> Vec<Self> {
        match keys.entry("source") {
            Some(entry) => Self::read_all(entry, keys.problems),
            None => vec![own],
        }
    }

    /// Whether its records are those of an experiment's stages.
    pub fn is_of_stages(&self) -> bool {
        self.kind == SourceKind::Stages || self.kind == SourceKind::Metrics && self.from.is_empty()
    }

    /// Reads `source`: one, or a table of several.
    pub(in crate::reports) fn read_all(entry: &Entry, problems: &Problems) -> Vec<Self> {
        let Some(keys) = Keys::of(&entry.item, "`source`", problems) else {
            return Vec::new();
        };
        let is_one = |entry: &Entry| entry.key == "kind" && entry.item.text().is_some();
        if keys.all().iter().any(is_one) {
            return Self::read("", keys, problems).into_iter().collect();
        }
        let named = |entry: &Entry| {
            let place = format!("`source.{}`", entry.key);
            Self::read(
                &entry.key,
                Keys::of(&entry.item, &place, problems)?,
                problems,
            )
        };
        keys.all().iter().filter_map(named).collect()
    }

    fn read(name: &str, keys: Keys<'_>, problems: &Problems) -> Option<Self> {
        let kind = keys.choice(
            "kind",
            &[
                ("runs", SourceKind::Runs),
                ("predictions", SourceKind::Predictions),
                ("samples", SourceKind::Samples),
                ("values", SourceKind::Values),
                ("metrics", SourceKind::Metrics),
                ("angles", SourceKind::Angles),
                ("file", SourceKind::File),
                ("stages", SourceKind::Stages),
            ],
        );
        if !keys.has("kind") {
            keys.missing(
                "`kind` is missing: runs, predictions, samples, values, metrics, angles, file or stages",
            );
        }
        let from = keys.texts("from");
        let condition = keys
            .keys("where")
            .map(|keys| Condition::read(keys.all(), problems))
            .unwrap_or_default();
        let predictions = keys
            .keys("predictions")
            .map(PredictionOptions::read)
            .unwrap_or_default();
        let ca_file = keys.text("ca_file");
        let location = keys.location.clone();
        if kind == Some(SourceKind::File) && from.is_none() && !keys.has("from") {
            keys.missing("`kind = \"file\"` needs `from`: .jsonl, .json or .csv files");
        }
        if let Some(item) = keys.item("from") {
            check_projects(item, from.as_deref().unwrap_or_default(), kind, problems);
        }
        keys.finish();
        let kind = kind?;
        Some(Self {
            name: name.to_owned(),
            kind,
            from: from.unwrap_or_else(|| vec!["local".to_owned()]),
            condition,
            predictions,
            ca_file,
            location,
        })
    }
}

/// Projects at Weights & Biases are named as `wandb:PROJECT` or
/// `wandb:ENTITY/PROJECT`, and hold runs.
fn check_projects(item: &Item, from: &[String], kind: Option<SourceKind>, problems: &Problems) {
    for text in from {
        let Some(project) = text.strip_prefix("wandb:") else {
            continue;
        };
        let parts: Vec<&str> = project.split('/').collect();
        let help = if parts.len() > 2 || parts.iter().any(|part| part.trim().is_empty()) {
            "write wandb:PROJECT or wandb:ENTITY/PROJECT"
        } else if kind == Some(SourceKind::File) {
            "`kind = \"runs\"` reads runs"
        } else if kind == Some(SourceKind::Angles) {
            "angles are in the store and in files alone"
        } else {
            continue;
        };
        item.fault(
            format!("`from`: `{text}` is no source"),
            Some(help.to_owned()),
            problems,
        );
    }
}

impl PredictionOptions {
    fn read(keys: Keys<'_>) -> Self {
        let pairs = |key| -> Vec<(String, String)> {
            let Some(inner) = keys.keys(key) else {
                return Vec::new();
            };
            let entries = inner.all().iter();
            let pair = |entry: &Entry| {
                if entry.item.text().is_none() {
                    entry.item.wrong(&entry.key, "a path", inner.problems);
                }
                Some((entry.key.clone(), entry.item.text()?.to_owned()))
            };
            entries.filter_map(pair).collect()
        };
        let options = Self {
            files: keys.texts("files").unwrap_or_default(),
            annotations: pairs("annotations"),
            specificity: keys.text("specificity"),
            lists: pairs("lists"),
            topk: keys.whole("topk"),
            ambiguous: word(&keys, "ambiguous", &["error", "best", "worst", "first"]),
            missing: word(&keys, "missing", &["error", "zero", "fine"]),
        };
        keys.finish();
        options
    }
}

fn word(keys: &Keys<'_>, key: &'static str, words: &[&'static str]) -> Option<String> {
    let choices: Vec<(&str, &'static str)> = words.iter().map(|word| (*word, *word)).collect();
    keys.choice(key, &choices).map(str::to_owned)
}
