//! What two experiments have different.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cell::Cell;
use super::experiment::Experiment;
use super::origin::{Origin, Origins};
use super::schema;
use super::show::{inputs_json, toml_text, toml_value};
use super::stage::StageSpec;

/// A value that two experiments have different.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentDifference {
    /// Its dotted name; values of one stage begin with `stage.NAME.`, tables and
    /// plots are one value each.
    pub path: String,
    /// The values with their origins; none where a stage, table, plot or price
    /// does not exist.
    pub sides: [Option<(Value, Origin)>; 2],
}

/// What is different in `b`, of the experiment's own sections, of values and
/// stages, and of tables and plots.
pub fn experiment_differences(a: &Experiment, b: &Experiment) -> Vec<ExperimentDifference> {
    let mut found = Vec::new();
    for key in schema::document_keys() {
        // The name is that of the file where none is given.
        if key.path == "experiment.name" && [a, b].iter().all(|e| !e.origins.is_given(key.path)) {
            continue;
        }
        let sides = [a, b].map(|experiment| {
            let value = experiment.document_value(key.path)?;
            Some((value, experiment.origins.origin(key.path)))
        });
        add(&mut found, key.path.to_owned(), sides);
    }
    let [prices_of_a, prices_of_b] = [&a.prices, &b.prices];
    let models: BTreeSet<&String> = prices_of_a.keys().chain(prices_of_b.keys()).collect();
    for model in models {
        let sides = [prices_of_a, prices_of_b].map(|prices| {
            let price = serde_json::to_value(prices.get(model)?).ok()?;
            Some((price, Origin::Default))
        });
        add(&mut found, format!("annotate.gpt.price.{model}"), sides);
    }
    found.extend(stage_differences(a, b));
    let cell = |experiment: &Experiment, path: &str| {
        let cells = &mut experiment.cells.iter();
        let cell = cells.find(|cell| cell.path() == path)?;
        Some((cell.to_json(), Origin::At(cell.location.clone())))
    };
    let paths = a.cells.iter().chain(&b.cells).map(Cell::path);
    for path in paths.collect::<BTreeSet<_>>() {
        let sides = [a, b].map(|experiment| cell(experiment, &path));
        add(&mut found, path, sides);
    }
    found
}

/// What is different in `b` for the stages, in the order of the schema and of
/// the stages. Values that stages have from the shared sections are told once.
pub fn stage_differences(a: &Experiment, b: &Experiment) -> Vec<ExperimentDifference> {
    let mut found = Vec::new();
    for key in schema::keys() {
        let sides = [
            side(&a.config, &a.origins, key.path),
            side(&b.config, &b.origins, key.path),
        ];
        add(&mut found, key.path.to_owned(), sides);
    }
    let added = b
        .stages
        .iter()
        .filter(|stage| a.stage(&stage.name).is_none());
    for stage in a.stages.iter().chain(added) {
        stages(&mut found, &stage.name, [a, b]);
    }
    found
}

fn stages(found: &mut Vec<ExperimentDifference>, name: &str, experiments: [&Experiment; 2]) {
    let both = experiments.map(|experiment| experiment.stage(name));
    let declared = |of: fn(&StageSpec) -> Value| {
        both.map(|stage| {
            let stage = stage?;
            Some((of(stage), Origin::At(stage.location.clone())))
        })
    };
    add(
        found,
        format!("stage.{name}.kind"),
        declared(|s| s.kind.as_str().into()),
    );
    add(
        found,
        format!("stage.{name}.inputs"),
        declared(|s| inputs_json(&s.inputs)),
    );
    let [Some(one), Some(other)] = both else {
        return;
    };
    for key in schema::keys() {
        let path = key.path;
        let own = [
            side(&one.config, &one.origins, path),
            side(&other.config, &other.origins, path),
        ];
        let shared = experiments.map(|e| e.config.get(path));
        let same_as_shared = own
            .iter()
            .zip(&shared)
            .all(|(own, shared)| own.as_ref().map(|own| &own.0) == shared.as_ref());
        if path != "run.action" && !same_as_shared {
            add(found, format!("stage.{name}.{path}"), own);
        }
    }
}

fn side(config: &schema::Config, origins: &Origins, path: &str) -> Option<(Value, Origin)> {
    Some((config.get(path)?, origins.origin(path)))
}

fn add(found: &mut Vec<ExperimentDifference>, path: String, sides: [Option<(Value, Origin)>; 2]) {
    let [a, b] = sides
        .each_ref()
        .map(|side| side.as_ref().map(|side| &side.0));
    if a != b {
        found.push(ExperimentDifference { path, sides });
    }
}

impl ExperimentDifference {
    /// The values as TOML; a stage that does not exist is a dash.
    pub fn texts(&self) -> [String; 2] {
        let name = self.path.split('.').skip(2).collect::<Vec<_>>().join(".");
        let key = schema::key(&self.path)
            .or_else(|| schema::document_key(&self.path))
            .or_else(|| schema::key(&name));
        self.sides.each_ref().map(|side| match (side, key) {
            (None, _) => "–".to_owned(),
            (Some((value, _)), Some(key)) => toml_text(value, key.kind),
            (Some((value, _)), None) => toml_value(value),
        })
    }

    /// As JSON: `path`, and `a` and `b` with `value` and `origin`.
    pub fn to_json(&self) -> Value {
        let secret = schema::document_key(&self.path).is_some_and(|key| key.secret);
        let [a, b] = self.sides.each_ref().map(|side| match side {
            Some((_, origin)) if secret => {
                json!({"value": "(secret)", "origin": origin.to_string()})
            }
            Some((value, origin)) => json!({"value": value, "origin": origin.to_string()}),
            None => Value::Null,
        });
        json!({"path": self.path, "a": a, "b": b})
    }
}
