//! Statistics of the replicates of a cell. Sums are rounded once, so that they
//! do not depend on the order of the values.

use std::sync::OnceLock;

use crate::reports::statistics::{student_quantile, sum};

/// Statistics of some values; what is not defined is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// How many values there are.
    pub n: usize,
    /// How many there should be.
    pub expected: Option<usize>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Sample standard deviation (n − 1).
    pub std: Option<f64>,
    /// Standard error of the mean.
    pub sem: Option<f64>,
    /// Smallest.
    pub min: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Middle.
    pub median: Option<f64>,
    /// Sum.
    pub sum: Option<f64>,
    /// Largest or smallest, whichever is better.
    pub best: Option<f64>,
    /// Student's 95 % interval of the mean.
    pub interval: Option<(f64, f64)>,
}

impl Statistics {
    /// Of these values.
    pub fn of(values: &[f64], expected: Option<usize>, best_is_max: bool) -> Self {
        let n = values.len();
        let mut statistics = Self {
            n,
            expected,
            ..Self::default()
        };
        if n == 0 {
            return statistics;
        }
        let count = n as f64;
        let total = sum(values.iter().copied());
        let mean = total / count;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        statistics.sum = Some(total);
        statistics.mean = Some(mean);
        statistics.min = Some(min);
        statistics.max = Some(max);
        statistics.best = Some(if best_is_max { max } else { min });
        statistics.median = Some(median(values));
        if n > 1 {
            let squares = sum(values.iter().map(|value| (value - mean).powi(2)));
            let std = (squares / (count - 1.0)).sqrt();
            let sem = std / count.sqrt();
            let half = student_95(n - 1) * sem;
            statistics.std = Some(std);
            statistics.sem = Some(sem);
            statistics.interval = Some((mean - half, mean + half));
        }
        statistics
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// The factor of Student's two-sided 95 % interval.
fn student_95(freedom: usize) -> f64 {
    static SMALL: OnceLock<Vec<f64>> = OnceLock::new();
    let factor = |freedom: usize| student_quantile(0.975, freedom as f64);
    let small = SMALL.get_or_init(|| (1..=64).map(factor).collect());
    match freedom.checked_sub(1).and_then(|at| small.get(at)) {
        Some(known) => *known,
        None => factor(freedom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_no_spread() {
        let one = Statistics::of(&[2.0], Some(3), true);
        assert_eq!((one.n, one.std, one.interval), (1, None, None));
        let two = Statistics::of(&[1.0, 3.0], None, false);
        assert_eq!(
            (two.mean, two.best, two.median),
            (Some(2.0), Some(1.0), Some(2.0))
        );
        let (low, high) = two.interval.unwrap();
        assert!((high - 2.0 - 12.706_204_736_432_095).abs() < 1e-9 && low < 0.0);
    }
}
