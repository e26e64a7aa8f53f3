//! Running a search: a point at a time, or several, each chosen by what the
//! others came to.
//!
//! The points of a search are kept like those of any sweep; what they came to is
//! in the store. A search that goes on therefore asks for the next point with
//! the same trials before it, whatever happened in between.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::{Distribution, Family, Setting};
use crate::runner::registry::Registry;
use crate::runner::search::{Parameter, Tpe, Trial, suggestion};
use crate::tracking::StageOutcome;

use super::axes::{draw, number_setting, out_of_range};
use super::error::SweepError;
use super::folder::PointLine;
use super::graph::{Graph, Node};
use super::prepare::{Sweep, overrides_of};
use super::results::value_at;
use super::spec::{Dimension, DimensionValues, SearchMethod, SearchSpec};
use super::units::UnitSpec;

/// Trials that are looked at ahead.
const MOST_AHEAD: usize = 100;

/// What a search has still to do.
#[derive(Debug)]
pub struct Ahead {
    /// The steps of points like those that it will try.
    pub graph: Graph,
    /// How many points it will try for each of these.
    share: f64,
    /// Points of a trial.
    seeds: usize,
}

impl Ahead {
    /// Whether all points of a seed have a step: where a search goes beyond that is
    /// not known.
    pub fn is_shared(&self, node: &Node) -> bool {
        node.uses > 1 && node.uses * self.seeds >= self.graph.points.len()
    }

    /// How many points will have a step like this one.
    pub fn uses(&self, node: &Node) -> usize {
        (node.uses as f64 * self.share).round() as usize
    }

    /// How often a step like this one will be done.
    pub fn times(&self, node: &Node) -> f64 {
        match self.is_shared(node) {
            true => 1.0,
            false => self.share,
        }
    }
}

/// A point of the space, to look at the experiment with: one whose values go
/// together, if that is found.
pub(super) fn first_point(search: &SearchSpec, family: &Family) -> Vec<Setting> {
    let mut random = ChaCha8Rng::seed_from_u64(search.seed);
    let first = drawn_point(search, &mut random);
    let mut others = (1..MOST_AHEAD).map(|_| drawn_point(search, &mut random));
    match is_possible(family, &first) {
        true => first,
        false => others
            .find(|point| is_possible(family, point))
            .unwrap_or(first),
    }
}

/// The first point with each of the values that are listed: groups and inputs among
/// them bring other files and stages.
pub(super) fn listed_points(search: &SearchSpec, first: &[Setting]) -> Vec<Vec<Setting>> {
    let mut points = Vec::new();
    for dimension in &search.space {
        let DimensionValues::Listed(values) = &dimension.values else {
            continue;
        };
        for value in values {
            let others = first.iter().filter(|one| one.path != dimension.path);
            points.push(sorted(others.chain([value]).cloned().collect()));
        }
    }
    points
}

fn drawn_point(search: &SearchSpec, random: &mut ChaCha8Rng) -> Vec<Setting> {
    let drawn = search.space.iter().map(|one| draw(one, random));
    sorted(drawn.collect())
}

/// Whether the values of a point go together.
fn is_possible(family: &Family, point: &[Setting]) -> bool {
    let fits = point.iter().all(|one| out_of_range(one).is_none());
    fits && family.member(&overrides_of(point)).is_ok()
}

fn sorted(mut settings: Vec<Setting>) -> Vec<Setting> {
    settings.sort_by(|a, b| a.path.cmp(&b.path));
    settings
}

/// The parameter that a key is for a search.
fn parameter(dimension: &Dimension) -> Parameter {
    match &dimension.values {
        DimensionValues::Listed(settings) => Parameter::Choice(settings.len()),
        DimensionValues::Numbers {
            distribution,
            whole,
        } => {
            let whole = whole.then_some(1.0);
            match *distribution {
                Distribution::Interval { low, high, step } => Parameter::Interval {
                    low,
                    high,
                    log: false,
                    step: step.or(whole),
                },
                Distribution::LogInterval { low, high } => Parameter::Interval {
                    low,
                    high,
                    log: true,
                    step: whole,
                },
                Distribution::Normal { mean, deviation } => Parameter::Normal { mean, deviation },
            }
        }
    }
}

