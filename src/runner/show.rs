//! A plan as text and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::execute::blockage_text;
use super::format::{about, bytes_text, count_text};
use super::history::Change;
use super::plan::{Blockage, Plan, Step, StepState};

/// Changes that are listed one by one, per step.
const LISTED: usize = 3;

/// The state in words.
pub(super) fn state_word(state: &StepState) -> &'static str {
    match state {
        StepState::UpToDate(_) => "up to date",
        StepState::Resumable(_) => "resumable",
        StepState::WillRun => "will run",
        StepState::Failed(_) => "failed",
        StepState::Busy(_) => "in progress",
        StepState::Blocked(_) => "blocked",
    }
}

/// The state of a step or cell in words: a table or plot is stale, too, if it
/// was made of what a stage left that will run.
pub(super) fn word(plan: &Plan, step: &Step) -> &'static str {
    let waits = step.cell_kind().is_some() && plan.awaited(step).next().is_some();
    match (&step.state, &step.last) {
        (StepState::WillRun, Some(_)) if waits => "stale",
        (state, _) => state_word(state),
    }
}

/// The plan for people: a line per step, what is behind it below.
pub fn plan_text(plan: &Plan) -> String {
    let width = |of: fn(&Step) -> &str| {
        plan.steps_and_cells()
            .map(|step| of(step).chars().count())
            .max()
            .unwrap_or(0)
    };
    let names = width(|step| &step.name);
    let kinds = width(|step| &step.kind);
    let mut text = String::new();
    match (plan.experiment(), plan.title()) {
        (name, "") => text.push_str(&format!("{name}\n\n")),
        (name, title) => text.push_str(&format!("{name}: {title}\n\n")),
    }
    for step in plan.steps_and_cells() {
        let key = step
            .id
            .as_ref()
            .map_or_else(|| "–".repeat(8), |id| id.key().short());
        let line = format!(
            "{:>11}  {:names$}  {:kinds$}  {key}  {}",
            word(plan, step),
            step.name,
            step.kind,
            step_note(step)
        );
        text.push_str(line.trim_end());
        text.push('\n');
        for detail in details(plan, step) {
            text.push_str(&format!("{:13}{detail}\n", ""));
        }
    }
    text.push_str(&format!("\n{}\n", totals(plan)));
    text
}

/// What the line of a step ends with: size, time, progress.
fn step_note(step: &Step) -> String {
    let expected = expected_text(step);
    match &step.state {
        StepState::UpToDate(entry) => bytes_text(entry.manifest().bytes),
        StepState::Resumable(partial) => {
            let progress = partial
                .progress
                .as_ref()
                .map(|progress| match progress.total {
                    Some(total) => {
                        format!(
                            "{} of {} {} done",
                            count_text(progress.done),
                            count_text(total),
                            progress.unit
                        )
                    }
                    None => format!("{} {} done", count_text(progress.done), progress.unit),
                });
            let left = expected.map(|time| format!("{time} left"));
            progress
                .into_iter()
                .chain(left)
                .collect::<Vec<_>>()
                .join(", ")
        }
        StepState::WillRun | StepState::Failed(_) => expected.unwrap_or_default(),
        StepState::Busy(holder) => format!("by {holder}"),
        StepState::Blocked(_) => String::new(),
    }
}

/// The time that a step will take, as far as that can be said.
pub(super) fn expected_text(step: &Step) -> Option<String> {
    let time = about(step.expected?);
    Some(match is_other_work(step) {
        true => format!("{time} before the change"),
        false => time,
    })
}

/// Whether a value changed since the output whose time is known, so that this
/// time, unless it is worked out for the work of now, is no promise.
fn is_other_work(step: &Step) -> bool {
    let mut changes = step.changes.iter().flatten();
    !step.scaled
        && !matches!(step.state, StepState::Resumable(_))
        && changes.any(|change| matches!(change, Change::Value { .. }))
}

/// Why a step is not up to date.
fn details(plan: &Plan, step: &Step) -> Vec<String> {
    let mut lines = cell_lines(plan, step);
    if let StepState::Blocked(blockages) = &step.state {
        lines.extend(blockages.iter().map(blockage_text));
    }
    if let StepState::Failed(partial) = &step.state
        && let Some(failure) = &partial.failure
    {
        let message = format!("in {}: {}", failure.run, failure.message);
        lines.extend(message.lines().map(str::to_owned));
    }
    if let Some(damage) = &step.damage {
        lines.push(format!(
            "its output is damaged and will be made again: {damage}"
        ));
    }
    // Of a cell that waits for stages it is said already.
    let told = |change: &&Change| !lines.is_empty() && matches!(change, Change::Input { .. });
    let changes = step.changes.iter().flatten();
    let changes: Vec<&Change> = match step.cell_kind() {
        Some(_) => changes.filter(|change| !told(change)).collect(),
        None => changes.collect(),
    };
    if !changes.is_empty() && !step.is_blocked() {
        let first = changes.iter().take(LISTED);
        let mut shown: Vec<_> = first.map(ToString::to_string).collect();
        if changes.len() > LISTED {
            shown.push(format!("and {} more", changes.len() - LISTED));
        }
        lines.push(format!("changed: {}", shown.join(", ")));
    }
    lines
}

