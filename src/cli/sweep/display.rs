//! What is shown while a sweep runs: a line for each piece of work, and one
//! about what runs long once in a while.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::runner::sweep::{OutcomeLine, Reporter, Sweep, UnitSpec};
use crate::runner::{
    Display, Plan, ProgressView, RunSummary, StageReport, Step, progress_text, time_text,
};
use crate::tracking::{Level, StageOutcome};

/// Time between two lines about a stage.
const EVERY: Duration = Duration::from_secs(10);

/// Shows a sweep on standard error.
#[derive(Debug)]
pub(super) struct SweepLines<'a> {
    sweep: &'a Sweep,
    all: usize,
    done: AtomicUsize,
    turn: Mutex<()>,
}

impl<'a> SweepLines<'a> {
    pub fn new(sweep: &'a Sweep, all: usize) -> SweepLines<'a> {
        SweepLines {
            sweep,
            all,
            done: AtomicUsize::new(0),
            turn: Mutex::new(()),
        }
    }

    fn say(&self, text: &str) {
        let _turn = self.turn.lock();
        eprintln!("{text}");
    }

    /// The values of a point, where the piece of work is one.
    fn values(&self, unit: &UnitSpec) -> String {
        let Some(line) = self.sweep.points.get(unit.point).filter(|_| unit.uses == 1) else {
            return String::new();
        };
        let seed = line.seed.map(|seed| format!("seed {seed}"));
        let parts: Vec<String> = line.settings.iter().cloned().chain(seed).collect();
        format!("  {}", parts.join(" "))
    }
}

impl Reporter for SweepLines<'_> {
    fn started(&self, unit: &UnitSpec) {
        if self.all <= 1000 {
            self.say(&format!("{:>12} [{:8}] {}", "START", "", unit.label()));
        }
    }

    fn finished(&self, unit: &UnitSpec, outcome: &OutcomeLine) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let word = match outcome.outcome {
            StageOutcome::Done => "DONE",
            StageOutcome::UpToDate => "UP TO DATE",
            StageOutcome::Failed => "FAILED",
            StageOutcome::Interrupted if outcome.pruned => "PRUNED",
            StageOutcome::Interrupted => "STOPPED",
            StageOutcome::Blocked => "BLOCKED",
            StageOutcome::Skipped => "SKIPPED",
        };
        let time = time_text(Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default());
        let mut text = format!(
            "{word:>12} [{time:>8}] {done}/{} {}{}",
            self.all,
            unit.label(),
            self.values(unit)
        );
        for line in outcome.message.iter().flat_map(|message| message.lines()) {
            text.push_str(&format!("\n{:26}{line}", ""));
        }
        self.say(&text);
    }

    fn display(&self, unit: &UnitSpec) -> Box<dyn Display> {
        Box::new(UnitDisplay {
            label: unit.label(),
            spoke: Instant::now(),
        })
    }
}

/// What the stages of one piece of work say.
#[derive(Debug)]
struct UnitDisplay {
    label: String,
    spoke: Instant,
}

impl Display for UnitDisplay {
    fn begin(&mut self, _plan: &Plan) {}

    fn stage_started(&mut self, _step: &Step, _resumed: bool) {}

    fn stage_waits(&mut self, step: &Step, holder: &str) {
        eprintln!(
            "{:>12} [{:8}] {}: {holder} is making {}",
            "WAIT", "", self.label, step.name
        );
    }

    fn stage_progress(&mut self, stage: &str, progress: &ProgressView) {
        if self.spoke.elapsed() >= EVERY {
            self.spoke = Instant::now();
            eprintln!(
                "{:23}{}: {stage}: {}",
                "",
                self.label,
                progress_text(progress)
            );
        }
    }

    fn stage_finished(&mut self, _report: &StageReport) {}

    fn line(&mut self, stage: Option<&str>, level: Level, text: &str) {
        let word = match level {
            Level::Error => "error",
            Level::Warn => "warning",
            // Kept in the record of the run.
            Level::Info | Level::Debug => return,
        };
        let stage = stage.map(|stage| format!("{stage}: ")).unwrap_or_default();
        eprintln!("{word:>12} {}: {stage}{text}", self.label);
    }

    fn end(&mut self, _summary: &RunSummary) {}
}
