//! Values of metrics.

use serde_json::Number;

/// One value of a metric row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Known to have no value, such as a loss before the first batch.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number; infinities and NaN are kept.
    Number(f64),
    /// A text.
    Text(String),
    /// Anything else, such as a small table.
    Json(serde_json::Value),
}

impl Value {
    /// The value as a number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(value) => Some(*value as f64),
            Value::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as JSON. Numbers that JSON lacks become the texts `NaN`,
    /// `Infinity` and `-Infinity`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Number(value) => match Number::from_f64(*value) {
                Some(number) => serde_json::Value::Number(number),
                None if value.is_nan() => "NaN".into(),
                None if *value > 0.0 => "Infinity".into(),
                None => "-Infinity".into(),
            },
            Value::Text(text) => text.as_str().into(),
            Value::Json(value) => value.clone(),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Number(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Value {
        Value::Number(f64::from(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Integer(i64::from(value))
    }
}

/// Counts beyond 2⁶³ − 1 become numbers.
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        i64::try_from(value).map_or(Value::Number(value as f64), Value::Integer)
    }
}

/// Like `u64`.
impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::from(value as u64)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        Value::Json(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}
