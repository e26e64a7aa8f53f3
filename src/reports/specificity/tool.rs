//! The original's specificity tool: prediction and overall scores of a
//! directory of prediction files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::list::{MissingSpecificity, Specificity};
use crate::reports::number_text::fixed;
use crate::reports::predictions::{
    Ambiguous, Annotations, ConfigurationPredictions, Measures, Metrics, ModelPredictions,
    PredictionsError, Result, TableStyle,
};
use crate::reports::printed::Printed;
use crate::reports::python_text::python_repr;
use crate::reports::record::Record;
use crate::reports::statistics::Bootstrap;

/// Longest mapping on one line, in characters.
const LINE: usize = 120;

/// What is scored.
#[derive(Clone, Debug)]
pub struct SpecificityRequest {
    /// The list.
    pub list: Specificity,
    /// Prediction files.
    pub files: Vec<ModelPredictions>,
    /// Sets of annotations by name.
    pub annotations: Vec<(String, Annotations)>,
    /// How it looks.
    pub style: TableStyle,
    /// What counts for nouns in several categories.
    pub ambiguous: Ambiguous,
    /// What counts for what is not known.
    pub missing: MissingSpecificity,
}

/// One file under one configuration against one set of annotations.
struct Scored {
    file: String,
    gencfg: String,
    metrics: Metrics,
}

/// What is not known, over all files.
#[derive(Default)]
struct Lacking {
    samples: BTreeSet<String>,
    nouns: BTreeSet<String>,
    specificity: BTreeSet<String>,
}

/// Scores files and prints the scores; returns them as records, too.
///
/// # Errors
/// Something is not known of a prediction where that is an error, or a file has
/// no samples where the original cannot show that.
pub fn specificity_scores(request: &SpecificityRequest, out: &mut Printed) -> Result<Vec<Record>> {
    let mut sets = Vec::with_capacity(request.annotations.len());
    let mut lacking = Lacking::default();
    for (name, annotations) in &request.annotations {
        let unknown = annotations.unknown_categories();
        if !unknown.is_empty() && request.style == TableStyle::Compat {
            return Err(PredictionsError::Annotations {
                path: PathBuf::from(name),
                reason: format!("nobody knows the categories {}", unknown.join(", ")),
            });
        }
        for category in unknown {
            out.warn(format!("{name}: category {category} gives no points"));
        }
        let mut scored = Vec::new();
        for file in &request.files {
            for entry in &file.predictions {
                scored.push(score(request, annotations, file, entry, &mut lacking)?);
            }
        }
        sets.push(scored);
    }
    lacking.check(request.missing)?;
    out.info(format!(
        "Specificity list: {} ({} nouns)",
        request.list.name(),
        request.list.len()
    ));
    match request.style {
        TableStyle::Compat => compat(request, &sets, out)?,
        TableStyle::Full => full(request, &sets, out),
    }
    Ok(records(request, &sets))
}

fn score(
    request: &SpecificityRequest,
    annotations: &Annotations,
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    lacking: &mut Lacking,
) -> Result<Scored> {
    let measures = Measures {
        annotations,
        ambiguous: request.ambiguous,
        specificity: Some(&request.list),
        missing: request.missing,
        lists: &BTreeMap::new(),
        bootstrap: (request.style == TableStyle::Full).then(Bootstrap::default),
    };
    let (metrics, findings) = if request.style == TableStyle::Compat {
        // A sample that comes again keeps its last noun and its first place.
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (at, sample) in file.samples.iter().enumerate() {
            let noun = entry.nouns.row(at).next().unwrap_or_default();
            match places.get(sample.as_str()) {
                Some(&place) => pairs[place].1 = noun,
                None => {
                    places.insert(sample, pairs.len());
                    pairs.push((sample, noun));
                }
            }
        }
        Metrics::of_pairs(&pairs, &measures)
    } else {
        Metrics::of(file, entry, &measures)?
    };
    if request.ambiguous == Ambiguous::Error && !findings.conflicts().is_empty() {
        return Err(PredictionsError::Ambiguous(findings.conflicts()));
    }
    lacking.samples.extend(findings.absent().keys().cloned());
    for (sample, nouns) in findings.missing(annotations) {
        let pairs = nouns.iter().map(|noun| format!("{noun} ({sample})"));
        lacking.nouns.extend(pairs);
    }
    let without = metrics.without_specificity.iter().cloned();
    lacking.specificity.extend(without);
    Ok(Scored {
        file: file.file_name(),
        gencfg: entry.name.clone(),
        metrics,
    })
}

impl Lacking {
    fn check(self, missing: MissingSpecificity) -> Result<()> {
        if missing != MissingSpecificity::Error {
            return Ok(());
        }
        let lacking: Vec<(&'static str, Vec<String>)> = [
            ("samples without annotations", self.samples),
            ("nouns without annotation", self.nouns),
            ("nouns without specificity", self.specificity),
        ]
        .into_iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(what, items)| (what, items.into_iter().collect()))
        .collect();
        if lacking.is_empty() {
            Ok(())
        } else {
            Err(PredictionsError::Lacking(lacking))
        }
    }
}

