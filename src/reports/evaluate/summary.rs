//! Statistics of the replicates of a cell. Sums are rounded once, so that they
//! do not depend on the order of the values.

use std::sync::OnceLock;

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
        let sum = exact_sum(values.iter().copied());
        let mean = sum / count;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        statistics.sum = Some(sum);
        statistics.mean = Some(mean);
        statistics.min = Some(min);
        statistics.max = Some(max);
        statistics.best = Some(if best_is_max { max } else { min });
        statistics.median = Some(median(values));
        if n > 1 {
            let squares = exact_sum(values.iter().map(|value| (value - mean).powi(2)));
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

/// The sum, rounded once (Shewchuk's expansions): it does not depend on the
/// order.
pub fn exact_sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    let mut special = 0.0;
    for value in values {
        if !value.is_finite() {
            special += value;
            continue;
        }
        let mut value = value;
        let mut kept = 0;
        for at in 0..parts.len() {
            let mut part = parts[at];
            if value.abs() < part.abs() {
                std::mem::swap(&mut value, &mut part);
            }
            let high = value + part;
            let low = part - (high - value);
            if low != 0.0 {
                parts[kept] = low;
                kept += 1;
            }
            value = high;
        }
        parts.truncate(kept);
        parts.push(value);
    }
    if special != 0.0 || special.is_nan() {
        return special;
    }
    let Some(mut high) = parts.pop() else {
        return 0.0;
    };
    let mut low = 0.0;
    while let Some(part) = parts.pop() {
        let before = high;
        high = before + part;
        low = part - (high - before);
        if low != 0.0 {
            break;
        }
    }
    // A tie between two doubles is decided by what is left.
    if let Some(next) = parts.last()
        && (low < 0.0 && *next < 0.0 || low > 0.0 && *next > 0.0)
    {
        let doubled = low * 2.0;
        let rounded = high + doubled;
        if doubled == rounded - high {
            high = rounded;
        }
    }
    high
}

/// The factor of Student's two-sided 95 % interval.
pub fn student_95(freedom: usize) -> f64 {
    static SMALL: OnceLock<Vec<f64>> = OnceLock::new();
    let small = SMALL.get_or_init(|| (1..=100).map(inverted).collect());
    match freedom.checked_sub(1).and_then(|at| small.get(at)) {
        Some(factor) => *factor,
        None if freedom <= 2000 => inverted(freedom),
        None => far(freedom as f64),
    }
}

/// By bisection of the distribution function, which is a finite sum for whole
/// degrees of freedom.
fn inverted(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < 0.95 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).tan() * (freedom as f64).sqrt()
}

/// Probability of |t| ≤ tan(angle)·√freedom.
fn within(angle: f64, freedom: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let square = cosine * cosine;
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = if odd { (cosine, cosine) } else { (1.0, 1.0) };
    if freedom == 1 {
        return angle * std::f64::consts::FRAC_2_PI;
    }
    let mut k = if odd { 3 } else { 2 };
    while k < freedom {
        term *= square * (k - 1) as f64 / k as f64;
        sum += term;
        k += 2;
    }
    if odd {
        (angle + sine * sum) * std::f64::consts::FRAC_2_PI
    } else {
        sine * sum
    }
}

/// Expansion around the normal distribution; exact to 1e-12 from 1000 degrees
/// of freedom.
fn far(freedom: f64) -> f64 {
    let z: f64 = 1.959_963_984_540_054;
    let powers = |coefficients: &[f64]| -> f64 {
        coefficients
            .iter()
            .rev()
            .fold(0.0, |sum, c| sum * z * z + c)
            * z
    };
    let terms = [
        powers(&[1.0, 1.0]) / 4.0,
        powers(&[3.0, 16.0, 5.0]) / 96.0,
        powers(&[-15.0, 17.0, 19.0, 3.0]) / 384.0,
        powers(&[-945.0, -1920.0, 1482.0, 776.0, 79.0]) / 92_160.0,
    ];
    terms
        .iter()
        .rev()
        .fold(0.0, |sum, term| (sum + term) / freedom)
        + z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_factors() {
        let table = [
            (1, 12.706_204_736_174_7),
            (2, 4.302_652_729_749_46),
            (3, 3.182_446_305_284_26),
            (10, 2.228_138_851_986_27),
            (100, 1.983_971_518_523_55),
        ];
        for (freedom, factor) in table {
            assert!((student_95(freedom) - factor).abs() < 1e-11, "{freedom}");
        }
        assert!((inverted(2000) - far(2000.0)).abs() < 1e-11);
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let values = [1e16, 1.0, -1e16, 0.1, 1e-9, 3.0];
        let mut reversed = values;
        reversed.reverse();
        assert_eq!(exact_sum(values.into_iter()), 4.100_000_001);
        assert_eq!(exact_sum(reversed.into_iter()), 4.100_000_001);
        assert_eq!(exact_sum(std::iter::empty()), 0.0);
        let one = Statistics::of(&[2.0], Some(3), true);
        assert_eq!((one.n, one.std, one.interval), (1, None, None));
    }
}
