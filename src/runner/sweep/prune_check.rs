//! Whether what `[search.prune]` watches is logged.

use crate::config::{Experiment, Location, Problem, nearest};
use crate::runner::registry::Registry;

use super::prepare::{placed, unknown_stage};
use super::spec::PruneSpec;

/// Tells which of stage, metric and resource there are not.
pub(super) fn check(
    experiment: &Experiment,
    prune: &PruneSpec,
    registry: &Registry,
    problems: &mut Vec<Problem>,
) {
    let places = &prune.places;
    let Some(stage) = experiment.stage(&prune.stage) else {
        let problem = unknown_stage(experiment, &prune.stage).help("named under [search.prune]");
        problems.push(placed(problem, places.stage.as_ref()));
        return;
    };
    let kind = registry.get(stage.kind.as_str());
    let Some(rows) = kind.and_then(|kind| kind.rows()) else {
        return;
    };
    if rows.is_empty() {
        let title = format!(
            "stage `{}` logs no metrics while it works: its trials cannot end early",
            stage.name
        );
        let logging = experiment.stages.iter().filter(|other| {
            let kind = registry.get(other.kind.as_str());
            kind.is_some_and(|kind| kind.rows().is_some_and(|rows| !rows.is_empty()))
        });
        let names: Vec<_> = logging.map(|stage| stage.name.as_str()).collect();
        let problem = Problem::error(title).help(match names.is_empty() {
            true => "take [search.prune] out".to_owned(),
            false => format!("stages that do: {}", names.join(", ")),
        });
        problems.push(placed(problem, places.stage.as_ref()));
        return;
    }
    let mut known: Vec<&str> = Vec::new();
    for name in rows.concat() {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let parts = [
        (&prune.metric, places.metric.as_ref()),
        (&prune.resource, places.resource.as_ref()),
    ];
    let before = problems.len();
    for (name, place) in parts {
        if !known.contains(&name.as_str()) {
            problems.push(unknown_metric(&stage.name, name, &known, place));
        }
    }
    let together = rows
        .iter()
        .find(|row| parts.iter().all(|(name, _)| row.contains(&name.as_str())));
    if problems.len() == before && together.is_none() {
        let title = format!(
            "`{}` and `{}` are not in the same rows of stage `{}`",
            prune.metric, prune.resource, stage.name
        );
        let beside = rows.iter().find(|row| row.contains(&prune.metric.as_str()));
        let beside = beside.copied().unwrap_or_default().join(", ");
        let problem = Problem::error(title).help(format!("`{}` is beside {beside}", prune.metric));
        let problem = placed(problem, places.resource.as_ref());
        problems.push(placed(problem, places.metric.as_ref()));
    }
}

fn unknown_metric(stage: &str, name: &str, known: &[&str], place: Option<&Location>) -> Problem {
    let problem = Problem::error(format!("stage `{stage}` does not log `{name}`"));
    let problem = match nearest(name, known.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    };
    placed(problem.help(format!("it logs {}", known.join(", "))), place)
}