/// What a table or plot waits for, or that it is not kept.
pub(super) fn cell_lines(plan: &Plan, step: &Step) -> Vec<String> {
    if step.cell_kind().is_none() || !matches!(step.state, StepState::WillRun) {
        return Vec::new();
    }
    let names: Vec<_> = plan.awaited(step).map(|step| step.name.as_str()).collect();
    let named = names.join(", ");
    match (names.is_empty(), &step.id, &step.last) {
        (false, _, Some(_)) => vec![format!("because {named} will run")],
        (false, _, None) => vec![format!("waits for {named}")],
        (true, None, _) => {
            let open = step.resources.iter().filter(|r| r.identity.is_none());
            let open: Vec<_> = open.map(|resource| resource.name.as_str()).collect();
            vec![format!("every time, as it reads {}", open.join(", "))]
        }
        (true, Some(_), _) => Vec::new(),
    }
}

/// The last line: how many steps of each state, and the time they will take.
fn totals(plan: &Plan) -> String {
    if plan.is_all_up_to_date() {
        return "everything is up to date".to_owned();
    }
    let open = |step: &&Step| !step.is_up_to_date() && !step.is_blocked();
    let cells = match plan.cells().iter().filter(open).count() {
        0 => None,
        open => Some(format!(
            "{open} of {} tables and plots to make",
            plan.cells().len()
        )),
    };
    if plan.is_up_to_date() {
        return ["all stages are up to date".to_owned()]
            .into_iter()
            .chain(cells)
            .collect::<Vec<_>>()
            .join(", ");
    }
    let count =
        |test: fn(&StepState) -> bool| plan.steps().iter().filter(|step| test(&step.state)).count();
    let done = count(|state| matches!(state, StepState::UpToDate(_)));
    let blocked = count(|state| matches!(state, StepState::Blocked(_)));
    let to_run = plan.steps().len() - done - blocked;
    let mut parts = Vec::new();
    if done > 0 {
        parts.push(format!("{done} up to date"));
    }
    if to_run > 0 {
        let times: Vec<_> = plan
            .steps()
            .iter()
            .filter(|step| !step.is_up_to_date() && !step.is_blocked())
            .collect();
        let known: Duration = times.iter().filter_map(|step| step.expected).sum();
        let changed = times
            .iter()
            .any(|step| step.expected.is_some() && is_other_work(step));
        let known = match changed && !known.is_zero() {
            true => format!("{} by earlier outputs", about(known)),
            false => about(known),
        };
        let time = match times.iter().filter(|step| step.expected.is_none()).count() {
            0 => format!(" ({known})"),
            unknown if unknown == times.len() => String::new(),
            unknown => format!(" ({known} and {unknown} of unknown time)"),
        };
        parts.push(format!("{to_run} to run{time}"));
    }
    if blocked > 0 {
        let bytes: u64 = plan
            .missing()
            .iter()
            .filter_map(|r| r.missing.as_ref()?.bytes)
            .sum();
        let size = if bytes > 0 {
            format!(" (missing: {})", bytes_text(bytes))
        } else {
            String::new()
        };
        parts.push(format!("{blocked} blocked{size}"));
    }
    parts.extend(cells);
    parts.join(", ")
}

/// The plan as JSON.
pub fn plan_json(plan: &Plan) -> Value {
    let steps = plan.steps_and_cells().map(|step| step_json(plan, step));
    let steps: Vec<_> = steps.collect();
    json!({
        "experiment": plan.experiment(),
        "title": plan.title(),
        "up_to_date": plan.is_all_up_to_date(),
        "steps": steps,
    })
}

fn step_json(plan: &Plan, step: &Step) -> Value {
    let inputs: Vec<_> = step
        .inputs
        .iter()
        .map(|input| json!({ "step": plan.steps()[input.step].name, "repeat": input.repeat }))
        .collect();
    let waits: Option<Vec<_>> = step
        .cell_kind()
        .map(|_| plan.awaited(step).map(|step| &step.name).collect());
    let (partial, blockages): (Option<_>, &[Blockage]) = match &step.state {
        StepState::Resumable(partial) | StepState::Failed(partial) => (Some(partial), &[]),
        StepState::Blocked(blockages) => (None, blockages),
        _ => (None, &[]),
    };
    let entry = match &step.state {
        StepState::UpToDate(entry) => Some(entry),
        _ => None,
    };
    let holder = match &step.state {
        StepState::Busy(holder) => Some(holder),
        _ => None,
    };
    json!({
        "name": step.name,
        "stage": step.stage,
        "kind": step.kind,
        "seed": step.seed,
        "key": step.id.as_ref().map(|id| id.key().to_string()),
        "state": word(plan, step).replace(' ', "_"),
        "waits_for": waits,
        "inputs": inputs,
        "values": step.values,
        "resources": step.resources,
        "blockages": blockages,
        "changes": step.changes,
        "damage": step.damage,
        "partial": partial,
        "in_progress_by": holder,
        "output": entry.map(|entry| entry.dir()),
        "bytes": entry.map(|entry| entry.manifest().bytes),
        "expected_seconds": step.expected.map(|time| time.as_secs_f64()),
    })
}
