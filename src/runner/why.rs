//! Why a step is to run: what changed since its last output, back to the value
//! or file that somebody changed, and what goes stale with it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::config::{Experiment, Origin, StageSpec, schema};
use crate::store::{EntryId, Key, PartialState};
use crate::tracking::{RunOverview, list_runs};

use super::error::RunError;
use super::execute::blockage_text;
use super::format::count_text;
use super::history::{Change, changes_since};
use super::plan::{Blockage, Plan, Step, StepState, now};
use super::show::{cell_lines, word};

/// Something that changed.
#[derive(Clone, Debug)]
pub struct Reason {
    /// Step that depends on it directly: the one asked about, or one whose
    /// output it takes.
    pub step: String,
    /// What changed.
    pub change: Change,
    /// For a value, everything that gives it, lowest first; the last wins.
    pub stack: Vec<(Value, Origin)>,
}

/// Why a step is in its state.
#[derive(Debug)]
pub struct Why<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The step, or the table or plot.
    pub step: &'a Step,
    /// What changed since its last output, or, where there is none, since the
    /// unfinished work. Changed inputs are told by what changed for them, where
    /// that is known.
    pub reasons: Vec<Reason>,
    /// Work that an earlier run left unfinished under other values.
    pub unfinished: Option<PartialState>,
    /// Steps that take its output, directly or not.
    pub downstream: Vec<&'a Step>,
}

impl<'a> Why<'a> {
    /// Looks into the steps of a stage, one per seed where seeds matter, or into
    /// a table or plot; `wanted` is the name of the stage, of one step or of
    /// the cell. Writes nothing.
    pub fn of(
        experiment: &Experiment,
        plan: &'a Plan,
        wanted: &str,
    ) -> Result<Vec<Why<'a>>, RunError> {
        let found: Vec<&Step> = plan
            .steps_and_cells()
            .filter(|step| step.stage == wanted || step.name == wanted)
            .collect();
        if found.is_empty() {
            let known: Vec<&str> = plan
                .steps_and_cells()
                .map(|step| step.name.as_str())
                .collect();
            return Err(RunError::unknown_stage(wanted, known.iter().copied()));
        }
        let why = |step: &'a Step| {
            let mut search = Search {
                experiment,
                plan,
                seen: BTreeSet::new(),
                reasons: Vec::new(),
            };
            let (unfinished, since) = unfinished(plan, step).unzip();
            let changes = step.changes.clone().or(since);
            search.explain(step, changes.unwrap_or_default());
            Why {
                plan,
                step,
                reasons: search.reasons,
                unfinished,
                downstream: downstream(plan, step),
            }
        };
        Ok(found.into_iter().map(why).collect())
    }
}

struct Search<'a> {
    experiment: &'a Experiment,
    plan: &'a Plan,
    seen: BTreeSet<String>,
    reasons: Vec<Reason>,
}

impl<'a> Search<'a> {
    fn explain(&mut self, step: &Step, changes: Vec<Change>) {
        if !self.seen.insert(step.name.clone()) {
            return;
        }
        for change in changes {
            if let Some((source, earlier)) = self.behind(step, &change)
                && !earlier.is_empty()
            {
                self.explain(source, earlier);
                continue;
            }
            let stack = match &change {
                Change::Value { path, .. } => self.stack(step, path),
                _ => Vec::new(),
            };
            self.reasons.push(Reason {
                step: step.name.clone(),
                change,
                stack,
            });
        }
    }

    /// The step that makes a changed input, and what changed for it.
    fn behind(&self, step: &Step, change: &Change) -> Option<(&'a Step, Vec<Change>)> {
        let Change::Input {
            stage,
            from: Some(from),
            ..
        } = change
        else {
            return None;
        };
        let steps = self.plan.steps();
        let mut sources = step.inputs.iter().map(|input| &steps[input.step]);
        let source = sources.find(|source| source.stage == *stage)?;
        let id = EntryId::new(&source.kind, *from).ok()?;
        let earlier = self.plan.store().get(&id).ok()??;
        let now = now(self.plan.experiment(), steps, source);
        Some((source, changes_since(&earlier.manifest().description, &now)))
    }

    fn stack(&self, step: &Step, path: &str) -> Vec<(Value, Origin)> {
        if step.cell_kind().is_some() {
            return self.key_of_cell(step, path).into_iter().collect();
        }
        let stage: Option<&StageSpec> = self.experiment.stage(&step.stage);
        stage.map_or_else(Vec::new, |stage| stage.origins.stack(path))
    }

