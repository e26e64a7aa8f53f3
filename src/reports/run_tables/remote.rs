//! Runs at Weights & Biases as a source of tables. Conditions are asked as they
//! are: they are in the query language of the service. Only lists in configurations
//! are looked at here: the original sent them as texts in Python's notation, novic
//! sends lists.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::Result;
use super::matching::RunFilter;
use super::source::{LogFailure, RunHead, RunOrigin, RunSource};
use crate::config::schema::{self, Kind};
use crate::reports::printed::Printed;
use crate::reports::python_text::python_repr;
use crate::tracking::wandb::{Client, RemoteRun, RunQuery, WandbError};

/// File of a run that tells of its machine and command line.
const METADATA: &str = "wandb-metadata.json";

/// File of a run with its console.
const LOG: &str = "output.log";

/// The runs of the projects at the service.
#[derive(Debug)]
pub struct WandbRuns {
    client: Client,
}

impl WandbRuns {
    /// Connects to the service at `base_url`, with the key that the user has
    /// for it; the certificates in `ca_file` are trusted too.
    ///
    /// # Errors
    /// There is no key, the address is none, or there are no certificates.
    pub fn open(base_url: &str, ca_file: Option<&Path>) -> Result<Self> {
        let client = Client::open(base_url, ca_file)?;
        Ok(Self { client })
    }

    /// Runs of a project that fulfil conditions, with all that the service tells
    /// of them, newest first.
    ///
    /// # Errors
    /// They cannot be asked for.
    pub fn list(&self, project: &str, conditions: &Value) -> Result<Vec<RemoteRun>> {
        let (entity, project) = split(project);
        Ok(self.client.runs(&RunQuery {
            entity: entity.map(str::to_owned),
            project: project.to_owned(),
            filters: conditions.clone(),
            order: Some("-created_at".to_owned()),
        })?)
    }

    /// All rows that a run logged, in order.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn rows(&self, project: &str, run: &RemoteRun) -> Result<Vec<Map<String, Value>>> {
        let (entity, project) = split(project);
        Ok(self.client.history(entity, project, run, &[])?)
    }

    fn run(&self, project: &str, id: &str) -> Result<RemoteRun> {
        let (entity, project) = split(project);
        Ok(self.client.run(entity, project, id)?)
    }

    /// The content of a file of a run; none if the run has no such file.
    fn file(
        &self,
        project: &str,
        run: &str,
        name: &str,
    ) -> std::result::Result<Option<Vec<u8>>, WandbError> {
        let (entity, project) = split(project);
        let files = self.client.files(entity, project, run, &[name])?;
        let file = files.iter().find(|file| file.name == name);
        file.map(|file| self.client.file_content(file)).transpose()
    }
}

impl RunSource for WandbRuns {
    fn greet(&self, project: &str, out: &mut Printed) {
        out.info("Connecting to wandb API...");
        out.info(format!("Using wandb project: {project}"));
    }

    fn find(&self, project: &str, conditions: &Value) -> Result<Vec<RunHead>> {
        let is_there = with(conditions, &|field| {
            is_list(field).then(|| json!({ "$exists": true }))
        });
        let runs = self.list(project, &is_there)?;
        // What only the service knows, it has answered.
        let known = |field: &str| {
            let is_known = field == "state" || field.starts_with("config.");
            (!is_known).then(|| json!({}))
        };
        let filter = RunFilter::new(&with(conditions, &known))?;
        let heads = runs.into_iter().map(head);
        Ok(heads
            .filter(|run| filter.holds(&|field| value_of(run, field)))
            .collect())
    }

    fn history(&self, project: &str, run: &RunHead) -> Result<Vec<Map<String, Value>>> {
        let remote = self.run(project, &run.id)?;
        self.rows(project, &remote)
    }

    fn origin(&self, project: &str, run: &RunHead) -> Result<RunOrigin> {
        let text = self.file(project, &run.id, METADATA)?;
        let metadata: Value = text
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let args = metadata["args"].as_array().into_iter().flatten();
        Ok(RunOrigin {
            host: metadata["host"].as_str().unwrap_or_default().to_owned(),
            args: args
                .filter_map(|arg| Some(arg.as_str()?.to_owned()))
                .collect(),
        })
    }

