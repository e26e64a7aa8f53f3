//! Doing stages of an old run again, and comparing what comes out.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::config::Experiment;
use crate::store::{Entry, Project, Store, StoreError};
use crate::tracking::{RunEnd, RunOverview, RunRecorder, RunStart, StageOutcome};

use super::compare_files::{Agreement, compare_beginning, compare_outputs};
use super::display::Display;
use super::error::RunError;
use super::execute::{Execution, Retries, execute};
use super::history::Change;
use super::interrupt::Interrupt;
use super::plan::{Plan, Step};
use super::registry::Registry;
use super::selection::Selection;
use super::slots::Slots;

/// What came of doing one stage again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It was done again.
    Compared(Agreement),
    /// Its beginning was done again, and the metrics of that compared.
    Sampled {
        /// Number of rows of metrics.
        rows: usize,
        /// How far they agree.
        agreement: Agreement,
    },
    /// Its output or one of its inputs is not in the store any more.
    Gone {
        /// Which stage's output.
        stage: String,
    },
    /// The program, or something from outside, is another now.
    Changed {
        /// What, as far as known.
        changes: Vec<Change>,
    },
    /// It failed or was stopped this time.
    Failed {
        /// Why.
        message: String,
    },
}

/// Which stages to verify, and how much of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent<'a> {
    /// Only these stages; none: all.
    pub only: &'a [String],
    /// Longest time for one stage: of those that take longer, the beginning is
    /// compared.
    pub limit: Option<Duration>,
}

/// Does the stages of a run again, each on the inputs that it had, and compares
/// the outputs. Works beside the project's store, which stays as it is.
///
/// # Errors
/// The store cannot be used, or `only` names no stage.
pub fn verify(
    experiment: &Experiment,
    run: &RunOverview,
    extent: Extent<'_>,
    project: &Project,
    registry: &Registry,
    display: &mut dyn Display,
) -> Result<Vec<(String, Verdict)>, RunError> {
    let plan = Plan::in_project(experiment, registry, project.clone(), false)?;
    let selection = Selection {
        only: extent.only.to_vec(),
        ..Selection::default()
    };
    let chosen = selection.apply(&plan)?;
    let scratch = tempfile::tempdir_in(project.home())
        .map_err(StoreError::io("make a directory in", project.home()))?;
    let beside = Project::locate(project.working_dir(), Some(scratch.path()), None);
    beside.create()?;
    let mut verdicts = Vec::new();
    for (step, _) in plan
        .steps()
        .iter()
        .zip(&chosen.run)
        .filter(|(_, run)| **run)
    {
        let recorded = run.stages.iter().find(|stage| stage.name == step.name);
        let Some(recorded) = recorded.filter(|stage| !stage.key.is_empty()) else {
            continue;
        };
        let verdict = Verifier {
            plan: &plan,
            experiment,
            registry,
            beside: &beside,
            limit: extent.limit,
        }
        .step(step, &recorded.key, display)?;
        verdicts.push((step.name.clone(), verdict));
    }
    Ok(verdicts)
}

struct Verifier<'a> {
    plan: &'a Plan,
    experiment: &'a Experiment,
    registry: &'a Registry,
    beside: &'a Project,
    limit: Option<Duration>,
}

/// What came of doing a step again.
enum Again {
    Done,
    Stopped,
    Failed(String),
}

impl Verifier<'_> {
    fn step(&self, step: &Step, key: &str, display: &mut dyn Display) -> Result<Verdict, RunError> {
        let id = step.id.as_ref().filter(|id| id.key().to_string() == key);
        let Some(id) = id else {
            let changes = step.changes.clone().unwrap_or_default();
            return Ok(Verdict::Changed { changes });
        };
        let store = self.plan.store();
        let gone = |stage: &str| {
            Ok(Verdict::Gone {
                stage: stage.to_owned(),
            })
        };
        let Some(old) = store.get(id)? else {
            return gone(&step.name);
        };
        let copies = Store::new(self.beside.store_dir());
        for input in &step.inputs {
            let source = &self.plan.steps()[input.step];
            let entry = match &source.id {
                Some(id) => store.get(id)?.map(|entry| (id, entry)),
                None => None,
            };
            let Some((id, entry)) = entry else {
                return gone(&source.name);
            };
            link(&entry, &copies.entry_dir(id))?;
        }
        match self.again(step, display)? {
            Again::Done => match copies.get(id)? {
                Some(new) => Ok(Verdict::Compared(compare_outputs(&old, &new)?)),
                None => gone(&step.name),
            },
            Again::Stopped => {
                let (rows, agreement) = compare_beginning(old.dir(), &copies.unfinished_out(id));
                Ok(match rows {
                    0 => Verdict::Failed {
                        message: "it had no metrics to compare when its time was over".to_owned(),
                    },
                    rows => Verdict::Sampled { rows, agreement },
                })
            }
            Again::Failed(message) => Ok(Verdict::Failed { message }),
        }
    }

    /// Runs the step beside the store, as long as it may.
    fn again(&self, step: &Step, display: &mut dyn Display) -> Result<Again, RunError> {
        let plan = Plan::in_project(self.experiment, self.registry, self.beside.clone(), false)?;
        let recorder = RunRecorder::start(self.beside, RunStart::default())?;
        let interrupt = Interrupt::new();
        let execution = Execution {
            plan: &plan,
            registry: self.registry,
            recorder: &recorder,
            interrupt: &interrupt,
            selection: Selection {
                only: vec![step.name.clone()],
                // Verified stages are inputs of later ones, and are there then.
                force: vec![step.name.clone()],
                ..Selection::default()
            },
            keep_going: true,
            retries: Retries::default(),
            slots: Slots::default(),
        };
        let summary = match self.limit {
            None => execute(&execution, display)?,
            Some(limit) => thread::scope(|scope| {
                let (over, waits) = mpsc::channel::<()>();
                let interrupt = &interrupt;
                scope.spawn(move || {
                    // The other end goes when the step is over.
                    if waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                        interrupt.raise();
                    }
                });
                let summary = execute(&execution, display);
                drop(over);
                summary
            })?,
        };
        let outputs = self.beside.outputs_dir().join(recorder.id().as_str());
        recorder.finish(RunEnd {
            exit_code: summary.exit_code(),
            reason: summary.counts(),
        })?;
        // What it put there for people is of the run that is verified.
        let _ = fs::remove_dir_all(outputs);
        Ok(match summary.step(&step.name) {
            Some(result) if result.outcome == StageOutcome::Done => Again::Done,
            Some(result) if result.outcome == StageOutcome::Interrupted => Again::Stopped,
            Some(result) => Again::Failed(result.message.clone().unwrap_or_default()),
            None => Again::Failed("it did not run".to_owned()),
        })
    }
}

/// Makes an entry appear in another store on the same disk, or copies it there.
fn link(entry: &Entry, to: &Path) -> Result<(), StoreError> {
    let names = entry.manifest().files.iter().map(|file| file.path.as_str());
    for name in names.chain(["entry.json"]) {
        let (from, to) = (entry.dir().join(name), to.join(name));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("make", parent))?;
        }
        if !to.exists() && fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(StoreError::io("copy", &from))?;
        }
    }
    Ok(())
}
