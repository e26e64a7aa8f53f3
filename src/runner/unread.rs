//! Values that nobody reads: overrides that are meant for no stage of an
//! experiment, and keys in the table of a stage whose kind does not read them.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::schema::{self, Key};
use crate::config::{Experiment, Location, Problem, SourceKind, StageSpec, keys_read, nearest};

use super::registry::{Registry, reads_of};

/// A warning for every override, of the command line or of a variable
/// `NOVIC__…`, that changes a value which no stage of the experiment reads, by its
/// kind or by what the schema says of its action.
pub fn unread_overrides(experiment: &Experiment, registry: &Registry) -> Vec<Problem> {
    let mut problems = Vec::new();
    for given in overrides(experiment, registry, |_| true) {
        if !given.read
            && let Some(key) = schema::key(given.path)
        {
            problems.push(warning(key, &given, experiment, registry));
        }
    }
    problems.extend(unread_seed(experiment, registry));
    problems.extend(unknown_metric(experiment, registry));
    problems
}

/// A warning for a plateau of a metric that no stage logs.
fn unknown_metric(experiment: &Experiment, registry: &Registry) -> Option<Problem> {
    let hooks = &experiment.hooks;
    let location = experiment.origins.location("hooks.plateau_metric")?;
    if hooks.plateau.is_empty() {
        return None;
    }
    let mut names = BTreeSet::new();
    for stage in &experiment.stages {
        // Of some kinds, and of those that do not exist, only a run tells.
        let rows = registry.get(stage.kind.as_str())?.rows()?;
        names.extend(rows.iter().copied().flatten().copied());
    }
    let metric = hooks.plateau_metric.as_str();
    if names.contains(metric) {
        return None;
    }
    let title = format!("no stage here logs the metric `{metric}`: hooks.plateau is never called");
    let problem = Problem::warning(title).at(location.clone(), "");
    let near = nearest(metric, names.iter().copied());
    Some(match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => problem,
        None => {
            let names: Vec<_> = names.into_iter().collect();
            problem.help(format!("metrics are {}", names.join(", ")))
        }
    })
}

/// A warning for every override that stages of the experiment read, but none of
/// those that are `chosen` by name.
pub fn unread_by_chosen(
    experiment: &Experiment,
    registry: &Registry,
    chosen: impl Fn(&str) -> bool,
) -> Vec<Problem> {
    let by_any = overrides(experiment, registry, |_| true);
    let by_chosen = overrides(experiment, registry, |stage| chosen(&stage.name));
    let lost = by_any.into_iter().zip(by_chosen);
    let lost = lost.filter(|(any, chosen)| any.read && !chosen.read);
    lost.map(|(given, _)| {
        Problem::warning(format!(
            "no stage that is chosen reads {}: the override has no effect on this run",
            given.path
        ))
        .at(given.location, "")
    })
    .collect()
}

/// An override of a key.
struct Override<'a> {
    path: &'static str,
    location: Location,
    /// The stages that it is for.
    stages: Vec<&'a str>,
    /// Whether one of them that counts reads the key.
    read: bool,
}

/// Overrides by argument or variable and key, since one may set several keys.
fn overrides<'a>(
    experiment: &'a Experiment,
    registry: &Registry,
    counts: impl Fn(&StageSpec) -> bool,
) -> Vec<Override<'a>> {
    let mut found: BTreeMap<(String, &'static str), Override<'a>> = BTreeMap::new();
    for stage in &experiment.stages {
        let reads = match counts(stage) {
            true => keys_of(stage, registry),
            false => BTreeSet::new(),
        };
        for key in schema::keys() {
            for given in stage.origins.given(key.path) {
                let source = &given.location.source;
                // Other variables are not meant for one experiment.
                let meant = match source.kind {
                    SourceKind::Argument => true,
                    SourceKind::Environment => source.text.starts_with("NOVIC__"),
                    _ => false,
                };
                if meant {
                    let name = (source.text.clone(), key.path);
                    let entry = found.entry(name).or_insert_with(|| Override {
                        path: key.path,
                        location: given.location.clone(),
                        stages: Vec::new(),
                        read: false,
                    });
                    entry.stages.push(&stage.name);
                    entry.read |= reads.contains(key.path);
                }
            }
        }
    }
    found.into_values().collect()
}

/// A warning for every key that the table of a stage gives, in a file, although
/// its kind does not read it. What stages have of sections that they share is
/// meant for others, and silent.
pub fn unread_in_tables(experiment: &Experiment, registry: &Registry) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for stage in &experiment.stages {
        // Stages of kind `nothing` read nothing and stand for others.
        if stage.kind.action().is_none() {
            continue;
        }
        let reads = keys_of(stage, registry);
        for key in schema::keys() {
            if reads.contains(key.path) {
                continue;
            }
            let shared = experiment.origins.given(key.path);
            let own = stage.origins.given(key.path).iter().filter(|given| {
                given.location.source.is_file()
                    && !shared.iter().any(|other| other.location == given.location)
            });
            for given in own {
                let title = format!(
                    "stage `{}` of kind `{}` does not read `{}`: the value has no effect",
                    stage.name,
                    stage.kind.as_str(),
                    key.path
                );
                let problem = Problem::warning(title).at(given.location.clone(), "");
                problems.push(problem.help(readers(key, experiment, registry)));
            }
        }
    }
    problems
}

/// Who reads a key: stages of the experiment, else kinds.
fn readers(key: &Key, experiment: &Experiment, registry: &Registry) -> String {
    let stages = experiment.stages.iter();
    let stages = stages.filter(|stage| keys_of(stage, registry).contains(key.path));
    let names: Vec<String> = stages.map(|stage| format!("`{}`", stage.name)).collect();
    match names.is_empty() {
        true => kinds(key),
        false => format!("here it is read by {}", names.join(", ")),
    }
}

/// Kinds that read a key.
fn kinds(key: &Key) -> String {
    let names: Vec<_> = key.readers.iter().map(|action| action.as_str()).collect();
    format!("it is read by stages of kind {}", names.join(", "))
}

/// A warning for `run.seed` where the seeds of the experiment take its place.
fn unread_seed(experiment: &Experiment, registry: &Registry) -> Option<Problem> {
    let given = experiment.origins.given("run.seed").last()?;
    let drawn = |stage: &StageSpec| {
        let kind = registry.get(stage.kind.as_str());
        kind.is_some_and(|kind| kind.draws_random())
    };
    let is_override = !given.location.source.is_file();
    if experiment.info.seeds.is_empty() || !is_override || !experiment.stages.iter().any(drawn) {
        return None;
    }
    let problem = Problem::warning(
        "experiment.seeds gives the seeds: run.seed has no effect on stages that draw random \
         numbers",
    );
    let help = format!("give experiment.seeds=[{}]", given.value);
    Some(problem.at(given.location.clone(), "").help(help))
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

fn warning(
    key: &Key,
    given: &Override<'_>,
    experiment: &Experiment,
    registry: &Registry,
) -> Problem {
    let path = key.path;
    let nobody = given.stages.len() == experiment.stages.len();
    let title = match (nobody, given.stages.as_slice()) {
        (false, [stage]) => {
            format!("stage `{stage}` does not read {path}: the override has no effect")
        }
        _ => format!("no stage of this experiment reads {path}: the override has no effect"),
    };
    let help = match nobody {
        true => kinds(key),
        false => readers(key, experiment, registry),
    };
    Problem::warning(title)
        .at(given.location.clone(), "")
        .help(help)
}
