//! The local run records as a source of tables: every finished stage of a run
//! counts as what the original calls a run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::{Result, RunTablesError};
use super::matching::RunFilter;
use super::source::{LogFailure, RunHead, RunOrigin, RunSource};
use crate::config::schema::{self, Action};
use crate::reports::printed::Printed;
use crate::reports::python_text::python_repr;
use crate::store::{Manifest, Project};
use crate::tracking::{
    RunOverview, RunRecord, StageOutcome, StageOverview, TrackingError, list_runs, read_record,
    read_record_without_metrics,
};

/// The runs of a project.
#[derive(Debug)]
pub struct LocalRuns {
    project: Project,
    runs: Vec<RunOverview>,
    unreadable: Vec<TrackingError>,
    origins: RefCell<HashMap<String, RunOrigin>>,
    trainings: RefCell<HashMap<PathBuf, Option<Training>>>,
}

/// Where and how a run of a project was started.
///
/// # Errors
/// Its record cannot be read.
pub fn recorded_origin(project: &Project, run: &str) -> Result<RunOrigin> {
    // Names come from files of others, too.
    if Path::new(run).file_name() != Some(run.as_ref()) {
        return Err(RunTablesError::Source(format!("there is no run {run}")));
    }
    let record = read_record_without_metrics(&project.runs_dir().join(run))
        .map_err(|error| RunTablesError::Source(error.to_string()))?;
    Ok(RunOrigin {
        host: record
            .environment
            .map(|found| found.host)
            .unwrap_or_default(),
        args: record.header.command.into_iter().skip(1).collect(),
    })
}

/// Which run trained a model.
#[derive(Clone, Debug)]
struct Training {
    run: String,
    stage: String,
}

impl LocalRuns {
    /// Looks at the runs of a project; runs that cannot be read are left out,
    /// and named in the greeting.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub fn open(project: &Project) -> Result<Self> {
        let (runs, unreadable) =
            list_runs(project).map_err(|error| RunTablesError::Source(error.to_string()))?;
        Ok(Self {
            project: project.clone(),
            runs,
            unreadable,
            origins: RefCell::default(),
            trainings: RefCell::default(),
        })
    }

    /// The record of the run of a head, and the name of the stage.
    fn record(&self, id: &str) -> Result<(RunRecord, String)> {
        let (run, stage) = id
            .split_once('/')
            .ok_or_else(|| RunTablesError::Source(format!("there is no run {id}")))?;
        let record = read_record(&self.project.runs_dir().join(run))
            .map_err(|error| RunTablesError::Source(error.to_string()))?;
        Ok((record, stage.to_owned()))
    }

    fn origin_of(&self, run: &str) -> Result<RunOrigin> {
        if let Some(known) = self.origins.borrow().get(run) {
            return Ok(known.clone());
        }
        let origin = recorded_origin(&self.project, run)?;
        let mut origins = self.origins.borrow_mut();
        origins.insert(run.to_owned(), origin.clone());
        Ok(origin)
    }

    /// The training that made a checkpoint of the store; none for other files.
    fn training(&self, checkpoint: &Path) -> Option<Training> {
        let folder = checkpoint.parent()?;
        let found = self.trainings.borrow().get(folder).cloned();
        found.unwrap_or_else(|| {
            let text = std::fs::read_to_string(folder.join("entry.json")).ok();
            let manifest = text.and_then(|text| serde_json::from_str::<Manifest>(&text).ok());
            let training = manifest.map(|manifest| Training {
                run: manifest.description.run,
                stage: manifest.description.stage,
            });
            let mut known = self.trainings.borrow_mut();
            known.insert(folder.to_owned(), training.clone());
            training
        })
    }

    /// Calls models of the store by the runs that trained them, as the original
    /// calls its own.
    fn rename_models(&self, rows: &mut [Map<String, Value>]) {
        let mut renamed: HashMap<String, String> = HashMap::new();
        for row in rows.iter_mut() {
            let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
            let (Some(path), Some(dir), Some(name)) = (
                text("Eval/model_path"),
                text("Eval/model_dir"),
                text("Eval/model_name"),
            ) else {
                continue;
            };
            let path = self.project.working_dir().join(path);
            let Some(training) = self.training(&path) else {
                continue;
            };
            let new_name = format!("{}_{name}", training.stage);
            renamed.insert(
                format!("{dir}/{name}"),
                format!("{}/{new_name}", training.run),
            );
            row.insert("Eval/model_dir".to_owned(), training.run.into());
            row.insert("Eval/model_name".to_owned(), new_name.into());
        }
        for row in rows {
            let data = row
                .get_mut("table_per_model")
                .map(|table| &mut table["data"]);
            for cells in data.and_then(Value::as_array_mut).into_iter().flatten() {
                let model = cells.get_mut(0);
                if let Some(model) = model
                    && let Some(new) = model.as_str().and_then(|old| renamed.get(old))
                {
                    *model = new.as_str().into();
                }
            }
        }
    }

    /// Models that a stage evaluated, in Python's notation.
    fn loaded_models(&self, id: &str) -> Result<Value> {
        let mut models: Vec<Value> = Vec::new();
        for row in self.history_of(id)? {
            let text = |key: &str| row.get(key).and_then(Value::as_str);
            if let (Some(dir), Some(name)) = (text("Eval/model_dir"), text("Eval/model_name")) {
                let model = json!(format!("{dir}/{name}"));
                if !models.contains(&model) {
                    models.push(model);
                }
            }
        }
        Ok(python_repr(&models.into()).into())
    }

    fn history_of(&self, id: &str) -> Result<Vec<Map<String, Value>>> {
        let (record, stage) = self.record(id)?;
        let rows = record.metrics.get(&stage).map(|metrics| metrics.rows());
        let mut rows: Vec<Map<String, Value>> = rows
            .into_iter()
            .flatten()
            .map(|row| {
                let values = row.values.into_iter();
                values
                    .map(|(name, value)| (name, value.to_json()))
                    .collect()
            })
            .collect();
        self.rename_models(&mut rows);
        Ok(rows)
    }
}

