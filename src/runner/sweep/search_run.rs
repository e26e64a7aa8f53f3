//! Running a search: a point at a time, or several, each chosen by what the
//! others came to.
//!
//! The points of a search are kept like those of any sweep; what they came to is
//! in the store. A search that goes on therefore asks for the next point with
//! the same trials before it, whatever happened in between.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::{Distribution, Setting};
use crate::runner::registry::Registry;
use crate::runner::search::{Parameter, Tpe, Trial, suggestion};
use crate::tracking::StageOutcome;

use super::axes::{draw, number_setting};
use super::error::SweepError;
use super::folder::PointLine;
use super::graph::Graph;
use super::prepare::{Sweep, overrides_of};
use super::results::value_at;
use super::spec::{Dimension, DimensionValues, SearchMethod, SearchSpec};
use super::units::UnitSpec;

/// A point of the space, to look at the experiment with.
pub(super) fn first_point(search: &SearchSpec) -> Vec<Setting> {
    let mut random = ChaCha8Rng::seed_from_u64(search.seed);
    let drawn = search
        .space
        .iter()
        .map(|dimension| draw(dimension, &mut random));
    sorted(drawn.collect())
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
        let seeds: Vec<Option<u64>> = match self.header.seeds.as_slice() {
            [] => vec![None],
            seeds => seeds.iter().copied().map(Some).collect(),
        };
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
