//! Prediction files as flat records, for tables that people write themselves
//! (`reports.md` 10.1, kinds `predictions` and `samples`).

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::annotations::Annotations;
use super::error::{PredictionsError, Result};
use super::file::{ConfigurationPredictions, ModelPredictions};
use super::metrics::{Measures, Metrics};
use super::score::{Ambiguous, Scorer};
use super::too_few;
use crate::reports::record::Record;
use crate::reports::specificity::{MissingSpecificity, Specificity};
use crate::reports::statistics::Bootstrap;

/// What records are measured with.
#[derive(Clone, Debug, Default)]
pub struct RecordSources {
    /// Sets of annotations by name, such as `human` and `llm`.
    pub annotations: Vec<(String, Annotations)>,
    /// What counts for nouns in several categories.
    pub ambiguous: Ambiguous,
    /// How specific nouns are.
    pub specificity: Option<Specificity>,
    /// What counts for nouns that it lacks.
    pub missing: MissingSpecificity,
    /// Word lists by name.
    pub lists: BTreeMap<String, HashSet<String>>,
    /// Predictions considered; fewer where there are fewer.
    pub topk: usize,
    /// Resampling for `pred.ci_lo` and `pred.ci_hi`; none without.
    pub bootstrap: Option<Bootstrap>,
    /// Measures of which records also have the value of every sample, as a list
    /// `pred.each.NAME` beside the samples in `pred.each.sample`: of [`EACH`].
    pub each: Vec<&'static str>,
}

/// Measures that are means over samples, so that models can be compared sample
/// by sample.
pub const EACH: [&str; 5] = [
    "score",
    "primary",
    "correct",
    "secondary_as_primary",
    "overall",
];

impl RecordSources {
    fn measures<'a>(&'a self, annotations: &'a Annotations) -> Measures<'a> {
        Measures {
            annotations,
            ambiguous: self.ambiguous,
            specificity: self.specificity.as_ref(),
            missing: self.missing,
            lists: &self.lists,
            bootstrap: self.bootstrap,
        }
    }
}

/// One record per file, generation configuration and set of annotations, in
/// this order; without annotations one per file and configuration.
///
/// # Errors
/// Samples without predictions, or nouns in several categories where that is an
/// error.
pub fn prediction_records(
    files: &[ModelPredictions],
    sources: &RecordSources,
) -> Result<Vec<Record>> {
    let work: Vec<_> = entries(files).collect();
    let records: Vec<Result<Vec<Record>>> = work
        .into_par_iter()
        .map(|(file, entry)| of_entry(file, entry, sources))
        .collect();
    let mut all = Vec::new();
    for records in records {
        all.extend(records?);
    }
    Ok(all)
}

/// One record per sample of each of these.
///
/// # Errors
/// The same.
pub fn sample_records(files: &[ModelPredictions], sources: &RecordSources) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    for (file, entry) in entries(files) {
        let common = common(file, entry);
        if sources.annotations.is_empty() {
            for at in 0..file.samples.len() {
                all.push(sample(&common, file, entry, at, sources.topk));
            }
        }
        for (name, annotations) in &sources.annotations {
            let mut scorer = Scorer::new(annotations, sources.ambiguous);
            for (at, key) in file.samples.iter().enumerate() {
                let mut record = sample(&common, file, entry, at, sources.topk);
                record.set("annotations", name.as_str());
                for (noun, rank) in entry.nouns.row(at).zip(1..=sources.topk) {
                    let category = scorer.category(key, noun);
                    let name = category.map(|id| annotations.category_name(id));
                    record.set(&format!("category@{rank}"), name);
                    let points = annotations.tenths(category) as f64 / 10.0;
                    record.set(&format!("points@{rank}"), points);
                }
                all.push(record);
            }
            check_conflicts(scorer.into_findings().conflicts(), sources)?;
        }
    }
    Ok(all)
}

fn check_conflicts(conflicts: Vec<super::Conflict>, sources: &RecordSources) -> Result<()> {
    if sources.ambiguous == Ambiguous::Error && !conflicts.is_empty() {
        return Err(PredictionsError::Ambiguous(conflicts));
    }
    Ok(())
}

fn entries(
    files: &[ModelPredictions],
) -> impl Iterator<Item = (&ModelPredictions, &ConfigurationPredictions)> {
    let files = files.iter();
    files.flat_map(|file| file.predictions.iter().map(move |entry| (file, entry)))
}

