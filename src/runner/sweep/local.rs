//! Running a sweep on this machine: pieces of work side by side as far as there
//! is room.

use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::runner::display::Display;
use crate::runner::interrupt::Interrupt;
use crate::runner::slots::{Occupied, Slots};
use crate::tracking::StageOutcome;

use super::error::SweepError;
use super::folder::{OutcomeLine, SweepFolder};
use super::units::{Unit, UnitSpec};

/// Time between two looks for the wish to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Hears how a sweep goes; called by many threads.
pub trait Reporter: Sync {
    /// A piece of work begins.
    fn started(&self, unit: &UnitSpec);
    /// A piece of work came out.
    fn finished(&self, unit: &UnitSpec, outcome: &OutcomeLine);
    /// Who shows what the stages of a piece of work do.
    fn display(&self, unit: &UnitSpec) -> Box<dyn Display>;
}

/// Does the piece of work with a place in the list.
pub type Work<'a> =
    dyn Fn(usize, &Interrupt, &mut dyn Display) -> Result<OutcomeLine, SweepError> + Sync + 'a;

/// What became of the pieces of work.
#[derive(Debug, Default)]
pub struct SweepSummary {
    /// Those that were settled, in the order of the pieces.
    pub outcomes: Vec<OutcomeLine>,
    /// Seconds it took.
    pub seconds: f64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

impl SweepSummary {
    /// How many came out so.
    pub fn count(&self, outcome: StageOutcome) -> usize {
        let outcomes = self.outcomes.iter();
        outcomes.filter(|line| line.outcome == outcome).count()
    }
}

/// Does pieces of work as far as `slots` has room, each after those it waits
/// for. One that fails stops only those that wait for it.
///
/// # Errors
/// What `work` cannot write down.
pub fn run_units(
    units: &[Unit],
    slots: Slots,
    interrupt: &Interrupt,
    folder: &SweepFolder,
    reporter: &dyn Reporter,
    work: &Work<'_>,
) -> Result<SweepSummary, SweepError> {
    let begun = Instant::now();
    let pool = Pool {
        units,
        slots,
        state: Mutex::new(State {
            next: 0,
            taken: vec![false; units.len()],
            outcomes: vec![None; units.len()],
            occupied: Occupied::default(),
            given_up: false,
        }),
        changed: Condvar::new(),
    };
    let (over, wait) = mpsc::channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            // Until all senders are gone.
            while wait.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                if folder.is_asked_to_stop() {
                    interrupt.raise();
                }
            }
        });
        let workers = slots.jobs.min(units.len()).max(1);
        let others: Vec<_> = (1..workers)
            .map(|_| scope.spawn(|| pool.work(interrupt, reporter, work)))
            .collect();
        let mine = pool.work(interrupt, reporter, work);
        let others = others.into_iter().map(|other| {
            other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let all = others.fold(mine, Result::and);
        drop(over);
        all
    });
    result?;
    let state = pool.state.into_inner();
    let state = state.unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(SweepSummary {
        outcomes: state.outcomes.into_iter().flatten().collect(),
        seconds: begun.elapsed().as_secs_f64(),
        interrupted: interrupt.is_raised(),
    })
}

struct Pool<'a> {
    units: &'a [Unit],
    slots: Slots,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// All before it are taken.
    next: usize,
    taken: Vec<bool>,
    outcomes: Vec<Option<OutcomeLine>>,
    occupied: Occupied,
    given_up: bool,
}

impl Pool<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn work(
        &self,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
        work: &Work<'_>,
    ) -> Result<(), SweepError> {
        while let Some(at) = self.take(interrupt) {
            let unit = &self.units[at];
            let settled = match self.failed_before(at) {
                Some(failed) => Ok(skipped(unit, &failed)),
                None => {
                    reporter.started(&unit.spec);
                    let mut display = reporter.display(&unit.spec);
                    work(at, interrupt, display.as_mut())
                }
            };
            match settled {
                Ok(outcome) => {
                    reporter.finished(&unit.spec, &outcome);
                    let mut state = self.state();
                    state.outcomes[at] = Some(outcome);
                    state.occupied.end(&unit.needs, &self.slots);
                    drop(state);
                    self.changed.notify_all();
                }
                Err(error) => {
                    self.state().given_up = true;
                    self.changed.notify_all();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The first piece that can begin; waits while there may be one later.
    fn take(&self, interrupt: &Interrupt) -> Option<usize> {
        let mut state = self.state();
        loop {
            while state.next < self.units.len() && state.taken[state.next] {
                state.next += 1;
            }
            if state.next == self.units.len() || state.given_up || interrupt.is_raised() {
                return None;
            }
            let found = (state.next..self.units.len()).find(|at| {
                let unit = &self.units[*at];
                !state.taken[*at]
                    && unit
                        .after
                        .iter()
                        .all(|other| state.outcomes[*other].is_some())
                    && state.occupied.leaves_room(&unit.needs, &self.slots)
            });
            if let Some(at) = found {
                state.taken[at] = true;
                state.occupied.begin(&self.units[at].needs, &self.slots);
                return Some(at);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A piece that it waited for in vain.
    fn failed_before(&self, at: usize) -> Option<OutcomeLine> {
        let state = self.state();
        let before = self.units[at].after.iter();
        let mut before = before.filter_map(|other| state.outcomes[*other].as_ref());
        let good = |line: &&OutcomeLine| {
            !matches!(line.outcome, StageOutcome::Done | StageOutcome::UpToDate)
        };
        before.find(good).cloned()
    }
}

fn skipped(unit: &Unit, failed: &OutcomeLine) -> OutcomeLine {
    OutcomeLine {
        unit: unit.spec.unit.clone(),
        point: unit.spec.point,
        outcome: StageOutcome::Skipped,
        run: None,
        seconds: 0.0,
        message: Some(match &failed.message {
            Some(why) => format!("what it needs did not come about: {why}"),
            None => format!("what it needs did not come about: {}", failed.unit),
        }),
        at_ms: failed.at_ms,
        pruned: false,
    }
}
