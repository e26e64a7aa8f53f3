//! Values in Python's notation, as the original prints them and as its tracking
//! keeps lists.

use serde_json::Value;

use crate::cache::json_scalar::{write_number, write_string};

/// `str(value)`: a text as it is, everything else in its notation.
pub fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => python_repr(other),
    }
}

/// `repr(value)`.
pub fn python_repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

/// `repr` of a list of texts.
pub fn python_list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let texts: Vec<String> = texts
        .into_iter()
        .map(|text| {
            let mut out = String::new();
            write_text(text.as_ref(), &mut out);
            out
        })
        .collect();
    format!("[{}]", texts.join(", "))
}

/// A list of texts as Python's `json` writes it.
pub fn json_list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let texts: Vec<String> = texts
        .into_iter()
        .map(|text| {
            let mut out = String::new();
            write_string(text.as_ref(), &mut out);
            out
        })
        .collect();
    format!("[{}]", texts.join(", "))
}

/// `left == right` in Python: numbers and truth values compare by value.
pub fn python_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            let mut pairs = left.iter().zip(right);
            left.len() == right.len() && pairs.all(|(left, right)| python_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let same = |(key, value): (&String, &Value)| {
                right
                    .get(key)
                    .is_some_and(|other| python_equal(value, other))
            };
            left.len() == right.len() && left.iter().all(same)
        }
        (Value::Number(left), Value::Number(right)) if !left.is_f64() && !right.is_f64() => {
            left == right
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left == right,
            (None, None) => left == right,
            _ => false,
        },
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

fn write_repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_text(key, out);
                out.push_str(": ");
                write_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// Single quotes, unless the text has some and no double ones.
fn write_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' || ('\u{7f}'..'\u{a1}').contains(&c) || c == '\u{ad}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_like_python() {
        let value = json!([true, null, 1, 2.0, 1e-5, "it's", "a\n\"'", {"k": []}]);
        assert_eq!(
            python_repr(&value),
            "[True, None, 1, 2.0, 1e-05, \"it's\", 'a\\n\"\\'', {'k': []}]"
        );
        assert_eq!(python_str(&json!("a'b")), "a'b");
        assert_eq!(python_list(["a"]), "['a']");
        assert_eq!(json_list(["é"]), "[\"\\u00e9\"]");
    }

    #[test]
    fn equality_is_that_of_python() {
        assert!(python_equal(&json!([1, true]), &json!([1.0, 1])));
        assert!(!python_equal(&json!(1), &json!("1")));
        assert!(!python_equal(&json!(null), &json!(0)));
        assert!(python_equal(
            &json!({"a": 1, "b": 2}),
            &json!({"b": 2, "a": 1.0})
        ));
        assert!(python_equal(&json!(u64::MAX), &json!(u64::MAX)));
        assert!(!python_equal(&json!(u64::MAX), &json!(u64::MAX - 1)));
    }
}
