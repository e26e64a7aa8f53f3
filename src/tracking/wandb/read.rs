//! Reading runs back from the service: lists by filters, whole histories,
//! files. For tables; the local store is asked first.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Client;
use super::encodings::config_values;
use super::error::WandbError;
use super::fault::Fault;
use super::graphql::object;

/// Longest time of a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs or files per page.
const PAGE: u64 = 50;

/// Steps per page of a history.
const STEPS: i64 = 1000;

/// Tries of a request that fails in passing.
const TRIES: u32 = 5;

const FIELDS: &str = "id name displayName state config summaryMetrics tags notes group jobType \
commit createdAt heartbeatAt historyLineCount";

/// Fields that older servers lack.
const NEWER_FIELDS: &str = "historyKeys";

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunQuery {
    /// Entity; none: that of the key.
    pub entity: Option<String>,
    /// Project.
    pub project: String,
    /// Conditions in the query language of the service: `$and`, `$or`, `$in`,
    /// `$ne`, `$gt`, `$lt`, `$exists`, `$regex` and equality over `state`,
    /// `createdAt`, `host`, `config.KEY`, `summary_metrics.KEY`.
    pub filters: Value,
    /// `+created_at` (default), `-created_at`, `-summary_metrics.KEY` …
    pub order: Option<String>,
}

/// A run at the service.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteRun {
    /// Its id.
    pub id: String,
    /// What people see.
    pub name: String,
    /// `running`, `finished`, `failed`, `crashed` …
    pub state: String,
    /// Values of the configuration.
    pub config: Map<String, Value>,
    /// The summary.
    pub summary: Map<String, Value>,
    /// Tags.
    pub tags: Vec<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Group.
    pub group: Option<String>,
    /// Job type.
    pub job_type: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Rows of its history.
    pub rows: u64,
    /// Its last step, as far as the service tells.
    pub last_step: Option<i64>,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Where it is.
    pub url: String,
}

impl RemoteRun {
    fn of(node: &Value) -> RemoteRun {
        let text = |name: &str| node[name].as_str().map(str::to_owned);
        let summary = object(&node["summaryMetrics"]);
        let last_step = node["historyKeys"]["lastStep"].as_i64();
        let last_step = last_step.or_else(|| summary.get("_step").and_then(Value::as_i64));
        let tags = node["tags"].as_array().into_iter().flatten();
        RemoteRun {
            id: text("name").unwrap_or_default(),
            name: text("displayName").unwrap_or_default(),
            state: text("state").unwrap_or_default(),
            config: config_values(&object(&node["config"])),
            tags: tags
                .filter_map(|tag| Some(tag.as_str()?.to_owned()))
                .collect(),
            notes: text("notes"),
            group: text("group"),
            job_type: text("jobType"),
            created_at: text("createdAt").unwrap_or_default(),
            rows: node["historyLineCount"].as_u64().unwrap_or(0),
            last_step,
            summary,
        }
    }
}

impl Client {
    /// All runs that fulfil a query.
    ///
    /// # Errors
    /// The service does not answer, or does not take the query.
    pub fn runs(&self, query: &RunQuery) -> Result<Vec<RemoteRun>, WandbError> {
        let filters = match &query.filters {
            Value::Null => json!({}),
            filters => filters.clone(),
        };
        let mut variables = json!({
            "project": query.project,
            "entity": query.entity,
            "filters": filters.to_string(),
            "order": query.order,
            "first": PAGE,
            "after": null,
        });
        let text = |fields: &str| {
            format!(
                "query Runs($project: String, $entity: String, $filters: JSONString, \
                 $order: String, $first: Int, $after: String) {{ project(name: $project, \
                 entityName: $entity) {{ runs(filters: $filters, order: $order, first: $first, \
                 after: $after) {{ edges {{ node {{ {fields} }} cursor }} \
                 pageInfo {{ endCursor hasNextPage }} }} }} }}"
            )
        };
        let mut found = Vec::new();
        loop {
            let data = self.ask_with_fields("Runs", text, &variables)?;
            let page = &data["project"]["runs"];
            let edges = page["edges"].as_array().into_iter().flatten();
            found.extend(edges.map(|edge| RemoteRun::of(&edge["node"])));
            match next_page(page) {
                Some(cursor) => variables["after"] = cursor,
                None => return Ok(found),
            }
        }
    }

    /// One run.
    ///
    /// # Errors
    /// There is none of this id, or the service does not answer.
    pub fn run(
        &self,
        entity: Option<&str>,
        project: &str,
        run: &str,
    ) -> Result<RemoteRun, WandbError> {
        let variables = json!({ "project": project, "entity": entity, "run": run });
        let text = |fields: &str| {
            format!(
                "query Run($project: String, $entity: String, $run: String!) {{ \
                 project(name: $project, entityName: $entity) {{ run(name: $run) {{ {fields} }} \
                 }} }}"
            )
        };
        let data = self.ask_with_fields("Run", text, &variables)?;
        let node = &data["project"]["run"];
        if node.is_object() {
            return Ok(RemoteRun::of(node));
        }
        Err(unknown_run(entity, project, run))
    }

