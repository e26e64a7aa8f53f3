//! Pieces of work: what a worker or a job does at a time.
//!
//! A step that several points share is a piece of its own; what a point has for
//! itself is done together, under one run.

use serde::{Deserialize, Serialize};

use crate::config::schema::Needs;
use crate::store::EntryId;

use super::graph::{Graph, NodeState};

/// A piece of work, as jobs get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Its name: `point 3`, or kind and key of a shared step.
    pub unit: String,
    /// The point, or one that has the step.
    pub point: usize,
    /// How many points need it.
    pub uses: usize,
    /// Stages to do, with the outputs they must make.
    pub steps: Vec<(String, EntryId)>,
}

/// A piece of work with what it waits for.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is.
    pub spec: UnitSpec,
    /// What it occupies: the most that one of its steps does.
    pub needs: Needs,
    /// Pieces that must be done before, by their place.
    pub after: Vec<usize>,
}

impl UnitSpec {
    /// The piece of a point.
    pub fn point_name(point: usize) -> String {
        format!("point {point}")
    }

    /// What people call it.
    pub fn label(&self) -> String {
        match self.uses {
            1 => self.unit.clone(),
            uses => {
                let stages: Vec<_> = self.steps.iter().map(|(stage, _)| stage.as_str()).collect();
                format!("{} (for {uses} points)", stages.join(", "))
            }
        }
    }
}

/// Directory of lists of pieces of work, in the sweep's directory.
pub const LISTS: &str = "launches";

/// The pieces of work that are open, each after those it waits for; `numbers`
/// are the numbers of the points of the graph. Points come in their order, what
/// they share right before the first that needs it.
pub fn units(graph: &Graph, numbers: &[usize]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for (place, steps) in graph.points.iter().enumerate() {
        let is_open = |step: &usize| matches!(graph.nodes[*step].state, NodeState::Open { .. });
        let open: Vec<usize> = steps.iter().copied().filter(is_open).collect();
        for shared in open.iter().filter(|step| graph.nodes[**step].uses > 1) {
            if unit_of[*shared].is_none() {
                unit_of[*shared] = add(&mut units, graph, &unit_of, &[*shared], numbers[place]);
            }
        }
        let own: Vec<usize> = open
            .into_iter()
            .filter(|step| graph.nodes[*step].uses == 1)
            .collect();
        let unit = add(&mut units, graph, &unit_of, &own, numbers[place]);
        for step in own {
            unit_of[step] = unit;
        }
    }
    units
}

fn add(
    units: &mut Vec<Unit>,
    graph: &Graph,
    unit_of: &[Option<usize>],
    steps: &[usize],
    point: usize,
) -> Option<usize> {
    let nodes = || steps.iter().map(|step| &graph.nodes[*step]);
    let uses = nodes().next()?.uses;
    let mut after: Vec<usize> = nodes()
        .flat_map(|node| &node.inputs)
        .filter_map(|input| unit_of[*input])
        .collect();
    after.sort_unstable();
    after.dedup();
    let named: Vec<(String, EntryId)> = nodes()
        .filter_map(|node| Some((node.stage.to_string(), node.id.clone()?)))
        .collect();
    let unit = match uses {
        1 => UnitSpec::point_name(point),
        _ => named.first()?.1.to_string(),
    };
    let cpus: Option<Vec<usize>> = nodes().map(|node| node.needs.cpus).collect();
    units.push(Unit {
        spec: UnitSpec {
            unit,
            point,
            uses,
            steps: named,
        },
        needs: Needs {
            cpus: cpus.and_then(|cpus| cpus.into_iter().max()),
            gpus: nodes().map(|node| node.needs.gpus).max().unwrap_or(0),
            memory: nodes().map(|node| node.needs.memory).fold(0.0, f64::max),
        },
        after,
    });
    Some(units.len() - 1)
}
