//! What a sweep would do, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::named::failed;
use crate::cli::CliError;
use crate::runner::about;
use crate::runner::sweep::{
    Ahead, Graph, Node, NodeState, SearchSpec, Sweep, SweepError, UnitSpec,
};
use crate::runner::{Registry, Slots};

/// Points that are listed one by one, unless all are wanted.
const LISTED: usize = 20;

/// How many points are in which state, and what there is to do.
#[derive(Debug)]
pub(super) struct Preview<'a> {
    sweep: &'a Sweep,
    graph: &'a Graph,
    active: Vec<usize>,
    jobs: usize,
    /// Of a search.
    trials_over: usize,
    /// What a search has still to do.
    ahead: Option<&'a Ahead>,
}

impl<'a> Preview<'a> {
    pub fn of(sweep: &'a Sweep, graph: &'a Graph, slots: Slots) -> Result<Preview<'a>, SweepError> {
        Ok(Preview {
            active: sweep.active().collect(),
            sweep,
            graph,
            jobs: slots.jobs.max(1),
            trials_over: sweep.trials_over(graph)?,
            ahead: None,
        })
    }

    /// The same with what a search has still to do.
    pub fn with_ahead(self, ahead: Option<&'a Ahead>) -> Preview<'a> {
        Preview { ahead, ..self }
    }

    /// The steps that points share and that are to be done: of a search, those of
    /// the points that it has still to try.
    fn steps(&self) -> &Graph {
        self.ahead.map_or(self.graph, |ahead| &ahead.graph)
    }

    /// How many points are not done and can run.
    pub fn to_run(&self) -> usize {
        if let Some(search) = &self.sweep.header.search {
            return self.trials_left(search) * self.sweep.header.seeds.len().max(1);
        }
        (0..self.active.len())
            .filter(|place| self.word(*place) != "done" && self.word(*place) != "blocked")
            .count()
    }

    /// The state of a point in one word.
    pub fn word(&self, place: usize) -> &'static str {
        let nodes = || {
            let steps = self.graph.points[place].iter();
            steps.map(|step| &self.graph.nodes[*step].state)
        };
        if self.graph.is_done(place) {
            "done"
        } else if self.graph.blockage(place).is_some() {
            "blocked"
        } else if nodes().any(|state| {
            matches!(state, NodeState::Open { partial: Some(partial) } if partial.failure.is_some())
        }) {
            "failed"
        } else if nodes()
            .any(|state| matches!(state, NodeState::Open { partial: Some(_) }))
        {
            "begun"
        } else {
            "to run"
        }
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for place in 0..self.active.len() {
            *counts.entry(self.word(place)).or_default() += 1;
        }
        counts
    }

    /// Work that is left, by earlier outputs: known time, and steps of unknown
    /// time.
    fn time(&self) -> (Duration, usize) {
        let times = |node: &Node| self.ahead.map_or(1.0, |ahead| ahead.times(node));
        let (mut known, mut unknown) = (Duration::ZERO, 0.0);
        let nodes = self.steps().nodes.iter();
        for node in nodes.filter(|node| matches!(node.state, NodeState::Open { .. })) {
            match node.expected {
                Some(time) => {
                    let all = Duration::try_from_secs_f64(time.as_secs_f64() * times(node));
                    known = known.saturating_add(all.unwrap_or(Duration::MAX));
                }
                None => unknown += times(node),
            }
        }
        (known, unknown.round() as usize)
    }

    /// What points share: stage, how many different outputs, for how many points
    /// each at most, how many of them are open.
    fn shared(&self) -> Vec<(String, usize, usize, usize)> {
        let mut found: Vec<(String, usize, usize, usize)> = Vec::new();
        let nodes = self.steps().nodes.iter();
        let is_shared = |node: &&Node| match self.ahead {
            Some(ahead) => ahead.is_shared(node),
            None => node.uses > 1,
        };
        for node in nodes.filter(is_shared) {
            let its = self.ahead.map_or(node.uses, |ahead| ahead.uses(node));
            let open = usize::from(matches!(node.state, NodeState::Open { .. }));
            match found.iter_mut().find(|(stage, ..)| **stage == *node.stage) {
                Some((_, outputs, uses, to_do)) => {
                    *outputs += 1;
                    *uses = (*uses).max(its);
                    *to_do += open;
                }
                None => found.push((node.stage.to_string(), 1, its, open)),
            }
        }
        found
    }

    /// The preview for people.
    pub fn text(&self, all: bool) -> String {
        let header = &self.sweep.header;
        let mut text = match header.title.as_str() {
            "" => format!("{}\n\n", header.name),
            title => format!("{}: {title}\n\n", header.name),
        };
        let mut line = |name: &str, what: String| text.push_str(&format!("{name:>11}  {what}\n"));
        line("experiment", header.frozen.file.display().to_string());
        let counts: Vec<_> = self
            .counts()
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let counts = match counts.is_empty() {
            true => String::new(),
            false => format!(": {}", counts.join(", ")),
        };
        line("points", format!("{}{counts}", self.active.len()));
        if let Some(search) = &header.search {
            line("search", self.search_text(search));
            for dimension in &search.space {
                let (path, values) = (&dimension.path, &dimension.values);
                line("space", format!("{path}: {values}"));
            }
            if let Some(prune) = &search.prune {
                line("prune", prune.to_string());
            }
        }
        for (key, values) in self.varying() {
            line("varies", format!("{key}: {}", values_text(&values)));
        }
        for (stage, outputs, uses, open) in self.shared() {
            let blocked =
                self.steps().nodes.iter().any(|node| {
                    *node.stage == *stage && matches!(node.state, NodeState::Blocked(_))
                });
            let state = match open {
                0 if blocked => "blocked".to_owned(),
                0 => "in the store".to_owned(),
                open if open == outputs => "will run".to_owned(),
                open => format!("{open} will run"),
            };
            let what = match outputs {
                1 => format!("{stage}: one output for {uses} points, {state}"),
                _ => format!("{stage}: {outputs} outputs for up to {uses} points each, {state}"),
            };
            line("shared", what);
        }
        let (known, unknown) = self.time();
        let mut time = Vec::new();
        if known > Duration::ZERO {
            time.push(format!("{} of work", about(known)));
            if self.jobs > 1 {
                let each = known / u32::try_from(self.jobs).unwrap_or(u32::MAX);
                time.push(format!("{} with {} at a time", about(each), self.jobs));
            }
            if self.prunes() {
                time.push("less where trials end early".to_owned());
            }
        }
        if unknown > 0 {
            time.push(format!("{unknown} steps of unknown time"));
        }
        if !time.is_empty() {
            line("time", time.join(", "));
        }
        text.push('\n');
        let shown = match all {
            true => self.active.len(),
            false => LISTED.min(self.active.len()),
        };
        for place in 0..shown {
            text.push_str(&format!(
                "{:>11}  {}\n",
                self.word(place),
                self.point(place)
            ));
            if let Some(why) = self.graph.blockage(place) {
                text.push_str(&format!("{:13}{why}\n", ""));
            }
        }
        if shown < self.active.len() {
            let more = self.active.len() - shown;
            text.push_str(&format!("{:13}and {more} more (--all lists them)\n", ""));
        }
        text
    }

    /// How a search goes on: `17 of 20 trials left, of 3 points each, by tpe`.
    fn search_text(&self, search: &SearchSpec) -> String {
        let header = &self.sweep.header;
        let mut text = format!(
            "{} of {} trials left",
            self.trials_left(search),
            search.trials
        );
        if header.seeds.len() > 1 {
            text.push_str(&format!(", of {} points each", header.seeds.len()));
        }
        text.push_str(&format!(", by {}", search.method.name()));
        if let Some(metric) = &header.metric {
            text.push_str(&format!(": {metric} ({})", header.goal));
        }
        text
    }

    /// Whether hopeless trials are ended early.
    fn prunes(&self) -> bool {
        let search = self.sweep.header.search.as_ref();
        search.is_some_and(|search| search.prune.is_some())
    }

    fn trials_left(&self, search: &SearchSpec) -> usize {
        search.trials.saturating_sub(self.trials_over)
    }

    /// `3 noise.vec_norm=2 seed 1`.
    fn point(&self, place: usize) -> String {
        let line = &self.sweep.points[self.active[place]];
        let mut parts = vec![format!("{:>4}", line.point)];
        if !line.labels.is_empty() {
            parts.push(format!("{}:", line.labels.join(" · ")));
        }
        parts.extend(line.settings.iter().cloned());
        parts.extend(line.seed.map(|seed| format!("seed {seed}")));
        parts.join(" ")
    }

    /// What `novic run` of the experiment takes to make a point: with the values of
    /// all points, and the seed.
    fn overrides(&self, point: usize) -> Vec<String> {
        let frozen = &self.sweep.header.frozen;
        let own = self.sweep.overrides(point);
        [frozen.fixed.clone(), own, frozen.overrides.clone()].concat()
    }

    /// Keys that vary, with their values in the order of their appearance.
    fn varying(&self) -> Vec<(String, Vec<String>)> {
        let mut keys: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |key: &str, value: &str| match keys.iter_mut().find(|(k, _)| k == key) {
            Some((_, values)) if values.iter().any(|known| known == value) => {}
            Some((_, values)) => values.push(value.to_owned()),
            None => keys.push((key.to_owned(), vec![value.to_owned()])),
        };
        for point in &self.active {
            for setting in &self.sweep.settings[*point] {
                add(&setting.path, &setting.text);
            }
            if let Some(seed) = self.sweep.points[*point].seed {
                add("seeds", &seed.to_string());
            }
        }
        keys
    }

    /// The preview as JSON.
    pub fn json(&self) -> Value {
        let (known, unknown) = self.time();
        let points: Vec<Value> = (0..self.active.len())
            .map(|place| {
                let line = &self.sweep.points[self.active[place]];
                json!({
                    "point": line.point,
                    "settings": line.settings,
                    "overrides": self.overrides(line.point),
                    "seed": line.seed,
                    "labels": line.labels,
                    "state": self.word(place).replace(' ', "_"),
                    "blockage": self.graph.blockage(place),
                })
            })
            .collect();
        let shared: Vec<Value> = self
            .shared()
            .iter()
            .map(|(stage, outputs, uses, open)| {
                json!({"stage": stage, "outputs": outputs, "points": uses, "to_run": open})
            })
            .collect();
        let search = self.sweep.header.search.as_ref();
        json!({
            "trials": search.map(|search| search.trials),
            "trials_left": search.map(|search| self.trials_left(search)),
            "sweep": self.sweep.header.name,
            "experiment": self.sweep.header.frozen.file,
            "count": self.active.len(),
            "to_run": self.to_run(),
            "shared": shared,
            "expected_seconds": known.as_secs_f64(),
            "steps_of_unknown_time": unknown,
            "points": points,
        })
    }
}

/// What a search has still to do, with the time it will take.
pub(super) fn ahead(
    sweep: &Sweep,
    graph: &Graph,
    registry: &Registry,
) -> Result<Option<Ahead>, CliError> {
    let mut ahead = sweep.ahead(graph, registry).map_err(failed)?;
    if let Some(ahead) = &mut ahead {
        let expected = ahead.graph.expect(&sweep.project.store());
        expected.map_err(failed)?;
    }
    Ok(ahead)
}

/// Up to eight values, and how many more.
fn values_text(values: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = values.iter().take(SHOWN).cloned().collect();
    if values.len() > SHOWN {
        shown.push(format!("… ({} values)", values.len()));
    }
    shown.join(", ")
}

/// Name of the piece of work of a point.
pub(super) fn unit_of(point: usize) -> String {
    UnitSpec::point_name(point)
}
