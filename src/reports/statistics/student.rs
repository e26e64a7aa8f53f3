//! Quantiles of Student's t distribution.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

/// The `p` quantile with `freedom` degrees of freedom; NaN outside of
/// `0 < p < 1` or without a degree of freedom.
pub fn student_quantile(p: f64, freedom: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    let Ok(distribution) = StudentsT::new(0.0, 1.0, freedom) else {
        return f64::NAN;
    };
    let mut at = distribution.inverse_cdf(p);
    // What the library finds is near; Newton's steps make it exact.
    for _ in 0..4 {
        let step = (distribution.cdf(at) - p) / distribution.pdf(at);
        if !step.is_finite() {
            break;
        }
        at -= step;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, expected) in [
            (1.0, 12.706_204_736_174_705),
            (2.0, 4.302_652_729_749_464),
            (4.0, 2.776_445_105_197_794),
            (9.0, 2.262_157_162_798_206),
            (30.0, 2.042_272_456_301_238),
            (1000.0, 1.962_339_080_826_408),
        ] {
            let found = student_quantile(0.975, freedom);
            assert!((found / expected - 1.0).abs() < 1e-11, "{freedom}: {found}");
        }
        assert!(student_quantile(0.5, 3.0).abs() < 1e-12);
        assert!(student_quantile(0.0, 3.0).is_nan());
        assert!(student_quantile(0.9, 0.0).is_nan());
    }
}
