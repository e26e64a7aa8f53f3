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

/// How much a stage does, said by the product of keys, in units of a result of
/// it. Of several such limits the lowest counts; 0 is none.
const LIMITS: &[(&[&str], &str)] = &[
    (&["train.max_chunks", "train.chunk_scale"], "nouns"),
    (&["train.max_epochs"], "samples"),
];

/// Other keys and sections on which depends how much there is to do, or how long
/// a part of it takes.
const SIZES: &[&str] = &[
    "captions",
    "checkpoint.load",
    "checkpoint.load_many",
    "cls",
    "data.dataset",
    "data.datasets",
    "embedder",
    "eval.samples_max",
    "generate",
    "images",
    "infer.all_images_dir",
    "infer.image_dir",
    "infer.images",
    "infer.texts",
    "model",
    "multiset",
    "nouns",
    "sample",
    "train.stop",
    "wiki",
];

/// So many times as much may be told from a run of less than [`SHORT_SECONDS`],
/// most of which is the start.
const FEW_TIMES: f64 = 20.0;
/// See [`FEW_TIMES`].
const SHORT_SECONDS: f64 = 20.0;

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

    /// Time that such a stage takes: by the one of the same name that did most
    /// nearly as much, the last of these, else by the middle one of the kind;
    /// nothing where the amount of work cannot be known.
    pub(super) fn expected(
        &mut self,
        kind: &str,
        now: &Now<'_>,
    ) -> Result<Option<Expected>, StoreError> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for manifest in self.of_kind(kind)? {
            let earlier = &manifest.description;
            let Some(times) = times_as_much(earlier, now) else {
                continue;
            };
            let seconds = earlier.seconds * times;
            match earlier.experiment == now.experiment && earlier.stage == now.stage {
                true => own.push((times, seconds)),
                false => others.push(seconds),
            }
        }
        let far = |(times, _): &(f64, f64)| times.ln().abs();
        let nearest = own.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
        others.sort_by(f64::total_cmp);
        let found = match nearest {
            Some((times, seconds)) => Some((*seconds, *times != 1.0)),
            None => others
                .get(others.len() / 2)
                .map(|seconds| (*seconds, false)),
        };
        Ok(found.and_then(|(seconds, scaled)| {
            let time = Duration::try_from_secs_f64(seconds).ok()?;
            Some(Expected { time, scaled })
        }))
    }
}

/// Time that a stage takes, by earlier outputs.
pub(super) struct Expected {
    pub time: Duration,
    /// Whether it is worked out from another amount of work.
    pub scaled: bool,
}

/// How many times as much a stage does as for an earlier output, if that can be
/// known.
fn times_as_much(earlier: &EntryDescription, now: &Now<'_>) -> Option<f64> {
    let empty = Map::new();
    let before = earlier.config.as_object().unwrap_or(&empty);
    let mut paths = before.keys().chain(now.values.keys());
    if paths.any(|path| is_size(path) && before.get(path) != now.values.get(path)) {
        return None;
    }
    let inputs = earlier.inputs.iter();
    let inputs = inputs.map(|input| (input.stage.as_str(), input.repeat));
    let inputs_now = now.inputs.iter();
    let inputs_now = inputs_now.map(|(stage, _, repeat)| (stage.as_str(), *repeat));
    let has_path = |resource: &Resource| resource.path.is_some();
    if !inputs.eq(inputs_now) || changed_resources(earlier, now).any(has_path) {
        return None;
    }
    let (old, new) = (limits(before), limits(now.values));
    if old == new {
        return Some(1.0);
    }
    let used = |&row: &usize| old[row].is_some() || new[row].is_some();
    let rows: Vec<usize> = (0..LIMITS.len()).filter(used).collect();
    let unit = |row: usize| match earlier.results[LIMITS[row].1].as_f64() {
        // Of a single limit it does not matter.
        None if rows.len() == 1 => Some(1.0),
        unit => unit,
    };
    let work = |limits: &[Option<f64>]| {
        let set = rows.iter().filter_map(|&row| Some((row, limits[row]?)));
        let all: Option<Vec<f64>> = set.map(|(row, limit)| Some(unit(row)? * limit)).collect();
        all?.into_iter().reduce(f64::min)
    };
    let times = work(&new)? / work(&old)?;
    let told = times <= FEW_TIMES || earlier.seconds >= SHORT_SECONDS;
    (told && times.is_finite() && times > 0.0).then_some(times)
}

