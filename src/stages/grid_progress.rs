//! How far a stage is that decodes the same samples under many configurations
//! and with several models: one count over all of it, so that the time left is
//! that of the stage.

use std::cell::Cell;

use crate::runner::StageContext;

/// What is counted.
const UNIT: &str = "decodings";

/// Samples under all configurations, models and datasets.
pub(super) struct GridProgress<'a, 'c> {
    context: &'a StageContext<'c>,
    done: Cell<u64>,
    total: Cell<u64>,
}

impl<'a, 'c> GridProgress<'a, 'c> {
    /// `total` samples are to be decoded, each as often as it is.
    pub(super) fn new(context: &'a StageContext<'c>, total: usize) -> Self {
        Self {
            context,
            done: Cell::new(0),
            total: Cell::new(total as u64),
        }
    }

    /// Begins to count, also when something else was counted in between.
    pub(super) fn begin(&self) {
        let (done, total) = (self.done.get(), self.total.get());
        self.context.begin(UNIT, done, Some(total));
    }

    /// Fewer are to be decoded than was thought.
    pub(super) fn leave_out(&self, count: usize) {
        let total = self.total.get().saturating_sub(count as u64);
        self.total.set(total.max(self.done.get()));
    }

    /// Which configuration comes now.
    pub(super) fn configuration(&self, place: usize, count: usize) {
        if count > 1 {
            let text = format!("configuration {} of {count}", place + 1);
            self.context.status(&text);
        }
    }

    /// That many more are decoded.
    pub(super) fn advance(&self, count: usize) {
        self.done.set(self.done.get() + count as u64);
        self.context.advance(count as u64);
    }

    /// That many were decoded by an earlier attempt: they say nothing of how
    /// fast it goes.
    pub(super) fn skip(&self, count: usize) {
        self.done.set(self.done.get() + count as u64);
        self.begin();
    }
}
