//! Where records come from: `[source]` and `[source.NAME]`.

use super::reading::{Entry, Keys, Problems};
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
            location,
        }
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
                ("file", SourceKind::File),
                ("stages", SourceKind::Stages),
            ],
        );
        if !keys.has("kind") {
            keys.missing(
                "`kind` is missing: runs, predictions, samples, values, metrics, file or stages",
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
        let location = keys.location.clone();
        keys.finish();
        let kind = kind?;
        Some(Self {
            name: name.to_owned(),
            kind,
            from: from.unwrap_or_else(|| vec!["local".to_owned()]),
            condition,
            predictions,
            location,
        })
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
