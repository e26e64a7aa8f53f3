//! Runs at Weights & Biases as records, with the fields that the records of the
//! same runs in the store have (`from = ["wandb:ENTITY/PROJECT"]`).

mod predictions;
mod rows;

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::field::Field;
use super::local::values_of;
use super::origins;
use super::predictions::ModelPredictions;
use super::record::Record;
use super::run_tables::{HostTag, Result, RunOrigin, RunSource, WandbRuns, head, time};
use super::spec::{SourceKind, SourceSpec};
use super::wanted::Wanted;
use crate::config::schema;
use crate::net::WANDB_SERVICE;
use crate::tracking::wandb::{RemoteRun, ca_file};

/// What sources at the service start with.
pub(super) const PREFIX: &str = "wandb:";

/// Stage kinds whose runs have measured rows.
const MEASURED: [&str; 5] = ["train", "eval", "eval_cls", "eval_cls_decoding", "infer"];

/// Where the service is, and which certificates are trusted beside those of the
/// system.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its address; none: `WANDB_BASE_URL`, else that of Weights & Biases.
    pub base_url: Option<String>,
    /// File with certificates (PEM).
    pub ca_file: Option<PathBuf>,
}

impl Service {
    /// What `tracking.wandb` says.
    pub fn of(config: &schema::TrackingWandb) -> Self {
        Self {
            base_url: Some(config.base_url.clone()),
            ca_file: config.ca_file.as_deref().and_then(ca_file),
        }
    }

    fn open(&self) -> Result<WandbRuns> {
        let variable = std::env::var("WANDB_BASE_URL").ok();
        let variable = variable.filter(|url| !url.is_empty());
        let url = variable.or_else(|| self.base_url.clone());
        let url = url.as_deref().unwrap_or(WANDB_SERVICE);
        WandbRuns::open(url, self.ca_file.as_deref())
    }
}

/// The trainings of a project, and where its runs are.
struct Remote<'a> {
    runs: WandbRuns,
    project: &'a str,
    trainings: Vec<RemoteRun>,
    /// Trainings by the name of the directory that their models lie in.
    by_dir: HashMap<String, usize>,
    origins: HashMap<String, RunOrigin>,
    tag: HostTag,
    wanted: &'a Wanted<'a>,
}

