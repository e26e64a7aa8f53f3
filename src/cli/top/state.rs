//! What `novic top` looks at.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cli::ls::needs_surroundings;
use crate::store::Project;
use crate::tracking::{
    Filter, RunFollower, RunOverview, RunState, SYSTEM, TrackingError, find_run, list_runs,
};

/// Runs that are not at work and are shown all the same.
const OTHERS: usize = 8;

/// Most points of a curve that are drawn.
const POINTS: usize = 500;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// Only these runs, all in the curves.
    pub runs: Vec<String>,
    /// Only runs that fulfil all of these.
    pub filters: Vec<Filter>,
    /// Metric to begin with.
    pub metric: Option<String>,
}

/// Runs, which of them is looked at closely, and what is drawn.
#[derive(Debug)]
pub(super) struct Top {
    project: Project,
    choice: Choice,
    /// The newest first, those at work before the others.
    pub runs: Vec<RunOverview>,
    followed: BTreeMap<String, RunFollower>,
    selected: usize,
    marked: BTreeSet<String>,
    metric: Option<String>,
    /// Whether the metric was chosen since.
    by_hand: bool,
    /// Whether curves have a logarithmic scale.
    pub logarithmic: bool,
    /// Why the last look failed, if it did.
    pub trouble: Option<String>,
}

/// A curve and the run it is of.
#[derive(Debug)]
pub(super) struct RunCurve {
    pub run: String,
    pub points: Vec<(f64, f64)>,
}

impl Top {
    pub(super) fn new(project: Project, mut choice: Choice) -> Result<Top, TrackingError> {
        for run in &mut choice.runs {
            *run = find_run(&project, run)?.0.run;
        }
        let mut top = Top {
            project,
            marked: choice.runs.iter().cloned().collect(),
            choice,
            runs: Vec::new(),
            followed: BTreeMap::new(),
            selected: 0,
            metric: None,
            by_hand: false,
            logarithmic: false,
            trouble: None,
        };
        top.look()?;
        Ok(top)
    }

    /// Reads what is new.
    pub(super) fn look(&mut self) -> Result<(), TrackingError> {
        let before = self.run().map(|run| run.run.clone());
        let (mut runs, _) = list_runs(&self.project)?;
        runs.reverse();
        if self.choice.runs.is_empty() {
            let names = self.choice.filters.iter().flat_map(Filter::names);
            if needs_surroundings(&names.collect()) {
                RunOverview::read_surroundings(&mut runs, &self.project);
            }
            runs.retain(|run| self.choice.filters.iter().all(|filter| filter.matches(run)));
            let (mut at_work, others): (Vec<_>, Vec<_>) = runs
                .into_iter()
                .partition(|run| run.state == RunState::Running);
            at_work.extend(others.into_iter().take(OTHERS));
            self.runs = at_work;
        } else {
            runs.retain(|run| self.choice.runs.contains(&run.run));
            self.runs = runs;
        }
        // The same run stays selected wherever it moved.
        self.selected = before
            .and_then(|id| self.runs.iter().position(|run| run.run == id))
            .unwrap_or(0);
        self.follow()
    }

    fn follow(&mut self) -> Result<(), TrackingError> {
        let mut wanted: BTreeSet<String> = self.in_curves().map(str::to_owned).collect();
        for run in self.runs.iter().filter(|run| run.state.is_unreadable()) {
            wanted.remove(&run.run);
        }
        self.followed.retain(|run, _| wanted.contains(run));
        let runs_dir = self.project.runs_dir();
        for run in wanted {
            let dir = runs_dir.join(&run);
            let follower = self.followed.entry(run);
            follower
                .or_insert_with(|| RunFollower::new(&dir))
                .follow()?;
        }
        let names = self.metrics();
        let is_chosen = self.by_hand && self.metric.as_ref().is_some_and(|m| names.contains(m));
        if !is_chosen {
            self.metric = self.usual_metric(&names);
        }
        Ok(())
    }

    /// What is drawn before anybody chooses: what was asked for, else a loss, else
    /// anything of a stage; these may come later than the first metrics.
    fn usual_metric(&self, names: &[String]) -> Option<String> {
        let wanted = self.choice.metric.as_ref().and_then(|wanted| {
            let tail = format!("/{wanted}");
            names
                .iter()
                .find(|name| *name == wanted || name.ends_with(&tail))
        });
        let loss = || names.iter().find(|name| name.ends_with("loss"));
        let of_stage = || names.iter().find(|name| !name.starts_with(SYSTEM));
        let found = wanted.or_else(loss).or_else(of_stage).or(names.first());
        found.cloned()
    }

