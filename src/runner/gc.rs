//! Which outputs can go: by reachability, age and size.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::CellKind;
use crate::store::{EntryId, Manifest, Project, Removal, Store};
use crate::tracking::{RunOverview, RunState, StageOverview, list_runs};

use super::error::RunError;

/// What is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcPolicy {
    /// What no run used for so long.
    pub older_than: Option<Duration>,
    /// So much of what was not used for longest that no more than this stays.
    pub max_bytes: Option<u64>,
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GcReason {
    /// No run that is still listed used it.
    Unreachable,
    /// No run used it for long.
    Old,
    /// The store is too large, and it was not used for longest.
    Size,
}

/// Something in the store.
#[derive(Clone, Debug, Serialize)]
pub struct GcItem {
    /// Its name in the store.
    pub id: EntryId,
    /// Whether it is unfinished work.
    pub unfinished: bool,
    /// Stage that made it, as far as known.
    pub stage: String,
    /// Experiment that made it, as far as known.
    pub experiment: String,
    /// Size.
    pub bytes: u64,
    /// Last use, ms since 1970.
    pub used_ms: u64,
    /// Whether it goes, and why.
    pub reason: Option<GcReason>,
}

/// Everything in the store and what goes.
#[derive(Debug, Serialize)]
pub struct GcPlan {
    /// All outputs and all unfinished work, last used first.
    pub items: Vec<GcItem>,
    /// Directories on their way out whose process was killed.
    pub leftovers: Vec<PathBuf>,
}

impl GcPlan {
    /// Decides what goes. `keep` tells outputs that stay for whatever age and
    /// size, and with them the tables and plots that are made of them, `holds`
    /// those that read their inputs for as long as they are there:
    /// these stay or go together. What a running run uses always stays. Writes
    /// nothing.
    ///
    /// # Errors
    /// The store or the runs cannot be listed.
    pub fn of(
        project: &Project,
        policy: GcPolicy,
        keep: &dyn Fn(&Manifest) -> bool,
        holds: &dyn Fn(&Manifest) -> bool,
    ) -> Result<GcPlan, RunError> {
        let store = Store::new(project.store_dir());
        let (runs, _) = list_runs(project)?;
        let mut manifests = Vec::new();
        let mut items = Vec::new();
        // Unfinished work does not say whose it is; the runs do.
        let stages = runs.iter().flat_map(|run| {
            let stages = run.stages.iter();
            stages.map(move |stage| (stage.key.as_str(), (stage, run)))
        });
        let by_key: HashMap<&str, (&StageOverview, &RunOverview)> = stages.collect();
        for kind in store.kinds()? {
            manifests.extend(
                store
                    .entries(&kind)?
                    .into_iter()
                    .map(|e| e.manifest().clone()),
            );
            for partial in store.partials(&kind)? {
                let key = partial.id.key().to_string();
                let worker = by_key.get(key.as_str());
                items.push(GcItem {
                    stage: worker.map_or_else(String::new, |(stage, _)| stage.name.clone()),
                    experiment: worker.map_or_else(String::new, |(_, run)| run.experiment.clone()),
                    unfinished: true,
                    bytes: partial.bytes,
                    used_ms: partial.touched_ms,
                    id: partial.id,
                    reason: None,
                });
            }
        }
        let uses = Uses::of(&runs, &manifests);
        let mut kept = HashSet::new();
        for manifest in &manifests {
            let Ok(id) = EntryId::new(&manifest.kind, manifest.key) else {
                continue;
            };
            if keep(manifest) || is_cell(manifest) && has_kept_input(manifest, &manifests, keep) {
                kept.insert(id.clone());
            }
            let used = uses.last_ms.get(&id.to_string()).copied().unwrap_or(0);
            items.push(GcItem {
                stage: manifest.description.stage.clone(),
                experiment: manifest.description.experiment.clone(),
                unfinished: false,
                bytes: manifest.bytes,
                used_ms: used.max(manifest.published_ms),
                id,
                reason: None,
            });
        }
        let held = Held::of(&manifests, holds);
        held.use_together(&mut items);
        items.sort_by_key(|item| (std::cmp::Reverse(item.used_ms), item.bytes));
        let fixed = held.with_inputs(kept.iter().map(ToString::to_string).collect());
        choose(&mut items, policy, &uses, &fixed, &held);
        Ok(GcPlan {
            items,
            leftovers: store.doomed()?,
        })
    }