    /// The key of a table or plot that a value belongs to, and where it stands.
    fn key_of_cell(&self, step: &Step, path: &str) -> Option<(Value, Origin)> {
        let mut cells = self.experiment.cells.iter();
        let cell = cells.find(|cell| cell.path() == step.name)?;
        let path = path.strip_prefix(&step.name)?.strip_prefix('.')?;
        let field = cell.get(path.split(['.', '[']).next()?)?;
        let origin = Origin::At(field.location.clone());
        Some((field.value.to_json(), origin))
    }
}

/// Work on a stage that a run of the experiment left unfinished under another
/// key, the last of such, and what changed since.
fn unfinished(plan: &Plan, step: &Step) -> Option<(PartialState, Vec<Change>)> {
    let to_make = matches!(step.state, StepState::WillRun | StepState::Blocked(_));
    if !to_make || step.cell_kind().is_some() {
        return None;
    }
    let mut partials = plan.store().partials(&step.kind).ok()?;
    partials.retain(|partial| step.id.as_ref() != Some(&partial.id));
    if partials.is_empty() {
        return None;
    }
    partials.sort_by_key(|partial| std::cmp::Reverse(partial.touched_ms));
    let (runs, _) = list_runs(plan.project()).ok()?;
    partials.into_iter().find_map(|partial| {
        let key = partial.id.key().to_string();
        let run = runs.iter().find(|run| {
            let mut stages = run.stages.iter();
            run.run == partial.state.run
                && run.experiment == plan.experiment()
                && stages.any(|stage| stage.name == step.name && stage.key == key)
        })?;
        Some((partial.state, changes_since_run(plan, step, run)))
    })
}

/// What a step depends on that differs from what a run had for it, as far as
/// lists of runs tell.
fn changes_since_run(plan: &Plan, step: &Step, run: &RunOverview) -> Vec<Change> {
    let before = |path: &str| {
        let own = run.values.get(&format!("stage.{}.{path}", step.stage));
        let given = own.or_else(|| run.values.get(path)).cloned();
        given.or_else(|| schema::key(path).map(|key| (key.default)()))
    };
    let values = step.values.iter().filter_map(|(path, now)| {
        // The seeds of the experiment give it.
        let by_seeds = path == "run.seed" && step.seed.is_some();
        let from = before(path).filter(|from| !by_seeds && from != now)?;
        Some(Change::Value {
            path: path.clone(),
            from: Some(from),
            to: Some(now.clone()),
        })
    });
    let inputs = step.inputs.iter().filter_map(|input| {
        let source = &plan.steps()[input.step];
        let recorded = run.stages.iter().find(|stage| stage.name == source.name)?;
        let from: Option<Key> = recorded.key.parse().ok();
        let to = source.id.as_ref().map(EntryId::key);
        (from != to).then(|| Change::Input {
            stage: source.stage.clone(),
            from,
            to,
        })
    });
    values.chain(inputs).collect()
}

/// Steps, tables and plots that depend on a step.
fn downstream<'a>(plan: &'a Plan, of: &Step) -> Vec<&'a Step> {
    let of = (plan.steps().iter()).position(|step| std::ptr::eq(step, of));
    // Nothing depends on a table or plot.
    let Some(of) = of else { return Vec::new() };
    let mut depends = vec![false; plan.steps().len()];
    depends[of] = true;
    let mut found = Vec::new();
    for (index, step) in plan.steps_and_cells().enumerate() {
        if index != of && step.inputs.iter().any(|input| depends[input.step]) {
            if let Some(depends) = depends.get_mut(index) {
                *depends = true;
            }
            found.push(step);
        }
    }
    found
}

