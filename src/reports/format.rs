//! Placeholders `{name}` and `{name:spec}` of labels and cells (`reports.md`
//! 10.4).

use serde_json::Value;
use thiserror::Error;

use super::record::plain;
use crate::evaluate::significant;

/// A malformed format text.
#[derive(Debug, Error, PartialEq)]
pub enum FormatError {
    /// An opening brace without its partner.
    #[error("`{{` without `}}` in {0:?}")]
    Unbalanced(String),
    /// A number format that is not understood.
    #[error(
        "number format {0:?} is not known: use for example `.2f`, `+.1f`, `6.1f`, `.3g`, or \
         lower, stem, reversed"
    )]
    Spec(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field { name: String, spec: Option<Spec> },
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq)]
enum Spec {
    Number(Number),
    Text(String),
}

/// Number format `[+][width].<precision>(f|g)`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number {
    plus: bool,
    width: usize,
    precision: usize,
    general: bool,
}

/// A parsed format text.
#[derive(Clone, Debug, PartialEq)]
pub struct Format(Vec<Part>);

impl Format {
    /// Parses a text with placeholders.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let Some(length) = rest[open..].find('}') else {
                return Err(FormatError::Unbalanced(text.to_owned()));
            };
            let inner = &rest[open + 1..open + length];
            let (name, spec) = match inner.split_once(':') {
                Some((name, spec)) => (name, Some(Spec::parse(spec)?)),
                None => (inner, None),
            };
            parts.push(Part::Field {
                name: name.to_owned(),
                spec,
            });
            rest = &rest[open + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// One number with two decimals.
    pub fn of_value() -> Self {
        let spec = Spec::Number(Number {
            plus: false,
            width: 0,
            precision: 2,
            general: false,
        });
        Self(vec![Part::Field {
            name: "value".to_owned(),
            spec: Some(spec),
        }])
    }

    /// Names of the placeholders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Fills the placeholders; `missing` stands for absent values.
    pub fn fill(&self, value: impl Fn(&str) -> Option<Value>, missing: &str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field { name, spec } => match value(name) {
                    None | Some(Value::Null) => text.push_str(missing),
                    Some(value) => text.push_str(&shown(&value, spec.as_ref())),
                },
            }
        }
        text
    }
}

fn shown(value: &Value, spec: Option<&Spec>) -> String {
    match spec {
        Some(Spec::Number(number)) => match value.as_f64() {
            Some(real) => number.apply(real),
            None => plain(value),
        },
        Some(Spec::Text(how)) => transformed(value, Some(how)).unwrap_or_else(|| plain(value)),
        None => plain(value),
    }
}

/// A value as text, changed as a word after the colon says: `lower`, `stem`
/// (a file name without its extension, `_` as blank), `reversed` (words in
/// reverse order), or a number: that part of a text with `:`. `None` if there
/// is no such word.
pub fn transformed(value: &Value, how: Option<&str>) -> Option<String> {
    let text = plain(value);
    Some(match how {
        None => text,
        Some("lower") => text.to_lowercase(),
        Some("stem") => {
            let stem = text
                .rsplit_once('.')
                .map_or(text.as_str(), |(stem, _)| stem);
            stem.replace('_', " ")
        }
        Some("reversed") => match value {
            Value::Array(items) => {
                let words: Vec<_> = items.iter().rev().map(plain).collect();
                words.join(" ")
            }
            _ => text.split_whitespace().rev().collect::<Vec<_>>().join(" "),
        },
        Some(part) => text.split(':').nth(part.parse().ok()?)?.to_owned(),
    })
}

impl Spec {
    fn parse(spec: &str) -> Result<Self, FormatError> {
        let wrong = || FormatError::Spec(spec.to_owned());
        if matches!(spec, "lower" | "stem" | "reversed")
            || !spec.is_empty() && spec.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Ok(Self::Text(spec.to_owned()));
        }
        let (general, rest) = match (spec.strip_suffix('f'), spec.strip_suffix('g')) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong()),
        };
        let (plus, rest) = match rest.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let number = |text: &str| text.parse::<u8>().map(usize::from).map_err(|_| wrong());
        let (width, precision) = rest.split_once('.').unwrap_or((rest, "6"));
        Ok(Self::Number(Number {
            plus,
            width: if width.is_empty() { 0 } else { number(width)? },
            precision: number(precision)?,
            general,
        }))
    }
}

impl Number {
    fn apply(self, number: f64) -> String {
        let text = if self.general {
            significant(number, self.precision.max(1))
        } else {
            format!("{number:.*}", self.precision)
        };
        let sign = if self.plus && !text.starts_with('-') {
            "+"
        } else {
            ""
        };
        format!("{:>width$}", format!("{sign}{text}"), width = self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_placeholders() {
        let format = Format::parse("{value:.2f} % of {n}{x}").expect("valid");
        let text = format.fill(
            |name| match name {
                "value" => Some(Value::from(12.345)),
                "n" => Some(Value::from(3.0)),
                _ => None,
            },
            "-",
        );
        assert_eq!(text, "12.35 % of 3-");
        assert_eq!(
            Format::parse("{a:.2q}"),
            Err(FormatError::Spec(".2q".to_owned()))
        );
        assert!(Format::parse("{a").is_err());
    }

    #[test]
    fn writes_numbers_and_texts_as_told() {
        let one = |format: &str, value: Value| {
            let format = Format::parse(format).expect("valid");
            format.fill(|_| Some(value.clone()), "-")
        };
        assert_eq!(one("{a:+6.1f}|", 2.25.into()), "  +2.2|");
        assert_eq!(one("{a:.3g}", 0.000012345.into()), "1.23e-05");
        assert_eq!(one("{a:.3g}", 1234.5.into()), "1.23e+03");
        assert_eq!(one("{a:.3g}", 0.5.into()), "0.5");
        assert_eq!(one("{a:stem}", "a_red.fox.jpg".into()), "a red.fox");
        assert_eq!(one("{a:reversed}", "x y z".into()), "z y x");
        assert_eq!(one("{a:1}", "Valid:valid".into()), "valid");
    }
}
