//! Doing stages of an old run again, and comparing what comes out.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::config::Experiment;
use crate::store::{Entry, EntryId, Key, Project, Store, StoreError};
use crate::tracking::{
    Event, Level, RunEnd, RunOverview, RunRecorder, RunStart, StageOutcome, StageOverview,
    read_record_without_metrics,
};

use super::compare_files::{Agreement, compare_beginning, compare_outputs};
use super::display::{Display, StageReport};
use super::error::RunError;
use super::execute::{Execution, Retries, blockage_text, execute};
use super::history::{Change, changes_since};
use super::interrupt::Interrupt;
use super::own_run::has_output;
use super::plan::{Plan, Step, StepState, now};
use super::progress::ProgressView;
use super::registry::Registry;
use super::resource::Resource;
use super::selection::Selection;
use super::slots::Slots;
use super::summary::RunSummary;

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
        /// Contents and keys that are others now.
        identities: Vec<Identity>,
    },
    /// The run did not do it, or it cannot be done here.
    Impossible {
        /// Why.
        message: String,
    },
    /// It failed or was stopped this time.
    Failed {
        /// Why.
        message: String,
    },
}

/// The identity of something that is another now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// What it is of, such as `content of dictionary`.
    pub what: String,
    /// What it was; empty if that is not known.
    pub from: String,
    /// What it is now; empty if that is not known.
    pub to: String,
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
/// the outputs. Works beside the project's store, which stays as it is. Stages
/// that the run was not to do are left out unless they are asked for.
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
        if recorded.is_none() && extent.only.is_empty() {
            continue;
        }
        let verifier = Verifier {
            plan: &plan,
            experiment,
            run,
            registry,
            beside: &beside,
            limit: extent.limit,
        };
        let verdict = match recorded.filter(|stage| has_output(stage)) {
            Some(recorded) => verifier.step(
                step,
                recorded,
                &mut Again {
                    display: &mut *display,
                },
            )?,
            None => Verdict::Impossible {
                message: not_done(recorded),
            },
        };
        verdicts.push((step.name.clone(), verdict));
    }
    Ok(verdicts)
}

/// Why a run has no output of a stage.
fn not_done(stage: Option<&StageOverview>) -> String {
    let Some(stage) = stage else {
        return "the run did not do it".to_owned();
    };
    let what = match stage.outcome {
        Some(StageOutcome::Failed) => "it failed in that run",
        Some(StageOutcome::Blocked) => "it was blocked in that run",
        Some(StageOutcome::Interrupted) => "that run was stopped before its end",
        Some(StageOutcome::Skipped) => "that run left it out",
        _ => "that run did not come to its end",
    };
    match &stage.message {
        Some(message) => format!("{what}: {message}"),
        None => what.to_owned(),
    }
}

struct Verifier<'a> {
    plan: &'a Plan,
    experiment: &'a Experiment,
    run: &'a RunOverview,
    registry: &'a Registry,
    beside: &'a Project,
    limit: Option<Duration>,
}

/// What came of doing a step again.
enum Outcome {
    Done,
    Stopped,
    Failed(String),
}

