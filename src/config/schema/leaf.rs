//! Types of single values: what may stand behind a key.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fraction::Fraction;

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Whole number.
    Int,
    /// Floating-point number; whole numbers are converted.
    Float,
    /// Text.
    Text,
    /// Path of a file or directory, as text.
    Path,
    /// One of the names.
    Choice {
        /// The names.
        names: &'static [&'static str],
        /// What they mean, in the same order.
        docs: &'static [&'static str],
        /// Reading ignores the case.
        any_case: bool,
    },
    /// One of the names or a whole number.
    ChoiceOrInt {
        /// The names.
        names: &'static [&'static str],
    },
    /// Exact fraction: `"1/4"`, a whole number or a floating-point number.
    Fraction,
    /// List of values.
    List(&'static Kind),
    /// List of texts; a text alone is a list of one.
    ListOrText(&'static Kind),
    /// Comma-separated text; a list of texts is joined with commas.
    CommaText,
}

/// A type that may stand behind a key.
pub trait Leaf: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// Whether null is a value.
    const NULLABLE: bool = false;

    /// The value as canonical JSON. Non-finite numbers, which no key accepts,
    /// would be null.
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

impl Leaf for bool {
    const KIND: Kind = Kind::Bool;
}

impl Leaf for usize {
    const KIND: Kind = Kind::Int;
}

impl Leaf for u64 {
    const KIND: Kind = Kind::Int;
}

impl Leaf for f64 {
    const KIND: Kind = Kind::Float;
}

impl Leaf for String {
    const KIND: Kind = Kind::Text;
}

impl Leaf for Fraction {
    const KIND: Kind = Kind::Fraction;
}

impl<T: Leaf> Leaf for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
}

impl<T: Leaf> Leaf for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);
}