    fn log(&self, project: &str, run: &RunHead) -> std::result::Result<String, LogFailure> {
        match self.file(project, &run.id, LOG) {
            Ok(Some(log)) => Ok(String::from_utf8_lossy(&log).into_owned()),
            Ok(None) => Err(LogFailure::Status(404)),
            Err(error) => Err(LogFailure::Connection(error.to_string())),
        }
    }

    fn table(&self, project: &str, run: &RunHead, value: &Value) -> Result<Option<Value>> {
        if value["columns"].is_array() && value["data"].is_array() {
            return Ok(Some(value.clone()));
        }
        let Some(path) = value["path"]
            .as_str()
            .filter(|_| value["_type"] == "table-file")
        else {
            return Ok(None);
        };
        let text = self.file(project, &run.id, path)?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}

/// Conditions with others in the place of those on some fields.
fn with(conditions: &Value, other: &dyn Fn(&str) -> Option<Value>) -> Value {
    let entries = conditions.as_object().into_iter().flatten();
    let changed = entries.map(|(key, value)| {
        let value = match value {
            Value::Array(parts) if key.starts_with('$') => {
                parts.iter().map(|part| with(part, other)).collect()
            }
            // That a field is not there says nothing about its form.
            value if value["$exists"] == false => value.clone(),
            value => other(key).unwrap_or_else(|| value.clone()),
        };
        (key.clone(), value)
    });
    Value::Object(changed.collect())
}

/// Whether a field is a list of the configuration.
fn is_list(field: &str) -> bool {
    let key = field
        .strip_prefix("config.")
        .and_then(schema::key_by_flat_name);
    key.is_some_and(|key| matches!(key.kind, Kind::List(_) | Kind::ListOrText(_)))
}

/// What conditions say something about.
fn value_of(run: &RunHead, field: &str) -> Option<Value> {
    match field {
        "state" => Some(run.state.as_str().into()),
        field => run.config.get(field.strip_prefix("config.")?).cloned(),
    }
}

/// What lists tell of a run.
pub fn head(run: RemoteRun) -> RunHead {
    let text = |(key, value): (String, Value)| match value {
        Value::Array(_) => (key, python_repr(&value).into()),
        value => (key, value),
    };
    RunHead {
        id: run.id,
        state: run.state,
        created_at: run.created_at,
        host: None,
        config: run.config.into_iter().map(text).collect(),
    }
}

/// Entity and project of `ENTITY/PROJECT`.
fn split(project: &str) -> (Option<&str>, &str) {
    match project.split_once('/') {
        Some((entity, project)) => (Some(entity), project),
        None => (None, project),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_matched_as_lists_and_as_texts() {
        let conditions = json!({ "$and": [
            { "state": "finished" },
            { "host": "a" },
            { "config.infer_texts": "[]" },
            { "$or": [{ "config.gencfgs": { "$exists": false } }, { "config.gencfgs": "[]" }] },
        ]});
        let asked = with(&conditions, &|field| {
            is_list(field).then(|| json!({ "$exists": true }))
        });
        assert_eq!(
            asked["$and"][2],
            json!({ "config.infer_texts": { "$exists": true } })
        );
        assert_eq!(asked["$and"][3]["$or"][0], conditions["$and"][3]["$or"][0]);
        assert_eq!(asked["$and"][1], conditions["$and"][1]);
        let of_run = |texts: Value| {
            let config = json!({ "infer_texts": texts });
            head(RemoteRun {
                id: "x".into(),
                name: String::new(),
                state: "finished".into(),
                config: config.as_object().cloned().unwrap_or_default(),
                summary: Map::new(),
                tags: Vec::new(),
                notes: None,
                group: None,
                job_type: None,
                created_at: "2026-01-01T00:00:00".into(),
                rows: 0,
                last_step: None,
            })
        };
        let local = with(&conditions, &|field| (field == "host").then(|| json!({})));
        let filter = RunFilter::new(&local).unwrap();
        let holds = |run: RunHead| filter.holds(&|field| value_of(&run, field));
        assert!(holds(of_run(json!([]))) && holds(of_run(json!("[]"))));
        assert!(!holds(of_run(json!(["a"]))) && !holds(of_run(json!("['a']"))));
    }
}
