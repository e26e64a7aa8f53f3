//! How much a mean over samples would change with other samples.

use rayon::prelude::*;

use super::splitmix::SplitMix64;
use super::sum::sum;

/// Resampling of samples: how often, and from which seed. The same resamples
/// are drawn for everything of the same number of samples, so that models are
/// compared in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: usize,
    /// Seed.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 10_000,
            seed: 1,
        }
    }
}

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Mean difference of two models on the same samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// Mean of the differences.
    pub mean: f64,
    /// 95 % interval of the mean.
    pub interval: Interval,
    /// Two-sided probability of a difference like this by chance.
    pub p: f64,
}

impl Bootstrap {
    /// 95 % interval of the mean of `points`; `None` without points or
    /// resamples.
    pub fn interval(&self, points: &[f64]) -> Option<Interval> {
        let mut means = self.means(points)?;
        Some(interval_of(&mut means))
    }

    /// Compares two models on the same samples; `None` for lists of unequal
    /// length, or without samples or resamples.
    pub fn paired(&self, left: &[f64], right: &[f64]) -> Option<PairedDifference> {
        if left.len() != right.len() {
            return None;
        }
        let differences: Vec<f64> = left.iter().zip(right).map(|(l, r)| l - r).collect();
        let mut means = self.means(&differences)?;
        // What is zero but for rounding is on both sides.
        const NOTHING: f64 = 1e-12;
        let not_above = means.iter().filter(|mean| **mean <= NOTHING).count();
        let not_below = means.iter().filter(|mean| **mean >= -NOTHING).count();
        let p = 2.0 * (not_above.min(not_below) + 1) as f64 / (self.resamples + 1) as f64;
        Some(PairedDifference {
            mean: sum(differences.iter().copied()) / differences.len() as f64,
            interval: interval_of(&mut means),
            p: p.min(1.0),
        })
    }

    /// The mean of each resample.
    fn means(&self, points: &[f64]) -> Option<Vec<f64>> {
        if points.is_empty() || self.resamples == 0 {
            return None;
        }
        let count = points.len() as u64;
        // The state of the generator advances by a constant: each resample can
        // start where it would be after those before it.
        let means = (0..self.resamples as u64).into_par_iter().map(|resample| {
            let drawn = resample.wrapping_mul(count);
            let step = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(drawn);
            let mut random = SplitMix64::new(self.seed.wrapping_add(step));
            let total: f64 = (0..count)
                .map(|_| points[random.below(count) as usize])
                .sum();
            total / count as f64
        });
        Some(means.collect())
    }
}

fn interval_of(means: &mut [f64]) -> Interval {
    means.sort_unstable_by(f64::total_cmp);
    Interval {
        low: quantile(means, 0.025),
        high: quantile(means, 0.975),
    }
}

/// Quantile of sorted numbers, interpolated linearly; NaN without numbers.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = last as f64 * q;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_samples_there_is_no_interval() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.interval(&[]), None);
        assert_eq!(bootstrap.paired(&[1.0], &[]), None);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
