//! The GraphQL operations of a mirror. In the terms of the service, a run is a
//! bucket and a project a model.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::fault::Fault;

const UPSERT_RUN: &str = "mutation UpsertRun($name: String, $project: String, $entity: String, \
$display: String, $group: String, $job: String, $notes: String, $tags: [String!], \
$config: JSONString, $host: String, $program: String, $commit: String, $repo: String) { \
upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, \
displayName: $display, groupName: $group, jobType: $job, notes: $notes, tags: $tags, \
config: $config, host: $host, jobProgram: $program, commit: $commit, jobRepo: $repo}) { \
bucket { id name displayName historyLineCount project { name entity { name } } } inserted } }";

const RESUME_STATUS: &str = "query ResumeStatus($project: String, $entity: String, $name: String!) \
{ model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) { id \
displayName config summaryMetrics tags notes historyLineCount eventsLineCount logLineCount \
historyTail eventsTail } } }";

const RUN_FILES: &str = "mutation RunFiles($entity: String!, $project: String!, $run: String!, \
$files: [String!]!) { createRunFiles(input: {entityName: $entity, projectName: $project, \
runName: $run, files: $files}) { runID uploadHeaders files { name uploadUrl } } }";

const LOG_LINES: &str = "query LogLines($project: String, $entity: String, $run: String!, \
$first: Int, $after: String) { project(name: $project, entityName: $entity) { \
run(name: $run) { logLines(first: $first, after: $after) { edges { node { line } } \
pageInfo { endCursor hasNextPage } } } } }";

/// Console lines per page.
const PAGE: u64 = 5000;

/// What the service says about a run that it made or changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Upserted {
    /// The service's own name of the run.
    pub storage_id: String,
    /// What people see.
    pub display_name: String,
    /// Project.
    pub project: String,
    /// Entity.
    pub entity: String,
}

/// What the service has of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResumeStatus {
    /// Lines of the history.
    pub history: u64,
    /// System samples.
    pub events: u64,
    /// Console lines.
    pub log: u64,
    /// Step after the last one.
    pub next_step: i64,
    /// Largest known time since the start, in s.
    pub runtime: f64,
    /// The configuration, `value` by `value` as it is sent.
    pub config: Map<String, Value>,
    /// The summary.
    pub summary: Map<String, Value>,
}

/// Where a file is to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPlace {
    /// Name of the file.
    pub name: String,
    /// Address to put it to.
    pub url: String,
}

impl Client {
    /// Makes a run or changes it.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn upsert_run(&self, variables: &Value, timeout: Duration) -> Result<Upserted, Fault> {
        let data = self.graphql("UpsertRun", UPSERT_RUN, variables, timeout)?;
        let bucket = &data["upsertBucket"]["bucket"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if bucket["name"].as_str().is_none() {
            return Err(Fault::passing("the answer does not say which run it is of"));
        }
        Ok(Upserted {
            storage_id: text(&bucket["id"]),
            display_name: text(&bucket["displayName"]),
            project: text(&bucket["project"]["name"]),
            entity: text(&bucket["project"]["entity"]["name"]),
        })
    }

    /// What the service has of a run; none if it has no such run.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn resume_status(
        &self,
        entity: Option<&str>,
        project: &str,
        run: &str,
        timeout: Duration,
    ) -> Result<Option<ResumeStatus>, Fault> {
        let variables = json!({ "project": project, "entity": entity, "name": run });
        let data = self.graphql("ResumeStatus", RESUME_STATUS, &variables, timeout)?;
        let bucket = &data["model"]["bucket"];
        if !bucket.is_object() {
            return Ok(None);
        }
        let count = |name: &str| bucket[name].as_u64().unwrap_or(0);
        let summary = object(&bucket["summaryMetrics"]);
        let last_row = tail(&bucket["historyTail"]);
        let last_event = tail(&bucket["eventsTail"]);
        let step = last_row.get("_step").and_then(Value::as_i64);
        let next_step = step.map_or(count("historyLineCount") as i64, |step| step + 1);
        let times = [
            last_row.get("_runtime"),
            last_event.get("_runtime"),
            summary.get("_runtime"),
        ];
        let times = times.into_iter().flatten().filter_map(Value::as_f64);
        Ok(Some(ResumeStatus {
            history: count("historyLineCount"),
            events: count("eventsLineCount"),
            log: count("logLineCount"),
            next_step,
            runtime: times.fold(0.0, f64::max),
            config: object(&bucket["config"]),
            summary,
        }))
    }

    /// Where the files of a run are to be put, and the headers to send along.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn run_files(
        &self,
        (entity, project, run): (&str, &str, &str),
        files: &[&str],
        timeout: Duration,
    ) -> Result<(Vec<UploadPlace>, Vec<String>), Fault> {
        let variables = json!({ "entity": entity, "project": project, "run": run, "files": files });
        let data = self.graphql("RunFiles", RUN_FILES, &variables, timeout)?;
        let made = &data["createRunFiles"];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let places = list(&made["files"]).into_iter().filter_map(|file| {
            Some(UploadPlace {
                name: file["name"].as_str()?.to_owned(),
                url: file["uploadUrl"].as_str()?.to_owned(),
            })
        });
        let headers = list(&made["uploadHeaders"]).into_iter();
        let headers = headers.filter_map(|header| Some(header.as_str()?.to_owned()));
        Ok((places.collect(), headers.collect()))
    }

    /// The first `count` console lines of a run.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn log_lines(
        &self,
        (entity, project, run): (&str, &str, &str),
        count: u64,
        timeout: Duration,
    ) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        let mut after = Value::Null;
        while (lines.len() as u64) < count {
            let first = PAGE.min(count - lines.len() as u64);
            let variables = json!({
                "entity": entity, "project": project, "run": run, "first": first, "after": after,
            });
            let data = self.graphql("LogLines", LOG_LINES, &variables, timeout)?;
            let page = &data["project"]["run"]["logLines"];
            let edges = page["edges"].as_array().cloned().unwrap_or_default();
            let texts = edges.iter().map(|edge| edge["node"]["line"].as_str());
            lines.extend(texts.map(|text| text.unwrap_or_default().to_owned()));
            after = page["pageInfo"]["endCursor"].clone();
            if edges.is_empty() || page["pageInfo"]["hasNextPage"] != json!(true) {
                break;
            }
        }
        lines.truncate(count as usize);
        Ok(lines)
    }
}

/// The object in a JSON text.
pub(super) fn object(text: &Value) -> Map<String, Value> {
    let text = text.as_str().unwrap_or("{}");
    serde_json::from_str(text).unwrap_or_default()
}

/// The last object of a JSON text of a list of JSON texts.
fn tail(text: &Value) -> Map<String, Value> {
    let list: Vec<Value> = text
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    list.last().map(object).unwrap_or_default()
}
