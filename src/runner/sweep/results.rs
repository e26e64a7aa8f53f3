//! What the points of a sweep came to.

use serde_json::{Value, json};

use crate::store::{Entry, Store};

use super::error::SweepError;
use super::graph::{Graph, NodeState};
use super::metric::{Goal, Metric};
use super::prepare::Sweep;

/// Most metrics of a table that nobody asked for.
const MOST: usize = 6;

/// A point with its values.
#[derive(Clone, Debug)]
pub struct PointResult {
    /// Its number.
    pub point: usize,
    /// Whether all of its steps are done.
    pub done: bool,
    /// Values of the metrics, in their order.
    pub values: Vec<Option<f64>>,
    /// Run that made the last of its outputs.
    pub run: Option<String>,
}

/// Points that differ in the seed only.
#[derive(Clone, Debug)]
pub struct GroupResult {
    /// Its points.
    pub points: Vec<PointResult>,
    /// Means of the metrics over the points that have them.
    pub means: Vec<Option<f64>>,
    /// Standard deviations (n − 1), where there are two points at least.
    pub deviations: Vec<Option<f64>>,
}

impl GroupResult {
    /// Its first point.
    pub fn first(&self) -> usize {
        self.points.first().map_or(0, |point| point.point)
    }

    /// How many of its points have the ranking metric.
    pub fn count(&self, metric: usize) -> usize {
        let points = self.points.iter();
        points
            .filter(|point| point.values[metric].is_some())
            .count()
    }
}

/// The results of a sweep.
#[derive(Clone, Debug)]
pub struct SweepResults {
    /// What was measured; the first ranks the points, if they are ranked.
    pub metrics: Vec<Metric>,
    /// Whether the first metric ranks the points.
    pub ranked: bool,
    /// Which way is better.
    pub goal: Goal,
    /// Groups in the order of their first points.
    pub groups: Vec<GroupResult>,
}

impl SweepResults {
    /// Gathers the results of all active points.
    pub fn collect(
        sweep: &Sweep,
        graph: &Graph,
        store: &Store,
    ) -> Result<SweepResults, SweepError> {
        let mut metrics: Vec<Metric> = sweep.header.ranking().into_iter().collect();
        let ranked = !metrics.is_empty();
        metrics.extend(sweep.header.shown());
        let active: Vec<usize> = sweep.active().collect();
        if metrics.is_empty() {
            metrics = found_metrics(graph, store)?;
        }
        let mut groups: Vec<(Vec<String>, Vec<PointResult>)> = Vec::new();
        let mut places: std::collections::HashMap<String, usize> = Default::default();
        for (place, point) in active.iter().enumerate() {
            let line = &sweep.points[*point];
            let result = point_result(graph, place, *point, &metrics, store)?;
            let name = line.settings.join(" ");
            match places.get(&name) {
                Some(at) => groups[*at].1.push(result),
                None => {
                    places.insert(name, groups.len());
                    groups.push((line.settings.clone(), vec![result]));
                }
            }
        }
        let groups = groups
            .into_iter()
            .map(|(_, points)| group(points, metrics.len()));
        Ok(SweepResults {
            groups: groups.collect(),
            metrics,
            ranked,
            goal: sweep.header.goal(),
        })
    }

