//! What a run and its mirror tell each other: the mirror waits here, and
//! nobody waits for the mirror longer than he wants to.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Takes lines for people.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Says each text once: several mirrors have the same trouble at the same time.
pub fn each_once(say: Say) -> Say {
    let said: Mutex<HashSet<String>> = Mutex::default();
    Arc::new(move |text: &str| {
        let is_new = said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.to_owned());
        if is_new {
            say(text);
        }
    })
}

/// Called when somebody wants the run to end.
pub type OnStop = Arc<dyn Fn() + Send + Sync>;

/// Shared by a run and the mirror of one of its stages.
#[derive(Debug, Default)]
pub(super) struct Control {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// When everything must be over; set when the run has ended.
    finish_by: Option<Instant>,
    /// Counts calls that wake the mirror.
    wakes: u64,
    stop_requested: bool,
    over: bool,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has ended: the mirror has until `by`.
    pub(super) fn finish(&self, by: Instant) {
        let mut told = self.lock();
        told.finish_by = Some(by);
        told.wakes += 1;
        self.changed.notify_all();
    }

    /// When everything must be over, if the run has ended.
    pub(super) fn finish_by(&self) -> Option<Instant> {
        self.lock().finish_by
    }

    /// Somebody wants the run to end.
    pub(super) fn request_stop(&self) {
        self.lock().stop_requested = true;
        self.changed.notify_all();
    }

    /// Whether somebody wants the run to end.
    pub(super) fn is_stop_requested(&self) -> bool {
        self.lock().stop_requested
    }

    /// Waits until somebody wants the run to end, at most for `wait`; whether
    /// somebody does.
    pub(super) fn wait_for_stop(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let told = self.wait_while(until, |told| !told.stop_requested && !told.over);
        told.stop_requested
    }

    /// The mirror does nothing more.
    pub(super) fn set_over(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits until the mirror does nothing more; whether it came to that.
    pub(super) fn wait_until_over(&self, until: Instant) -> bool {
        self.wait_while(until, |told| !told.over).over
    }

    /// Waits until `until`, or until the run ends.
    pub(super) fn sleep_until(&self, until: Instant) {
        let wakes = self.lock().wakes;
        drop(self.wait_while(until, |told| told.wakes == wakes));
    }

    fn wait_while(
        &self,
        until: Instant,
        condition: impl Fn(&Told) -> bool,
    ) -> MutexGuard<'_, Told> {
        let mut told = self.lock();
        while condition(&told) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(told, left);
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let say = each_once(Arc::new(move |text: &str| {
            hears.lock().unwrap().push(text.to_owned());
        }));
        for text in ["no key", "no key", "no answer", "no key"] {
            say(text);
        }
        assert_eq!(*heard.lock().unwrap(), ["no key", "no answer"]);
    }
}
