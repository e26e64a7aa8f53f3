//! How far a stage is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::store;

/// Time between two looks at the progress of a stage.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// How far a stage is, as a display shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressView {
    /// What is counted, such as `samples`.
    pub unit: String,
    /// How many are done.
    pub done: u64,
    /// How many there are, if known.
    pub total: Option<u64>,
    /// Rate since the stage began to count, in units per second.
    pub rate: Option<f64>,
    /// Time left at that rate.
    pub left: Option<Duration>,
    /// What else to show, such as the loss.
    pub message: String,
}

/// What is being counted.
#[derive(Debug)]
struct Counted {
    unit: String,
    total: Option<u64>,
    begun: Instant,
    first: u64,
    message: String,
}

/// The progress of a running stage; many threads may advance it.
#[derive(Debug)]
pub(super) struct Progress {
    counted: Mutex<Counted>,
    done: AtomicU64,
    start: Instant,
    shown_ms: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let now = Instant::now();
        let counted = Counted {
            unit: String::new(),
            total: None,
            begun: now,
            first: 0,
            message: String::new(),
        };
        Progress {
            counted: Mutex::new(counted),
            done: AtomicU64::new(0),
            start: now,
            shown_ms: AtomicU64::new(0),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Begins to count; `done` were done before, by an earlier attempt.
    pub(super) fn begin(&self, unit: &str, done: u64, total: Option<u64>) {
        let mut counted = self.counted();
        self.done.store(done, Ordering::Relaxed);
        *counted = Counted {
            unit: unit.to_owned(),
            total,
            begun: Instant::now(),
            first: done,
            message: String::new(),
        };
    }

    pub(super) fn advance(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn reach(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    pub(super) fn message(&self, message: &str) {
        let mut counted = self.counted();
        counted.message.clear();
        counted.message.push_str(message);
    }

    /// Whether it is time to show it again; true for one caller only.
    pub(super) fn is_due(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64;
        let shown = self.shown_ms.load(Ordering::Relaxed);
        now.saturating_sub(shown) >= SHOW_EVERY.as_millis() as u64
            && self
                .shown_ms
                .compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// How far it is, for the store; `None` before it began to count.
    pub(super) fn note(&self) -> Option<store::Progress> {
        let counted = self.counted();
        let done = self.done.load(Ordering::Relaxed);
        let note = || store::Progress {
            unit: counted.unit.clone(),
            done,
            total: counted.total,
        };
        (!counted.unit.is_empty()).then(note)
    }

    pub(super) fn view(&self) -> ProgressView {
        let counted = self.counted();
        let done = self.done.load(Ordering::Relaxed);
        let seconds = counted.begun.elapsed().as_secs_f64();
        let rate = (done > counted.first && seconds > 0.0)
            .then(|| (done - counted.first) as f64 / seconds);
        let left = match (rate, counted.total) {
            (Some(rate), Some(total)) => {
                Duration::try_from_secs_f64(total.saturating_sub(done) as f64 / rate).ok()
            }
            _ => None,
        };
        ProgressView {
            unit: counted.unit.clone(),
            done,
            total: counted.total,
            rate,
            left,
            message: counted.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_only_what_this_attempt_did() {
        let progress = Progress::new();
        progress.begin("samples", 900, Some(1000));
        assert_eq!(progress.view().rate, None);
        progress.advance(50);
        let view = progress.view();
        assert_eq!((view.done, view.total), (950, Some(1000)));
        let (rate, left) = (view.rate.unwrap(), view.left.unwrap());
        assert!(
            (rate * left.as_secs_f64() - 50.0).abs() < 1.0,
            "{rate} {left:?}"
        );
    }
}
