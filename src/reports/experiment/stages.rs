//! The stages of a page: how each stands, why, and what it said.

use std::collections::{BTreeSet, HashMap};

use crate::reports::page::{StageLine, StageState};
use crate::reports::record::plain;
use crate::runner::{Blockage, Plan, Step, StepState};
use crate::tracking::{RunState, StageOverview, find_run, list_runs, read_record_without_metrics};

/// Lines of a stage that are shown; of more, the last.
const CONSOLE: usize = 200;

/// One line per step. `run` is the run that the page belongs to.
pub(super) fn lines(plan: &Plan, run: &str) -> Vec<StageLine> {
    let mut runs: BTreeSet<String> = BTreeSet::new();
    for step in plan.steps() {
        if let StepState::UpToDate(entry) = &step.state {
            runs.insert(entry.manifest().description.run.clone());
        }
    }
    let live = live(plan);
    let consoles = consoles(plan, &runs);
    let line = |step: &Step| {
        let mut line = line(step, run);
        if let Some(live) = live.get(&step.name)
            && !step.is_up_to_date()
        {
            line.state = StageState::Running;
            line.seconds = Some(live.seconds).filter(|seconds| *seconds > 0.0);
            line.progress = live
                .progress
                .as_ref()
                .and_then(|(done, total, _)| Some(*done as f64 / (*total)?.max(1) as f64));
        }
        line.console = consoles
            .get(&(line.run.clone(), step.name.clone()))
            .cloned()
            .unwrap_or_default();
        line
    };
    plan.steps().iter().map(line).collect()
}

/// Stages that are being done now, by the newest run of this experiment.
fn live(plan: &Plan) -> HashMap<String, StageOverview> {
    let Ok((runs, _)) = list_runs(plan.project()) else {
        return HashMap::new();
    };
    let own = runs
        .into_iter()
        .rev()
        .find(|run| run.state == RunState::Running && run.experiment == plan.experiment());
    let stages = own.map(|run| run.stages).unwrap_or_default();
    stages
        .into_iter()
        .filter(|stage| stage.started && stage.outcome.is_none())
        .map(|stage| (stage.name.clone(), stage))
        .collect()
}

/// What stages said, by run and stage. A record that cannot be read says
/// nothing.
fn consoles(plan: &Plan, runs: &BTreeSet<String>) -> HashMap<(String, String), Vec<String>> {
    let mut found: HashMap<(String, String), Vec<String>> = HashMap::new();
    for run in runs {
        let Ok((_, dir)) = find_run(plan.project(), run) else {
            continue;
        };
        let Ok(record) = read_record_without_metrics(&dir) else {
            continue;
        };
        for (_, line) in record.console() {
            if let Some(stage) = &line.stage {
                let lines = found.entry((run.clone(), stage.clone())).or_default();
                lines.push(line.text.clone());
            }
        }
    }
    for lines in found.values_mut() {
        let more = lines.len().saturating_sub(CONSOLE);
        if more > 0 {
            lines.drain(..more);
            lines.insert(0, format!("… {more} lines before"));
        }
    }
    found
}

fn line(step: &Step, run: &str) -> StageLine {
    let mut line = StageLine {
        name: step.name.clone(),
        kind: step.kind.clone(),
        state: StageState::New,
        seconds: None,
        progress: None,
        result: String::new(),
        why: why(step),
        run: String::new(),
        console: Vec::new(),
    };
    match &step.state {
        StepState::UpToDate(entry) => {
            let description = &entry.manifest().description;
            line.state = if description.run == run {
                StageState::Done
            } else {
                StageState::Fresh
            };
            line.seconds = Some(description.seconds);
            line.run.clone_from(&description.run);
            let summary = description.results.get("summary");
            line.result = summary.map(plain).unwrap_or_default();
        }
        StepState::Failed(state) => {
            line.state = StageState::Failed;
            line.seconds = Some(state.seconds);
        }
        StepState::Resumable(_) => line.state = StageState::Interrupted,
        StepState::Blocked(_) => line.state = StageState::Blocked,
        StepState::Busy(_) => line.state = StageState::Running,
        StepState::WillRun => {
            if let Some((earlier, _)) = &step.last {
                line.state = StageState::Stale;
                line.run.clone_from(earlier);
            }
        }
    }
    line
}

/// Why a step is not up to date.
pub(super) fn why(step: &Step) -> Vec<String> {
    let changes = || {
        let changes = step.changes.iter().flatten();
        changes.map(ToString::to_string).collect::<Vec<_>>()
    };
    match &step.state {
        StepState::UpToDate(_) => Vec::new(),
        StepState::Blocked(blockages) => blockages.iter().map(blockage_text).collect(),
        StepState::Failed(state) => match &state.failure {
            Some(failure) => vec![failure.message.clone()],
            None => vec!["the last attempt failed".to_owned()],
        },
        StepState::Busy(_) => vec!["it is being made".to_owned()],
        StepState::Resumable(_) => vec!["it was interrupted and goes on".to_owned()],
        StepState::WillRun if step.last.is_some() => changes(),
        StepState::WillRun => vec!["it has not been run".to_owned()],
    }
}

fn blockage_text(blockage: &Blockage) -> String {
    match blockage {
        Blockage::Missing(resource) => format!("{} is missing", resource.name),
        Blockage::Input { step } => format!("waits for {step}"),
        Blockage::Unusable { message } => message.clone(),
        Blockage::NoSuchKind { kind } => format!("there is no stage kind {kind}"),
    }
}
