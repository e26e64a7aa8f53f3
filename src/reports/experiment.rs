//! What an experiment's stages left in the store, gathered for its tables and
//! its page.

use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

use super::page::{Gallery, Notebook, StageLine, StageState};
use super::plot::{Curve, CurvePlot, PlotError};
use super::record::{Record, plain};
use super::table::{EvaluatedTable, TableError, TableSpec};
use crate::config::{CellKind, Experiment, Show};
use crate::runner::{Blockage, Plan, Step, StepState};
use crate::store::{Entry, StoreError};
use crate::tracking;

pub use crate::runner::sweep::RECORDS_FILE;

/// File in which a stage leaves pictures for the page.
pub const GALLERY_FILE: &str = "gallery/gallery.json";

/// Why the results of an experiment cannot be shown.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A table cell is wrong.
    #[error("{file}:{line}: {source}")]
    Table {
        /// Experiment file.
        file: String,
        /// Line of the cell.
        line: usize,
        /// What is wrong.
        source: TableError,
    },
    /// A file of an output cannot be read.
    #[error("failed to read {path}: {reason}")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Results of an experiment: only what belongs to its present configuration.
#[derive(Debug)]
pub struct ExperimentReport<'a> {
    experiment: &'a Experiment,
    plan: &'a Plan,
    records: Vec<Record>,
}

impl<'a> ExperimentReport<'a> {
    /// Gathers the records of all stages that are up to date.
    pub fn collect(experiment: &'a Experiment, plan: &'a Plan) -> Result<Self, ReportError> {
        let mut records = Vec::new();
        for (step, entry) in finished(plan) {
            records.extend(step_records(step, entry)?);
        }
        Ok(Self {
            experiment,
            plan,
            records,
        })
    }

    /// The measured rows, in the order of the stages.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Run that made the newest of the outputs, if there are any.
    pub fn newest_run(&self) -> Option<&str> {
        finished(self.plan)
            .map(|(_, entry)| &entry.manifest().description.run)
            .map(String::as_str)
            .max()
    }

    /// The tables of the experiment file; `only` names one.
    pub fn tables(&self, only: Option<&str>) -> Result<Vec<EvaluatedTable>, ReportError> {
        let mut tables = Vec::new();
        for cell in &self.experiment.cells {
            let wanted = only.is_none_or(|name| name == cell.name);
            if cell.kind != CellKind::Table || !wanted {
                continue;
            }
            let fields = match cell.to_json() {
                Value::Object(fields) => fields,
                _ => continue,
            };
            let spec = TableSpec::parse(&cell.name, &fields).map_err(|source| {
                let source_file = &cell.location.source;
                ReportError::Table {
                    file: source_file.name(),
                    line: source_file.line_column(cell.location.span.start).0,
                    source,
                }
            })?;
            tables.push(spec.evaluate(&self.records));
        }
        Ok(tables)
    }

    /// The page. `run` is the run it belongs to, `facts` a line below the
    /// title.
    pub fn notebook(&self, run: &str, facts: &str) -> Result<Notebook, ReportError> {
        let info = &self.experiment.info;
        let name = info.name.clone().unwrap_or_default();
        Ok(Notebook {
            title: info.title.clone().unwrap_or(name),
            prose: info.prose.clone().unwrap_or_default(),
            file: self.experiment.file.display().to_string(),
            run_id: run.to_owned(),
            facts: facts.to_owned(),
            stages: self
                .plan
                .steps()
                .iter()
                .map(|step| stage_line(step, run))
                .collect(),
            plots: self.plots()?,
            tables: self.tables(None)?,
            galleries: self.galleries()?,
            configuration: Show::default().experiment(self.experiment),
        })
    }

