//! Doing one piece of work: under a lease, so that nobody does it twice, and
//! under a run of its own.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Experiment;
use crate::runner::display::Display;
use crate::runner::execute::{Execution, Retries, execute};
use crate::runner::hooks::{Hooks, RunningHooks};
use crate::runner::interrupt::Interrupt;
use crate::runner::launcher::slurm;
use crate::runner::mirror::{self, MirrorEndings};
use crate::runner::plan::{Plan, Step};
use crate::runner::registry::Registry;
use crate::runner::selection::Selection;
use crate::runner::slots::Slots;
use crate::store::{Attempt, Lease, StoreError};
use crate::tracking::wandb::{Mirrors, Wanted};
use crate::tracking::{
    Environment, RunEndings, RunRecorder, RunStart, StageOutcome, Surroundings, Watch,
};

use super::error::SweepError;
use super::folder::OutcomeLine;
use super::prepare::Sweep;
use super::units::UnitSpec;

/// Time between two looks at what another process is doing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all pieces of work have at hand.
#[derive(Debug)]
pub struct Workbench<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// Who does the steps.
    pub registry: &'a Registry,
    /// Whether and when failed steps are tried again.
    pub retries: Retries,
    /// Sources and program.
    pub surroundings: Surroundings,
    endings: Mutex<RunEndings>,
    hooks: Mutex<VecDeque<RunningHooks>>,
    mirrors: MirrorEndings,
}