fn of_entry(
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    sources: &RecordSources,
) -> Result<Vec<Record>> {
    let mut common = common(file, entry);
    common.set("total", file.samples.len());
    if file.vocab_targets.present {
        common.set("pred.seen", file.vocab_targets.len);
    }
    if sources.annotations.is_empty() {
        return Ok(vec![common]);
    }
    let topk = sources.topk.min(entry.topk);
    let mut records = Vec::with_capacity(sources.annotations.len());
    for (name, annotations) in &sources.annotations {
        let (metrics, findings) = Metrics::of(file, entry, &sources.measures(annotations))?;
        check_conflicts(findings.conflicts(), sources)?;
        if !metrics.without_specificity.is_empty() {
            return Err(PredictionsError::WithoutSpecificity {
                list: sources
                    .specificity
                    .as_ref()
                    .map_or_else(String::new, |list| list.name().to_owned()),
                nouns: metrics.without_specificity,
            });
        }
        let mut record = common.clone();
        record.set("annotations", name.as_str());
        set_metrics(&mut record, &metrics, annotations);
        set_each(&mut record, file, &metrics, annotations, &sources.each);
        set_ranks(
            &mut record,
            file,
            entry,
            annotations,
            sources.ambiguous,
            topk,
        )?;
        records.push(record);
    }
    Ok(records)
}

/// Fields of all records of a file under a configuration.
fn common(file: &ModelPredictions, entry: &ConfigurationPredictions) -> Record {
    let mut record = Record::new()
        .with("file", file.file_name())
        .with("gencfg", entry.name.as_str())
        .with("dataset", image_set(&file.infer_cfg))
        .with("run.action", "infer")
        .with("model.spec", file.model.as_str())
        .with("model.dir", file.model_dir.as_str())
        .with("model.name", file.model_name.as_str());
    let prefixed = |record: &mut Record, prefix: &str, values: &Map<String, Value>| {
        for (key, value) in values {
            record.set(&format!("{prefix}{key}"), value.clone());
        }
    };
    prefixed(&mut record, "gencfg.", &entry.gen_cfg);
    prefixed(&mut record, "config.", &file.infer_cfg);
    prefixed(&mut record, "train.config.", &file.model_cfg);
    for (name, values) in &entry.percentages {
        for (at, value) in values.as_array().into_iter().flatten().enumerate() {
            record.set(&format!("{name}@{}", at + 1), value.clone());
            if at == 0 {
                record.set(name, value.clone());
            }
        }
    }
    record
}

/// The image set by its directory: the three of the paper by their names.
pub fn image_set(infer_cfg: &Map<String, Value>) -> Option<String> {
    let named = |key: &str| infer_cfg.get(key).and_then(Value::as_str);
    let path = named("infer_all_images_dir")
        .filter(|path| !path.is_empty())
        .or_else(|| named("infer_image_dir").filter(|path| !path.is_empty()))?;
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    Some(match name.to_lowercase().as_str() {
        "world" => "World".to_owned(),
        "wiki" => "Wiki".to_owned(),
        "val3k" => "Val3K".to_owned(),
        _ => name.to_owned(),
    })
}

fn set_metrics(record: &mut Record, metrics: &Metrics, annotations: &Annotations) {
    for (field, value) in [
        ("score", metrics.score),
        ("primary", metrics.primary),
        ("correct", metrics.correct),
        ("correct_close", metrics.correct_or_close),
        ("secondary_as_primary", metrics.secondary_as_primary),
        ("overall", metrics.overall),
        ("lower", metrics.lower),
        ("upper", metrics.upper),
        ("annotated_only", metrics.annotated_only),
        ("ci_lo", metrics.bootstrap95.map(|interval| interval.low)),
        ("ci_hi", metrics.bootstrap95.map(|interval| interval.high)),
        (
            "correct_lo",
            metrics.correct_wilson95.map(|interval| interval.low),
        ),
        (
            "correct_hi",
            metrics.correct_wilson95.map(|interval| interval.high),
        ),
    ] {
        if let Some(value) = value {
            record.set(&format!("pred.{field}"), value);
        }
    }
    record.set("pred.used", metrics.used);
    record.set("pred.unannotated", metrics.unannotated);
    for (name, share) in &metrics.in_list {
        record.set(&format!("pred.in_list.{name}"), *share);
    }
    for category in annotations.categories() {
        let count = metrics.counter.of(&category.name, annotations);
        record.set(&format!("pred.count.{}", category.name), count);
    }
}

/// What each sample adds to a measure, in percent.
fn set_each(
    record: &mut Record,
    file: &ModelPredictions,
    metrics: &Metrics,
    annotations: &Annotations,
    wanted: &[&str],
) {
    for name in wanted {
        let points: Vec<f64> = match *name {
            "score" => metrics.sample_points.clone(),
            "overall" => metrics.sample_overall.clone(),
            name => {
                let categories = metrics.sample_categories.iter();
                categories
                    .map(|category| {
                        let category = category.map(|id| annotations.category_name(id));
                        worth(name, category.unwrap_or_default())
                    })
                    .collect()
            }
        };
        if points.len() == file.samples.len() {
            let percent: Vec<f64> = points.iter().map(|points| 100.0 * points).collect();
            record.set(&format!("pred.each.{name}"), percent);
        }
    }
    if !wanted.is_empty() {
        record.set("pred.each.sample", file.samples.clone());
    }
}