/// The limits that a configuration sets, row by row.
fn limits(values: &Map<String, Value>) -> Vec<Option<f64>> {
    let limit = |keys: &[&str]| {
        let given = keys.iter().filter_map(|key| values.get(*key)?.as_f64());
        given.reduce(|a, b| a * b).filter(|product| *product > 0.0)
    };
    LIMITS.iter().map(|(keys, _)| limit(keys)).collect()
}

/// Whether a key is one of [`SIZES`] or stands in such a section.
fn is_size(path: &str) -> bool {
    SIZES.iter().any(|size| {
        let rest = path.strip_prefix(size);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Whether a change may make the output larger or smaller.
pub(super) fn is_resizing(change: &Change) -> bool {
    match change {
        Change::Value { path, .. } => is_size(path),
        Change::Resource { path, .. } => path.is_some(),
        Change::Code { .. } | Change::Input { .. } => false,
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
    changes.extend(
        changed_resources(earlier, now).map(|resource| Change::Resource {
            role: resource.role.clone(),
            path: resource.path.clone(),
        }),
    );
    changes
}

/// External inputs whose content an earlier output was not made of.
fn changed_resources<'a>(
    earlier: &EntryDescription,
    now: &Now<'a>,
) -> impl Iterator<Item = &'a Resource> + use<'a> {
    let before: Vec<Resource> =
        serde_json::from_value(earlier.resources.clone()).unwrap_or_default();
    let resources = now.resources;
    resources.iter().filter(move |resource| {
        let same = |old: &Resource| old.role == resource.role && old.identity == resource.identity;
        !before.iter().any(same)
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn earlier(config: Value, results: Value, seconds: f64) -> EntryDescription {
        EntryDescription {
            code_version: 1,
            stage: "train".into(),
            experiment: "mine".into(),
            seed: None,
            config,
            inputs: Vec::new(),
            resources: json!([]),
            results,
            run: String::new(),
            program: String::new(),
            seconds,
        }
    }

    /// How many times as much the second configuration does as the first.
    fn times(before: Value, now: Value, results: Value, seconds: f64) -> Option<f64> {
        let now = now.as_object().cloned().unwrap_or_default();
        let now = Now {
            experiment: "mine",
            stage: "train",
            seed: None,
            code_version: 1,
            values: &now,
            inputs: Vec::new(),
            resources: &[],
        };
        times_as_much(&earlier(before, results, seconds), &now)
    }

    #[test]
    fn the_time_goes_with_the_amount_of_work() {
        let chunks = |count: u64| json!({"train.max_chunks": count, "train.lr.init": count});
        assert_eq!(times(chunks(10), chunks(10), json!({}), 1.0), Some(1.0));
        assert_eq!(times(chunks(10), chunks(25), json!({}), 1.0), Some(2.5));
        // A short run is mostly its start.
        assert_eq!(times(chunks(3), chunks(100_000), json!({}), 0.3), None);
        assert_eq!(times(chunks(3), chunks(300), json!({}), 60.0), Some(100.0));
        // Without an end, nothing is known.
        assert_eq!(times(chunks(10), chunks(0), json!({}), 1.0), None);
        let bigger = json!({"train.max_chunks": 10, "train.lr.init": 10, "model.layers": 9});
        assert_eq!(times(chunks(10), bigger, json!({}), 1.0), None);
    }

    #[test]
    fn of_two_limits_the_lower_one_counts() {
        let with = |chunks: u64, epochs: u64| {
            json!({
                "train.max_chunks": chunks, "train.chunk_scale": 2.0, "train.max_epochs": epochs,
            })
        };
        let size = json!({"nouns": 100, "samples": 1000});
        // 10 chunks are 2,000 samples, 4 epochs 4,000.
        let times_to = |chunks, epochs| times(with(10, 4), with(chunks, epochs), size.clone(), 1.0);
        assert_eq!(times_to(15, 4), Some(1.5));
        assert_eq!(times_to(100, 4), Some(2.0));
        assert_eq!(times_to(0, 4), Some(2.0));
        assert_eq!(times_to(10, 1), Some(0.5));
        assert_eq!(times(with(10, 4), with(15, 4), json!({}), 1.0), None);
    }
}
