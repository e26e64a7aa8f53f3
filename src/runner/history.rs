//! Earlier outputs of the same stages: what changed since, and how long they
//! took.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::store::{Manifest, Store, StoreError};

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
    /// Which inputs there are, or the output of one.
    Input {
        /// Name of the stage that makes it.
        stage: String,
    },
    /// The content of an external input.
    Resource {
        /// What it is used for.
        role: String,
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
            Change::Input { stage } => write!(f, "input {stage}"),
            Change::Resource { role } => write!(f, "content of {role}"),
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
    pub inputs: Vec<(String, Option<String>, u32)>,
    pub resources: &'a [Resource],
}

/// Outputs in the store, read kind by kind when first asked for.
pub(super) struct History<'a> {
    store: &'a Store,
    kinds: HashMap<String, Vec<Manifest>>,
}

impl<'a> History<'a> {
    pub(super) fn new(store: &'a Store) -> History<'a> {
        History {
            store,
            kinds: HashMap::new(),
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

    /// What differs from the last output of the same stage; `None` if there is
    /// none.
    pub(super) fn changes(
        &mut self,
        kind: &str,
        now: &Now<'_>,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let last = self
            .of_kind(kind)?
            .iter()
            .map(|manifest| &manifest.description)
            .find(|description| {
                description.experiment == now.experiment
                    && description.stage == now.stage
                    && description.seed == now.seed
            });
        let Some(last) = last else { return Ok(None) };
        let mut changes = Vec::new();
        if last.code_version != now.code_version {
            changes.push(Change::Code {
                from: last.code_version,
                to: now.code_version,
            });
        }
        let empty = Map::new();
        let before = last.config.as_object().unwrap_or(&empty);
        for (path, value) in now.values {
            if before.get(path) != Some(value) {
                let (from, to) = (before.get(path).cloned(), Some(value.clone()));
                changes.push(Change::Value {
                    path: path.clone(),
                    from,
                    to,
                });
            }
        }
        for (path, value) in before
            .iter()
            .filter(|(path, _)| !now.values.contains_key(*path))
        {
            changes.push(Change::Value {
                path: path.clone(),
                from: Some(value.clone()),
                to: None,
            });
        }
        let inputs: Vec<_> = last
            .inputs
            .iter()
            .map(|input| {
                (
                    input.stage.clone(),
                    Some(input.key.to_string()),
                    input.repeat,
                )
            })
            .collect();
        if inputs != now.inputs {
            let changed = |input: &&(String, Option<String>, u32)| !inputs.contains(input);
            let mut stages: Vec<_> = now
                .inputs
                .iter()
                .filter(changed)
                .map(|input| input.0.clone())
                .collect();
            stages.extend(
                inputs
                    .iter()
                    .filter(|input| !now.inputs.iter().any(|i| i.0 == input.0))
                    .map(|i| i.0.clone()),
            );
            changes.extend(stages.into_iter().map(|stage| Change::Input { stage }));
        }
        let before: Vec<Resource> =
            serde_json::from_value(last.resources.clone()).unwrap_or_default();
        for resource in now.resources {
            if !before
                .iter()
                .any(|old| old.role == resource.role && old.identity == resource.identity)
            {
                changes.push(Change::Resource {
                    role: resource.role.clone(),
                });
            }
        }
        Ok(Some(changes))
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