/// Points of a category in a measure that is not the prediction score.
fn worth(measure: &str, category: &str) -> f64 {
    match (measure, category) {
        (_, "correct_primary") => 1.0,
        ("correct" | "secondary_as_primary", "correct_secondary") => 1.0,
        ("primary" | "secondary_as_primary", "close_primary") => 0.5,
        ("secondary_as_primary", "close_secondary") => 0.5,
        _ => 0.0,
    }
}

fn set_ranks(
    record: &mut Record,
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    annotations: &Annotations,
    ambiguous: Ambiguous,
    topk: usize,
) -> Result<()> {
    let mut samples = 0..file.samples.len();
    if let Some(short) = samples.find(|&sample| entry.nouns.row(sample).count() < topk) {
        return Err(too_few(file, entry, short, topk));
    }
    let mut scorer = Scorer::new(annotations, ambiguous);
    let rows = file.samples.iter().enumerate();
    let rows = rows.map(|(at, sample)| (sample.as_str(), entry.nouns.row(at)));
    for (counter, rank) in scorer.topk(rows, topk).iter().zip(1..) {
        let score = counter.score(annotations);
        record.set(&format!("pred.points@{rank}"), score.tenths as f64 / 10.0);
        if let Some(share) = score.exact_share() {
            record.set(
                &format!("pred.score@{rank}"),
                share.times(100, 1).unwrap_or(share).to_f64(),
            );
        }
        let details = counter.details(annotations, None);
        record.set(&format!("pred.details@{rank}"), details);
    }
    Ok(())
}

fn sample(
    common: &Record,
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    at: usize,
    topk: usize,
) -> Record {
    let mut record = common.clone();
    record.set("sample", file.samples[at].as_str());
    for ((noun, probability, kind), rank) in entry.row(at).zip(1..=topk) {
        record.set(&format!("noun@{rank}"), noun);
        record.set(&format!("prob@{rank}"), probability);
        record.set(&format!("class@{rank}"), kind.name());
    }
    record
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_have_the_fields_of_their_kind() {
        let file = json!({
            "version": 1, "model": "d/m", "model_dir": "d", "model_name": "m",
            "model_cfg": {"num_layers": 6}, "infer_cfg": {"infer_image_dir": "$SOURCE/extras/wiki"},
            "vocab_targets": ["fox", "dog"], "samples": ["a", "b"],
            "predictions": {"g": {
                "gen_cfg": {"topk": 2, "method": "beam"}, "valid": [50.0, 0.0],
                "pred": [["fox", "dog"], ["dog", "cat"]], "score": [[0.5, 0.25], [0.4, 0.3]],
                "result": [[1, 2], [3, 1]]
            }},
        });
        let file = ModelPredictions::parse(&file.to_string()).unwrap().unwrap();
        let annotations = json!({
            "a": {"close_secondary": ["fox"], "correct_primary": ["dog"]},
            "b": {"incorrect": ["dog"]},
        });
        let annotations = Annotations::of(annotations.as_object().unwrap()).unwrap();
        let sources = RecordSources {
            annotations: vec![("human".to_owned(), annotations)],
            topk: 3,
            ..RecordSources::default()
        };
        let files = [file];
        let records = prediction_records(&files, &sources).unwrap();
        assert_eq!(records.len(), 1);
        let record = &records[0];
        for (field, expected) in [
            ("dataset", json!("Wiki")),
            ("train.config.num_layers", json!(6)),
            ("gencfg.method", json!("beam")),
            ("annotations", json!("human")),
            ("valid", json!(50.0)),
            ("valid@2", json!(0.0)),
            ("total", json!(2)),
            ("pred.seen", json!(2)),
            ("pred.score", json!(20.0)),
            ("pred.score@2", json!(50.0)),
            ("pred.points@1", json!(0.4)),
            ("pred.details@1", json!("0/0✓ 0/1~ 1/0✗ = 2")),
            ("pred.count.incorrect", json!(1)),
            ("pred.unannotated", json!(0)),
        ] {
            assert_eq!(record.get(field), Some(&expected), "{field}");
        }
        assert_eq!(record.get("pred.score@3"), None);
        let samples = sample_records(&files, &sources).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1].text("class@1"), Some("other"));
        assert_eq!(samples[1].text("noun@2"), Some("cat"));
        assert_eq!(samples[1].get("category@2"), None);
        assert_eq!(samples[0].number("points@2"), Some(1.0));
    }
}
