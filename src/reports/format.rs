//! Placeholders `{name}` and `{name:spec}` of labels and cells (`reports.md`
//! 10.4).

use serde_json::Value;
use thiserror::Error;

use super::record::plain;

/// A malformed format text.
#[derive(Debug, Error, PartialEq)]
pub enum FormatError {
    /// An opening brace without its partner.
    #[error("`{{` without `}}` in {0:?}")]
    Unbalanced(String),
    /// A number format that is not understood.
    #[error("number format {0:?} is not known: use for example `.2f`, `+.1f`, `6.1f`")]
    Spec(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field { name: String, spec: Option<Spec> },
}

/// Fixed number format `[+][width].<decimals>f`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spec {
    plus: bool,
    width: usize,
    decimals: usize,
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

    /// Fills the placeholders; `missing` stands for absent values.
    pub fn fill(&self, value: impl Fn(&str) -> Option<Value>, missing: &str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Field { name, spec } => match (value(name), spec) {
                    (None, _) => text.push_str(missing),
                    (Some(value), Some(spec)) => match value.as_f64() {
                        Some(number) => text.push_str(&spec.apply(number)),
                        None => text.push_str(&plain(&value)),
                    },
                    (Some(value), None) => text.push_str(&plain(&value)),
                },
            }
        }
        text
    }
}

impl Spec {
    fn parse(spec: &str) -> Result<Self, FormatError> {
        let wrong = || FormatError::Spec(spec.to_owned());
        let rest = spec.strip_suffix('f').ok_or_else(wrong)?;
        let (plus, rest) = match rest.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (width, decimals) = rest.split_once('.').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u8>().map(usize::from).map_err(|_| wrong());
        Ok(Self {
            plus,
            width: if width.is_empty() { 0 } else { number(width)? },
            decimals: number(decimals)?,
        })
    }

    fn apply(self, number: f64) -> String {
        let Self {
            plus,
            width,
            decimals,
        } = self;
        if plus {
            format!("{number:>+width$.decimals$}")
        } else {
            format!("{number:>width$.decimals$}")
        }
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
}