    /// Loss and accuracy of every training over the samples seen.
    fn plots(&self) -> Result<Vec<String>, ReportError> {
        let trainings: Vec<_> = finished(self.plan)
            .filter_map(|(step, entry)| {
                let path = entry.file(tracking::METRICS_FILE).ok()?;
                Some((step.name.clone(), tracking::read_metrics(&path).ok()?))
            })
            .collect();
        let mut plots = Vec::new();
        for (title, y, field) in [
            ("Training loss", "loss", "loss"),
            (
                "Token accuracy on noisy text embeddings",
                "top-1 in %",
                "top1",
            ),
        ] {
            let curves: Vec<Curve> = trainings
                .iter()
                .map(|(name, metrics)| Curve {
                    name: name.clone(),
                    points: metrics.curve("sample", field),
                })
                .filter(|curve| curve.points.len() > 1)
                .collect();
            if !curves.is_empty() {
                let plot = CurvePlot {
                    title: title.to_owned(),
                    x: "samples seen".to_owned(),
                    y: y.to_owned(),
                    curves,
                };
                plots.push(plot.svg()?);
            }
        }
        Ok(plots)
    }

    fn galleries(&self) -> Result<Vec<(Gallery, PathBuf)>, ReportError> {
        let mut galleries = Vec::new();
        for (_, entry) in finished(self.plan) {
            let path = entry.dir().join(GALLERY_FILE);
            if !path.exists() {
                continue;
            }
            let found: Vec<Gallery> = read_json(&path)?;
            let folder = path.parent().map_or_else(PathBuf::new, PathBuf::from);
            galleries.extend(found.into_iter().map(|gallery| (gallery, folder.clone())));
        }
        Ok(galleries)
    }
}

/// Steps whose output is in the store.
fn finished(plan: &Plan) -> impl Iterator<Item = (&Step, &Entry)> {
    plan.steps().iter().filter_map(|step| match &step.state {
        StepState::UpToDate(entry) => Some((step, entry.as_ref())),
        _ => None,
    })
}

fn step_records(step: &Step, entry: &Entry) -> Result<Vec<Record>, ReportError> {
    let path = entry.dir().join(RECORDS_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut records: Vec<Record> = read_json(&path)?;
    for record in &mut records {
        record.set("stage", step.stage.as_str());
        record.set("run.action", step.kind.as_str());
        record.set("run.id", entry.manifest().description.run.as_str());
        if let Some(seed) = step.seed {
            record.set("seed", seed);
        }
        for (path, value) in &step.values {
            record.set(&format!("config.{path}"), value.clone());
        }
    }
    Ok(records)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, ReportError> {
    let failed = |reason: String| ReportError::Output {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn stage_line(step: &Step, run: &str) -> StageLine {
    let mut line = StageLine {
        name: step.name.clone(),
        kind: step.kind.clone(),
        state: StageState::Stale,
        seconds: None,
        result: String::new(),
    };
    match &step.state {
        StepState::UpToDate(entry) => {
            let description = &entry.manifest().description;
            line.state = if description.run == run {
                StageState::Done
            } else {
                StageState::Fresh
            };
            line.seconds = Some(description.seconds);
            line.result = description
                .results
                .get("summary")
                .map(plain)
                .unwrap_or_default();
        }
        StepState::Failed(state) => {
            line.state = StageState::Failed;
            line.seconds = Some(state.seconds);
        }
        StepState::Resumable(_) => line.state = StageState::Interrupted,
        StepState::Blocked(blockages) => {
            line.state = StageState::Blocked;
            line.result = blockages
                .iter()
                .map(blockage_text)
                .collect::<Vec<_>>()
                .join("; ");
        }
        StepState::WillRun | StepState::Busy(_) => {}
    }
    line
}

fn blockage_text(blockage: &Blockage) -> String {
    match blockage {
        Blockage::Missing(resource) => format!("{} is missing", resource.name),
        Blockage::Input { step } => format!("waits for {step}"),
        Blockage::Unusable { message } => message.clone(),
        Blockage::NoSuchKind { kind } => format!("there is no stage kind {kind}"),
    }
}
