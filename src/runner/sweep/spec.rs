//! What a sweep file says.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::metric::{Goal, Metric};
use crate::config::{Distribution, Location, Setting};

/// Points that a sweep may have where the file does not say.
pub const MAX_POINTS: usize = 100_000;

/// Points to run above which people are asked first.
pub const ASK_ABOVE: usize = 100;

/// A sweep: an experiment, and what varies.
#[derive(Debug, Clone)]
pub struct SweepSpec {
    /// Name; one project has one sweep of a name.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// The file that says it: a sweep file, or the experiment itself.
    pub file: PathBuf,
    /// The experiment file.
    pub base: PathBuf,
    /// Seeds of every point; none: those of the experiment.
    pub seeds: Option<Vec<u64>>,
    /// By which points are ranked.
    pub metric: Option<Metric>,
    /// Which way is better.
    pub goal: Goal,
    /// What else the table of results shows.
    pub show: Vec<Metric>,
    /// Most points.
    pub max_points: usize,
    /// Points to run above which people are asked.
    pub ask_above: usize,
    /// Values of all points.
    pub fixed: Vec<Setting>,
    /// Blocks, whose points are joined.
    pub blocks: Vec<Block>,
    /// How points are searched for, instead of blocks.
    pub search: Option<SearchSpec>,
    /// Where values of all points stand, by their keys, and metrics, by their
    /// texts.
    pub places: Vec<(String, Location)>,
}

impl SweepSpec {
    /// Where a key that varies or is set stands, or a metric.
    pub fn place(&self, name: &str) -> Option<&Location> {
        let axes = self.blocks.iter().flat_map(|block| &block.axes);
        let axes = axes.flat_map(|axis| &axis.keys);
        let axes = axes.map(|(path, place)| (path, Some(place)));
        let space = self.search.iter().flat_map(|search| &search.space);
        let space = space.map(|dimension| (&dimension.path, dimension.location.as_ref()));
        let set = self.blocks.iter().flat_map(|block| &block.places);
        let set = set
            .chain(&self.places)
            .map(|(path, place)| (path, Some(place)));
        axes.chain(space)
            .chain(set)
            .find(|(path, _)| *path == name)
            .and_then(|(_, place)| place)
    }
}

/// Axes whose values are all combined.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// Name of the group of rows in a table.
    pub name: Option<String>,
    /// Values of all its points.
    pub fixed: Vec<Setting>,
    /// The axes; the last varies fastest.
    pub axes: Vec<Axis>,
    /// Where these values stand.
    pub places: Vec<(String, Location)>,
    /// Points that are left out.
    pub exclusions: Vec<Exclusion>,
}

/// An axis: rows of values, one row for each of its places.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Keys that vary along it, with where they stand.
    pub keys: Vec<(String, Location)>,
    /// Its places.
    pub rows: Vec<Row>,
}

/// A place on an axis.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Values, at most one for each key of the axis.
    pub settings: Vec<Setting>,
    /// Its name in tables.
    pub label: Option<String>,
}

/// Points that fulfil all of the conditions are left out.
#[derive(Debug, Clone)]
pub struct Exclusion {
    /// A key, and what its value is.
    pub conditions: Vec<(String, Test)>,
    /// Where it stands.
    pub location: Location,
}

/// What the value of a key is.
#[derive(Debug, Clone)]
pub enum Test {
    /// One of these.
    AnyOf(Vec<Value>),
    /// A number from one to another, both included.
    Between(f64, f64),
}

impl Test {
    /// Whether a value is.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Test::AnyOf(values) => values.contains(value),
            Test::Between(low, high) => value.as_f64().is_some_and(|v| *low <= v && v <= *high),
        }
    }
}

/// How points are searched for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchSpec {
    /// By which method.
    pub method: SearchMethod,
    /// How many points.
    pub trials: usize,
    /// Seed of the search itself.
    pub seed: u64,
    /// Points that are drawn at random before the method has something to go by.
    pub startup: usize,
    /// What varies.
    pub space: Vec<Dimension>,
    /// Whether and how hopeless trials are ended early.
    pub prune: Option<PruneSpec>,
}

/// A method of search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMethod {
    /// Tree-structured Parzen estimators.
    Tpe,
    /// Draws that know nothing of each other.
    Random,
}

impl SearchMethod {
    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tpe => "tpe",
            Self::Random => "random",
        }
    }
}

/// A key that a search varies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dimension {
    /// The key.
    pub path: String,
    /// Where it stands, if it was just read.
    #[serde(skip)]
    pub location: Option<Location>,
    /// Its values.
    pub values: DimensionValues,
}

/// Values of a key that a search varies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DimensionValues {
    /// One of these, in no order.
    Listed(Vec<Setting>),
    /// Numbers.
    Numbers {
        /// How they are drawn.
        distribution: Distribution,
        /// Whether they are whole.
        whole: bool,
    },
}

impl fmt::Display for DimensionValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(settings) => {
                let texts: Vec<&str> = settings.iter().map(|one| one.text.as_str()).collect();
                write!(f, "one of {}", texts.join(", "))
            }
            Self::Numbers { distribution, .. } => distribution.fmt(f),
        }
    }
}

/// How hopeless trials are ended early.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneSpec {
    /// By which method.
    pub method: PruneMethod,
    /// Stage that is watched.
    pub stage: String,
    /// Metric of its rows.
    pub metric: String,
    /// Which way is better.
    pub goal: Goal,
    /// What counts how far it is: a metric of the same rows.
    pub resource: String,
    /// Where the first look is taken.
    pub min: f64,
    /// Where the last look is taken.
    pub max: f64,
    /// One of so many goes on at every look.
    pub factor: f64,
    /// Where it stands, if it was just read.
    #[serde(skip)]
    pub places: PrunePlaces,
}

/// Where parts of `[search.prune]` stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrunePlaces {
    /// The stage, or the table that does not name it.
    pub stage: Option<Location>,
    /// The metric.
    pub metric: Option<Location>,
    /// What counts how far a trial is.
    pub resource: Option<Location>,
}

impl fmt::Display for PruneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} by {}.{} ({}), looked at from {} {} to {}",
            self.method.name(),
            self.stage,
            self.metric,
            self.goal.as_str(),
            self.resource,
            self.min,
            self.max
        )
    }
}

/// A method of ending trials early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneMethod {
    /// Asynchronous successive halving.
    Asha,
    /// The same with several first looks, which trials share.
    Hyperband,
}

impl PruneMethod {
    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asha => "asha",
            Self::Hyperband => "hyperband",
        }
    }
}
