//! Earlier outputs of the same stages: what changed since, and how long they
//! took.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::store::{EntryDescription, Key, Manifest, Project, Store, StoreError};
use crate::tracking::{RunOverview, list_runs};

use super::own_run::has_output;
use super::resource::Resource;

/// Something a stage depends on that differs from its last output.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The program computes it differently.
    Code {
        /// Code version then.
        from: u32,
        /// Code version now.
        to: u32,
    },
    /// A value of the configuration.
    Value {
        /// Its path.
        path: String,
        /// Value then, if the stage read it.
        from: Option<Value>,
        /// Value now, if the stage reads it.
        to: Option<Value>,
    },
    /// Which inputs there are, how often one counts, or the output of one.
    Input {
        /// Name of the stage that makes it.
        stage: String,
        /// Its output then, if it was an input.
        from: Option<Key>,
        /// Its output now, if it is an input and its key is known.
        to: Option<Key>,
    },
    /// The content of an external input.
    Resource {
        /// What it is used for.
        role: String,
        /// Where it is or should be, unless it is in the program.
        path: Option<PathBuf>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or("not read".to_owned(), Value::to_string)
        };
        match self {
            Change::Code { from, to } => write!(f, "code version {from} → {to}"),
            Change::Value { path, from, to } => write!(f, "{path} {} → {}", text(from), text(to)),
            Change::Input { stage, .. } => write!(f, "input {stage}"),
            Change::Resource { role, path: None } => write!(f, "content of {role}"),
            Change::Resource {
                role,
                path: Some(path),
            } => write!(f, "content of {role} ({})", path.display()),
        }
    }
}

/// A stage as it is now.
pub(super) struct Now<'a> {
    pub experiment: &'a str,
    pub stage: &'a str,
    pub seed: Option<u64>,
    pub code_version: u32,
    pub values: &'a Map<String, Value>,
    /// Stage and key of each input, and how often it counts.
    pub inputs: Vec<(String, Option<Key>, u32)>,
    pub resources: &'a [Resource],
}

/// Outputs in the store, read kind by kind when first asked for.
pub(super) struct History<'a> {
    store: &'a Store,
    project: &'a Project,
    kinds: HashMap<String, Vec<Manifest>>,
    /// All runs, once they are asked for.
    runs: Option<Vec<RunOverview>>,
}

impl<'a> History<'a> {
    pub(super) fn new(project: &'a Project, store: &'a Store) -> History<'a> {
        History {
            store,
            project,
            kinds: HashMap::new(),
            runs: None,
        }
    }

    fn of_kind(&mut self, kind: &str) -> Result<&[Manifest], StoreError> {
        if !self.kinds.contains_key(kind) {
            let mut found: Vec<_> = self
                .store
                .entries(kind)?
                .into_iter()
                .map(|entry| entry.manifest().clone())
                .collect();
            found.sort_by_key(|manifest| std::cmp::Reverse(manifest.published_ms));
            self.kinds.insert(kind.to_owned(), found);
        }
        Ok(&self.kinds[kind])
    }

    /// The last output of the same stage: for its seed, else for any, else one
    /// that another experiment made and a run of this one used.
    pub(super) fn last(
        &mut self,
        kind: &str,
        now: &Now<'_>,
    ) -> Result<Option<&Manifest>, StoreError> {
        let same = |manifest: &Manifest| {
            let description = &manifest.description;
            description.experiment == now.experiment && description.stage == now.stage
        };
        let all = self.of_kind(kind)?;
        let of_seed = |manifest: &Manifest| same(manifest) && manifest.description.seed == now.seed;
        let own = all.iter().position(of_seed);
        let own = own.or_else(|| all.iter().position(same));
        let at = match own {
            None if !all.is_empty() => {
                let used = self.used(now);
                let all = self.of_kind(kind)?;
                used.and_then(|key| all.iter().position(|manifest| manifest.key == key))
            }
            own => own,
        };
        Ok(at.and_then(|at| self.of_kind(kind).ok()?.get(at)))
    }

    /// Key with which the newest run of this experiment had the stage.
    fn used(&mut self, now: &Now<'_>) -> Option<Key> {
        let project = self.project;
        let runs = self.runs.get_or_insert_with(|| {
            // Without them there is only less to tell.
            list_runs(project).map(|(runs, _)| runs).unwrap_or_default()
        });
        let of_experiment = runs
            .iter()
            .rev()
            .filter(|run| run.experiment == now.experiment);
        let mut stages = of_experiment.flat_map(|run| &run.stages);
        let is_same = |name: &str| name.split('@').next() == Some(now.stage);
        let found = stages.find(|stage| is_same(&stage.name) && has_output(stage));
        found.and_then(|stage| stage.key.parse().ok())
    }

    /// Time that such a stage took: the last one of the same name, else the
    /// middle one of the kind.
    pub(super) fn expected(
        &mut self,
        kind: &str,
        now: &Now<'_>,
    ) -> Result<Option<Duration>, StoreError> {
        let all = self.of_kind(kind)?;
        let same = all.iter().find(|manifest| {
            manifest.description.experiment == now.experiment
                && manifest.description.stage == now.stage
        });
        let seconds = match same {
            Some(manifest) => Some(manifest.description.seconds),
            None => {
                let mut all: Vec<_> = all
                    .iter()
                    .map(|manifest| manifest.description.seconds)
                    .collect();
                all.sort_by(f64::total_cmp);
                all.get(all.len() / 2).copied()
            }
        };
        Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }
}

