//! The table `[search]` of a sweep file.

use crate::config::{Field, Location, Problem};

use super::axes::{AxisReader, clashes};
use super::fields::{Fields, leaves};
use super::metric::Goal;
use super::spec::{PruneMethod, PrunePlaces, PruneSpec, SearchMethod, SearchSpec};

/// Keys of `[search]`.
pub(super) const KEYS: &[&str] = &["method", "trials", "seed", "startup", "space", "prune"];
/// Keys of `[search.prune]`.
pub(super) const PRUNE: &[&str] = &[
    "method", "stage", "metric", "goal", "resource", "min", "max", "factor",
];

/// Points at random before estimates begin.
const STARTUP: usize = 10;

pub(super) fn read_search(top: &mut Fields<'_>, field: &Field) -> Option<SearchSpec> {
    let place = Location::new(top.source, field.key_span.clone());
    let fields = top.table(field);
    let mut table = Fields {
        source: top.source,
        name: "search",
        problems: top.problems,
    };
    let mut search = SearchSpec {
        method: SearchMethod::Tpe,
        trials: 0,
        seed: 1,
        startup: STARTUP,
        space: Vec::new(),
        prune: None,
    };
    for field in fields {
        match field.key.as_str() {
            "method" => {
                let known = [("tpe", SearchMethod::Tpe), ("random", SearchMethod::Random)];
                search.method = table.choice(field, &known).unwrap_or(search.method);
            }
            "trials" => search.trials = table.count(field, 1).unwrap_or(1) as usize,
            "seed" => search.seed = table.count(field, 0).unwrap_or(1),
            "startup" => search.startup = table.count(field, 1).unwrap_or(1) as usize,
            "space" => {
                let fields = table.table(field);
                let mut reader = AxisReader::of(&mut table);
                search.space = leaves(fields)
                    .iter()
                    .filter_map(|(key, node)| reader.dimension(key, node))
                    .collect();
            }
            "prune" => search.prune = read_prune(&mut table, field),
            _ => table.unknown(field, KEYS),
        }
    }
    for (at, dimension) in search.space.iter().enumerate() {
        let earlier = &search.space[..at];
        if let Some(other) = earlier.iter().find(|d| clashes(&d.path, &dimension.path)) {
            let title = format!("the search varies `{}` twice", dimension.path);
            let places = dimension.location.iter().chain(&other.location);
            let problem = places.fold(Problem::error(title), |p, at| p.at(at.clone(), ""));
            table.problems.push(problem);
        }
    }
    if search.space.is_empty() {
        let problem = Problem::error("the search has nothing to vary").at(place.clone(), "");
        let help = "write [search.space] and under it KEY = \"interval(low, high)\"";
        table.problems.push(problem.help(help));
    }
    if search.trials == 0 {
        let problem = Problem::error("the search does not say how many points it may try");
        table
            .problems
            .push(problem.at(place, "").help("write trials = 50"));
    }
    Some(search)
}

fn read_prune(above: &mut Fields<'_>, field: &Field) -> Option<PruneSpec> {
    let place = Location::new(above.source, field.key_span.clone());
    let fields = above.table(field);
    let mut table = Fields {
        source: above.source,
        name: "search.prune",
        problems: above.problems,
    };
    let mut prune = PruneSpec {
        method: PruneMethod::Asha,
        stage: "train".to_owned(),
        metric: String::new(),
        goal: Goal::Max,
        resource: String::new(),
        min: 1.0,
        max: 0.0,
        factor: 3.0,
        places: PrunePlaces {
            stage: Some(place.clone()),
            ..PrunePlaces::default()
        },
    };
    let mut goal = None;
    for field in fields {
        match field.key.as_str() {
            "method" => {
                let known = [
                    ("asha", PruneMethod::Asha),
                    ("hyperband", PruneMethod::Hyperband),
                ];
                prune.method = table.choice(field, &known).unwrap_or(prune.method);
            }
            "stage" => {
                prune.stage = table.text(field).unwrap_or_default();
                prune.places.stage = Some(table.at(&field.value));
            }
            "metric" => {
                prune.metric = table.text(field).unwrap_or_default();
                prune.places.metric = Some(table.at(&field.value));
            }
            "resource" => {
                prune.resource = table.text(field).unwrap_or_default();
                prune.places.resource = Some(table.at(&field.value));
            }
            "goal" => goal = table.choice(field, &[("min", Goal::Min), ("max", Goal::Max)]),
            "min" => prune.min = table.number(field).unwrap_or(1.0),
            "max" => prune.max = table.number(field).unwrap_or(0.0),
            "factor" => prune.factor = table.number(field).unwrap_or(3.0),
            _ => table.unknown(field, PRUNE),
        }
    }
    prune.goal = goal.unwrap_or_else(|| Goal::usual(&prune.metric));
    let wrong = if prune.metric.is_empty() || prune.resource.is_empty() {
        "name the metric, and the metric that counts how far a trial is (resource)"
    } else if !(prune.min > 0.0 && prune.max >= prune.min) {
        "the first look (min) lies above 0, the last one (max) not before it"
    } else if prune.factor <= 1.0 {
        "the factor is above 1: one of so many trials goes on at every look"
    } else {
        return Some(prune);
    };
    table.problems.push(
        Problem::error("it is not clear which trials are to end early")
            .at(place, "")
            .help(wrong),
    );
    None
}
