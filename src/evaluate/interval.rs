//! Confidence of a share.

/// Wilson's 95 % interval of `hits` out of `samples`, as shares.
pub fn wilson_95(hits: u64, samples: u64) -> (f64, f64) {
    if samples == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = samples as f64;
    let share = hits as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::wilson_95;

    #[test]
    fn textbook_values() {
        let (low, high) = wilson_95(81, 263);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4);
        assert_eq!(wilson_95(0, 10).0, 0.0);
        assert!((wilson_95(0, 10).1 - 0.2775).abs() < 1e-4);
        assert_eq!(wilson_95(0, 0), (0.0, 1.0));
    }
}