/// What a stage depends on that differs from an earlier output.
pub(super) fn changes_since(earlier: &EntryDescription, now: &Now<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    if earlier.code_version != now.code_version {
        changes.push(Change::Code {
            from: earlier.code_version,
            to: now.code_version,
        });
    }
    let empty = Map::new();
    let before = earlier.config.as_object().unwrap_or(&empty);
    for (path, value) in now.values {
        if before.get(path) != Some(value) {
            changes.push(Change::Value {
                path: path.clone(),
                from: before.get(path).cloned(),
                to: Some(value.clone()),
            });
        }
    }
    let dropped = before
        .iter()
        .filter(|(path, _)| !now.values.contains_key(*path));
    changes.extend(dropped.map(|(path, value)| Change::Value {
        path: path.clone(),
        from: Some(value.clone()),
        to: None,
    }));
    changes.extend(changed_inputs(earlier, now));
    let before: Vec<Resource> =
        serde_json::from_value(earlier.resources.clone()).unwrap_or_default();
    let known = |resource: &&Resource| {
        let same = |old: &Resource| old.role == resource.role && old.identity == resource.identity;
        !before.iter().any(same)
    };
    changes.extend(
        now.resources
            .iter()
            .filter(known)
            .map(|resource| Change::Resource {
                role: resource.role.clone(),
                path: resource.path.clone(),
            }),
    );
    changes
}

fn changed_inputs(earlier: &EntryDescription, now: &Now<'_>) -> Vec<Change> {
    let before: Vec<_> = earlier
        .inputs
        .iter()
        .map(|input| (input.stage.clone(), Some(input.key), input.repeat))
        .collect();
    if before == now.inputs {
        return Vec::new();
    }
    let key_in = |inputs: &[(String, Option<Key>, u32)], stage: &str| {
        inputs.iter().find(|input| input.0 == stage)?.1
    };
    let changed = now.inputs.iter().filter(|input| !before.contains(input));
    let gone = before
        .iter()
        .filter(|old| !now.inputs.iter().any(|input| input.0 == old.0));
    let mut changes: Vec<_> = changed
        .map(|(stage, to, _)| Change::Input {
            stage: stage.clone(),
            from: key_in(&before, stage),
            to: *to,
        })
        .chain(gone.map(|(stage, from, _)| Change::Input {
            stage: stage.clone(),
            from: *from,
            to: None,
        }))
        .collect();
    if changes.is_empty() {
        // The same inputs in another order.
        changes.extend(now.inputs.iter().map(|(stage, key, _)| Change::Input {
            stage: stage.clone(),
            from: *key,
            to: *key,
        }));
    }
    changes
}
