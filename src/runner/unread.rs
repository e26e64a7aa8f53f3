//! Overrides of the command line that no stage reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::schema::{self, Key};
use crate::config::{Experiment, Location, Problem, SourceKind, StageSpec, keys_read};

use super::registry::{Registry, reads_of};

/// A warning for every override that changes a value which no stage of the
/// experiment reads, by its kind or by what the schema says of its action.
pub fn unread_overrides(experiment: &Experiment, registry: &Registry) -> Vec<Problem> {
    // By argument and key, since one argument may set several keys.
    let mut overrides: BTreeMap<(String, &str), (Location, bool)> = BTreeMap::new();
    for stage in &experiment.stages {
        let reads = keys_of(stage, registry);
        for key in schema::keys() {
            for given in stage.origins.given(key.path) {
                let source = &given.location.source;
                if source.kind == SourceKind::Argument {
                    let read = reads.contains(key.path);
                    overrides
                        .entry((source.text.clone(), key.path))
                        .and_modify(|(_, any)| *any |= read)
                        .or_insert((given.location.clone(), read));
                }
            }
        }
    }
    let unread = overrides.into_iter().filter(|(_, (_, read))| !read);
    unread
        .filter_map(|((_, path), (location, _))| Some(warning(schema::key(path)?, location)))
        .collect()
}

/// Keys that a stage reads, by its kind or by what the schema says of its action.
pub(super) fn keys_of(stage: &StageSpec, registry: &Registry) -> BTreeSet<&'static str> {
    let action = stage.kind.action();
    let documented = schema::keys()
        .iter()
        .filter(|key| action.is_some_and(|action| key.readers.contains(&action)))
        .map(|key| key.path);
    let kind = registry.get(stage.kind.as_str());
    // Kinds that read what does not exist are found by a test.
    let read = kind.and_then(|kind| keys_read(&reads_of(kind).ok()?).ok());
    let read = read.into_iter().flatten().map(|key| key.path);
    // The runner reads what a stage needs, whatever its kind.
    let needs = schema::keys().iter().map(|key| key.path);
    let needs = needs.filter(|path| path.starts_with("needs."));
    documented.chain(read).chain(needs).collect()
}

fn warning(key: &Key, location: Location) -> Problem {
    let names: Vec<_> = key.readers.iter().map(|action| action.as_str()).collect();
    Problem::warning(format!(
        "no stage of this experiment reads {}: the override has no effect",
        key.path
    ))
    .at(location, "")
    .help(format!("it is read by stages of kind {}", names.join(", ")))
}
