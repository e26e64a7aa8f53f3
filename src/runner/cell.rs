//! Cells of an experiment file: tables and plots, made of what its stages left.

use std::path::Path;
use std::time::Instant;

use crate::config::{Cell, CellKind, Experiment};
use crate::store::{
    Building, Claim, ContentHashes, Entry, EntryDescription, EntryInput, Failure, Project,
};
use crate::tracking::StageOutcome;

use super::error::{RunError, StageError};
use super::execute::{blockage_text, result_of};
use super::plan::{Plan, Step, StepState};
use super::registry::Registry;
use super::resource::Resource;
use super::summary::StepResult;

/// Who makes the cells of a section: what the runner knows of it.
///
/// What it makes must depend on nothing but the keys of the cell, what it says
/// that the cell reads, and its code version.
pub trait CellMaker: Sync {
    /// The section. Its name is the kind of the outputs in the store.
    fn kind(&self) -> CellKind;

    /// To be increased whenever what is made of the same records changes.
    fn code_version(&self) -> u32;

    /// What a cell reads. Must be quick and touch nothing: plans are made of it.
    fn reads(&self, query: &CellQuery<'_>) -> Result<CellReads, StageError>;

    /// Makes a cell: writes its files into a folder.
    fn make(&self, context: &CellContext<'_>, out: &Path) -> Result<(), StageError>;
}

/// What may be looked at to find out what a cell reads.
#[derive(Debug)]
pub struct CellQuery<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The cell.
    pub cell: &'a Cell,
    /// The steps of the plan.
    pub steps: &'a [Step],
    /// The project.
    pub project: &'a Project,
    /// Content identity of files.
    pub hashes: &'a ContentHashes,
}

/// What a cell reads.
#[derive(Clone, Debug, Default)]
pub struct CellReads {
    /// Steps, by their place in the plan.
    pub steps: Vec<usize>,
    /// What it reads from outside. One whose identity is unknown, although it is
    /// not missing, may be another each time; such a cell is not kept.
    pub resources: Vec<Resource>,
}

/// What a cell is made of.
#[derive(Debug)]
pub struct CellContext<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The cell.
    pub cell: &'a Cell,
    /// The plan, in which all that the cell reads is up to date.
    pub plan: &'a Plan,
}

/// Makes the tables and plots of a plan that are not up to date and have all
/// that they read; one result per cell. `run` is the run they are made for.
///
/// A cell that cannot be made is no error of this function.
///
/// # Errors
/// The store cannot be used.
pub fn make_cells(
    experiment: &Experiment,
    plan: &Plan,
    registry: &Registry,
    run: &str,
) -> Result<Vec<StepResult>, RunError> {
    let mut results = Vec::new();
    for step in plan.cells() {
        let begun = Instant::now();
        let mut result = settle(experiment, plan, registry, step, run)?;
        result.seconds = begun.elapsed().as_secs_f64();
        results.push(result);
    }
    Ok(results)
}

fn settle(
    experiment: &Experiment,
    plan: &Plan,
    registry: &Registry,
    step: &Step,
    run: &str,
) -> Result<StepResult, RunError> {
    let without = |outcome, message: String| Ok(result_of(step, outcome, Some(message), None));
    match &step.state {
        StepState::UpToDate(entry) => {
            let entry = Some((**entry).clone());
            return Ok(result_of(step, StageOutcome::UpToDate, None, entry));
        }
        StepState::Blocked(blockages) => {
            let reasons: Vec<_> = blockages.iter().map(blockage_text).collect();
            return without(StageOutcome::Blocked, reasons.join("; "));
        }
        _ => {}
    }
    let waits: Vec<_> = plan.awaited(step).map(|step| step.name.as_str()).collect();
    if !waits.is_empty() {
        return without(
            StageOutcome::Skipped,
            format!("waits for {}", waits.join(", ")),
        );
    }
    let cell = experiment
        .cells
        .iter()
        .find(|cell| cell.path() == step.name);
    let maker = cell.and_then(|cell| registry.cell(cell.kind));
    let (Some(cell), Some(maker)) = (cell, maker) else {
        return without(
            StageOutcome::Skipped,
            "the plan is of another experiment".to_owned(),
        );
    };
    let Some(id) = &step.id else {
        let names: Vec<_> = step.resources.iter().map(|of| of.name.as_str()).collect();
        let message = format!("not kept, as it reads {}", names.join(", "));
        return without(StageOutcome::Done, message);
    };
    // What a failed attempt left is of no use.
    let building = match plan.store().claim_anew(id, run)? {
        Claim::Build(building) => building,
        Claim::Ready(entry) => {
            return Ok(result_of(step, StageOutcome::UpToDate, None, Some(*entry)));
        }
        Claim::Busy(_) => {
            return without(
                StageOutcome::Skipped,
                "another process is making it".to_owned(),
            );
        }
    };
    let context = CellContext {
        experiment,
        cell,
        plan,
    };
    match maker.make(&context, &building.out()) {
        Ok(()) => {
            let entry = publish(plan, step, *building, run)?;
            Ok(result_of(step, StageOutcome::Done, None, Some(entry)))
        }
        Err(error) => {
            let message = error.to_string();
            building.keep(Some(Failure {
                message: message.clone(),
                run: run.to_owned(),
                at_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
            }))?;
            without(StageOutcome::Failed, message)
        }
    }
}

fn publish(plan: &Plan, step: &Step, building: Building, run: &str) -> Result<Entry, RunError> {
    let input = |input: &super::plan::StepInput| {
        let source = &plan.steps()[input.step];
        Some(EntryInput {
            stage: source.stage.clone(),
            kind: source.kind.clone(),
            key: source.id.as_ref()?.key(),
            repeat: 1,
        })
    };
    let description = EntryDescription {
        code_version: step.code_version,
        stage: step.stage.clone(),
        experiment: plan.experiment().to_owned(),
        seed: None,
        config: step.values.clone().into(),
        inputs: step.inputs.iter().filter_map(input).collect(),
        resources: serde_json::to_value(&step.resources).unwrap_or_default(),
        results: serde_json::Value::Null,
        run: run.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        seconds: building.seconds(),
    };
    Ok(building.publish(description)?)
}
