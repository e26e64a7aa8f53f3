//! What a run shows while it works.

use std::sync::Mutex;
use std::time::Duration;

use crate::tracking::{Level, StageOutcome};

use super::plan::{Plan, Step};
use super::progress::ProgressView;
use super::summary::RunSummary;

/// How one stage came out.
#[derive(Clone, Debug)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// How it came out.
    pub outcome: StageOutcome,
    /// Time it took in this run.
    pub time: Duration,
    /// Why it failed or did not run, or what was left out.
    pub message: Option<String>,
}

/// Shows what happens. All methods are called by one thread at a time.
pub trait Display: Send {
    /// The run begins.
    fn begin(&mut self, plan: &Plan);
    /// A stage begins to work.
    fn stage_started(&mut self, step: &Step, resumed: bool);
    /// Another process is making what a stage would make.
    fn stage_waits(&mut self, step: &Step, holder: &str);
    /// How far a stage is; at most ten times a second.
    fn stage_progress(&mut self, stage: &str, progress: &ProgressView);
    /// A stage is over, or need not run.
    fn stage_finished(&mut self, report: &StageReport);
    /// A stage or the program says something.
    fn line(&mut self, stage: Option<&str>, level: Level, text: &str);
    /// The run is over.
    fn end(&mut self, summary: &RunSummary);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Display for Quiet {
    fn begin(&mut self, _plan: &Plan) {}
    fn stage_started(&mut self, _step: &Step, _resumed: bool) {}
    fn stage_waits(&mut self, _step: &Step, _holder: &str) {}
    fn stage_progress(&mut self, _stage: &str, _progress: &ProgressView) {}
    fn stage_finished(&mut self, _report: &StageReport) {}
    fn line(&mut self, _stage: Option<&str>, _level: Level, _text: &str) {}
    fn end(&mut self, _summary: &RunSummary) {}
}

/// A display that several threads take turns at.
pub(super) trait Screen: Sync {
    fn with(&self, show: &mut dyn FnMut(&mut dyn Display));
}

impl Screen for Mutex<&mut dyn Display> {
    fn with(&self, show: &mut dyn FnMut(&mut dyn Display)) {
        show(*self.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}