impl<'a> Workbench<'a> {
    /// A workbench for a sweep. Mirrors of its runs may have to end after it.
    pub fn new(
        sweep: &'a Sweep,
        registry: &'a Registry,
        retries: Retries,
        mirrors: MirrorEndings,
    ) -> Workbench<'a> {
        Workbench {
            sweep,
            registry,
            retries,
            surroundings: Surroundings::capture(&sweep.project),
            endings: Mutex::default(),
            hooks: Mutex::default(),
            mirrors,
        }
    }

    /// Waits until all records are on the disk; what went wrong with hooks.
    pub fn finish(self) -> Result<Vec<String>, SweepError> {
        let endings = self.endings.into_inner();
        endings
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .wait()?;
        let hooks = self.hooks.into_inner();
        let hooks = hooks.unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(hooks.into_iter().flat_map(RunningHooks::wait).collect())
    }

    /// Does a piece of work and writes down what became of it.
    ///
    /// # Errors
    /// The sweep's files or the record of the run cannot be written. That a step
    /// fails is no error.
    pub fn work(
        &self,
        unit: &UnitSpec,
        interrupt: &Interrupt,
        watch: Option<Watch>,
        display: &mut dyn Display,
    ) -> Result<OutcomeLine, SweepError> {
        let begun = Instant::now();
        let Some(lease) = self.lease(unit, interrupt)? else {
            return Ok(self.line(unit, StageOutcome::Interrupted, None, begun, None));
        };
        let line = match self.done(unit, interrupt, watch, display, begun) {
            Ok(line) => line,
            // Other points may have better luck.
            Err(SweepError::Config(error)) => {
                let message = Some(error.to_string());
                self.line(unit, StageOutcome::Failed, None, begun, message)
            }
            Err(error) => return Err(error),
        };
        self.sweep.folder.add_outcome(&line)?;
        lease.remove()?;
        Ok(line)
    }

    /// Waits for the right to do it; `None` when the work is to stop.
    fn lease(&self, unit: &UnitSpec, interrupt: &Interrupt) -> Result<Option<Lease>, SweepError> {
        let path = self.sweep.folder.unit_lease(&unit.unit);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("make", parent))?;
        }
        loop {
            let note = format!("{}, {}", self.sweep.header.name, unit.unit);
            match Lease::try_take(&path, &note, self.sweep.project.locks())? {
                Attempt::Held(lease) => return Ok(Some(lease)),
                Attempt::Busy(_) if interrupt.is_raised() => return Ok(None),
                Attempt::Busy(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn done(
        &self,
        unit: &UnitSpec,
        interrupt: &Interrupt,
        watch: Option<Watch>,
        display: &mut dyn Display,
        begun: Instant,
    ) -> Result<OutcomeLine, SweepError> {
        let sweep = self.sweep;
        let overrides = sweep.overrides(unit.point);
        let mut experiment = sweep.experiment(unit.point)?;
        group(&mut experiment, &sweep.header.name);
        let plan = Plan::without_history(&experiment, self.registry, sweep.project.clone())?;
        let steps: Vec<_> = plan
            .steps()
            .iter()
            .filter(|step| unit.steps.iter().any(|(stage, _)| *stage == step.stage))
            .collect();
        let changed = steps.iter().find(|step| {
            let planned = unit.steps.iter().find(|(stage, _)| *stage == step.stage);
            planned.map(|(_, id)| id) != step.id.as_ref()
        });
        if let Some(step) = changed {
            let message = format!(
                "what `{}` depends on from outside changed since the sweep was planned; run the sweep again",
                step.stage
            );
            return Ok(self.line(unit, StageOutcome::Failed, None, begun, Some(message)));
        }
        if steps.iter().all(|step| step.is_up_to_date()) {
            return Ok(self.line(unit, StageOutcome::UpToDate, None, begun, None));
        }
        let hooks = match &watch {
            Some(_) => None,
            None => Hooks::of(&experiment.hooks),
        };
        let recorder = RunRecorder::start(
            &sweep.project,
            RunStart {
                experiment: experiment.info.name.clone().unwrap_or_default(),
                title: format!("{}: {}", sweep.header.name, unit.label()),
                file: Some(sweep.header.frozen.file.clone()),
                command: std::env::args().collect(),
                overrides,
                config: crate::config::experiment_json(&experiment, false),
                watch: watch.or_else(|| hooks.as_ref().map(Hooks::watch)),
                surroundings: Some(self.surroundings.clone()),
                without_samples: false,
            },
        )?;
        let run = recorder.id().to_string();
        let hooks = hooks.map(|hooks| {
            hooks.start(serde_json::json!({
                "run": run,
                "experiment": experiment.info.name,
                "sweep": sweep.header.name,
                "point": unit.point,
                "host": Environment::capture().host,
                "outputs": sweep.project.outputs_dir().join(&run),
            }))
        });
        let outputs = sweep.project.outputs_dir().join(&run);
        let mirrored = mirrored(&experiment, &plan, &steps, &outputs);
        // Who stops it at the service means this piece alone.
        let own = interrupt.part();
        let stop = own.clone();
        let mirrors = (!mirrored.is_empty()).then(|| {
            let stop = Arc::new(move || stop.raise());
            Mirrors::start(recorder.dir(), mirrored, self.mirrors.say(), stop)
        });
        let summary = execute(
            &Execution {
                plan: &plan,
                registry: self.registry,
                recorder: &recorder,
                interrupt: &own,
                selection: Selection {
                    only: steps.iter().map(|step| step.name.clone()).collect(),
                    ..Selection::default()
                },
                keep_going: true,
                retries: self.retries.clone(),
                slots: Slots::default(),
            },
            display,
        )?;
        let end = summary.end();
        let is_stopped = mirrors.as_ref().is_some_and(Mirrors::is_stop_requested);
        if let Some(mirrors) = mirrors {
            // What is mirrored is on the disk.
            recorder.finish(end)?;
            self.mirrors.add(mirrors, outputs.join("wandb"));
        } else {
            let endings = self.endings.lock();
            let mut endings = endings.unwrap_or_else(|poisoned| poisoned.into_inner());
            endings.finish(recorder, end)?;
        }
        if let Some(hooks) = hooks {
            let all = self.hooks.lock();
            all.unwrap_or_else(|poisoned| poisoned.into_inner())
                .push_back(hooks);
        }
        let worst = [
            StageOutcome::Interrupted,
            StageOutcome::Failed,
            StageOutcome::Blocked,
            StageOutcome::Skipped,
        ];
        let bad = worst
            .into_iter()
            .find_map(|outcome| summary.steps.iter().find(|step| step.outcome == outcome));
        let (outcome, message) = match bad {
            // What did not begin any more was skipped for no other reason.
            Some(step) if summary.interrupted && step.outcome != StageOutcome::Failed => {
                (StageOutcome::Interrupted, None)
            }
            Some(step) => {
                let why = step.message.as_ref();
                let message = why.map(|why| format!("{}: {why}", step.name));
                (step.outcome, message)
            }
            None => (StageOutcome::Done, None),
        };
        let line = self.line(unit, outcome, Some(run), begun, message);
        // A search does not try again what somebody ended.
        let is_ended = is_stopped && outcome == StageOutcome::Interrupted;
        Ok(OutcomeLine {
            pruned: is_ended && sweep.header.search.is_some(),
            ..line
        })
    }

    fn line(
        &self,
        unit: &UnitSpec,
        outcome: StageOutcome,
        run: Option<String>,
        begun: Instant,
        message: Option<String>,
    ) -> OutcomeLine {
        OutcomeLine {
            unit: unit.unit.clone(),
            point: unit.point,
            outcome,
            run,
            seconds: begun.elapsed().as_secs_f64(),
            message,
            at_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
            pruned: false,
        }
    }
}

/// Runs of a sweep are a group, unless they belong to another one.
fn group(experiment: &mut Experiment, sweep: &str) {
    let stages = experiment.stages.iter_mut().map(|stage| &mut stage.config);
    for config in stages.chain([&mut experiment.config]) {
        config
            .tracking
            .group
            .get_or_insert_with(|| sweep.to_owned());
    }
}

/// The steps that are mirrored. A job of a cluster keeps some of the time that it
/// has before its limit for what follows.
fn mirrored(experiment: &Experiment, plan: &Plan, steps: &[&Step], outputs: &Path) -> Vec<Wanted> {
    let mut wanted = mirror::wanted(experiment, plan, &Selection::default(), outputs);
    wanted.retain(|wanted| steps.iter().any(|step| step.name == wanted.stage));
    if slurm::element().is_some() {
        let most = experiment.launcher.grace as f64 / 2.0;
        for wanted in &mut wanted {
            let settings = &mut wanted.settings;
            settings.finish_timeout = settings.finish_timeout.min(most);
        }
    }
    wanted
}
