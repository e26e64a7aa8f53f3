//! Sums that do not depend on the order.

/// The exactly rounded sum of finite numbers (Shewchuk's partial sums).
pub fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut partials: Vec<f64> = Vec::new();
    let mut special = 0.0;
    for mut value in values {
        if !value.is_finite() {
            special += value;
            continue;
        }
        let mut kept = 0;
        for at in 0..partials.len() {
            let mut partial = partials[at];
            if value.abs() < partial.abs() {
                (value, partial) = (partial, value);
            }
            let high = value + partial;
            let low = partial - (high - value);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            value = high;
        }
        partials.truncate(kept);
        partials.push(value);
    }
    if special != 0.0 {
        return special;
    }
    rounded(&partials)
}

/// The nearest double of partial sums that do not overlap, smallest first.
fn rounded(partials: &[f64]) -> f64 {
    let mut at = partials.len();
    let Some(mut high) = partials.last().copied() else {
        return 0.0;
    };
    at -= 1;
    let mut low = 0.0;
    while at > 0 {
        at -= 1;
        let before = high;
        let partial = partials[at];
        high = before + partial;
        low = partial - (high - before);
        if low != 0.0 {
            break;
        }
    }
    // Half-way cases are decided by what is left.
    if at > 0 && (low < 0.0) == (partials[at - 1] < 0.0) && partials[at - 1] != 0.0 {
        let twice = low * 2.0;
        let candidate = high + twice;
        if candidate - high == twice {
            return candidate;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_sums_are_exact() {
        assert_eq!(sum([0.1; 10]), 1.0);
        assert_eq!(sum([1e16, 1.0, -1e16]), 1.0);
        assert_eq!(sum([1e-16, 1.0, 1e16]), 1e16 + 2.0);
        assert_eq!(sum([]), 0.0);
        assert!(sum([1.0, f64::NAN]).is_nan());
        assert_eq!(sum([1.0, f64::INFINITY]), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(mut values in prop::collection::vec(-1e9..1e9_f64, 0..50)) {
            let forwards = sum(values.iter().copied());
            values.reverse();
            prop_assert_eq!(forwards.to_bits(), sum(values.iter().copied()).to_bits());
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(forwards.to_bits(), sum(values).to_bits());
        }
    }
}
