//! Values as they were written, before their type is known.

use std::ops::Range;

use serde_json::Value;

/// A value as it was written, with the byte range in its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Byte range.
    pub span: Range<usize>,
    /// What stands there.
    pub raw: Raw,
}

/// A written value.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// `true` or `false` of TOML.
    Bool(bool),
    /// Whole number of TOML.
    Int(i64),
    /// Floating-point number of TOML.
    Float(f64),
    /// Date or time of TOML, which no key takes.
    Date(String),
    /// Text in quotes.
    Text(String),
    /// Bare word of an override: what it is depends on what is expected.
    Word(String),
    /// List.
    List(Vec<Node>),
    /// Table.
    Table(Vec<Field>),
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Key.
    pub key: String,
    /// Byte range of the key.
    pub key_span: Range<usize>,
    /// Value.
    pub value: Node,
}

impl Node {
    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.raw {
            Raw::Bool(_) => "a bool",
            Raw::Int(_) => "a whole number",
            Raw::Float(_) => "a number",
            Raw::Date(_) => "a date",
            Raw::Text(_) => "a text",
            Raw::Word(word) => match word_value(word) {
                Value::Null => "null",
                Value::Bool(_) => "a bool",
                Value::Number(number) if number.is_f64() => "a number",
                Value::Number(_) => "a whole number",
                _ if whole_digits(word.trim_start_matches(['+', '-'])) => {
                    "a number beyond all limits"
                }
                _ => "a text",
            },
            Raw::List(_) => "a list",
            Raw::Table(_) => "a table",
        }
    }

    /// The text, if it is one or a word.
    pub fn text(&self) -> Option<&str> {
        match &self.raw {
            Raw::Text(text) | Raw::Word(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a field of a table.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.raw {
            Raw::Table(fields) => fields
                .iter()
                .find(|field| field.key == key)
                .map(|field| &field.value),
            _ => None,
        }
    }

    /// As JSON where no type is expected: words are null, bools, numbers or
    /// texts by their form; non-finite numbers are texts.
    pub fn to_json(&self) -> Value {
        match &self.raw {
            Raw::Bool(value) => Value::Bool(*value),
            Raw::Int(value) => Value::from(*value),
            Raw::Float(value) if value.is_finite() => Value::from(*value),
            Raw::Float(value) => Value::String(value.to_string()),
            Raw::Date(text) | Raw::Text(text) => Value::String(text.clone()),
            Raw::Word(word) => word_value(word),
            Raw::List(items) => items.iter().map(Node::to_json).collect(),
            Raw::Table(fields) => fields
                .iter()
                .map(|field| (field.key.clone(), field.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// A value that stands at `span`.
    pub fn from_json(value: &Value, span: Range<usize>) -> Self {
        let raw = match value {
            Value::Null => Raw::Word("null".to_owned()),
            Value::Bool(value) => Raw::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Raw::Int(whole),
                (None, Some(number)) => Raw::Float(number),
                (None, None) => Raw::Word(number.to_string()),
            },
            Value::String(text) => Raw::Text(text.clone()),
            Value::Array(items) => Raw::List(
                items
                    .iter()
                    .map(|item| Self::from_json(item, span.clone()))
                    .collect(),
            ),
            Value::Object(fields) => Raw::Table(
                fields
                    .iter()
                    .map(|(key, value)| Field {
                        key: key.clone(),
                        key_span: span.clone(),
                        value: Self::from_json(value, span.clone()),
                    })
                    .collect(),
            ),
        };
        Self { span, raw }
    }
}

/// A bare word as null, bool, number or text, by its form.
pub fn word_value(word: &str) -> Value {
    if word.eq_ignore_ascii_case("null") {
        Value::Null
    } else if let Some(value) = word_bool(word) {
        Value::Bool(value)
    } else if let Some(value) = word_int(word) {
        Value::from(value)
    } else if let Some(value) = word_float(word).filter(|value| value.is_finite()) {
        Value::from(value)
    } else {
        Value::String(word.to_owned())
    }
}

/// `true` or `false` in any case.
pub fn word_bool(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("true") {
        Some(true)
    } else if word.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Digits with an optional sign and `_` between digits; a leading zero makes it
/// a text, such as a number plate.
pub fn word_int(word: &str) -> Option<i64> {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    if !whole_digits(digits) {
        return None;
    }
    word.replace('_', "").parse().ok()
}

/// Digits with a point or an exponent, `inf` or `nan` (any case), optional
/// sign; a whole number is none.
pub fn word_float(word: &str) -> Option<f64> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("nan") {
        return word.to_ascii_lowercase().parse().ok();
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    if let Some(exponent) = exponent {
        digits_only(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)).then_some(())?;
    }
    let valid = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            (whole.is_empty() || whole_digits(whole))
                && (fraction.is_empty() || digits_only(fraction))
                && !(whole.is_empty() && fraction.is_empty())
        }
        None => exponent.is_some() && whole_digits(mantissa),
    };
    if valid {
        word.replace('_', "").parse().ok()
    } else {
        None
    }
}

/// Digits without a leading zero.
fn whole_digits(text: &str) -> bool {
    digits_only(text) && (text == "0" || !text.starts_with('0'))
}

fn digits_only(text: &str) -> bool {
    !text.is_empty()
        && text
            .split('_')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}
