//! Which step is next: workers take steps whose inputs are settled.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::tracking::StageOutcome;

use super::plan::Step;
use super::slots::{Occupied, Slots};
use super::summary::StepResult;

/// The steps of a run and what became of them, shared by its workers.
#[derive(Debug)]
pub(super) struct Board {
    chosen: Vec<bool>,
    slots: Slots,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    taken: Vec<bool>,
    results: Vec<Option<StepResult>>,
    given_up: bool,
    occupied: Occupied,
}

impl Board {
    /// A board on which the chosen steps are to be done.
    pub(super) fn new(chosen: Vec<bool>, slots: Slots) -> Board {
        let count = chosen.len();
        Board {
            chosen,
            slots,
            state: Mutex::new(State {
                taken: vec![false; count],
                results: vec![None; count],
                given_up: false,
                occupied: Occupied::default(),
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the first step of the plan whose chosen inputs are settled and that
    /// there is room for; waits while there may be one later. `None` when there is none any more.
    pub(super) fn take(&self, steps: &[Step]) -> Option<usize> {
        let mut state = self.state();
        loop {
            let open = |at: &usize| self.chosen[*at] && !state.taken[*at];
            if state.given_up || !(0..steps.len()).any(|at| open(&at)) {
                return None;
            }
            let settled = |at: usize| !self.chosen[at] || state.results[at].is_some();
            let ready = |at: &usize| steps[*at].inputs.iter().all(|input| settled(input.step));
            let room = |at: &usize| {
                // What is in the store occupies nothing.
                steps[*at].is_up_to_date()
                    || state.occupied.leaves_room(&steps[*at].needs, &self.slots)
            };
            let next = (0..steps.len())
                .filter(open)
                .find(|at| ready(at) && room(at));
            if let Some(at) = next {
                state.taken[at] = true;
                state.occupied.begin(&steps[at].needs, &self.slots);
                return Some(at);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Notes what became of a step that was taken.
    pub(super) fn settle(&self, at: usize, step: &Step, result: StepResult) {
        let mut state = self.state();
        state.results[at] = Some(result);
        state.occupied.end(&step.needs, &self.slots);
        drop(state);
        self.changed.notify_all();
    }

    /// No more steps are to be taken.
    pub(super) fn give_up(&self) {
        self.state().given_up = true;
        self.changed.notify_all();
    }

    /// What became of a step, if it is settled.
    pub(super) fn result(&self, at: usize) -> Option<StepResult> {
        self.state().results[at].clone()
    }

    /// Name of a step that failed.
    pub(super) fn failed(&self) -> Option<String> {
        let state = self.state();
        let mut results = state.results.iter().flatten();
        let failed = results.find(|result| result.outcome == StageOutcome::Failed)?;
        Some(failed.name.clone())
    }

    /// The chosen steps.
    pub(super) fn chosen(&self) -> &[bool] {
        &self.chosen
    }

    /// What became of all settled steps, in the order of the plan.
    pub(super) fn into_results(self) -> Vec<StepResult> {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(|poisoned| poisoned.into_inner());
        state.results.into_iter().flatten().collect()
    }
}