    /// What goes.
    pub fn victims(&self) -> impl Iterator<Item = &GcItem> {
        self.items.iter().filter(|item| item.reason.is_some())
    }

    /// Removes what goes; each output at once or not at all. Returns what was
    /// in use after all and stays.
    ///
    /// # Errors
    /// Something cannot be removed; what went before stays away.
    pub fn execute(&self, project: &Project) -> Result<Vec<EntryId>, RunError> {
        let store = Store::new(project.store_dir());
        let mut busy = Vec::new();
        for item in self.victims() {
            let removal = if item.unfinished {
                store.remove_partial(&item.id)?
            } else {
                store.remove_entry(&item.id)?
            };
            if removal == Removal::Busy {
                busy.push(item.id.clone());
            }
        }
        for dir in &self.leftovers {
            std::fs::remove_dir_all(dir).map_err(crate::store::StoreError::io("remove", dir))?;
        }
        Ok(busy)
    }
}

/// Whether an output is a table or a plot.
fn is_cell(manifest: &Manifest) -> bool {
    let mut kinds = CellKind::ALL.iter();
    kinds.any(|kind| kind.as_str() == manifest.kind)
}

/// Whether an output is made of one that `keep` tells.
fn has_kept_input(
    manifest: &Manifest,
    manifests: &[Manifest],
    keep: &dyn Fn(&Manifest) -> bool,
) -> bool {
    manifest.description.inputs.iter().any(|input| {
        let is_input = |other: &&Manifest| other.kind == input.kind && other.key == input.key;
        manifests.iter().find(is_input).is_some_and(keep)
    })
}

/// Which outputs runs use.
struct Uses {
    /// End of the last run that used it, by its name.
    last_ms: HashMap<String, u64>,
    /// Used by a listed run, or input of what is.
    reachable: HashSet<String>,
    /// Used by a run that is going on, or input of what is.
    live: HashSet<String>,
}

impl Uses {
    fn of(runs: &[RunOverview], manifests: &[Manifest]) -> Uses {
        let mut uses = Uses {
            last_ms: HashMap::new(),
            reachable: HashSet::new(),
            live: HashSet::new(),
        };
        for run in runs {
            for stage in run.stages.iter().filter(|stage| !stage.key.is_empty()) {
                let name = format!("{}/{}", stage.kind, stage.key);
                let last = uses.last_ms.entry(name.clone()).or_default();
                *last = run.last_ms.max(*last);
                if run.state == RunState::Running {
                    uses.live.insert(name.clone());
                }
                uses.reachable.insert(name);
            }
        }
        // Tables and plots are made for a run, after its stages.
        let listed: HashMap<&str, &RunOverview> =
            runs.iter().map(|run| (run.run.as_str(), run)).collect();
        for manifest in manifests {
            let run = listed.get(manifest.description.run.as_str());
            if let Some(run) = run.filter(|_| is_cell(manifest)) {
                let name = format!("{}/{}", manifest.kind, manifest.key);
                uses.last_ms.insert(name.clone(), run.last_ms);
                uses.reachable.insert(name);
            }
        }
        let inputs: HashMap<String, Vec<String>> = manifests
            .iter()
            .map(|manifest| {
                let inputs = manifest.description.inputs.iter();
                let names = inputs.map(|input| format!("{}/{}", input.kind, input.key));
                (
                    format!("{}/{}", manifest.kind, manifest.key),
                    names.collect(),
                )
            })
            .collect();
        for set in [&mut uses.reachable, &mut uses.live] {
            let mut pending: Vec<String> = set.iter().cloned().collect();
            while let Some(name) = pending.pop() {
                for input in inputs.get(&name).into_iter().flatten() {
                    if set.insert(input.clone()) {
                        pending.push(input.clone());
                    }
                }
            }
        }
        uses
    }
}