impl Verifier<'_> {
    fn step(
        &self,
        step: &Step,
        recorded: &StageOverview,
        display: &mut dyn Display,
    ) -> Result<Verdict, RunError> {
        if let StepState::Blocked(blockages) = &step.state {
            let reasons: Vec<_> = blockages.iter().map(blockage_text).collect();
            let message = reasons.join("; ");
            return Ok(Verdict::Impossible { message });
        }
        let same = |id: &&EntryId| id.key().to_string() == recorded.key;
        let Some(id) = step.id.as_ref().filter(same) else {
            return self.changed(step, recorded);
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
            Outcome::Done => match copies.get(id)? {
                Some(new) => Ok(Verdict::Compared(compare_outputs(&old, &new)?)),
                None => gone(&step.name),
            },
            Outcome::Stopped => {
                let (rows, agreement) = compare_beginning(old.dir(), &copies.unfinished_out(id));
                Ok(match rows {
                    0 => Verdict::Failed {
                        message: "it had no metrics to compare when its time was over".to_owned(),
                    },
                    rows => Verdict::Sampled { rows, agreement },
                })
            }
            Outcome::Failed(message) => Ok(Verdict::Failed { message }),
        }
    }

    /// What a step depends on that is another than in the run: by the output that
    /// the run had, else by its record.
    fn changed(&self, step: &Step, recorded: &StageOverview) -> Result<Verdict, RunError> {
        let key: Option<Key> = recorded.key.parse().ok();
        let id = key.and_then(|key| EntryId::new(&step.kind, key).ok());
        let entry = match &id {
            Some(id) => self.plan.store().get(id).ok().flatten(),
            None => None,
        };
        let before = self.resources_of_run(step);
        let changes = match &entry {
            Some(entry) => {
                let now = now(self.plan.experiment(), self.plan.steps(), step);
                changes_since(&entry.manifest().description, &now)
            }
            None => step
                .resources
                .iter()
                .filter(|now| {
                    !before.is_empty() && identity_of(&before, &now.role) != identity(now)
                })
                .map(|now| Change::Resource {
                    role: now.role.clone(),
                    path: now.path.clone(),
                })
                .collect(),
        };
        let mut identities: Vec<Identity> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Resource { role, .. } => Some(Identity {
                    what: change.to_string(),
                    from: identity_of(&before, role),
                    to: identity_of(&step.resources, role),
                }),
                Change::Input { from, to, .. } => Some(Identity {
                    what: change.to_string(),
                    from: from.map(|key| key.to_string()).unwrap_or_default(),
                    to: to.map(|key| key.to_string()).unwrap_or_default(),
                }),
                Change::Code { .. } | Change::Value { .. } => None,
            })
            .collect();
        let key = step.id.as_ref().map(|id| id.key().to_string());
        identities.push(Identity {
            what: "key".to_owned(),
            from: recorded.key.clone(),
            to: key.unwrap_or_default(),
        });
        Ok(Verdict::Changed {
            changes,
            identities,
        })
    }

    /// What the step had from outside in the run; nothing if the record does not
    /// tell.
    fn resources_of_run(&self, step: &Step) -> Vec<Resource> {
        let dir = self.plan.project().runs_dir().join(&self.run.run);
        let Ok(record) = read_record_without_metrics(&dir) else {
            return Vec::new();
        };
        let found = record
            .events
            .into_iter()
            .find_map(|event| match event.what {
                Event::StageResources { stage, resources } if stage == step.name => Some(resources),
                _ => None,
            });
        found
            .and_then(|resources| serde_json::from_value(resources).ok())
            .unwrap_or_default()
    }

    /// Runs the step beside the store, as long as it may.
    fn again(&self, step: &Step, display: &mut dyn Display) -> Result<Outcome, RunError> {
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
            Some(result) if result.outcome == StageOutcome::Done => Outcome::Done,
            Some(result) if result.outcome == StageOutcome::Interrupted => Outcome::Stopped,
            Some(result) => Outcome::Failed(result.message.clone().unwrap_or_default()),
            None => Outcome::Failed("it did not run".to_owned()),
        })
    }
}

/// The identity of the content of a resource; empty while it is unknown.
fn identity(resource: &Resource) -> String {
    let identity = resource.identity.as_ref();
    identity.map(ToString::to_string).unwrap_or_default()
}

/// That of the resource with a role.
fn identity_of(resources: &[Resource], role: &str) -> String {
    let found = resources.iter().find(|resource| resource.role == role);
    found.map(identity).unwrap_or_default()
}

/// Shows stages that are done again. No command goes on with those that are
/// stopped, so it does not say that one does.
struct Again<'a> {
    display: &'a mut dyn Display,
}

impl Display for Again<'_> {
    fn begin(&mut self, plan: &Plan) {
        self.display.begin(plan);
    }

    fn stage_started(&mut self, step: &Step, resumed: bool) {
        self.display.stage_started(step, resumed);
    }

    fn stage_waits(&mut self, step: &Step, holder: &str) {
        self.display.stage_waits(step, holder);
    }

    fn stage_progress(&mut self, stage: &str, progress: &ProgressView) {
        self.display.stage_progress(stage, progress);
    }

    fn stage_finished(&mut self, report: &StageReport) {
        self.display.stage_finished(report);
    }

    fn line(&mut self, stage: Option<&str>, level: Level, text: &str) {
        self.display.line(stage, level, text);
    }

    fn end(&mut self, summary: &RunSummary) {
        let summary = RunSummary {
            interrupted: false,
            ..summary.clone()
        };
        self.display.end(&summary);
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