    /// The metric that was asked for, while no run that is looked at has it.
    pub(super) fn missing_metric(&self) -> Option<&str> {
        let wanted = self.choice.metric.as_deref()?;
        let tail = format!("/{wanted}");
        let names = self.metrics();
        let has = names
            .iter()
            .any(|name| name == wanted || name.ends_with(&tail));
        (!has && !self.by_hand).then_some(wanted)
    }

    fn in_curves(&self) -> impl Iterator<Item = &str> {
        let selected = self.run().map(|run| run.run.as_str());
        let shown = |run: &&str| self.runs.iter().any(|other| other.run == **run);
        let others = self.marked.iter().map(String::as_str).filter(shown);
        selected
            .into_iter()
            .chain(others.filter(move |run| Some(*run) != selected))
    }

    /// The run that is looked at closely.
    pub(super) fn run(&self) -> Option<&RunOverview> {
        self.runs.get(self.selected)
    }

    /// Its place in the list.
    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// Whether a run's curve is shown with the others.
    pub(super) fn is_marked(&self, run: &str) -> bool {
        self.marked.contains(run)
    }

    /// Its record.
    pub(super) fn follower(&self) -> Option<&RunFollower> {
        self.followed.get(&self.run()?.run)
    }

    /// Name of the metric that is drawn, `STAGE/NAME`.
    pub(super) fn metric(&self) -> Option<&str> {
        self.metric.as_deref()
    }

    /// Selects a run so many places further down.
    pub(super) fn select(&mut self, by: isize) {
        let last = self.runs.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
        self.trouble = self.follow().err().map(|error| error.to_string());
    }

    /// Adds the selected run's curve to the others', or takes it away.
    pub(super) fn mark(&mut self) {
        if let Some(run) = self.run().map(|run| run.run.clone())
            && !self.marked.remove(&run)
        {
            self.marked.insert(run);
        }
    }

    /// Chooses a metric so many places further on.
    pub(super) fn choose_metric(&mut self, by: isize) {
        let names = self.metrics();
        let at = names
            .iter()
            .position(|name| Some(name) == self.metric.as_ref());
        let next = at.map_or(0, |at| {
            (at as isize + by).rem_euclid(names.len().max(1) as isize) as usize
        });
        self.metric = names.get(next).cloned();
        self.by_hand = true;
    }

    /// All metrics of the followed runs that have numbers.
    fn metrics(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (stage, metrics) in self.followed.values().flat_map(RunFollower::metrics) {
            for name in metrics.names() {
                if metrics
                    .last(name)
                    .is_some_and(|last| last.as_f64().is_some())
                {
                    found.insert(format!("{stage}/{name}"));
                }
            }
        }
        found.into_iter().collect()
    }

    /// The curves of the chosen metric, over the number of the row.
    pub(super) fn curves(&self) -> Vec<RunCurve> {
        let Some((stage, name)) = self.metric.as_ref().and_then(|name| name.split_once('/')) else {
            return Vec::new();
        };
        let curve = |run: &str| {
            let metrics = self.followed.get(run)?.metrics().get(stage)?;
            let mut points = Vec::new();
            for stream in metrics.streams() {
                let numbers = stream.numbers(name).into_iter().flatten();
                let both = stream.positions().iter().zip(numbers);
                points.extend(both.filter_map(|(at, y)| Some((*at as f64, self.scaled(y?)?))));
            }
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let every = points.len().div_ceil(POINTS).max(1);
            let last = points.len().saturating_sub(1);
            let mut at = 0..;
            points.retain(|_| at.next().is_some_and(|at| at % every == 0 || at == last));
            (!points.is_empty()).then(|| RunCurve {
                run: run.to_owned(),
                points,
            })
        };
        self.in_curves().filter_map(curve).collect()
    }

    fn scaled(&self, y: f64) -> Option<f64> {
        let y = if self.logarithmic { y.log10() } else { y };
        y.is_finite().then_some(y)
    }

    /// The runs, and the last values of those that are followed.
    pub(super) fn to_json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let mut value = json!(run);
            if let Some(follower) = self.followed.get(&run.run) {
                let mut last = serde_json::Map::new();
                for (stage, metrics) in follower.metrics() {
                    for name in metrics.names() {
                        let value = metrics.last(name).map(|value| value.to_json());
                        last.insert(format!("{stage}/{name}"), value.unwrap_or_default());
                    }
                }
                value["last"] = last.into();
            }
            value
        });
        runs.collect()
    }
}
