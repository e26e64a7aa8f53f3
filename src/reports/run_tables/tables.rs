//! The four tables of runs.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Zoned;
use regex::Regex;

use super::collect::{Collected, Collector, TrainedBy};
use super::console_log::parse_log;
use super::error::{Result, RunTablesError};
use super::filters::{HostTag, Selection};
use super::models::{EvalData, InferData, ModelName, ModelRow, eval_data};
use super::source::RunSource;
use crate::config::schema::{Config, RunsTable};
use crate::reports::number_text::{fixed, percent, percent_text};
use crate::reports::predictions::{
    Ambiguous, Annotations, Counter, Findings, Places, PredictionsError, Scorer, TableStyle,
    load_annotations, tell_unknown_categories,
};
use crate::reports::printed::Printed;
use crate::reports::row_sort::RowSort;

/// Width of a sample's column.
const SAMPLE_WIDTH: usize = 22;

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct RunsRequest {
    /// Which runs, and which table.
    pub selection: Selection,
    /// `PROJECT` or `ENTITY/PROJECT`.
    pub project: String,
    /// Sort column, `[+-][0]column`; may be empty.
    pub sort: String,
    /// What paths of annotations are relative to.
    pub places: Places,
    /// What hosts are called.
    pub host_tag: HostTag,
    /// How it looks.
    pub style: TableStyle,
    /// What counts for nouns in several categories.
    pub ambiguous: Ambiguous,
    /// Name the nouns that each sample lacks.
    pub each_missing: bool,
    /// The present time, for ages.
    pub now: Zoned,
}

impl RunsRequest {
    /// What a configuration asks for, as the original would show it.
    ///
    /// # Errors
    /// Never with the original's pattern of hosts.
    pub fn of(config: &Config, working_dir: &Path, now: Zoned) -> Result<Self> {
        let tracking = &config.tracking;
        Ok(Self {
            selection: Selection::of(config),
            project: match &tracking.entity {
                Some(entity) if !entity.is_empty() => format!("{entity}/{}", tracking.project),
                _ => tracking.project.clone(),
            },
            sort: config.tables.runs.sort.clone(),
            places: Places {
                source: working_dir.to_owned(),
                image_dir: config.infer.image_dir.clone(),
            },
            host_tag: HostTag::new(HostTag::ORIGINAL)?,
            style: TableStyle::Compat,
            ambiguous: Ambiguous::First,
            each_missing: true,
            now,
        })
    }
}

/// Finds runs and shows them.
///
/// # Errors
/// Runs or annotations that cannot be read, or wrong limits.
pub fn format_runs(request: &RunsRequest, source: &dyn RunSource, out: &mut Printed) -> Result<()> {
    let sort = RowSort::parse(&request.sort)?;
    let collector = Collector {
        source,
        project: &request.project,
        selection: &request.selection,
        host_tag: &request.host_tag,
        now: &request.now,
    };
    let Some(collected) = collector.collect(out)? else {
        return Ok(());
    };
    if collected.rows.is_empty() {
        out.warn("No data available!");
        return Ok(());
    }
    let tables = Tables {
        request,
        sort: sort.as_ref(),
        collected: &collected,
    };
    match request.selection.table {
        RunsTable::EvalGenClsV1 => tables.evaluations(out),
        RunsTable::InferV1 => tables.inferences(out),
        RunsTable::AllV1 => {
            tables.evaluations(out)?;
            tables.inferences(out)
        }
        RunsTable::AllV2 => tables.all(out),
    }
}

struct Tables<'a> {
    request: &'a RunsRequest,
    sort: Option<&'a RowSort>,
    collected: &'a Collected,
}

/// Inference of all models.
struct Inferences {
    models: Vec<InferData>,
    /// All samples, in the order in which they first appear.
    samples: Vec<String>,
    /// Top-1 counters of the models.
    counters: Vec<Counter>,
    annotations: Annotations,
}