/// The settings of values of the parameters.
fn settings_of(search: &SearchSpec, values: &[f64]) -> Vec<Setting> {
    let pairs = search.space.iter().zip(values);
    let settings = pairs.map(|(dimension, value)| match &dimension.values {
        DimensionValues::Listed(settings) => settings[*value as usize].clone(),
        DimensionValues::Numbers { whole, .. } => number_setting(&dimension.path, *value, *whole),
    });
    sorted(settings.collect())
}

/// The values of the parameters at a point; none if it is no point of the space.
fn values_of(search: &SearchSpec, settings: &[Setting]) -> Option<Vec<f64>> {
    let value = |dimension: &Dimension| {
        let setting = settings.iter().find(|s| s.path == dimension.path)?;
        match &dimension.values {
            DimensionValues::Listed(known) => {
                let place = known.iter().position(|other| other.text == setting.text)?;
                Some(place as f64)
            }
            DimensionValues::Numbers { .. } => setting.value.as_f64(),
        }
    };
    search.space.iter().map(value).collect()
}

/// A trial: a point for each seed.
#[derive(Debug, Clone)]
struct Attempt {
    points: Vec<usize>,
    values: Vec<f64>,
    /// What it came to, once it is over; a failure is no number.
    loss: Option<f64>,
}

impl Sweep {
    /// The points that a search does next, at most those of `most` trials: what
    /// was begun first, then new ones, which are added to the sweep. None when
    /// the search is over.
    ///
    /// # Errors
    /// The sweep searches for nothing, or its points cannot be looked at.
    pub fn next_trials(
        &mut self,
        most: usize,
        registry: &Registry,
    ) -> Result<Vec<usize>, SweepError> {
        let Some(search) = self.header.search.clone() else {
            return Ok(Vec::new());
        };
        let attempts = self.attempts(&search, &self.graph(registry)?)?;
        let open = attempts.iter().filter(|attempt| attempt.loss.is_none());
        let open: Vec<usize> = open
            .take(most)
            .flat_map(|attempt| attempt.points.clone())
            .collect();
        if !open.is_empty() {
            return Ok(open);
        }
        let space: Vec<Parameter> = search.space.iter().map(parameter).collect();
        let tpe = Tpe {
            startup: match search.method {
                SearchMethod::Tpe => search.startup,
                SearchMethod::Random => usize::MAX,
            },
            ..Tpe::default()
        };
        let mut trials: Vec<Trial> = attempts
            .into_iter()
            .map(|attempt| Trial {
                values: attempt.values,
                loss: attempt.loss.unwrap_or(f64::NAN),
            })
            .collect();
        let left = search.trials.saturating_sub(trials.len());
        let mut added = Vec::new();
        for _ in 0..left.min(most) {
            let values = suggestion(&tpe, &space, &trials, search.seed);
            added.extend(self.add_trial(&search, &values));
            // Until it is known what it comes to, nothing near it is tried.
            trials.push(Trial {
                values,
                loss: f64::NAN,
            });
        }
        Ok(added)
    }

    /// Adds a trial: a point for each seed.
    fn add_trial(&mut self, search: &SearchSpec, values: &[f64]) -> Vec<usize> {
        let settings = settings_of(search, values);
        let seeds: Vec<Option<u64>> = self.seeds().collect();
        let first = self.points.len();
        for seed in seeds {
            let line = PointLine {
                point: self.points.len(),
                settings: overrides_of(&settings),
                seed,
                labels: Vec::new(),
                added: true,
                dropped: false,
            };
            self.push(line, settings.clone());
        }
        (first..self.points.len()).collect()
    }

    /// How many trials of a search are over: done, failed, ended early, or unable
    /// to run.
    ///
    /// # Errors
    /// What points came to cannot be read.
    pub fn trials_over(&self, graph: &Graph) -> Result<usize, SweepError> {
        let Some(search) = &self.header.search else {
            return Ok(0);
        };
        let attempts = self.attempts(search, graph)?;
        Ok(attempts
            .iter()
            .filter(|attempt| attempt.loss.is_some())
            .count())
    }

