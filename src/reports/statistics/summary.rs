//! Mean, spread and interval of a few values, such as those of seeds.

use super::bootstrap::Interval;
use super::student::student_quantile;
use super::sum::sum;

/// A summary; its numbers do not depend on the order of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); none for one value.
    pub std: Option<f64>,
    /// Standard error of the mean.
    pub sem: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Middle value.
    pub median: f64,
    /// Sum.
    pub sum: f64,
    /// Student's 95 % interval of the mean; none for one value.
    pub t95: Option<Interval>,
}

impl Summary {
    /// Sums up values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let total = sum(values.iter().copied());
        let mean = total / n as f64;
        let std = (n > 1).then(|| {
            let squares = sum(values.iter().map(|value| (value - mean).powi(2)));
            (squares / (n as f64 - 1.0)).sqrt()
        });
        let sem = std.map(|std| std / (n as f64).sqrt());
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = n / 2;
        let median = if n % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        let t95 = sem.map(|sem| {
            let half = student_quantile(0.975, n as f64 - 1.0) * sem;
            Interval {
                low: mean - half,
                high: mean + half,
            }
        });
        Some(Self {
            n,
            mean,
            std,
            sem,
            min: sorted[0],
            max: sorted[n - 1],
            median,
            sum: total,
            t95,
        })
    }
}
