//! Spaces that are searched: parameters, each with its values.

use rand::Rng;
use rand_distr::{Distribution, Normal};

/// A parameter. A value of it is a number; of a choice, the place in the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parameter {
    /// A number between two others.
    Interval {
        /// Smallest.
        low: f64,
        /// Largest.
        high: f64,
        /// Whether its logarithm is what is even.
        log: bool,
        /// Distance of neighbours from `low` on, if there are steps.
        step: Option<f64>,
    },
    /// Any number, most of them near the mean.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
    /// One of so many things in no order.
    Choice(usize),
}

/// Deviations of a normal parameter that are searched.
const REACH: f64 = 4.0;

impl Parameter {
    /// A value that knows nothing of earlier ones.
    pub fn draw(&self, random: &mut impl Rng) -> f64 {
        match *self {
            Parameter::Choice(count) => random.random_range(0..count) as f64,
            Parameter::Normal { mean, deviation } => {
                let (low, high) = self.bounds();
                let drawn = Normal::new(mean, deviation).map(|normal| normal.sample(random));
                drawn.map_or(mean, |value| value.clamp(low, high))
            }
            Parameter::Interval { .. } => {
                let (low, high) = self.bounds();
                self.value(random.random_range(low..=high))
            }
        }
    }

    /// Bounds on the scale on which it is searched: half a step more on both
    /// sides where there are steps.
    pub(super) fn bounds(&self) -> (f64, f64) {
        match *self {
            Parameter::Interval {
                low,
                high,
                log: true,
                step: None,
            } => (low.ln(), high.ln()),
            Parameter::Interval {
                low,
                high,
                log: true,
                step: Some(step),
            } => (
                (low - step / 2.0).max(low / 2.0).ln(),
                (high + step / 2.0).ln(),
            ),
            Parameter::Interval {
                low, high, step, ..
            } => {
                let half = step.map_or(0.0, |step| step / 2.0);
                (low - half, high + half)
            }
            Parameter::Normal { mean, deviation } => {
                (mean - REACH * deviation, mean + REACH * deviation)
            }
            Parameter::Choice(count) => (0.0, count as f64 - 1.0),
        }
    }

    /// A value on the scale on which it is searched.
    pub(super) fn scaled(&self, value: f64) -> f64 {
        match self {
            Parameter::Interval { log: true, .. } => value.ln(),
            _ => value,
        }
    }

    /// The value at a place on that scale.
    pub(super) fn value(&self, scaled: f64) -> f64 {
        match *self {
            Parameter::Interval {
                low,
                high,
                log,
                step,
            } => {
                let value = if log { scaled.exp() } else { scaled };
                let value = match step {
                    Some(step) => low + ((value - low) / step).round() * step,
                    None => value,
                };
                // The last step may end before `high`.
                let last = step.map_or(high, |step| {
                    low + ((high - low) / step + 1e-9).floor() * step
                });
                value.clamp(low, last)
            }
            _ => scaled,
        }
    }
}