    /// What a search has still to do: the points that were begun, and as many
    /// others, drawn from its space, as it has trials left. Where it will go is not
    /// known, but what its points share, and what they cost.
    ///
    /// # Errors
    /// What points came to cannot be read.
    pub fn ahead(&self, graph: &Graph, registry: &Registry) -> Result<Option<Ahead>, SweepError> {
        let Some(search) = &self.header.search else {
            return Ok(None);
        };
        let attempts = self.attempts(search, graph)?;
        let left = search.trials.saturating_sub(attempts.len());
        let open = attempts.iter().filter(|attempt| attempt.loss.is_none());
        let mut points: Vec<(Vec<Setting>, Option<u64>)> = open
            .flat_map(|attempt| &attempt.points)
            .map(|point| (self.settings[*point].clone(), self.points[*point].seed))
            .collect();
        let begun = points.len();
        let mut random = ChaCha8Rng::seed_from_u64(search.seed);
        for _ in 0..left.min(MOST_AHEAD) {
            let settings = drawn_point(search, &mut random);
            if is_possible(&self.family, &settings) {
                points.extend(self.seeds().map(|seed| (settings.clone(), seed)));
            }
        }
        let seeds = self.seeds().count();
        let all = left.saturating_mul(seeds) as f64;
        Ok(Some(Ahead {
            graph: self.graph_of_points(&points, registry)?,
            share: match points.len() - begun {
                0 => 1.0,
                looked_at => all / looked_at as f64,
            },
            seeds,
        }))
    }

    /// Seeds of the points of a trial.
    fn seeds(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        let seeds = self.header.seeds.iter().copied().map(Some);
        let unseeded = self.header.seeds.is_empty().then_some(None);
        seeds.chain(unseeded)
    }

    /// The trials so far. Settings that came about twice are trials of their own.
    fn attempts(&self, search: &SearchSpec, graph: &Graph) -> Result<Vec<Attempt>, SweepError> {
        let seeds = self.header.seeds.len().max(1);
        let outcomes = self.folder.outcomes()?;
        let found = self.metric_values(graph)?;
        let active: Vec<usize> = self.active().collect();
        let mut attempts = Vec::new();
        for (trial, points) in active.chunks(seeds).enumerate() {
            let Some(values) = values_of(search, &self.settings[points[0]]) else {
                continue;
            };
            let known: Vec<f64> = points
                .iter()
                .filter_map(|point| *found.get(point)?)
                .collect();
            let is_over = |point: &usize| {
                let line = outcomes.get(&UnitSpec::point_name(*point));
                line.is_some_and(|line| line.pruned || line.outcome != StageOutcome::Interrupted)
            };
            let mut places = trial * seeds..trial * seeds + points.len();
            let is_blocked = places.any(|place| graph.blockage(place).is_some());
            let loss = if known.len() == points.len() {
                let mean = known.iter().sum::<f64>() / known.len() as f64;
                Some(self.header.goal().loss(mean))
            } else if is_blocked || points.iter().any(is_over) {
                // It failed, was ended early, lacks the metric, or cannot run as
                // long as something is missing.
                Some(f64::NAN)
            } else {
                None
            };
            attempts.push(Attempt {
                points: points.to_vec(),
                values,
                loss,
            });
        }
        Ok(attempts)
    }

    /// Values of the ranking metric by point.
    fn metric_values(&self, graph: &Graph) -> Result<HashMap<usize, Option<f64>>, SweepError> {
        let Some(metric) = self.header.ranking() else {
            return Ok(HashMap::new());
        };
        let store = self.project.store();
        let mut values = HashMap::new();
        for (place, point) in self.active().enumerate() {
            let value = match graph.is_done(place) {
                true => value_at(graph, place, &metric, &store)?,
                false => None,
            };
            values.insert(point, value);
        }
        Ok(values)
    }
}
