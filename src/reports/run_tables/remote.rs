//! Runs at Weights & Biases as a source of tables. Conditions are asked as they
//! are: they are in the query language of the service.

use serde_json::{Map, Value};

use super::error::Result;
use super::source::{LogFailure, RunHead, RunOrigin, RunSource};
use crate::reports::printed::Printed;
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
    /// for it.
    ///
    /// # Errors
    /// There is no key, or the address is none.
    pub fn open(base_url: &str) -> Result<Self> {
        let client = Client::open(base_url)?;
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
        let runs = self.list(project, conditions)?;
        Ok(runs.into_iter().map(head).collect())
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

/// What lists tell of a run.
pub fn head(run: RemoteRun) -> RunHead {
    RunHead {
        id: run.id,
        state: run.state,
        created_at: run.created_at,
        host: None,
        config: run.config,
    }
}

/// Entity and project of `ENTITY/PROJECT`.
fn split(project: &str) -> (Option<&str>, &str) {
    match project.split_once('/') {
        Some((entity, project)) => (Some(entity), project),
        None => (None, project),
    }
}
