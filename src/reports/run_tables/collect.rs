//! Asks a source for everything that tables need.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

use super::error::{Result, RunTablesError};
use super::filters::{HostTag, Selection};
use super::matching::time;
use super::models::{ModelName, ModelRow};
use super::source::{LogFailure, RunHead, RunSource};
use crate::reports::predictions::normal_form;
use crate::reports::printed::Printed;

/// Where and how a model was trained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrainedBy {
    /// Tag of the machine.
    pub(super) tag: String,
    /// Arguments of the command line.
    pub(super) command: Vec<String>,
}

impl Default for TrainedBy {
    fn default() -> Self {
        Self {
            tag: "-".to_owned(),
            command: vec!["-".to_owned()],
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    /// Rows of evaluations, newest run first.
    pub(super) rows: Vec<ModelRow>,
    /// Trainings by directory of the model.
    pub(super) trained_by: HashMap<String, TrainedBy>,
}

/// Collects from a source.
pub(super) struct Collector<'a> {
    pub(super) source: &'a dyn RunSource,
    pub(super) project: &'a str,
    pub(super) selection: &'a Selection,
    pub(super) host_tag: &'a HostTag,
    pub(super) now: &'a Zoned,
}

impl Collector<'_> {
    /// Finds runs and their rows; `None` if there is nothing to look for.
    pub(super) fn collect(&self, out: &mut Printed) -> Result<Option<Collected>> {
        // Mistakes first, before anything is asked.
        let mut models = self.selection.named_models();
        self.selection.runs(&models, self.now)?;
        self.source.greet(self.project, out);
        let mut collected = Collected::default();
        if let Some(conditions) = self.selection.training_hosts() {
            for run in self.find(&conditions)? {
                let Some(dir) = text(&run.config, "hydra_name").filter(|dir| !dir.is_empty())
                else {
                    continue;
                };
                models.insert(dir.to_owned());
                if !collected.trained_by.contains_key(dir) {
                    let trained_by = self.trained_by(&run)?;
                    collected.trained_by.insert(dir.to_owned(), trained_by);
                }
            }
            if models.is_empty() {
                out.warn("No runs matched fmt_model_hosts specification and no fmt_models were provided either => Nothing to format!");
                return Ok(None);
            }
        }
        let gencfg = &self.selection.gencfg;
        let shows_inference =
            self.selection.table != crate::config::schema::RunsTable::EvalGenClsV1;
        if !gencfg.is_empty() && shows_inference {
            out.info(format!(
                "Limiting inference results to those with gencfg={gencfg}"
            ));
        }
        let runs = self.find(&self.selection.runs(&models, self.now)?)?;
        out.info(format!(
            "Retrieved {} possibly relevant runs from server",
            runs.len()
        ));
        let mut considered = 0;
        for run in &runs {
            considered += 1;
            self.rows(run, &models, &mut collected, out)?;
        }
        out.info(format!(
            "Collected {} relevant data rows from {considered} considered runs",
            collected.rows.len()
        ));
        Ok(Some(collected))
    }

    /// Runs, newest first; of equal age by id.
    fn find(&self, conditions: &Value) -> Result<Vec<RunHead>> {
        let mut runs = self.source.find(self.project, conditions)?;
        let age = |run: &RunHead| Reverse(time(&run.created_at).unwrap_or(Timestamp::MIN));
        runs.sort_by(|left, right| (age(left), &left.id).cmp(&(age(right), &right.id)));
        Ok(runs)
    }