    /// Places of the metrics that no finished point has, each with what its stage
    /// has instead.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn unmeasured(
        &self,
        graph: &Graph,
        store: &Store,
    ) -> Result<Vec<(usize, String)>, SweepError> {
        let mut missing = Vec::new();
        for (at, metric) in self.metrics.iter().enumerate() {
            let points = self.groups.iter().flat_map(|group| &group.points);
            if points.clone().any(|point| point.values[at].is_some()) {
                continue;
            }
            for place in (0..graph.points.len()).filter(|place| graph.is_done(*place)) {
                let Some(entry) = output_at(graph, place, &metric.stage, store)? else {
                    continue;
                };
                let known = Metric::known(&metric.stage, &entry);
                let known: Vec<String> = known.iter().map(Metric::to_string).collect();
                let has = match known.is_empty() {
                    true => "nothing was measured there".to_owned(),
                    false => format!("there are {}", known.join(", ")),
                };
                missing.push((at, format!("no finished point has `{metric}`: {has}")));
                break;
            }
        }
        Ok(missing)
    }

    /// The best group, if the points are ranked and one has the metric. The
    /// first of equal ones.
    pub fn best(&self) -> Option<&GroupResult> {
        let mut best: Option<&GroupResult> = None;
        for group in self.groups.iter().filter(|_| self.ranked) {
            let Some(value) = group.means[0] else {
                continue;
            };
            let known = best.and_then(|best| best.means[0]);
            if known.is_none_or(|known| self.goal.is_better(value, known)) {
                best = Some(group);
            }
        }
        best
    }

    /// As JSON.
    pub fn to_json(&self, sweep: &Sweep) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                let line = &sweep.points[group.first()];
                let points: Vec<Value> = group
                    .points
                    .iter()
                    .map(|point| {
                        json!({
                            "point": point.point,
                            "seed": sweep.points[point.point].seed,
                            "done": point.done,
                            "run": point.run,
                            "values": self.named(&point.values),
                        })
                    })
                    .collect();
                json!({
                    "settings": line.settings,
                    "labels": line.labels,
                    "means": self.named(&group.means),
                    "deviations": self.named(&group.deviations),
                    "points": points,
                })
            })
            .collect();
        let best = self.best();
        json!({
            "sweep": sweep.header.name,
            "metric": sweep.header.metric,
            "goal": self.goal.as_str(),
            "best": best.map(|group| json!({
                "settings": sweep.points[group.first()].settings,
                "value": group.means[0],
                "points": group.points.iter().map(|point| point.point).collect::<Vec<_>>(),
            })),
            "groups": groups,
        })
    }

    fn named(&self, values: &[Option<f64>]) -> Value {
        let pairs = self.metrics.iter().zip(values);
        let object: serde_json::Map<String, Value> = pairs
            .map(|(metric, value)| (metric.to_string(), json!(value)))
            .collect();
        object.into()
    }
}

/// The value of a metric at a point.
pub(super) fn value_at(
    graph: &Graph,
    place: usize,
    metric: &Metric,
    store: &Store,
) -> Result<Option<f64>, SweepError> {
    let entry = output_at(graph, place, &metric.stage, store)?;
    Ok(entry.and_then(|entry| metric.of(&entry)))
}

/// What a stage of a point has made, once it is there.
fn output_at(
    graph: &Graph,
    place: usize,
    stage: &str,
    store: &Store,
) -> Result<Option<Entry>, SweepError> {
    for step in &graph.points[place] {
        let node = &graph.nodes[*step];
        if *node.stage == *stage
            && node.state == NodeState::Ready
            && let Some(id) = &node.id
        {
            return Ok(store.get(id)?);
        }
    }
    Ok(None)
}

fn point_result(
    graph: &Graph,
    place: usize,
    point: usize,
    metrics: &[Metric],
    store: &Store,
) -> Result<PointResult, SweepError> {
    let values = metrics
        .iter()
        .map(|metric| value_at(graph, place, metric, store))
        .collect::<Result<_, _>>()?;
    let mut run = None;
    // The last stage that this point has for itself.
    for step in graph.points[place].iter().rev() {
        let node = &graph.nodes[*step];
        if let (NodeState::Ready, Some(id)) = (&node.state, &node.id)
            && node.uses == 1
        {
            run = store
                .get(id)?
                .map(|entry| entry.manifest().description.run.clone());
            break;
        }
    }
    Ok(PointResult {
        point,
        done: graph.is_done(place),
        values,
        run,
    })
}

/// What the last stages of the first finished point have numbers for.
fn found_metrics(graph: &Graph, store: &Store) -> Result<Vec<Metric>, SweepError> {
    let finished = (0..graph.points.len()).find(|place| graph.is_done(*place));
    let Some(place) = finished else {
        return Ok(Vec::new());
    };
    let steps = &graph.points[place];
    let mut metrics = Vec::new();
    for step in steps {
        let node = &graph.nodes[*step];
        let taken = steps
            .iter()
            .any(|other| graph.nodes[*other].inputs.contains(step));
        if let (false, NodeState::Ready, Some(id)) = (taken, &node.state, &node.id)
            && let Some(entry) = store.get(id)?
        {
            metrics.extend(Metric::known(&node.stage, &entry));
        }
    }
    metrics.truncate(MOST);
    Ok(metrics)
}

fn group(points: Vec<PointResult>, metrics: usize) -> GroupResult {
    let numbers = |metric: usize| -> Vec<f64> {
        points
            .iter()
            .filter_map(|point| point.values[metric])
            .collect()
    };
    let mean = |values: &[f64]| {
        let count = values.len() as f64;
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)
    };
    let deviation = |values: &[f64]| {
        let mean = mean(values).filter(|_| values.len() > 1)?;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        Some((squares / (values.len() - 1) as f64).sqrt())
    };
    GroupResult {
        means: (0..metrics).map(|at| mean(&numbers(at))).collect(),
        deviations: (0..metrics).map(|at| deviation(&numbers(at))).collect(),
        points,
    }
}