impl RunSource for LocalRuns {
    fn greet(&self, _: &str, out: &mut Printed) {
        out.info(format!(
            "Reading the runs in {}",
            self.project.runs_dir().display()
        ));
        for error in &self.unreadable {
            out.warn(format!("Left out: {error}"));
        }
    }

    fn find(&self, _: &str, conditions: &Value) -> Result<Vec<RunHead>> {
        let filter = RunFilter::new(conditions)?;
        let mut found = Vec::new();
        let failure = RefCell::new(None);
        for run in &self.runs {
            for stage in &run.stages {
                let id = format!("{}/{}", run.run, stage.name);
                let keep = |result: Result<Value>| match result {
                    Ok(value) => Some(value),
                    Err(error) => {
                        failure.borrow_mut().get_or_insert(error);
                        None
                    }
                };
                let field = |name: &str| match name {
                    "state" => Some(state(stage).into()),
                    "createdAt" => Some(created_at(run).into()),
                    "host" => keep(self.origin_of(&run.run).map(|origin| origin.host.into())),
                    "config.load_model" => Some("".into()),
                    "config.load_models" => keep(self.loaded_models(&id)),
                    name => configured(run, stage, name.strip_prefix("config.")?),
                };
                if filter.holds(&field) {
                    found.push(head(id.clone(), run, stage));
                }
                if let Some(error) = failure.take() {
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    fn history(&self, _: &str, run: &RunHead) -> Result<Vec<Map<String, Value>>> {
        self.history_of(&run.id)
    }

    fn origin(&self, _: &str, run: &RunHead) -> Result<RunOrigin> {
        let run = run
            .id
            .split_once('/')
            .map_or(run.id.as_str(), |(run, _)| run);
        self.origin_of(run)
    }

    fn log(&self, _: &str, run: &RunHead) -> std::result::Result<String, LogFailure> {
        let failed = |error: RunTablesError| LogFailure::Connection(error.to_string());
        let (record, stage) = self.record(&run.id).map_err(failed)?;
        let lines = record.console().map(|(_, line)| line);
        let own = lines.filter(|line| line.stage.as_ref() == Some(&stage));
        Ok(own.map(|line| format!("[ INFO] {}\n", line.text)).collect())
    }
}

fn head(id: String, run: &RunOverview, stage: &StageOverview) -> RunHead {
    let config = ["action", "hydra_name", "infer_image_dir"].map(|key| {
        let value = configured(run, stage, key).unwrap_or_default();
        (key.to_owned(), value)
    });
    RunHead {
        id,
        state: state(stage).to_owned(),
        created_at: created_at(run),
        host: None,
        config: config.into_iter().collect(),
    }
}

fn created_at(run: &RunOverview) -> String {
    let time = i64::try_from(run.started_ms).ok();
    let time = time.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// What the original would call the state of the run. Only what was done counts
/// as finished: what was up to date stands in the run that did it.
fn state(stage: &StageOverview) -> &'static str {
    match stage.outcome {
        Some(StageOutcome::Done) => "finished",
        Some(StageOutcome::Failed) => "failed",
        Some(StageOutcome::Interrupted) => "killed",
        Some(StageOutcome::UpToDate) => "up_to_date",
        Some(StageOutcome::Blocked | StageOutcome::Skipped) => "skipped",
        None => "running",
    }
}

/// A value of the flat configuration of a stage, lists as texts.
fn configured(run: &RunOverview, stage: &StageOverview, key: &str) -> Option<Value> {
    match key {
        "action" => {
            let action: Action = stage.kind.parse().ok()?;
            return Some(action.as_str().into());
        }
        "hydra_name" => return Some(run.run.as_str().into()),
        _ => {}
    }
    let key = schema::key_by_flat_name(key)?;
    // Stages of several seeds are called `NAME@SEED`.
    let name = stage.name.split('@').next().unwrap_or(&stage.name);
    let own = run.values.get(&format!("stage.{name}.{}", key.path));
    let value = own.or_else(|| run.values.get(key.path)).cloned();
    let value = value.unwrap_or_else(|| (key.default)());
    Some(match value {
        Value::Array(_) => python_repr(&value).into(),
        other => other,
    })
}
