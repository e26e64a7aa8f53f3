//! Which stages go stale when a value changes: every key of the schema is
//! changed once.

use std::collections::BTreeSet;
use std::path::Path;

use super::registry;
use crate::config::schema::{self, Action, Key, Kind};
use crate::config::{Experiment, Request, keys_read};
use crate::runner::{Plan, unread_in_tables};
use crate::store::Project;

/// Every kind of the program, linked where stages can be.
const LINKED: &str = r#"
[embedder]
spec = "openclip:novic/drawings"
[nouns]
vocab_path = "embedded"
vocab_threshold = 6
[noise]
scheme = "GaussElemUniformAngle"
vec_norm = 3.25
angle_min = 45
angle_max = 75
mix_ratio = 0.15
[cls]
datasets = ["fluent-emoji"]
[infer]
texts = ["a fox"]
[sample]
input_dir = "extras/demo"
[wiki]
contact = "someone@example.org"
"#;

/// A file with one stage of each kind; with `linked`, stages take each other's
/// outputs, else each stands alone.
fn experiment(linked: bool) -> String {
    let mut text = LINKED.to_owned();
    for kind in registry().kinds() {
        let name = kind.name();
        let inputs = match name.parse() {
            Ok(Action::Train) => "convert_noun_dataset",
            Ok(Action::EvalCls | Action::EvalClsDecoding | Action::Infer) => "train",
            _ => "",
        };
        text.push_str(&format!("[stage.{name}]\nkind = \"{name}\"\n"));
        if linked && !inputs.is_empty() {
            text.push_str(&format!("inputs = [\"{inputs}\"]\n"));
        }
    }
    text
}

fn load(text: &str, change: Option<String>) -> Option<Experiment> {
    let request = Request {
        file: "test.toml".into(),
        text: Some(text.to_owned()),
        ..Request::default()
    };
    Experiment::load(&request.overrides(change)).ok()
}

/// Names of outputs by stage; none while an external input is unknown.
fn ids(experiment: &Experiment, dir: &Path) -> Vec<(String, Option<String>)> {
    let project = Project::locate(dir, None, None);
    let plan = Plan::in_project(experiment, &registry(), project, false).expect("a plan");
    let steps = plan.steps().iter();
    steps
        .map(|step| {
            (
                step.stage.clone(),
                step.id.as_ref().map(ToString::to_string),
            )
        })
        .collect()
}

/// Values of a key to try, as text of an override.
fn other_values(key: &Key) -> Vec<String> {
    let of = |kind: Kind| -> Vec<String> {
        match kind {
            Kind::Bool => ["true", "false"].map(str::to_owned).into(),
            Kind::Int | Kind::Float => ["1", "2", "24", "48", "0", "96", "0.5", "7.5", "60"]
                .map(str::to_owned)
                .into(),
            Kind::Choice { names, .. } => names.iter().map(|name| format!("\'{name}\'")).collect(),
            Kind::ChoiceOrInt { names } => names.iter().map(|name| (*name).to_owned()).collect(),
            Kind::Fraction => vec!["1/2".to_owned()],
            _ => [
                "other",
                "cpu",
                "./other",
                "tgt0.75",
                "openclip:other/other",
                "1/2",
                "multi",
                "beam_k3",
            ]
            .map(str::to_owned)
            .into(),
        }
    };
    match key.kind {
        Kind::List(element) | Kind::ListOrText(element) => of(*element)
            .iter()
            .map(|value| format!("[{value}]"))
            .collect(),
        kind => of(kind),
    }
}

#[test]
fn a_change_makes_exactly_those_stages_stale_that_read_it_and_those_behind_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let texts = [experiment(true), experiment(false)];
    let bases = texts.each_ref().map(|text| {
        let experiment = load(text, None).expect("a valid file");
        (ids(&experiment, dir.path()), experiment)
    });
    for key in schema::keys() {
        let mut changed = false;
        for (text, (base, experiment)) in texts.iter().zip(&bases) {
            let default = experiment.config.get(key.path);
            let fresh = other_values(key).into_iter().find_map(|value| {
                let loaded = load(text, Some(format!("{}={value}", key.path)))?;
                (loaded.config.get(key.path) != default).then_some(loaded)
            });
            let Some(fresh) = fresh else { continue };
            changed = true;
            check(key, base, &ids(&fresh, dir.path()), experiment);
        }
        assert!(changed, "no other value of {} is allowed", key.path);
    }
}

fn check(
    key: &Key,
    before: &[(String, Option<String>)],
    after: &[(String, Option<String>)],
    experiment: &Experiment,
) {
    let mut stale = BTreeSet::new();
    // As often as the longest chain of stages may be.
    for stage in experiment
        .stages
        .iter()
        .cycle()
        .take(experiment.stages.len().pow(2))
    {
        let kind = registry().get(stage.kind.as_str()).expect("a kind");
        let mut reads = kind.reads().to_vec();
        if kind.draws_random() {
            reads.push("run.seed");
        }
        let read = keys_read(&reads).expect("keys that exist");
        let behind = stage
            .inputs
            .iter()
            .any(|input| stale.contains(&input.stage));
        if behind || read.iter().any(|other| other.path == key.path) {
            stale.insert(stage.name.clone());
        }
    }
    for ((name, before), (_, after)) in before.iter().zip(after) {
        if before.is_none() && after.is_none() {
            continue;
        }
        assert_eq!(
            before != after,
            stale.contains(name),
            "{name} after a change of {}",
            key.path
        );
    }
}

#[test]
fn stages_of_the_shipped_experiments_read_what_their_tables_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("experiments") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let request = Request {
            file,
            ..Request::default()
        };
        let experiment = Experiment::load(&request).expect("a valid experiment");
        let unread = unread_in_tables(&experiment, &registry());
        let titles: Vec<_> = unread.into_iter().map(|problem| problem.title).collect();
        assert!(titles.is_empty(), "{titles:#?}");
        count += 1;
    }
    assert!(count > 5);
}

#[test]
fn kinds_read_what_is_documented_that_they_read() {
    for kind in registry().kinds() {
        let Ok(action) = kind.name().parse::<Action>() else {
            continue;
        };
        for key in keys_read(kind.reads()).expect("keys that exist") {
            // The original measures a single data set there, whole ones, and no noise.
            let more = [
                (Action::EmbedderZeroShot, "cls.datasets"),
                (Action::EvalCls, "eval.samples_max"),
                (Action::TestDataLoader, "noise."),
            ]
            .iter()
            .any(|(reader, path)| *reader == action && key.path.starts_with(path));
            let name = kind.name();
            assert!(
                more || key.readers.contains(&action),
                "{name} reads {}",
                key.path
            );
        }
    }
}

#[test]
fn values_only_people_see_are_part_of_no_key() {
    for kind in registry().kinds() {
        for key in keys_read(kind.reads()).expect("keys that exist") {
            let path = key.path;
            assert!(!key.cosmetic && !path.starts_with("tracking."), "{path}");
        }
    }
}