/// Records of a source from a project, with what is to be said about them.
pub(super) fn records(
    source: &SourceSpec,
    project: &str,
    service: &Service,
    wanted: &Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Record>> {
    let remote = Remote::open(project, service, wanted, warnings)?;
    match source.kind {
        SourceKind::Values => {
            let trainings = remote.trainings.iter();
            let everything = Wanted::default();
            let records = trainings.map(|run| remote.training_record(run, &everything));
            return Ok(values_of(records.collect(), wanted));
        }
        SourceKind::Metrics => return remote.metrics(),
        _ => {}
    }
    let mut all = vec![json!({ "config.action": { "$in": MEASURED } })];
    // What the source asks for anyway need not be fetched otherwise.
    for (field, name) in [("run.action", "config.action"), ("run.state", "state")] {
        if let Some(value) = source.condition.required(&Field::new(field)) {
            all.push(json!({ name: value }));
        }
    }
    let found = remote.runs.list(project, &json!({ "$and": all }))?;
    let origins = remote.origins_of(found.iter())?;
    let of_run = |run: &RemoteRun| -> Result<Vec<Record>> {
        let mut records = remote.rows(run)?;
        for record in &mut records {
            remote.describe(record, run, wanted);
            let own = origins.get(&run.id).cloned();
            let train = record.text("model.dir").and_then(|dir| remote.origin(dir));
            origins::set(record, own, train, &remote.tag);
        }
        Ok(records)
    };
    let records: Result<Vec<Vec<Record>>> = found.par_iter().map(of_run).collect();
    Ok(records?.into_iter().flatten().collect())
}

/// Predictions of the inference runs of a project, each with what is known of
/// its run.
pub(super) fn prediction_files(
    project: &str,
    service: &Service,
    wanted: &Wanted<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<(ModelPredictions, Option<Record>)>> {
    let remote = Remote::open(project, service, wanted, warnings)?;
    let runs = json!({ "config.action": "infer" });
    let found = remote.runs.list(project, &runs)?;
    let of_run = |run: &RemoteRun| -> Result<Vec<_>> {
        let files = remote.predictions(run)?;
        let described = files.into_iter().map(|(file, mut record)| {
            remote.describe(&mut record, run, wanted);
            (file, Some(record))
        });
        Ok(described.collect())
    };
    let files: Result<Vec<Vec<_>>> = found.par_iter().map(of_run).collect();
    Ok(files?.into_iter().flatten().collect())
}

impl<'a> Remote<'a> {
    fn open(
        project: &'a str,
        service: &Service,
        wanted: &'a Wanted<'a>,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let runs = service.open()?;
        let mut trainings = runs.list(project, &json!({ "config.action": "train" }))?;
        // Newest first: of several of one name the newest counts.
        trainings.sort_by(|left, right| {
            let age = |run: &RemoteRun| std::cmp::Reverse(time(&run.created_at));
            (age(left), &left.id).cmp(&(age(right), &right.id))
        });
        let mut by_dir: HashMap<String, usize> = HashMap::new();
        for (at, run) in trainings.iter().enumerate() {
            let finished = run.state == "finished";
            let names = ["hydra_name", "novic_key"].map(|key| run.config.get(key));
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                match by_dir.get(name) {
                    _ if name.is_empty() => {}
                    None => {
                        by_dir.insert(name.to_owned(), at);
                    }
                    Some(&known) if trainings[known].state == "finished" && finished => {
                        warnings.push(format!(
                            "{project} has several trainings of {name}; the newest counts"
                        ));
                    }
                    Some(&known) if trainings[known].state != "finished" && finished => {
                        by_dir.insert(name.to_owned(), at);
                    }
                    Some(_) => {}
                }
            }
        }
        warnings.sort_unstable();
        warnings.dedup();
        let mut remote = Self {
            runs,
            project,
            trainings,
            by_dir,
            origins: HashMap::new(),
            tag: HostTag::new(HostTag::ORIGINAL)?,
            wanted,
        };
        remote.origins = remote.origins_of(remote.trainings.iter())?;
        Ok(remote)
    }

    /// Machines and command lines by run id, if they are wanted.
    fn origins_of<'r>(
        &self,
        runs: impl Iterator<Item = &'r RemoteRun>,
    ) -> Result<HashMap<String, RunOrigin>> {
        if !self.wanted.origins {
            return Ok(HashMap::new());
        }
        let runs: Vec<&RemoteRun> = runs.collect();
        let of = |run: &&RemoteRun| -> Result<(String, RunOrigin)> {
            let origin = self.runs.origin(self.project, &head((*run).clone()))?;
            Ok((run.id.clone(), origin))
        };
        runs.par_iter().map(of).collect()
    }

    fn training(&self, dir: &str) -> Option<&RemoteRun> {
        self.by_dir.get(dir).map(|at| &self.trainings[*at])
    }

    fn origin(&self, dir: &str) -> Option<RunOrigin> {
        self.origins.get(&self.training(dir)?.id).cloned()
    }

    /// One record per logged row of all trainings.
    fn metrics(&self) -> Result<Vec<Record>> {
        let finished = self.trainings.iter().filter(|run| run.state == "finished");
        let finished: Vec<&RemoteRun> = finished.collect();
        let of_run = |run: &&RemoteRun| -> Result<Vec<Record>> {
            let common = self.training_record(run, self.wanted);
            let rows = self.runs.rows(self.project, run)?;
            let row = |row: Map<String, Value>| {
                let mut record = common.clone();
                for (name, value) in row {
                    if !name.starts_with('_') && self.wanted.has(&name) {
                        record.set(&name, value);
                    }
                }
                record
            };
            Ok(rows.into_iter().map(row).collect())
        };
        let records: Result<Vec<Vec<Record>>> = finished.par_iter().map(of_run).collect();
        Ok(records?.into_iter().flatten().collect())
    }

    fn training_record(&self, run: &RemoteRun, wanted: &Wanted<'_>) -> Record {
        let mut record = Record::new();
        self.describe(&mut record, run, wanted);
        let own = self.origins.get(&run.id).cloned();
        origins::set(&mut record, own.clone(), own, &self.tag);
        record
    }

    /// Adds to a row what it belongs to: as [`super::local::describe`].
    fn describe(&self, record: &mut Record, run: &RemoteRun, wanted: &Wanted<'_>) {
        let text = |key: &str| run.config.get(key).and_then(Value::as_str);
        let action = text("action").unwrap_or_default();
        record.set("run.id", text("hydra_name").unwrap_or(&run.id));
        record.set("run.name", run.name.as_str());
        record.set("run.action", action);
        record.set("run.state", run.state.as_str());
        record.set("run.created_at", created_at(run));
        if let Some(seed) = run.config.get("determ_seed") {
            record.set("seed", seed.clone());
        }
        if let (Some(split), None) = (run.config.get("cls_split"), record.get("dataset.split")) {
            record.set("dataset.split", split.clone());
        }
        configure(record, "config.", run, wanted);
        let train = match action {
            "train" => Some(run),
            _ => record.text("model_dir").and_then(|dir| self.training(dir)),
        };
        let (dir, name) = (record.text("model_dir"), record.text("model_name"));
        let (mut dir, name) = (dir.map(str::to_owned), name.map(str::to_owned));
        if let Some(train) = train {
            let own = train.config.get("hydra_name").and_then(Value::as_str);
            dir = Some(own.unwrap_or(&train.id).to_owned());
            record.set("train.created_at", created_at(train));
            if let Some(seed) = train.config.get("determ_seed") {
                record.set("train.seed", seed.clone());
            }
            for (key, value) in &train.summary {
                if !key.starts_with('_') {
                    record.set(&format!("train.summary.{key}"), value.clone());
                }
            }
            configure(record, "train.config.", train, wanted);
            let batch = ["batch_size", "accum_factor"];
            let batch = batch.map(|key| train.config.get(key).and_then(Value::as_u64));
            if let [Some(batch), Some(factor)] = batch {
                record.set("train.config.effective_batch", batch * factor);
            }
        }
        if let Some(dir) = dir {
            if let Some(name) = name {
                record.set("model.spec", format!("{dir}/{name}"));
                record.set("model.name", name);
            }
            record.set("model.dir", dir);
        }
    }
}

/// Values of the flat configuration of a run.
fn configure(record: &mut Record, prefix: &str, run: &RemoteRun, wanted: &Wanted<'_>) {
    match &wanted.fields {
        None => {
            for (key, value) in &run.config {
                let known = schema::key_by_flat_name(key).map(|known| known.path);
                let path = known.unwrap_or(key.as_str());
                record.set(&format!("{prefix}{path}"), value.clone());
            }
        }
        Some(fields) => {
            for name in fields.iter().flat_map(|field| field.names()) {
                let value = name
                    .strip_prefix(prefix)
                    .and_then(|key| run.config.get(key));
                if let Some(value) = value {
                    record.set(name, value.clone());
                }
            }
        }
    }
}

fn created_at(run: &RemoteRun) -> String {
    time(&run.created_at).map_or_else(|| run.created_at.clone(), |time| time.to_string())
}