/// Outputs that read their inputs for as long as they are there.
struct Held {
    /// Inputs by the output that holds them.
    inputs: HashMap<String, Vec<String>>,
}

impl Held {
    fn of(manifests: &[Manifest], holds: &dyn Fn(&Manifest) -> bool) -> Held {
        let holders = manifests.iter().filter(|manifest| holds(manifest));
        let inputs = holders.map(|manifest| {
            let inputs = manifest.description.inputs.iter();
            let names = inputs.map(|input| format!("{}/{}", input.kind, input.key));
            (
                format!("{}/{}", manifest.kind, manifest.key),
                names.collect(),
            )
        });
        Held {
            inputs: inputs.collect(),
        }
    }

    /// `names` with what they hold.
    fn with_inputs(&self, mut names: HashSet<String>) -> HashSet<String> {
        let mut pending: Vec<String> = names.iter().cloned().collect();
        while let Some(name) = pending.pop() {
            for input in self.inputs.get(&name).into_iter().flatten() {
                if names.insert(input.clone()) {
                    pending.push(input.clone());
                }
            }
        }
        names
    }

    /// What is held was used when what holds it was.
    fn use_together(&self, items: &mut [GcItem]) {
        let used: Vec<(String, u64)> = items
            .iter()
            .map(|item| (item.id.to_string(), item.used_ms))
            .collect();
        for (name, used_ms) in used {
            let held = self.with_inputs(HashSet::from([name]));
            for item in items.iter_mut() {
                if held.contains(&item.id.to_string()) {
                    item.used_ms = item.used_ms.max(used_ms);
                }
            }
        }
    }

    /// Whether `name` holds something of `gone`.
    fn needs(&self, name: &str, gone: &HashSet<String>) -> bool {
        let inputs = self.inputs.get(name).into_iter().flatten();
        inputs.into_iter().any(|input| gone.contains(input))
    }
}

/// Marks what goes. `items` are sorted, last used first; what is `fixed` stays
/// for whatever age and size.
fn choose(
    items: &mut [GcItem],
    policy: GcPolicy,
    uses: &Uses,
    fixed: &HashSet<String>,
    held: &Held,
) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let live = held.with_inputs(uses.live.clone());
    for item in items.iter_mut() {
        let name = item.id.to_string();
        if live.contains(&name) {
            continue;
        }
        let age = Duration::from_millis(now.saturating_sub(item.used_ms));
        if !item.unfinished && !uses.reachable.contains(&name) {
            item.reason = Some(GcReason::Unreachable);
        } else if policy.older_than.is_some_and(|limit| age > limit) && !fixed.contains(&name) {
            item.reason = Some(GcReason::Old);
        }
    }
    let Some(max) = policy.max_bytes else { return };
    let staying = |items: &[GcItem]| -> u64 {
        let staying = items.iter().filter(|item| item.reason.is_none());
        staying.map(|item| item.bytes).sum()
    };
    for last in (0..items.len()).rev() {
        if staying(items) <= max {
            break;
        }
        let name = items[last].id.to_string();
        if items[last].reason.is_some() || live.contains(&name) || fixed.contains(&name) {
            continue;
        }
        let mut gone = HashSet::from([name]);
        // What holds it could not be read any more.
        while let Some(more) = items.iter().find(|item| {
            let name = item.id.to_string();
            !gone.contains(&name) && held.needs(&name, &gone)
        }) {
            gone.insert(more.id.to_string());
        }
        for item in items.iter_mut() {
            if item.reason.is_none() && gone.contains(&item.id.to_string()) {
                item.reason = Some(GcReason::Size);
            }
        }
    }
}
