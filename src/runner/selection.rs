//! Which steps of a plan to run.

use std::collections::BTreeSet;

use super::error::RunError;
use super::plan::{Plan, Step};

/// A choice of steps by stage name or step name. Empty lists choose all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these.
    pub only: Vec<String>,
    /// These and all that need their outputs.
    pub from: Vec<String>,
    /// These and all whose outputs they need.
    pub until: Vec<String>,
    /// These again, although their outputs are in the store.
    pub force: Vec<String>,
    /// All again.
    pub force_all: bool,
    /// Not again, whatever is forced: these steps were made already by an earlier
    /// process of the same command, which was killed.
    pub done: Vec<String>,
}

/// A choice applied to a plan: for each step, whether to run it, and whether
/// to make it again.
#[derive(Debug)]
pub(super) struct Chosen {
    pub run: Vec<bool>,
    pub force: Vec<bool>,
}

impl Selection {
    /// Whether it leaves out some stages by their names.
    pub fn is_partial(&self) -> bool {
        [&self.only, &self.from, &self.until]
            .iter()
            .any(|names| !names.is_empty())
    }

    /// Names of the stages of which it chooses any step.
    ///
    /// # Errors
    /// A name is unknown, or together they choose nothing.
    pub fn stages<'a>(&self, plan: &'a Plan) -> Result<BTreeSet<&'a str>, RunError> {
        let chosen = self.apply(plan)?;
        let steps = plan.steps().iter().zip(chosen.run).filter(|(_, run)| *run);
        let names: BTreeSet<&str> = steps.map(|(step, _)| step.stage.as_str()).collect();
        match names.is_empty() && !plan.steps().is_empty() {
            true => Err(RunError::NothingChosen),
            false => Ok(names),
        }
    }

    /// Whether a step is made again although its output is in the store.
    pub(super) fn forces(&self, step: &Step) -> bool {
        let named = self.force_all || is_named(step, &self.force);
        named && !self.done.contains(&step.name)
    }

    pub(super) fn apply(&self, plan: &Plan) -> Result<Chosen, RunError> {
        let steps = plan.steps();
        let mut run = vec![true; steps.len()];
        if !self.only.is_empty() {
            keep(&mut run, &named(steps, &self.only)?);
        }
        if !self.from.is_empty() {
            let mut chosen = named(steps, &self.from)?;
            for at in 0..steps.len() {
                chosen[at] = chosen[at] || steps[at].inputs.iter().any(|input| chosen[input.step]);
            }
            keep(&mut run, &chosen);
        }
        if !self.until.is_empty() {
            let mut chosen = named(steps, &self.until)?;
            for at in (0..steps.len()).rev() {
                if chosen[at] {
                    steps[at]
                        .inputs
                        .iter()
                        .for_each(|input| chosen[input.step] = true);
                }
            }
            keep(&mut run, &chosen);
        }
        check(steps, &self.force)?;
        let force = steps.iter().zip(&run);
        let force = force.map(|(step, run)| *run && self.forces(step)).collect();
        Ok(Chosen { run, force })
    }
}

fn keep(run: &mut [bool], chosen: &[bool]) {
    run.iter_mut()
        .zip(chosen)
        .for_each(|(run, chosen)| *run = *run && *chosen);
}

fn named(steps: &[Step], names: &[String]) -> Result<Vec<bool>, RunError> {
    check(steps, names)?;
    Ok(steps.iter().map(|step| is_named(step, names)).collect())
}

/// Whether a step or its stage is among names.
fn is_named(step: &Step, names: &[String]) -> bool {
    names.contains(&step.stage) || names.contains(&step.name)
}

/// Fails if a name is unknown.
fn check(steps: &[Step], names: &[String]) -> Result<(), RunError> {
    for wanted in names {
        if !steps
            .iter()
            .any(|step| is_named(step, std::slice::from_ref(wanted)))
        {
            let known = steps.iter().map(|step| step.name.as_str());
            return Err(RunError::unknown_stage(wanted, known));
        }
    }
    Ok(())
}
