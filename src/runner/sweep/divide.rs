//! Stages that are divided among jobs (`launcher.shards`).
//!
//! `nouns:8` puts eight parts in front of the stage `nouns`, which then joins
//! them: the output is the one that it would have made alone.

use crate::config::schema::{LauncherKind, shard_count};
use crate::config::{ConfigErrors, Experiment, Problem, StageInput};

/// Divides the stages that the launcher wants divided.
///
/// # Errors
/// A stage that takes something in cannot be divided.
pub(super) fn divide(experiment: &mut Experiment) -> Result<(), ConfigErrors> {
    if experiment.launcher.kind != LauncherKind::Slurm {
        return Ok(());
    }
    for text in experiment.launcher.shards.clone() {
        let Some((name, parts)) = shard_count(&text) else {
            continue;
        };
        let Some(at) = experiment
            .stages
            .iter()
            .position(|stage| stage.name == name)
        else {
            continue;
        };
        let whole = experiment.stages[at].clone();
        if !whole.inputs.is_empty() {
            let problem = Problem::error(format!(
                "launcher.shards: the stage `{name}` takes something in and cannot be divided"
            ));
            return Err(problem.at(whole.location, "").into());
        }
        let mut divided = Vec::with_capacity(parts + 1);
        for number in 1..=parts {
            let mut part = whole.clone();
            part.name = format!("{name}-{number}-of-{parts}");
            let shard = format!("{number}/{parts}");
            part.config.data.shard.clone_from(&shard);
            divided.push(part);
        }
        let mut join = whole;
        join.inputs = divided
            .iter()
            .map(|part| StageInput {
                stage: part.name.clone(),
                repeat: 1,
                location: join.location.clone(),
            })
            .collect();
        divided.push(join);
        experiment.stages.splice(at..=at, divided);
    }
    Ok(())
}
