//! The run in which an experiment, as it is now, has its record and its page.

use crate::tracking::{
    RunOverview, StageOutcome, StageOverview, TrackingError, find_run, list_runs,
};

use super::plan::{Plan, Step, StepState};

impl Plan {
    /// The newest run of this experiment in which all its steps have the outputs
    /// that they have now.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub fn own_run(&self) -> Result<Option<RunOverview>, TrackingError> {
        self.newest(|run| self.steps().iter().all(|step| has_step(run, step)))
    }

    /// The newest run of this experiment in which any step has the output that it
    /// has now.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub fn last_run(&self) -> Result<Option<RunOverview>, TrackingError> {
        self.newest(|run| {
            let mut done = self.steps().iter().filter(|step| step.is_up_to_date());
            done.any(|step| has_step(run, step))
        })
    }

    fn newest(
        &self,
        fits: impl Fn(&RunOverview) -> bool,
    ) -> Result<Option<RunOverview>, TrackingError> {
        if self.steps().is_empty() {
            return Ok(None);
        }
        let fits = |run: &RunOverview| run.experiment == self.experiment() && fits(run);
        // Mostly it is the run that made the newest output, and no list is needed.
        let maker = self.newest_maker().map(|run| find_run(self.project(), run));
        if let Some(Ok((run, _))) = maker
            && fits(&run)
        {
            return Ok(Some(run));
        }
        let (runs, _) = list_runs(self.project())?;
        Ok(runs.into_iter().rev().find(|run| fits(run)))
    }

    /// Run that made the newest of the outputs, be it of this experiment or of
    /// another one; it may be removed.
    fn newest_maker(&self) -> Option<&str> {
        let entries = self.steps().iter().filter_map(|step| match &step.state {
            StepState::UpToDate(entry) => Some(entry),
            _ => None,
        });
        entries
            .map(|entry| entry.manifest().description.run.as_str())
            .max()
    }
}

/// Whether a step came out of a run with the key that it has now.
fn has_step(run: &RunOverview, step: &Step) -> bool {
    let Some(id) = &step.id else {
        return false;
    };
    let key = id.key().to_string();
    run.stages.iter().any(|stage| {
        stage.name == step.name && stage.kind == step.kind && stage.key == key && has_output(stage)
    })
}

/// Whether a stage had an output when its run was over, whoever made it.
pub(super) fn has_output(stage: &StageOverview) -> bool {
    matches!(
        stage.outcome,
        Some(StageOutcome::Done | StageOutcome::UpToDate)
    )
}
