//! How a run came out.

use serde_json::{Value, json};

use crate::store::Entry;
use crate::tracking::{RunEnd, StageOutcome};

use super::plan::{Plan, StepState};

/// How one step came out.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Name of the step.
    pub name: String,
    /// Name of its stage.
    pub stage: String,
    /// Stage kind.
    pub kind: String,
    /// Seed of the experiment, if it depends on one.
    pub seed: Option<u64>,
    /// How it came out.
    pub outcome: StageOutcome,
    /// Seconds it took in this run.
    pub seconds: f64,
    /// Why it failed or did not run, or what was left out.
    pub message: Option<String>,
    /// Its output, if there is one.
    pub entry: Option<Entry>,
    /// Whether it is done except for single inputs.
    pub parked: bool,
}

impl StepResult {
    /// What it found out; null without an output.
    pub fn results(&self) -> &Value {
        self.entry
            .as_ref()
            .map_or(&Value::Null, |entry| &entry.manifest().description.results)
    }

    /// The result as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "stage": self.stage,
            "kind": self.kind,
            "seed": self.seed,
            "outcome": self.outcome,
            "seconds": self.seconds,
            "message": self.message,
            "output": self.entry.as_ref().map(|entry| entry.dir()),
            "results": self.results(),
        })
    }
}

/// How a run came out.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The chosen steps in order.
    pub steps: Vec<StepResult>,
    /// Seconds the run took.
    pub seconds: f64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

impl RunSummary {
    /// That of a plan in which nothing is left to do.
    pub fn up_to_date(plan: &Plan) -> RunSummary {
        let steps = plan.steps().iter().filter_map(|step| match &step.state {
            StepState::UpToDate(entry) => Some(StepResult {
                name: step.name.clone(),
                stage: step.stage.clone(),
                kind: step.kind.clone(),
                seed: step.seed,
                outcome: StageOutcome::UpToDate,
                seconds: 0.0,
                message: None,
                entry: Some((**entry).clone()),
                parked: false,
            }),
            _ => None,
        });
        RunSummary {
            steps: steps.collect(),
            seconds: 0.0,
            interrupted: false,
        }
    }

    /// Number of steps that came out so.
    pub fn count(&self, outcome: StageOutcome) -> usize {
        self.steps
            .iter()
            .filter(|step| step.outcome == outcome)
            .count()
    }

    /// The step with a name.
    pub fn step(&self, name: &str) -> Option<&StepResult> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Exit code of the program: 130 interrupted, 1 something failed or could
    /// not run, 3 single inputs were left out, 0 all done.
    pub fn exit_code(&self) -> u8 {
        let bad = |step: &StepResult| {
            !matches!(
                step.outcome,
                StageOutcome::Done | StageOutcome::UpToDate | StageOutcome::Interrupted
            )
        };
        if self.interrupted {
            130
        } else if self.steps.iter().any(bad) {
            1
        } else if self.steps.iter().any(|step| step.parked) {
            3
        } else {
            0
        }
    }

    /// The counts in words, such as `2 done, 1 failed`.
    pub fn counts(&self) -> String {
        let words = [
            (StageOutcome::Done, "done"),
            (StageOutcome::UpToDate, "up to date"),
            (StageOutcome::Interrupted, "interrupted"),
            (StageOutcome::Failed, "failed"),
            (StageOutcome::Blocked, "blocked"),
            (StageOutcome::Skipped, "skipped"),
        ];
        let counted: Vec<_> = words
            .iter()
            .map(|(outcome, word)| (self.count(*outcome), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if counted.is_empty() {
            "nothing to do".to_owned()
        } else {
            counted.join(", ")
        }
    }

    /// The end of the run's record.
    pub fn end(&self) -> RunEnd {
        RunEnd {
            exit_code: self.exit_code(),
            reason: self.counts(),
        }
    }

    /// The summary as JSON.
    pub fn to_json(&self) -> Value {
        let steps: Vec<_> = self.steps.iter().map(StepResult::to_json).collect();
        json!({ "steps": steps, "seconds": self.seconds, "exit_code": self.exit_code() })
    }
}