impl Tables<'_> {
    fn is_full(&self) -> bool {
        self.request.style == TableStyle::Full
    }

    fn trained_by(&self, model: &ModelName) -> TrainedBy {
        let found = self.collected.trained_by.get(&model.dir);
        found.cloned().unwrap_or_default()
    }

    /// `eval_gen_cls_v1`.
    fn evaluations(&self, out: &mut Printed) -> Result<()> {
        out.info("Collecting eval/gen/cls data...");
        let models = eval_data(&self.collected.rows);
        out.info("Generating eval/gen/cls table (version 1)...");
        let mut heads: Vec<String> = ["Tag", "Ovod"].map(str::to_owned).into();
        let pairs = ["dataset", "dataset2", "dataset3", "captions2"];
        heads.extend(pairs.map(|name| format!("Eval {name}")));
        heads.extend(["Valid", "Direct", "Fixed", "Guided", "ImageNet1K"].map(str::to_owned));
        let short = ["FashionMNIST", "CIFAR10", "CIFAR100"];
        let long = ["Food101", "Imagenette", "Imagewoof"];
        heads.extend(short.into_iter().chain(long).map(str::to_owned));
        let mut rows = Vec::with_capacity(models.len());
        for model in &models {
            let mut row = vec![self.trained_by(&model.model).tag, model.model.spec()];
            for name in [
                "noun_dataset",
                "noun_dataset2",
                "noun_dataset3",
                "captions2",
            ] {
                row.push(pair(model, name, out));
            }
            row.extend(cls_cells(model));
            let guided = top1(model, "cls_imagenet1k_valid_guide_vt[0-9]+.bin", out).0;
            row.push(percent_or_missing(guided));
            for name in short {
                row.push(multi_guide(model, name, 2, out));
            }
            for name in long {
                row.push(multi_guide(model, name, 3, out));
            }
            rows.push(row);
        }
        out.info(format!("Collected data for {} models", models.len()));
        rows.sort_unstable();
        self.show(heads, rows, out)
    }

    /// `infer_v1`.
    fn inferences(&self, out: &mut Printed) -> Result<()> {
        let inferences = self.infer_data(out)?;
        out.info("Generating infer table (version 1)...");
        let mut heads: Vec<String> = ["Tag", "Ovod", "Valid"].map(str::to_owned).into();
        heads.extend(inferences.samples.iter().map(|sample| {
            let name = without_extension(sample).replace('_', " ");
            format!("{name:<SAMPLE_WIDTH$}")
        }));
        let mut open = Vec::new();
        if self.is_full() {
            heads.push("Unannotated".to_owned());
            let counters = inferences.counters.iter();
            open = counters
                .map(|counter| counter.unannotated().to_string())
                .collect();
        }
        let models = &inferences.models;
        let mut rows: Vec<Vec<String>> = models
            .iter()
            .enumerate()
            .map(|(at, data)| {
                let mut row = vec![
                    self.trained_by(&data.model).tag,
                    data.model.spec(),
                    percent_or_missing(data.valid),
                ];
                let nouns: HashMap<&String, &String> = data
                    .nouns
                    .iter()
                    .flatten()
                    .map(|(key, noun)| (key, noun))
                    .collect();
                row.extend(inferences.samples.iter().map(|sample| {
                    let noun = nouns.get(sample).map_or("-", |noun| noun.as_str());
                    noun.chars().take(SAMPLE_WIDTH).collect()
                }));
                if self.is_full() {
                    row.push(match data.nouns {
                        Some(_) => open[at].clone(),
                        None => "-".to_owned(),
                    });
                }
                row
            })
            .collect();
        out.info(format!("Collected data for {} models", models.len()));
        rows.sort_unstable();
        self.show(heads, rows, out)
    }

    /// `all_v2`.
    fn all(&self, out: &mut Printed) -> Result<()> {
        out.info("Collecting eval/gen/cls data...");
        let models = eval_data(&self.collected.rows);
        let inferences = self.infer_data(out)?;
        out.info("Generating all table (version 2)...");
        let mut heads: Vec<String> = ["Tag", "Model", "Eval captions2"].map(str::to_owned).into();
        heads.extend(["Valid", "Direct", "Fixed", "Guided"].map(str::to_owned));
        heads.extend(
            ["ImageNet1K", "Food101", "Infer stats", "Score", "Score %"].map(str::to_owned),
        );
        if self.is_full() {
            heads.extend(["Unannotated", "Infer valid"].map(str::to_owned));
        } else {
            heads.push("Valid".to_owned());
        }
        heads.push("Command".to_owned());
        let mut rows = Vec::with_capacity(models.len());
        for model in &models {
            let trained_by = self.trained_by(&model.model);
            let spec = model.model.spec();
            let mut row = vec![
                trained_by.tag.clone(),
                spec.clone(),
                pair(model, "captions2", out),
            ];
            row.extend(cls_cells(model));
            row.push(multi_guide(model, "ImageNet1K", 3, out));
            row.push(multi_guide(model, "Food101", 3, out));
            row.extend(self.infer_cells(&inferences, &model.model));
            let reversed: Vec<&str> = trained_by
                .command
                .iter()
                .rev()
                .map(String::as_str)
                .collect();
            row.push(reversed.join(" "));
            rows.push(((trained_by.command, trained_by.tag, spec), row));
        }
        out.info(format!("Collected data for {} models", models.len()));
        rows.sort_unstable();
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        self.show(heads, rows, out)
    }

    /// Details, score, percentage and valid share; in full also how many
    /// predictions are not annotated.
    fn infer_cells(&self, inferences: &Inferences, model: &ModelName) -> Vec<String> {
        let at = inferences
            .models
            .iter()
            .position(|data| data.model == *model);
        let data = at.map(|at| &inferences.models[at]);
        let known = data.is_some_and(|data| data.nouns.is_some());
        let counter = at.map(|at| inferences.counters[at].clone());
        let counter = counter.unwrap_or_default();
        let valid = percent_or_missing(data.and_then(|data| data.valid));
        if self.is_full() && !known {
            return vec!["-".into(), "-".into(), percent_text("-"), "-".into(), valid];
        }
        let rounding = self.request.style.rounding();
        let score = counter.score(&inferences.annotations);
        let mut cells = vec![
            counter.details(&inferences.annotations, None),
            score.text(None, rounding),
            score.percent_text(rounding),
        ];
        if self.is_full() {
            cells.push(counter.unannotated().to_string());
        }
        cells.push(valid);
        cells
    }

    /// Reads and scores the predictions of all inference rows.
    fn infer_data(&self, out: &mut Printed) -> Result<Inferences> {
        out.info("Collecting infer data...");
        let request = self.request;
        // Who infers nothing needs no annotations.
        let has_nouns = |row: &ModelRow| row.table.is_some() || row.log.is_some();
        let path = request
            .places
            .annotations(&request.selection.annotations)
            .filter(|_| !self.is_full() || self.collected.rows.iter().any(has_nouns));
        let annotations = load_annotations(&request.places.image_dir(), path.as_deref(), out)?;
        tell_unknown_categories(&annotations, out);
        let mut inferences = Inferences {
            models: Vec::new(),
            samples: Vec::new(),
            counters: Vec::new(),
            annotations,
        };
        let mut findings = Findings::default();
        let mut seen = HashSet::new();
        for row in self
            .collected
            .rows
            .iter()
            .filter(|row| row.action == "infer")
        {
            let nouns = nouns_of(row, out);
            let samples = nouns.iter().flatten();
            for (sample, _) in samples {
                if seen.insert(sample.clone()) {
                    inferences.samples.push(sample.clone());
                }
            }
            let mut scorer = Scorer::new(&inferences.annotations, request.ambiguous);
            let rows = nouns.iter().flatten();
            let rows = rows.map(|(sample, noun)| (sample.as_str(), [noun.as_str()]));
            let counter = scorer.topk(rows, 1).pop().unwrap_or_default();
            findings.merge(scorer.into_findings());
            if inferences
                .models
                .iter()
                .all(|known| known.model != row.model)
            {
                inferences.counters.push(counter);
                inferences.models.push(InferData {
                    model: row.model.clone(),
                    valid: row.number("valid"),
                    nouns,
                });
            }
        }
        if request.ambiguous == Ambiguous::Error && !findings.conflicts().is_empty() {
            let error = PredictionsError::Ambiguous(findings.conflicts());
            return Err(RunTablesError::Predictions(error));
        }
        findings.tell(&inferences.annotations, request.each_missing, out);
        Ok(inferences)
    }

    fn show(
        &self,
        heads: Vec<String>,
        mut rows: Vec<Vec<String>>,
        out: &mut Printed,
    ) -> Result<()> {
        if let Some(sort) = self.sort {
            let column = match sort.find(&heads) {
                Ok(column) => column,
                Err(error) if self.is_full() => return Err(error.into()),
                Err(_) => {
                    out.warn(sort.original_warning());
                    0
                }
            };
            sort.sort(&mut rows, column);
        }
        out.table(heads, rows);
        Ok(())
    }
}

