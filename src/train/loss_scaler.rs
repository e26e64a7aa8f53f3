//! Scaling of the loss in half precision (`training.md` 2.9): gradients too
//! small for f16 are lifted into its range, and the factor follows what
//! overflows.

use serde::{Deserialize, Serialize};

/// Factor at first.
const INITIAL: f64 = 65536.0;
/// What the factor grows by after [`INTERVAL`] steps without overflow.
pub(super) const GROWTH: f64 = 2.0;
/// What it shrinks by at an overflow.
pub(super) const BACKOFF: f64 = 0.5;
/// Steps without overflow until it grows.
pub(super) const INTERVAL: u64 = 2000;
/// Overflows in a row after which smaller factors will not help.
const PATIENCE: u64 = 20;

/// The factor of the loss and what has happened under it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaler {
    /// What the loss is multiplied with.
    pub scale: f64,
    /// Steps without overflow since it changed.
    pub good_steps: u64,
    /// Overflows since the last good step.
    pub overflows: u64,
}

impl Default for LossScaler {
    fn default() -> Self {
        Self {
            scale: INITIAL,
            good_steps: 0,
            overflows: 0,
        }
    }
}

impl LossScaler {
    /// A step was made.
    pub fn fitted(&mut self) {
        self.overflows = 0;
        self.good_steps += 1;
        if self.good_steps == INTERVAL {
            self.scale *= GROWTH;
            self.good_steps = 0;
        }
    }

    /// Gradients overflowed, the step was left out; false if that happened too
    /// often in a row.
    #[must_use]
    pub fn overflowed(&mut self) -> bool {
        self.scale *= BACKOFF;
        self.good_steps = 0;
        self.overflows += 1;
        self.overflows <= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_halves_at_overflows_and_doubles_after_many_good_steps() {
        let mut scaler = LossScaler::default();
        assert!(scaler.overflowed() && scaler.overflowed());
        assert_eq!(scaler.scale, 16384.0);
        (0..1999).for_each(|_| scaler.fitted());
        assert_eq!(scaler.scale, 16384.0);
        scaler.fitted();
        assert_eq!((scaler.scale, scaler.good_steps), (32768.0, 0));
        assert!((0..20).all(|_| scaler.overflowed()));
        assert!(!scaler.overflowed());
    }
}