    /// The whole history of a run, not sampled, in order. With `keys`, the rows
    /// that have all of them.
    ///
    /// # Errors
    /// The service does not answer.
    pub fn history(
        &self,
        entity: Option<&str>,
        project: &str,
        run: &RemoteRun,
        keys: &[&str],
    ) -> Result<Vec<Map<String, Value>>, WandbError> {
        const HISTORY: &str = "query History($project: String, $entity: String, $run: String!, \
            $min: Int64, $max: Int64, $samples: Int) { project(name: $project, \
            entityName: $entity) { run(name: $run) { history(minStep: $min, maxStep: $max, \
            samples: $samples) } } }";
        let mut rows = Vec::new();
        let mut from = 0;
        let mut empty_after_last = false;
        loop {
            let variables = json!({
                "project": project, "entity": entity, "run": run.id,
                "min": from, "max": from + STEPS, "samples": STEPS,
            });
            let data = self.ask("History", HISTORY, &variables)?;
            let page = data["project"]["run"]["history"].as_array();
            let page = page.ok_or_else(|| unknown_run(entity, project, &run.id))?;
            rows.extend(page.iter().map(object));
            from += STEPS;
            // Steps may have holes; a running run may have more than it said.
            let behind = run.last_step.is_none_or(|last| from > last);
            if behind && (page.is_empty() || rows.len() as u64 >= run.rows || empty_after_last) {
                break;
            }
            empty_after_last = behind;
        }
        rows.retain(|row| keys.iter().all(|key| row.contains_key(*key)));
        Ok(rows)
    }

    /// The files of a run, or those of the given names.
    ///
    /// # Errors
    /// The service does not answer.
    pub fn files(
        &self,
        entity: Option<&str>,
        project: &str,
        run: &str,
        names: &[&str],
    ) -> Result<Vec<RemoteFile>, WandbError> {
        const FILES: &str = "query Files($project: String, $entity: String, $run: String!, \
            $names: [String!], $first: Int, $after: String) { project(name: $project, \
            entityName: $entity) { run(name: $run) { files(names: $names, first: $first, \
            after: $after) { edges { node { name directUrl sizeBytes } } \
            pageInfo { endCursor hasNextPage } } } } }";
        let mut variables = json!({
            "project": project, "entity": entity, "run": run, "names": names, "first": PAGE,
            "after": null,
        });
        let mut found = Vec::new();
        loop {
            let data = self.ask("Files", FILES, &variables)?;
            let page = &data["project"]["run"]["files"];
            if !page.is_object() {
                return Err(unknown_run(entity, project, run));
            }
            let edges = page["edges"].as_array().into_iter().flatten();
            found.extend(edges.filter_map(|edge| {
                let node = &edge["node"];
                let bytes = &node["sizeBytes"];
                Some(RemoteFile {
                    name: node["name"].as_str()?.to_owned(),
                    url: node["directUrl"].as_str()?.to_owned(),
                    bytes: bytes
                        .as_u64()
                        .or_else(|| bytes.as_str()?.parse().ok())
                        .unwrap_or(0),
                })
            }));
            match next_page(page) {
                Some(cursor) => variables["after"] = cursor,
                None => return Ok(found),
            }
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// The service does not answer, or has no such file.
    pub fn file_content(&self, file: &RemoteFile) -> Result<Vec<u8>, WandbError> {
        patiently(|| self.get(&file.url, TIMEOUT)).map_err(|fault| self.trouble(fault))
    }

    /// Asks with the fields of newer servers, then without.
    fn ask_with_fields(
        &self,
        operation: &str,
        text: impl Fn(&str) -> String,
        variables: &Value,
    ) -> Result<Value, WandbError> {
        let all = text(&format!("{FIELDS} {NEWER_FIELDS}"));
        match self.ask(operation, &all, variables) {
            Err(WandbError::Service {
                fault: Fault::Refused { message, .. },
                ..
            }) if message.contains(NEWER_FIELDS) => self.ask(operation, &text(FIELDS), variables),
            other => other,
        }
    }

    fn ask(&self, operation: &str, query: &str, variables: &Value) -> Result<Value, WandbError> {
        patiently(|| self.graphql(operation, query, variables, TIMEOUT))
            .map_err(|fault| self.trouble(fault))
    }
}

/// The cursor of the next page, if there is one.
fn next_page(page: &Value) -> Option<Value> {
    let info = &page["pageInfo"];
    (info["hasNextPage"] == json!(true) && info["endCursor"].is_string())
        .then(|| info["endCursor"].clone())
}

fn unknown_run(entity: Option<&str>, project: &str, run: &str) -> WandbError {
    WandbError::UnknownRun {
        entity: entity.unwrap_or_default().to_owned(),
        project: project.to_owned(),
        run: run.to_owned(),
    }
}

/// Tries a few times, with growing pauses.
fn patiently<T>(ask: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut failures = 0;
    loop {
        match ask() {
            Err(Fault::Passing { why, after }) => {
                failures += 1;
                if failures == TRIES {
                    return Err(Fault::Passing { why, after });
                }
                let wait = Duration::from_millis(250 << failures);
                std::thread::sleep(after.unwrap_or(wait));
            }
            other => return other,
        }
    }
}