/// Predictions of a row: from its table, else from the log.
fn nouns_of(row: &ModelRow, out: &mut Printed) -> Option<Vec<(String, String)>> {
    if let Some(table) = &row.table {
        return Some(table.clone());
    }
    let found = parse_log(row.log.as_deref()?, &row.model.spec());
    for warning in found.warnings {
        out.warn(warning);
    }
    (!found.nouns.is_empty()).then_some(found.nouns)
}

/// The name without what stands behind its last point; a point at the
/// beginning begins no extension.
fn without_extension(name: &str) -> &str {
    let stem = name.trim_start_matches('.');
    let start = name.len() - stem.len();
    match stem.rfind('.') {
        Some(at) => &name[..start + at],
        None => name,
    }
}

/// Noun and token top-1 of the dataset that a pattern matches whole.
fn top1(model: &EvalData, pattern: &str, out: &mut Printed) -> (Option<f64>, Option<f64>) {
    let Ok(regex) = Regex::new(&format!("^(?:{pattern})$")) else {
        return (None, None);
    };
    let mut matching = model
        .datasets
        .iter()
        .filter(|found| regex.is_match(&found.dataset));
    let Some(first) = matching.next() else {
        return (None, None);
    };
    if matching.next().is_some() {
        out.warn(format!(
            "There were multiple options for '{pattern}': {}",
            model.model.spec()
        ));
    }
    (first.noun, first.token)
}

/// A number with decimals, or `-`, right-aligned.
fn aligned(value: Option<f64>, decimals: usize, width: usize) -> String {
    let text = value.map_or_else(|| "-".to_owned(), |value| fixed(value, decimals));
    format!("{text:>width$}")
}

fn pair(model: &EvalData, name: &str, out: &mut Printed) -> String {
    let (noun, token) = top1(model, &format!("{name}_cache_vt[0-9]+.bin"), out);
    format!("{}% + {}%", aligned(noun, 3, 6), aligned(token, 4, 6))
}

fn multi_guide(model: &EvalData, name: &str, decimals: usize, out: &mut Printed) -> String {
    let [multi, guide] = ["multi", "guide"].map(|variant| {
        let name = name.to_lowercase();
        let pattern = format!("cls_{name}_valid_{variant}_vt[0-9]+.bin");
        let (noun, _) = top1(model, &pattern, out);
        aligned(noun, decimals, decimals + 3)
    });
    format!("{multi}% + {guide}%")
}

fn cls_cells(model: &EvalData) -> [String; 4] {
    model.cls.unwrap_or_default().map(percent_or_missing)
}

fn percent_or_missing(value: Option<f64>) -> String {
    value.map_or_else(|| percent_text("-"), percent)
}
