//! Doing what a plan says.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::{
    Building, Claim, ContentHashes, Entry, EntryDescription, EntryId, EntryInput, Failure,
};
use crate::tracking::{Event, Level, RunRecorder, StageOutcome};

use super::board::Board;
use super::context::{InputEntry, StageContext};
use super::death::StageDeath;
use super::display::{Display, Screen, StageReport};
use super::error::{RunError, StageError};
use super::format::time_text;
use super::interrupt::Interrupt;
use super::kind::{StageKind, StageOutput};
use super::plan::{Blockage, Plan, Step, StepState};
use super::progress::Progress;
use super::registry::Registry;
use super::resource::{Resource, ResourceQuery};
use super::selection::Selection;
use super::slots::Slots;
use super::summary::{RunSummary, StepResult};

/// Time between two looks at what another process is making for us.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to execute, and how.
#[derive(Debug)]
pub struct Execution<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Who does it.
    pub registry: &'a Registry,
    /// Where it is recorded.
    pub recorder: &'a RunRecorder,
    /// Whether somebody wants it to stop.
    pub interrupt: &'a Interrupt,
    /// Which steps.
    pub selection: Selection,
    /// Whether to go on with what does not depend on a step that failed or
    /// cannot run.
    pub keep_going: bool,
    /// Whether and when failed steps are tried again.
    pub retries: Retries,
    /// What steps may occupy at the same time.
    pub slots: Slots,
}

/// How often a step that fails is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often at most.
    pub count: u32,
    /// Pause before the first time; it doubles each time, up to a minute.
    pub pause: Duration,
    /// Attempts that were made already, and took their process along.
    pub deaths: Vec<StageDeath>,
}

