//! Numbers as the tables of the original show them (`reports.md` section 7),
//! and fractions rounded exactly.

use std::cmp::Ordering;

/// A number with fixed decimals, rounded as its exact binary value is; what is
/// not finite as Python writes it.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else if value.is_nan() {
        "nan".to_owned()
    } else if value > 0.0 {
        "inf".to_owned()
    } else {
        "-inf".to_owned()
    }
}

/// A percentage: three decimals, two if the number would be longer than six
/// characters, right-aligned to six, and the sign.
pub fn percent(value: f64) -> String {
    percent_of(|decimals| fixed(value, decimals))
}

/// What stands where a percentage would, such as `-`.
pub fn percent_text(text: &str) -> String {
    format!("{text:>6}%")
}

fn percent_of(digits: impl Fn(usize) -> String) -> String {
    let text = digits(3);
    let text = if text.len() > 6 { digits(2) } else { text };
    percent_text(&text)
}

/// Number of digits of a count.
pub fn digits(count: u64) -> usize {
    count.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A ratio of whole numbers, in lowest terms. Sums may be lost to overflow, as
/// `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    /// The ratio; `None` for a denominator of 0.
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let divisor = i128::try_from(divisor).ok()? * denominator.signum();
        Some(Self {
            numerator: numerator.checked_div(divisor)?,
            denominator: denominator.checked_div(divisor)?,
        })
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        let denominator = self.denominator.checked_mul(other.denominator)?;
        Self::new(left.checked_add(right)?, denominator)
    }

    /// The product with a ratio of whole numbers.
    pub fn times(self, numerator: i128, denominator: i128) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(numerator)?,
            self.denominator.checked_mul(denominator)?,
        )
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// With fixed decimals; a tie goes to the even digit.
    pub fn fixed(self, decimals: usize) -> String {
        let scaled = 10_i128
            .checked_pow(decimals as u32)
            .and_then(|power| self.numerator.checked_mul(power));
        let Some(scaled) = scaled else {
            return fixed(self.to_f64(), decimals);
        };
        let magnitude = scaled.unsigned_abs();
        let denominator = self.denominator.unsigned_abs();
        let (mut quotient, rest) = (magnitude / denominator, magnitude % denominator);
        // Cannot overflow: the rest is smaller than the denominator.
        match rest.cmp(&(denominator - rest)) {
            Ordering::Greater => quotient += 1,
            Ordering::Equal if quotient % 2 == 1 => quotient += 1,
            _ => {}
        }
        let sign = if self.numerator < 0 { "-" } else { "" };
        let digits = format!("{quotient:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        if decimals == 0 {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{part}")
        }
    }

    /// As [`percent`] shows 100 times the ratio.
    pub fn percent(self) -> String {
        match self.times(100, 1) {
            Some(hundredfold) => percent_of(|decimals| hundredfold.fixed(decimals)),
            None => percent(self.to_f64() * 100.0),
        }
    }
}

fn gcd(mut left: u128, mut right: u128) -> u128 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_digit() {
        let text = |numerator, denominator, decimals| {
            Fraction::new(numerator, denominator)
                .unwrap()
                .fixed(decimals)
        };
        assert_eq!(text(505, 100, 1), "5.0");
        assert_eq!(text(515, 100, 1), "5.2");
        assert_eq!(text(-515, 100, 1), "-5.2");
        assert_eq!(text(1, 3, 3), "0.333");
        assert_eq!(text(5, 2, 0), "2");
        assert_eq!(text(7, 2, 0), "4");
        assert_eq!(Fraction::new(1, 0), None);
        assert_eq!(Fraction::new(1, 1).unwrap().percent(), "100.00%");
        assert_eq!(Fraction::new(1, 16).unwrap().percent(), " 6.250%");
    }

    #[test]
    fn sums_are_exact_or_none() {
        let third = Fraction::new(1, 3).unwrap();
        let sum = third.plus(third).and_then(|sum| sum.plus(third)).unwrap();
        assert_eq!(sum, Fraction::new(1, 1).unwrap());
        let huge = Fraction::new(1, i128::MAX).unwrap();
        assert_eq!(huge.plus(third), None);
    }
}
