//! Exact fractions such as the feed-forward scale.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A non-negative exact fraction that remembers how it was written.
///
/// Checkpoints of the original store the value as written (text, whole or
/// floating-point number) and compare it with its type, so the form is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Text(String),
    Int(u64),
    Float(f64),
}

/// Why something is not a fraction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fraction: write a text such as \"1/4\", a whole number or a number such as 0.25"
)]
pub struct NotAFraction(String);

impl Fraction {
    /// A fraction of the program itself, as written in `text`.
    pub(super) fn ratio(text: &str, numerator: u64, denominator: u64) -> Self {
        Self::reduced(numerator, denominator, Form::Text(text.to_owned()))
    }

    /// Numerator in lowest terms.
    pub fn numerator(&self) -> u64 {
        self.numerator
    }

    /// Denominator in lowest terms, at least 1.
    pub fn denominator(&self) -> u64 {
        self.denominator
    }

    /// `whole` times this fraction, if that is a whole number that fits.
    pub fn of(&self, whole: usize) -> Option<usize> {
        let product = u128::try_from(whole).ok()? * u128::from(self.numerator);
        let denominator = u128::from(self.denominator);
        if product.is_multiple_of(denominator) {
            usize::try_from(product / denominator).ok()
        } else {
            None
        }
    }

    fn reduced(numerator: u64, denominator: u64, form: Form) -> Self {
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a.max(1);
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
            form,
        }
    }
}

impl From<u64> for Fraction {
    fn from(value: u64) -> Self {
        Self::reduced(value, 1, Form::Int(value))
    }
}

impl TryFrom<f64> for Fraction {
    type Error = NotAFraction;

    /// The exact binary value of the number.
    fn try_from(value: f64) -> Result<Self, Self::Error> {
        let refuse = || NotAFraction(value.to_string());
        if !(value.is_finite() && value >= 0.0) {
            return Err(refuse());
        }
        let (mut mantissa, mut denominator) = (value, 1u64);
        while mantissa.fract() != 0.0 {
            mantissa *= 2.0;
            denominator = denominator.checked_mul(2).ok_or_else(refuse)?;
        }
        // 2^53: above it a float is no exact count.
        if mantissa > 9_007_199_254_740_992.0 {
            return Err(refuse());
        }
        Ok(Self::reduced(
            mantissa as u64,
            denominator,
            Form::Float(value),
        ))
    }
}

impl FromStr for Fraction {
    type Err = NotAFraction;

    /// `n/d`, `n` or a decimal number, with the meaning of Python's `Fraction`:
    /// `"0.1"` is exactly one tenth.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAFraction(text.to_owned());
        let whole = |part: &str| part.trim().parse::<u64>().map_err(|_| refuse());
        let (numerator, denominator) = if let Some((top, bottom)) = text.split_once('/') {
            (whole(top)?, whole(bottom)?)
        } else if let Some((before, after)) = text.trim().split_once('.') {
            let scale = u32::try_from(after.len())
                .ok()
                .and_then(|digits| 10u64.checked_pow(digits))
                .ok_or_else(refuse)?;
            (whole(&format!("{before}{after}"))?, scale)
        } else {
            (whole(text)?, 1)
        };
        if denominator == 0 {
            return Err(refuse());
        }
        Ok(Self::reduced(
            numerator,
            denominator,
            Form::Text(text.to_owned()),
        ))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.form {
            Form::Text(text) => serializer.serialize_str(text),
            Form::Int(value) => serializer.serialize_u64(*value),
            Form::Float(value) => serializer.serialize_f64(*value),
        }
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Fraction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fraction such as \"1/4\", 2 or 0.25")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Fraction, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Fraction, E> {
                Ok(value.into())
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Fraction, E> {
                u64::try_from(value)
                    .map(Fraction::from)
                    .map_err(|_| E::custom(NotAFraction(value.to_string())))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Fraction, E> {
                value.try_into().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
