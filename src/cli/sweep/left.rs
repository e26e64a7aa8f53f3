//! What earlier runs of a sweep's points left unsent to Weights & Biases.

use std::collections::HashSet;

use crate::runner::Registry;
use crate::runner::mirror::{MirrorEndings, is_online};
use crate::runner::sweep::{Graph, NodeState, Sweep};
use crate::tracking::wandb::{LateMirrors, Say, unsent};

/// It is on its way.
pub(super) struct Left(Option<LateMirrors>);

impl Left {
    /// Of the points so far. What is wrong with them is told elsewhere.
    pub fn start(sweep: &Sweep, registry: &Registry, say: Say) -> Left {
        match sweep.graph(registry) {
            Ok(graph) => Left::of(sweep, &graph, say),
            Err(_) => Left(None),
        }
    }

    /// Of the points of a graph; `say` hears what becomes of it.
    pub fn of(sweep: &Sweep, graph: &Graph, say: Say) -> Left {
        let experiment = sweep.first_experiment().ok().flatten();
        if !experiment.is_some_and(|experiment| experiment.stages.iter().any(is_online)) {
            return Left(None);
        }
        // Steps with partial work go on with their mirrors themselves.
        let nodes = graph
            .nodes
            .iter()
            .filter(|node| !matches!(node.state, NodeState::Open { partial: Some(_) }));
        let keys: HashSet<String> = nodes
            .filter_map(|node| Some(node.id.as_ref()?.key().to_string()))
            .collect();
        match unsent(&sweep.project.runs_dir(), &keys) {
            Ok(states) => Left(LateMirrors::start(states, say)),
            Err(error) => {
                eprintln!("warning: {error}");
                Left(None)
            }
        }
    }

    /// Waits for it, and for the mirrors that are ending, as long as there is time.
    pub fn finish(self, mirrors: &MirrorEndings) {
        if let Some(late) = &self.0 {
            late.hurry();
        }
        mirrors.wait();
        if let Some(late) = self.0 {
            late.finish();
        }
    }
}