    fn rows(
        &self,
        run: &RunHead,
        models: &BTreeSet<String>,
        collected: &mut Collected,
        out: &mut Printed,
    ) -> Result<()> {
        let action = text(&run.config, "action").unwrap_or_default().to_owned();
        if !["eval", "eval_cls", "infer"].contains(&action.as_str()) {
            return Err(RunTablesError::Action {
                run: run.id.clone(),
                action,
            });
        }
        let history = self.source.history(self.project, run)?;
        let mut log: Option<String> = None;
        for values in &history {
            let (Some(_), Some(dir), Some(name)) = (
                text(values, "Eval/model_path"),
                text(values, "Eval/model_dir"),
                text(values, "Eval/model_name"),
            ) else {
                continue;
            };
            let model = ModelName {
                dir: dir.to_owned(),
                name: name.to_owned(),
            };
            if !models.is_empty() && !models.contains(dir) && !models.contains(&model.spec()) {
                continue;
            }
            self.know_training(dir, collected, out)?;
            let mut row = ModelRow {
                model,
                action: action.clone(),
                values: values.clone(),
                table: None,
                log: None,
            };
            if action == "infer" {
                row.table = self.predictions(run, &history, &row)?;
                if row.table.is_none() {
                    if log.is_none() {
                        log = self.log(run, dir, out);
                    }
                    row.log.clone_from(&log);
                }
            }
            collected.rows.push(row);
        }
        Ok(())
    }

    /// The log of a run; said if it is not there, and tried again later.
    fn log(&self, run: &RunHead, dir: &str, out: &mut Printed) -> Option<String> {
        let reason = match self.source.log(self.project, run) {
            Ok(log) => return Some(log),
            Err(LogFailure::Status(status)) => {
                format!("Unsuccessful request status code {status}")
            }
            Err(LogFailure::Connection(reason)) => reason,
        };
        out.warn(format!(
            "Failed to retrieve run output log for {dir}: {reason}"
        ));
        None
    }

    fn know_training(&self, dir: &str, collected: &mut Collected, out: &mut Printed) -> Result<()> {
        if collected.trained_by.contains_key(dir) {
            return Ok(());
        }
        let runs = self.find(&Selection::training(dir))?;
        if runs.len() > 1 {
            out.warn(format!(
                "Found more than one training run for model dir: {dir}"
            ));
        }
        let trained_by = match runs.first() {
            Some(run) => self.trained_by(run)?,
            None => TrainedBy::default(),
        };
        collected.trained_by.insert(dir.to_owned(), trained_by);
        Ok(())
    }

    fn trained_by(&self, run: &RunHead) -> Result<TrainedBy> {
        let origin = self.source.origin(self.project, run)?;
        Ok(TrainedBy {
            tag: self.host_tag.of(&origin.host),
            command: origin.args,
        })
    }

    /// Predictions of a row's model under its generation configuration, from
    /// the tables that the run logged.
    fn predictions(
        &self,
        run: &RunHead,
        history: &[Map<String, Value>],
        row: &ModelRow,
    ) -> Result<Option<Vec<(String, String)>>> {
        for value in history.iter().filter_map(|row| row.get("table_per_model")) {
            let Some(table) = self.source.table(self.project, run, value)? else {
                continue;
            };
            let nouns = nouns_of(&table, &row.model.spec(), row.text("gen_cfg"));
            if nouns.is_some() {
                return Ok(nouns);
            }
        }
        Ok(None)
    }
}

/// Samples and nouns of a model: columns Model, Sample, then one per generation
/// configuration; the first if none is named.
fn nouns_of(table: &Value, spec: &str, gencfg: Option<&str>) -> Option<Vec<(String, String)>> {
    let columns = table["columns"].as_array()?;
    let column = |name: &str| columns.iter().position(|column| column == name);
    let (model, sample) = (column("Model")?, column("Sample")?);
    let noun = match gencfg {
        Some(gencfg) => column(gencfg)?,
        None => sample + 1,
    };
    let mut nouns: Vec<(String, String)> = Vec::new();
    let mut known = false;
    for cells in table["data"].as_array()? {
        if cells[model] != spec {
            continue;
        }
        known = true;
        if let (Some(sample), Some(noun)) = (cells[sample].as_str(), cells[noun].as_str()) {
            nouns.push((sample.to_owned(), normal_form(noun)));
        }
    }
    known.then_some(nouns)
}

fn text<'a>(values: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    values.get(key).and_then(Value::as_str)
}