/// Two mappings in Python's notation. Only the first set of annotations is
/// shown.
fn compat(request: &SpecificityRequest, sets: &[Vec<Scored>], out: &mut Printed) -> Result<()> {
    let scored = sets.first().map_or(&[][..], Vec::as_slice);
    let empty = scored.iter().find(|scored| scored.metrics.total == 0);
    if let Some(empty) = empty {
        return Err(PredictionsError::Nothing {
            what: format!("{} has no samples", empty.file),
        });
    }
    let several = |file: &str| {
        let found = request.files.iter().find(|known| known.file_name() == file);
        found.is_some_and(|found| found.predictions.len() > 1)
    };
    let mapping = |points: fn(&Metrics) -> &[f64]| {
        let entries = scored.iter().map(|scored| {
            let name = if several(&scored.file) {
                format!("{} {}", scored.file, scored.gencfg)
            } else {
                scored.file.clone()
            };
            let points = points(&scored.metrics);
            let share = points.iter().sum::<f64>() / points.len() as f64;
            (name, format!("{}%", fixed(100.0 * share, 2)))
        });
        python_mapping(&entries.collect())
    };
    out.result("Prediction scores:");
    out.result(mapping(|metrics| &metrics.sample_points));
    out.result("");
    out.result("Overall scores:");
    out.result(mapping(|metrics| &metrics.sample_overall));
    out.result("");
    Ok(())
}

fn python_mapping(entries: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, text)| {
            let repr = |text: &String| python_repr(&text.as_str().into());
            format!("{}: {}", repr(name), repr(text))
        })
        .collect();
    let line = format!("{{{}}}", entries.join(", "));
    if line.chars().count() <= LINE {
        line
    } else {
        format!("{{{}}}", entries.join(",\n "))
    }
}

/// One row per file and configuration, the scores of every set of annotations
/// side by side.
fn full(request: &SpecificityRequest, sets: &[Vec<Scored>], out: &mut Printed) {
    let several = sets.len() > 1;
    let mut heads = vec!["JSON".to_owned(), "Gen Cfg".to_owned(), "Used".to_owned()];
    for (name, _) in &request.annotations {
        for head in [
            "Score",
            "95% Interval",
            "Primary",
            "Primary − Score",
            "Overall",
            "Overall − Score",
            "Unannotated",
        ] {
            heads.push(if several {
                format!("{name}\n{head}")
            } else {
                head.to_owned()
            });
        }
    }
    let first = sets.first().map_or(&[][..], Vec::as_slice);
    let rows = first.iter().enumerate().map(|(at, scored)| {
        let mut row = vec![
            scored.file.clone(),
            scored.gencfg.clone(),
            scored.metrics.used.to_string(),
        ];
        for set in sets {
            row.extend(full_cells(&set[at].metrics));
        }
        row
    });
    let rows = rows.collect();
    out.result(format!(
        "Scores in % with the specificity list {}:",
        request.list.name()
    ));
    out.table(heads, rows);
}

fn full_cells(metrics: &Metrics) -> [String; 7] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| fixed(v, 2));
    let difference = |value: Option<f64>| {
        let difference = value.zip(metrics.score).map(|(value, score)| value - score);
        difference.map_or_else(|| "-".to_owned(), |value| format!("{value:+.2}"))
    };
    [
        number(metrics.score),
        metrics.bootstrap95.map_or_else(
            || "-".to_owned(),
            |interval| format!("{} … {}", fixed(interval.low, 2), fixed(interval.high, 2)),
        ),
        number(metrics.primary),
        difference(metrics.primary),
        number(metrics.overall),
        difference(metrics.overall),
        metrics.unannotated.to_string(),
    ]
}

fn records(request: &SpecificityRequest, sets: &[Vec<Scored>]) -> Vec<Record> {
    let mut records = Vec::new();
    for ((name, _), set) in request.annotations.iter().zip(sets) {
        for scored in set {
            let metrics = &scored.metrics;
            let mut record = Record::new()
                .with("file", scored.file.as_str())
                .with("gencfg", scored.gencfg.as_str())
                .with("annotations", name.as_str())
                .with("specificity", request.list.name())
                .with("total", metrics.total)
                .with("pred.used", metrics.used)
                .with("pred.unannotated", metrics.unannotated);
            for (field, value) in [
                ("score", metrics.score),
                ("primary", metrics.primary),
                ("overall", metrics.overall),
                ("ci_lo", metrics.bootstrap95.map(|interval| interval.low)),
                ("ci_hi", metrics.bootstrap95.map(|interval| interval.high)),
            ] {
                if let Some(value) = value {
                    record.set(&format!("pred.{field}"), value);
                }
            }
            records.push(record);
        }
    }
    records
}