/// The reasons for people.
pub fn why_text(why: &Why<'_>) -> String {
    let step = why.step;
    let mut lines = vec![format!(
        "{} ({}): {}",
        step.name,
        step.kind,
        word(why.plan, step)
    )];
    lines.extend(state_lines(why));
    if !why.reasons.is_empty() {
        lines.push(String::new());
    }
    for (at, reason) in why.reasons.iter().enumerate() {
        let same = |other: &Reason| other.change == reason.change && other.stack == reason.stack;
        // The same value may be read by a stage and by its inputs.
        if !why.reasons[..at].iter().any(same) {
            let steps = why.reasons.iter().filter(|other| same(other));
            let steps: Vec<&str> = steps.map(|other| other.step.as_str()).collect();
            lines.extend(reason_lines(step, reason, &steps));
        }
    }
    let stale = |other: &&&Step| !other.is_up_to_date();
    let with_it = !step.is_up_to_date() && why.downstream.iter().any(|step| stale(&step));
    let (words, names): (_, Vec<_>) = match with_it {
        true => (
            "goes stale with it",
            why.downstream.iter().filter(stale).collect(),
        ),
        false => (
            "stages that take its output",
            why.downstream.iter().collect(),
        ),
    };
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(|step| step.name.as_str()).collect();
        lines.push(String::new());
        lines.push(format!("{words}: {}", names.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// Everything about the state that is no change.
fn state_lines(why: &Why<'_>) -> Vec<String> {
    let step = why.step;
    let mut lines = cell_lines(why.plan, step);
    match &step.state {
        StepState::UpToDate(entry) => {
            let description = &entry.manifest().description;
            lines.push(format!("its output was made in {}", description.run));
        }
        StepState::Blocked(blockages) => lines.extend(blockages.iter().map(blockage_text)),
        StepState::Failed(partial) => {
            let failure = partial.failure.as_ref();
            lines.extend(failure.map(|f| format!("in {}: {}", f.run, f.message)));
        }
        StepState::Resumable(partial) => {
            lines.push(format!("{} left unfinished work", partial.run));
        }
        StepState::Busy(holder) => lines.push(format!("{holder} is making it")),
        StepState::WillRun => {}
    }
    if let Some(damage) = &step.damage {
        lines.push(format!("its output is damaged: {damage}"));
    }
    if step.last.is_some() {
        lines.extend(why.unfinished.as_ref().map(unfinished_text));
    }
    match &step.last {
        Some((run, _)) if why.reasons.is_empty() => {
            lines.push(format!("nothing changed since its last output, of {run}"));
        }
        Some((run, _)) => lines.push(format!("changed since its last output, of {run}:")),
        None if step.is_up_to_date() => {}
        None => {
            lines.push("the store has no earlier output of it".to_owned());
            let since = match why.reasons.is_empty() {
                true => "",
                false => "; changed since:",
            };
            let unfinished = why.unfinished.as_ref().map(unfinished_text);
            lines.extend(unfinished.map(|text| text + since));
        }
    }
    lines
}

/// `RUN left unfinished work under other values: 20 of 40 steps done`.
fn unfinished_text(partial: &PartialState) -> String {
    let mut text = format!("{} left unfinished work under other values", partial.run);
    if let Some(progress) = &partial.progress {
        let of = progress
            .total
            .map(|total| format!(" of {}", count_text(total)));
        text.push_str(&format!(
            ": {}{} {} done",
            count_text(progress.done),
            of.unwrap_or_default(),
            progress.unit
        ));
    }
    text
}

/// A reason; `steps` are those that it holds for.
fn reason_lines(step: &Step, reason: &Reason, steps: &[&str]) -> Vec<String> {
    let inputs: Vec<&str> = steps
        .iter()
        .copied()
        .filter(|name| *name != step.name)
        .collect();
    let also = if inputs.len() < steps.len() {
        "also "
    } else {
        ""
    };
    let via = match inputs.is_empty() {
        true => String::new(),
        false => {
            let word = if inputs.len() == 1 { "input" } else { "inputs" };
            format!(" ({also}for its {word} {})", inputs.join(", "))
        }
    };
    let mut lines = vec![format!("  {}{via}", reason.change)];
    let mut stack = reason.stack.iter().rev();
    if let Some((_, origin)) = stack.next() {
        lines.push(format!("      set by {origin}"));
    }
    for (value, origin) in stack {
        lines.push(format!("      over {value} ({origin})"));
    }
    lines
}

/// The reasons as JSON.
pub fn why_json(why: &Why<'_>) -> Value {
    let step = why.step;
    let reasons: Vec<_> = why
        .reasons
        .iter()
        .map(|reason| {
            let stack: Vec<_> = reason
                .stack
                .iter()
                .map(|(value, origin)| json!({"value": value, "origin": origin.to_string()}))
                .collect();
            let mut object = json!(reason.change);
            object["step"] = reason.step.as_str().into();
            if !stack.is_empty() {
                object["stack"] = stack.into();
            }
            object
        })
        .collect();
    let blockages: &[Blockage] = match &step.state {
        StepState::Blocked(blockages) => blockages,
        _ => &[],
    };
    let downstream: Vec<_> = why.downstream.iter().map(|step| &step.name).collect();
    let waits: Option<Vec<_>> = step
        .cell_kind()
        .map(|_| why.plan.awaited(step).map(|step| &step.name).collect());
    json!({
        "step": step.name,
        "stage": step.stage,
        "kind": step.kind,
        "state": word(why.plan, step).replace(' ', "_"),
        "waits_for": waits,
        "last_run": step.last.as_ref().map(|(run, _)| run),
        "reasons": reasons,
        "unfinished": why.unfinished,
        "blockages": blockages,
        "damage": step.damage,
        "downstream": downstream,
    })
}
