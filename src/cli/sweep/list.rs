//! All sweeps of a project, a line each.

use serde_json::{Value, json};

use super::execute::best_text;
use super::preview::{Preview, unit_of};
use crate::reports::evaluate::EvaluatedTable;
use crate::reports::render;
use crate::runner::Slots;
use crate::runner::launcher::slurm;
use crate::runner::sweep::{Sweep, SweepError, SweepFolder, SweepResults};
use crate::stages;
use crate::store::{LeaseState, Project};
use crate::tracking::StageOutcome;

/// Who works at a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nobody.
    None,
    /// A process.
    Process,
    /// Jobs of the cluster, which wait or run.
    Jobs,
}

/// Who works at a sweep.
pub(super) fn work_of(folder: &SweepFolder, project: &Project) -> Result<Work, SweepError> {
    if matches!(folder.holder(project)?, LeaseState::Held(_)) {
        return Ok(Work::Process);
    }
    let pieces = slurm::submitted(folder)?;
    let mut states = pieces.iter().filter_map(|piece| piece.state.as_ref());
    Ok(match states.any(|state| state.active) {
        true => Work::Jobs,
        false => Work::None,
    })
}

/// How far the sweeps of a project are.
#[derive(Debug)]
pub(super) struct SweepList {
    lines: Vec<SweepLine>,
    /// Sweeps that cannot be read, and why.
    unreadable: Vec<(String, String)>,
}

/// How far a sweep is.
#[derive(Debug)]
struct SweepLine {
    name: String,
    title: String,
    work: Work,
    /// Points so far.
    points: usize,
    done: usize,
    failed: usize,
    blocked: usize,
    /// Points that are still to run.
    left: usize,
    /// The best point, for people and for programs.
    best: Option<(String, Value)>,
}

impl SweepList {
    /// All sweeps of a project.
    pub fn of(project: &Project) -> SweepList {
        let mut list = SweepList {
            lines: Vec::new(),
            unreadable: Vec::new(),
        };
        for name in SweepFolder::names(project) {
            match SweepLine::of(project, &name) {
                Ok(line) => list.lines.push(line),
                Err(error) => list.unreadable.push((name, error.to_string())),
            }
        }
        list
    }

    /// Whether all of them can be read.
    pub fn is_readable(&self) -> bool {
        self.unreadable.is_empty()
    }

    /// Whether all of their points are done.
    pub fn is_done(&self) -> bool {
        self.lines.iter().all(|line| line.state() == "done")
    }

    /// The list for people.
    pub fn text(&self) -> String {
        if self.lines.is_empty() && self.unreadable.is_empty() {
            return "there are no sweeps yet; `novic sweep run FILE` begins one\n".to_owned();
        }
        let shows_blocked = self.lines.iter().any(|line| line.blocked > 0);
        let mut columns = vec!["sweep", "state", "points", "done", "failed"];
        columns.extend(shows_blocked.then_some("blocked"));
        columns.extend(["left", "best"]);
        let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
        let rows = self.lines.iter().map(|line| {
            let mut cells = vec![
                line.name.clone(),
                line.state().to_owned(),
                line.points.to_string(),
                line.done.to_string(),
                line.failed.to_string(),
            ];
            cells.extend(shows_blocked.then(|| line.blocked.to_string()));
            cells.push(line.left.to_string());
            cells.push(
                line.best
                    .as_ref()
                    .map_or("–", |(text, _)| text.as_str())
                    .to_owned(),
            );
            cells
        });
        let mut text = match self.lines.is_empty() {
            true => String::new(),
            false => {
                let table = EvaluatedTable::of_texts(&columns, rows);
                render::text(&table, render::Style::Terminal)
            }
        };
        for (name, why) in &self.unreadable {
            text.push_str(&format!("{name}: {why}\n"));
        }
        text
    }

    /// The list for programs.
    pub fn to_json(&self) -> Value {
        let sweeps: Vec<Value> = self.lines.iter().map(SweepLine::to_json).collect();
        let unreadable = self.unreadable.iter();
        let unreadable: Vec<Value> = unreadable
            .map(|(name, why)| json!({"sweep": name, "error": why}))
            .collect();
        json!({"sweeps": sweeps, "unreadable": unreadable})
    }
}

impl SweepLine {
    fn of(project: &Project, name: &str) -> Result<SweepLine, SweepError> {
        let sweep = Sweep::open(project, name)?;
        let graph = sweep.graph(&stages::registry())?;
        let outcomes = sweep.folder.outcomes()?;
        let preview = Preview::of(&sweep, &graph, Slots::default())?;
        let (mut done, mut failed, mut blocked, mut open) = (0, 0, 0, 0);
        for (place, point) in sweep.active().enumerate() {
            let outcome = outcomes.get(&unit_of(point)).map(|line| line.outcome);
            match preview.word(place) {
                "done" => done += 1,
                "blocked" => blocked += 1,
                "failed" => failed += 1,
                _ if outcome == Some(StageOutcome::Failed) => failed += 1,
                _ => open += 1,
            }
        }
        let left = match &sweep.header.search {
            Some(_) => preview.to_run(),
            None => open,
        };
        let best = match &sweep.header.metric {
            Some(_) => {
                let results = SweepResults::collect(&sweep, &graph, &project.store())?;
                let text = best_text(&sweep, &results);
                text.map(|text| (text, results.to_json(&sweep)["best"].take()))
            }
            None => None,
        };
        Ok(SweepLine {
            name: name.to_owned(),
            title: sweep.header.title.clone(),
            work: work_of(&sweep.folder, project)?,
            points: graph.points.len(),
            done,
            failed,
            blocked,
            left,
            best,
        })
    }

    fn state(&self) -> &'static str {
        match self.work {
            Work::Process => "running",
            Work::Jobs => "in the queue",
            Work::None if self.failed + self.blocked + self.left == 0 => "done",
            Work::None => "unfinished",
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "sweep": self.name,
            "title": self.title,
            "state": self.state().replace(' ', "_"),
            "points": self.points,
            "done": self.done,
            "failed": self.failed,
            "blocked": self.blocked,
            "left": self.left,
            "best": self.best.as_ref().map(|(_, best)| best),
        })
    }
}