impl Default for Retries {
    /// Never again.
    fn default() -> Retries {
        Retries {
            count: 0,
            pause: Duration::from_secs(1),
            deaths: Vec::new(),
        }
    }
}

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Does what the plan says and the store does not have yet.
///
/// Without `keep_going`, nothing runs while anything chosen is blocked. Failed
/// steps are no error of this function; see [`RunSummary::exit_code`]. Ending
/// the record is left to the caller.
///
/// # Errors
/// A stage is chosen that does not exist, or the store cannot be used.
pub fn execute(
    execution: &Execution<'_>,
    display: &mut dyn Display,
) -> Result<RunSummary, RunError> {
    let chosen = execution.selection.apply(execution.plan)?;
    let start = Instant::now();
    display.begin(execution.plan);
    // Only a hint for the next plan.
    let _ = execution.plan.hashes().save();
    let screen = Mutex::new(display);
    let worker = Worker {
        execution,
        force: chosen.force,
        screen: &screen,
        board: Board::new(chosen.run, execution.slots),
    };
    worker.queue();
    match execution.slots.jobs.min(execution.plan.steps().len()) {
        0 | 1 => worker.work()?,
        jobs => thread::scope(|scope| {
            // As many as the system gives; the others go on with the work.
            let others = (1..jobs).map_while(|_| {
                let thread = thread::Builder::new();
                thread.spawn_scoped(scope, || worker.work()).ok()
            });
            let others: Vec<_> = others.collect();
            let mine = worker.work();
            let others = others.into_iter().map(|other| {
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            others.fold(mine, Result::and)
        })?,
    }
    let steps = worker.board.into_results();
    let interrupted = execution.interrupt.is_raised();
    let summary = RunSummary {
        steps,
        seconds: start.elapsed().as_secs_f64(),
        interrupted,
    };
    screen.with(&mut |display| display.end(&summary));
    Ok(summary)
}

struct Worker<'a> {
    execution: &'a Execution<'a>,
    /// For each step, whether to make it again.
    force: Vec<bool>,
    screen: &'a dyn Screen,
    board: Board,
}

impl Worker<'_> {
    fn steps(&self) -> &[Step] {
        self.execution.plan.steps()
    }

    /// Brings steps to their end until there are none.
    fn work(&self) -> Result<(), RunError> {
        while let Some(at) = self.board.take(self.steps()) {
            match self.settle(at) {
                Ok(result) => {
                    self.report(&result);
                    self.board.settle(at, &self.steps()[at], result);
                }
                Err(error) => {
                    self.board.give_up();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn queue(&self) {
        for (step, _) in self
            .steps()
            .iter()
            .zip(self.board.chosen())
            .filter(|(_, run)| **run)
        {
            self.execution.recorder.event(Event::StageQueued {
                stage: step.name.clone(),
                kind: step.kind.clone(),
                key: step
                    .id
                    .as_ref()
                    .map(|id| id.key().to_string())
                    .unwrap_or_default(),
            });
            if let Ok(resources) = serde_json::to_value(&step.resources)
                && !step.resources.is_empty()
            {
                self.execution.recorder.event(Event::StageResources {
                    stage: step.name.clone(),
                    resources,
                });
            }
        }
    }

    fn report(&self, result: &StepResult) {
        self.execution.recorder.event(Event::StageFinished {
            stage: result.name.clone(),
            outcome: result.outcome,
            seconds: result.seconds,
            message: result.message.clone(),
            results: result.results().clone(),
        });
        let report = StageReport {
            name: result.name.clone(),
            outcome: result.outcome,
            time: Duration::try_from_secs_f64(result.seconds).unwrap_or_default(),
            message: result.message.clone(),
        };
        self.screen
            .with(&mut |display| display.stage_finished(&report));
    }

    /// Why the run does nothing more, if it does not.
    fn stopped(&self) -> Option<String> {
        if self.execution.interrupt.is_raised() {
            return Some("the run was interrupted".to_owned());
        }
        if self.execution.keep_going {
            return None;
        }
        if let Some(failed) = self.board.failed() {
            return Some(format!("`{failed}` failed"));
        }
        let mut chosen = self
            .steps()
            .iter()
            .zip(self.board.chosen())
            .filter(|(_, run)| **run);
        let (blocked, _) = chosen.find(|(step, _)| step.is_blocked())?;
        Some(format!(
            "`{}` is blocked; --keep-going runs what can run",
            blocked.name
        ))
    }

    /// Brings one step to its end.
    fn settle(&self, at: usize) -> Result<StepResult, RunError> {
        let step = &self.steps()[at];
        let forced = self.force[at];
        if let StepState::UpToDate(entry) = &step.state
            && !forced
        {
            return Ok(result_of(
                step,
                StageOutcome::UpToDate,
                None,
                Some((**entry).clone()),
            ));
        }
        if let StepState::Blocked(blockages) = &step.state {
            let message = blockages
                .iter()
                .map(blockage_text)
                .collect::<Vec<_>>()
                .join("; ");
            return Ok(result_of(step, StageOutcome::Blocked, Some(message), None));
        }
        if let Some(reason) = self.stopped() {
            return Ok(result_of(step, StageOutcome::Skipped, Some(reason), None));
        }
        let (Some(id), Some(kind)) = (&step.id, self.execution.registry.get(&step.kind)) else {
            let message = Some(format!("this program has no stage kind `{}`", step.kind));
            return Ok(result_of(step, StageOutcome::Blocked, message, None));
        };
        let mut inputs = Vec::new();
        for input in &step.inputs {
            let source = &self.steps()[input.step];
            match self.output_of(input.step)? {
                Some(entry) => {
                    inputs.push(InputEntry {
                        stage: source.stage.clone(),
                        entry,
                        repeat: input.repeat,
                    });
                }
                None => {
                    let why = match self.board.result(input.step) {
                        Some(_) => "has no output".to_owned(),
                        None => format!(
                            "is neither in the store nor chosen to run; --until {} runs it too",
                            step.stage
                        ),
                    };
                    let message = Some(format!("its input `{}` {why}", source.name));
                    return Ok(result_of(step, StageOutcome::Skipped, message, None));
                }
            }
        }
        Ok(self.make(step, id, kind, inputs, forced))
    }

    /// The output of a step that this run has settled or did not choose.
    fn output_of(&self, at: usize) -> Result<Option<Entry>, RunError> {
        match (self.board.result(at), &self.steps()[at].id) {
            (Some(result), _) => Ok(result.entry),
            (None, Some(id)) => Ok(self.execution.plan.store().get(id)?),
            (None, None) => Ok(None),
        }
    }

    fn make(
        &self,
        step: &Step,
        id: &EntryId,
        kind: &dyn StageKind,
        inputs: Vec<InputEntry>,
        forced: bool,
    ) -> StepResult {
        let start = Instant::now();
        let made = self.make_or_retry(step, || match self.claim(step, id, forced)? {
            Claimed::Ready(entry) => Ok((*entry, StageOutcome::UpToDate, None)),
            Claimed::Build(building) => {
                let (entry, parked) = self.build(step, kind, inputs.clone(), building)?;
                Ok((entry, StageOutcome::Done, parked))
            }
        });
        if let Err(StageError::Failed(message)) = &made
            && !self.execution.retries.deaths.is_empty()
        {
            // What died could not say so itself.
            self.note_failure(step, id, forced, message);
        }
        let mut result = match made {
            Ok((entry, outcome, parked)) => {
                let mut result = result_of(step, outcome, parked, Some(entry));
                result.parked = result.message.is_some();
                result
            }
            Err(StageError::Interrupted) => result_of(step, StageOutcome::Interrupted, None, None),
            Err(StageError::Failed(message)) => {
                result_of(step, StageOutcome::Failed, Some(message), None)
            }
        };
        result.seconds = start.elapsed().as_secs_f64();
        result
    }

    /// Tries again what fails, as often as it may.
    fn make_or_retry<T>(
        &self,
        step: &Step,
        make: impl Fn() -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let retries = &self.execution.retries;
        let mut deaths = (retries.deaths.iter()).filter(|death| death.stage == step.name);
        let mut pause = retries.pause;
        for attempt in 1..=retries.count {
            let message = match deaths.next() {
                Some(death) => death.reason.clone(),
                None => match make() {
                    Err(StageError::Failed(message)) => message,
                    other => return other,
                },
            };
            let text = format!(
                "attempt {attempt} of {} failed, again in {}: {message}",
                retries.count + 1,
                time_text(pause)
            );
            let name = Some(step.name.as_str());
            self.execution.recorder.console(name, Level::Warn, &text);
            self.screen
                .with(&mut |display| display.line(name, Level::Warn, &text));
            let begun = Instant::now();
            while begun.elapsed() < pause {
                if self.execution.interrupt.is_raised() {
                    return Err(StageError::Interrupted);
                }
                thread::sleep(LOOK_EVERY.min(pause.saturating_sub(begun.elapsed())));
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        match deaths.next() {
            Some(death) => Err(StageError::Failed(death.reason.clone())),
            None => make(),
        }
    }

    /// Leaves word of a failure with the unfinished work.
    fn note_failure(&self, step: &Step, id: &EntryId, forced: bool, message: &str) {
        if let Ok(Claimed::Build(building)) = self.claim(step, id, forced) {
            // The reason it stopped matters more than a note of it.
            let _ = building.keep(Some(self.failure(message)));
        }
    }

    fn failure(&self, message: &str) -> Failure {
        Failure {
            message: message.to_owned(),
            run: self.execution.recorder.id().to_string(),
            at_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
        }
    }

    /// Waits until the output is there or ours to make.
    fn claim(&self, step: &Step, id: &EntryId, forced: bool) -> Result<Claimed, StageError> {
        let store = self.execution.plan.store();
        let run = self.execution.recorder.id().as_str();
        let mut told = None;
        loop {
            let claim = if forced {
                store.claim_anew(id, run)
            } else {
                store.claim(id, run)
            };
            match claim? {
                Claim::Ready(entry) => return Ok(Claimed::Ready(entry)),
                Claim::Build(building) => return Ok(Claimed::Build(building)),
                Claim::Busy(holder) => {
                    let who = holder
                        .map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
                    if told.as_ref() != Some(&who) {
                        self.screen
                            .with(&mut |display| display.stage_waits(step, &who));
                        told = Some(who);
                    }
                }
            }
            if self.execution.interrupt.is_raised() {
                return Err(StageError::Interrupted);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn build(
        &self,
        step: &Step,
        kind: &dyn StageKind,
        inputs: Vec<InputEntry>,
        building: Box<Building>,
    ) -> Result<(Entry, Option<String>), StageError> {
        let recorder = self.execution.recorder;
        let resumed = building.is_resumed();
        recorder.event(Event::StageStarted {
            stage: step.name.clone(),
            resumed,
        });
        self.screen
            .with(&mut |display| display.stage_started(step, resumed));
        let (out, work) = (building.out(), building.work());
        let entry_inputs = inputs.iter().map(entry_input).collect();
        let building = Mutex::new(Some(building));
        let context = StageContext {
            name: step.name.clone(),
            config: &step.config,
            compute: &step.compute,
            device: OnceLock::new(),
            seed: step.config.run.seed,
            inputs,
            resources: &step.resources,
            project: self.execution.plan.project(),
            recorder,
            interrupt: self.execution.interrupt,
            screen: self.screen,
            out,
            work,
            resumed,
            building: &building,
            progress: Progress::new(),
            metrics: OnceLock::new(),
            opening: Mutex::new(()),
            start: Instant::now(),
            recorded_s: AtomicU64::new(0),
        };
        let unchanged = || self.check_resources(step, kind, &context.inputs);
        let work = || -> Result<StageOutput, StageError> {
            unchanged()?;
            let output = run_within(step, kind, &context)?;
            // What was read while it changed would have the wrong key.
            unchanged()?;
            Ok(output)
        };
        let ran = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            Err(StageError::Failed(format!(
                "it panicked: {}",
                panic_text(&*panic)
            )))
        });
        let closed = context.metrics.get().map_or(Ok(()), |log| log.close());
        let ran = ran.and_then(|output| Ok(closed.map(|()| output)?));
        let ran = ran.map_err(|error| match error {
            StageError::Failed(message) if is_full_disk(&message) => StageError::Failed(format!(
                "{message}; the disk of {} is full: free some space there (`novic gc`)",
                context.work.display()
            )),
            error => error,
        });
        let progress = context.progress.note();
        drop(context);
        let building = building
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(mut building) = building else {
            return Err(StageError::failed("its unfinished output is gone"));
        };
        if let Some(progress) = progress {
            building.progress(progress);
        }
        match ran {
            Ok(output) => self.publish(step, entry_inputs, building, output),
            Err(error) => {
                let failure = match &error {
                    StageError::Interrupted => None,
                    StageError::Failed(message) => Some(self.failure(message)),
                };
                // The reason it stopped matters more than a note of it.
                let _ = building.keep(failure);
                Err(error)
            }
        }
    }

    /// External inputs are still those that the key was made of.
    fn check_resources(
        &self,
        step: &Step,
        kind: &dyn StageKind,
        inputs: &[InputEntry],
    ) -> Result<(), StageError> {
        if step.resources.is_empty() {
            return Ok(());
        }
        let project = self.execution.plan.project();
        let kinds: Vec<&str> = inputs
            .iter()
            .map(|input| input.entry.manifest().kind.as_str())
            .collect();
        let now = kind.resources(&ResourceQuery {
            config: &step.config,
            inputs: &kinds,
            // Not the plan's: that one remembers what it saw.
            hashes: &ContentHashes::open(project, false),
            project,
        })?;
        let identities = |resources: &[Resource]| -> Vec<_> {
            let all = resources.iter();
            all.map(|resource| resource.identity.clone()).collect()
        };
        if identities(&now) == identities(&step.resources) {
            return Ok(());
        }
        let changed = step
            .resources
            .iter()
            .find(|before| !now.iter().any(|now| now.identity == before.identity));
        let what = match changed {
            Some(Resource {
                role,
                path: Some(path),
                ..
            }) => format!("{role} {}", path.display()),
            Some(Resource { role, .. }) => role.clone(),
            None => "an external input".to_owned(),
        };
        Err(StageError::failed(format!(
            "{what} changed since the run was planned; run again"
        )))
    }

    fn publish(
        &self,
        step: &Step,
        inputs: Vec<EntryInput>,
        building: Box<Building>,
        output: StageOutput,
    ) -> Result<(Entry, Option<String>), StageError> {
        let description = EntryDescription {
            code_version: step.code_version,
            stage: step.stage.clone(),
            experiment: self.execution.plan.experiment().to_owned(),
            seed: step.seed,
            config: step.values.clone().into(),
            inputs,
            resources: serde_json::to_value(&step.resources)?,
            results: output.results,
            run: self.execution.recorder.id().to_string(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: building.seconds(),
        };
        Ok((building.publish(description)?, output.parked))
    }
}

/// Runs a stage with the threads it needs, if it says how many.
fn run_within(
    step: &Step,
    kind: &dyn StageKind,
    context: &StageContext<'_>,
) -> Result<StageOutput, StageError> {
    match step.needs.cpus {
        None => kind.run(context),
        Some(cpus) => rayon::ThreadPoolBuilder::new()
            .num_threads(cpus)
            .build()
            .map_err(|error| {
                StageError::failed(format!("failed to start {cpus} threads: {error}"))
            })?
            .install(|| kind.run(context)),
    }
}

enum Claimed {
    Ready(Box<Entry>),
    Build(Box<Building>),
}

fn entry_input(input: &InputEntry) -> EntryInput {
    let manifest = input.entry.manifest();
    EntryInput {
        stage: input.stage.clone(),
        kind: manifest.kind.clone(),
        key: manifest.key,
        repeat: u32::try_from(input.repeat).unwrap_or(u32::MAX),
    }
}

/// The result of a step that came out so.
pub(super) fn result_of(
    step: &Step,
    outcome: StageOutcome,
    message: Option<String>,
    entry: Option<Entry>,
) -> StepResult {
    StepResult {
        name: step.name.clone(),
        stage: step.stage.clone(),
        kind: step.kind.clone(),
        seed: step.seed,
        outcome,
        seconds: 0.0,
        message,
        entry,
        parked: false,
    }
}

/// Why a step cannot run, in one line.
pub(super) fn blockage_text(blockage: &Blockage) -> String {
    match blockage {
        Blockage::Missing(resource) => {
            let mut text = format!("{} {} is not here", resource.role, resource.name);
            if let Some(path) = &resource.path {
                text.push_str(&format!(": {}", path.display()));
            }
            if let Some(missing) = &resource.missing {
                let size = missing
                    .bytes
                    .map(|bytes| format!(", {}", super::format::bytes_text(bytes)))
                    .unwrap_or_default();
                text.push_str(&format!(" ({}{size})", missing.source));
                if let Some(id) = &missing.id {
                    text.push_str(&format!("; get it with `novic hub get {id}`"));
                }
            }
            text
        }
        Blockage::Input { step } => format!("its input `{step}` is blocked"),
        Blockage::Unusable { message } => message.clone(),
        Blockage::NoSuchKind { kind } => format!("this program has no stage kind `{kind}`"),
    }
}

/// Whether an error is that of a full disk, and no library has said what to do.
fn is_full_disk(message: &str) -> bool {
    let full = rustix::io::Errno::NOSPC.raw_os_error();
    message.contains(&format!("(os error {full})")) && !message.contains("free some space")
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a message".to_owned(),
    }
}
