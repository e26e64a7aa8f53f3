//! Written values to values of a key: the type is the key's, never guessed.

use std::ops::Range;

use serde_json::Value;

use super::nearest::{among, nearest};
use super::node::{Node, Raw, word_bool, word_float, word_int};
use super::schema::{Fraction, Key, Kind};

/// Why a written value is none of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where in the source.
    pub span: Range<usize>,
    /// What is wrong, completing "`key`: …".
    pub title: String,
    /// Note at the caret.
    pub note: String,
    /// Way out.
    pub help: Option<String>,
}

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Converted {
    /// As canonical JSON.
    Value(Value),
    /// Its text refers to other values, which are not known yet.
    Deferred,
}

/// Converts what was written to the type of a key.
pub(super) fn convert(node: &Node, key: &Key) -> Result<Converted, Vec<Fault>> {
    if has_reference(node) {
        return Ok(Converted::Deferred);
    }
    match node.text() {
        Some(word) if is_null_word(node, word) => {
            return if key.nullable {
                Ok(Converted::Value(Value::Null))
            } else {
                Err(vec![Fault {
                    span: node.span.clone(),
                    title: "cannot be null".to_owned(),
                    note: format!("expected {}", expected(key.kind)),
                    help: Some(match key.kind {
                        Kind::Text | Kind::Path => "write 'null' in quotes for the text".to_owned(),
                        _ => format!("write `~{}` to return to the default", key.path),
                    }),
                }])
            };
        }
        Some(word) if key.nullable && word == absent_word(key.kind) => {
            return Ok(Converted::Value(Value::Null));
        }
        _ => {}
    }
    let mut faults = Vec::new();
    match (Reader {
        key,
        faults: &mut faults,
    })
    .read(node, key.kind)
    {
        Some(value) if faults.is_empty() => Ok(Converted::Value(value)),
        _ => Err(faults),
    }
}

/// Whether a text in it contains `${`.
pub(super) fn has_reference(node: &Node) -> bool {
    match &node.raw {
        Raw::Text(text) | Raw::Word(text) => text.contains("${"),
        Raw::List(items) => items.iter().any(has_reference),
        _ => false,
    }
}

fn is_null_word(node: &Node, word: &str) -> bool {
    matches!(node.raw, Raw::Word(_)) && word.eq_ignore_ascii_case("null")
}

/// How a file writes null, which TOML does not have.
fn absent_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "auto",
        _ => "none",
    }
}

/// What a kind expects, for messages.
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Int => "a whole number".to_owned(),
        Kind::Float => "a number".to_owned(),
        Kind::Text => "a text".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Choice { names, .. } => format!("one of {}", among(names)),
        Kind::ChoiceOrInt { names } => format!("{} or a whole number", among(names)),
        Kind::Fraction => "a fraction such as \"1/4\", a whole number or 0.25".to_owned(),
        Kind::List(element) => match element {
            Kind::Int => "a list of whole numbers".to_owned(),
            Kind::Float => "a list of numbers".to_owned(),
            Kind::Path => "a list of paths".to_owned(),
            Kind::Choice { names, .. } => format!("a list of {}", among(names)),
            _ => "a list of texts".to_owned(),
        },
        Kind::ListOrText(_) => "a text or a list of texts".to_owned(),
        Kind::CommaText => "a comma-separated text or a list of texts".to_owned(),
    }
}

struct Reader<'a> {
    key: &'a Key,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn read(&mut self, node: &Node, kind: Kind) -> Option<Value> {
        match kind {
            Kind::Bool => match &node.raw {
                Raw::Bool(value) => Some(Value::Bool(*value)),
                Raw::Word(word) => match word_bool(word) {
                    Some(value) => Some(Value::Bool(value)),
                    None => self.wrong_type(node, kind),
                },
                _ => self.wrong_type(node, kind),
            },
            Kind::Int => match &node.raw {
                Raw::Int(value) => self.int(node, *value),
                Raw::Word(word) => match word_int(word) {
                    Some(value) => self.int(node, value),
                    None => self.wrong_type(node, kind),
                },
                _ => self.wrong_type(node, kind),
            },
            Kind::Float => match &node.raw {
                Raw::Int(value) => self.float(node, *value as f64),
                Raw::Float(value) => self.float(node, *value),
                Raw::Word(word) => {
                    match word_int(word)
                        .map(|value| value as f64)
                        .or_else(|| word_float(word))
                    {
                        Some(value) => self.float(node, value),
                        None => self.wrong_type(node, kind),
                    }
                }
                _ => self.wrong_type(node, kind),
            },
            Kind::Text | Kind::Path => match node.text() {
                Some(text) => self.text(node, text),
                None => self.wrong_type(node, kind),
            },
            Kind::Choice {
                names, any_case, ..
            } => self.choice(node, names, any_case, kind),
            Kind::ChoiceOrInt { names } => match &node.raw {
                Raw::Int(value) => self.int(node, *value),
                Raw::Word(word) if word_int(word).is_some() => {
                    word_int(word).and_then(|value| self.int(node, value))
                }
                _ => self.choice(node, names, false, kind),
            },
            Kind::Fraction => self.fraction(node),
            Kind::List(element) => match &node.raw {
                Raw::List(items) => self.list(items, *element),
                _ => self.wrong_type(node, kind),
            },
            Kind::ListOrText(element) => match &node.raw {
                Raw::List(items) => self.list(items, *element),
                Raw::Text(text) | Raw::Word(text) if text.is_empty() => Some(Value::Array(vec![])),
                Raw::Text(_) | Raw::Word(_) => self
                    .read(node, *element)
                    .map(|item| Value::Array(vec![item])),
                _ => self.wrong_type(node, kind),
            },
            Kind::CommaText => match &node.raw {
                Raw::Text(text) | Raw::Word(text) => self.text(node, text),
                Raw::List(items) => {
                    let texts = self.list(items, Kind::Text)?;
                    let texts: Vec<&str> =
                        texts.as_array()?.iter().filter_map(Value::as_str).collect();
                    Some(Value::String(texts.join(",")))
                }
                _ => self.wrong_type(node, kind),
            },
        }
    }

    fn list(&mut self, items: &[Node], element: Kind) -> Option<Value> {
        let values: Vec<_> = items.iter().map(|item| self.read(item, element)).collect();
        values
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(Value::Array)
    }

    fn text(&mut self, node: &Node, text: &str) -> Option<Value> {
        if let Some(Err(reason)) = self.key.form.map(|form| form(text)) {
            return self.fault(node, format!("`{text}` is not allowed"), reason, None);
        }
        Some(Value::String(text.to_owned()))
    }

    fn int(&mut self, node: &Node, value: i64) -> Option<Value> {
        self.in_range(node, value as f64)
            .then(|| Value::from(value))
    }

    fn float(&mut self, node: &Node, value: f64) -> Option<Value> {
        if !value.is_finite() {
            return self.fault(
                node,
                "must be a finite number".to_owned(),
                format!("{value} is not finite"),
                None,
            );
        }
        // -0.0 and 0.0 are the same value and must have the same text.
        self.in_range(node, value).then(|| Value::from(value + 0.0))
    }

    fn in_range(&mut self, node: &Node, value: f64) -> bool {
        let range = self.key.range;
        if range.contains(value) {
            return true;
        }
        let allowed = range.text().unwrap_or_default();
        let unit = self.key.unit;
        let blank = if unit.is_empty() || unit == "°" {
            ""
        } else {
            " "
        };
        self.fault(
            node,
            format!("{value} is out of range"),
            format!("must be {allowed}{blank}{unit}"),
            None,
        );
        false
    }

    fn choice(&mut self, node: &Node, names: &[&str], any_case: bool, kind: Kind) -> Option<Value> {
        let kind_text = expected(kind);
        let Some(text) = node.text() else {
            return self.fault(
                node,
                format!("expected {kind_text}, found {}", node.describe()),
                format!("expected {kind_text}"),
                None,
            );
        };
        let equal = |name: &&&str| **name == text || any_case && name.eq_ignore_ascii_case(text);
        match names.iter().find(equal) {
            Some(name) => Some(Value::String((*name).to_owned())),
            None => {
                let help = nearest(text, names.iter().copied())
                    .map(|name| format!("did you mean `{name}`?"));
                self.fault(
                    node,
                    format!("`{text}` is not allowed"),
                    format!("expected {kind_text}"),
                    help,
                )
            }
        }
    }

    fn fraction(&mut self, node: &Node) -> Option<Value> {
        let parsed = match &node.raw {
            Raw::Int(value) => u64::try_from(*value).ok().map(Fraction::from),
            Raw::Float(value) => Fraction::try_from(*value).ok(),
            Raw::Text(text) => text.parse().ok(),
            Raw::Word(word) => match (word_int(word), word_float(word)) {
                (Some(whole), _) => u64::try_from(whole).ok().map(Fraction::from),
                (None, Some(number)) => Fraction::try_from(number).ok(),
                (None, None) => word.parse().ok(),
            },
            _ => None,
        };
        match parsed {
            Some(fraction) => {
                let value = fraction.numerator() as f64 / fraction.denominator() as f64;
                if self.in_range(node, value) {
                    serde_json::to_value(&fraction).ok()
                } else {
                    None
                }
            }
            None => self.wrong_type(node, Kind::Fraction),
        }
    }

    fn wrong_type(&mut self, node: &Node, kind: Kind) -> Option<Value> {
        let expectation = expected(kind);
        let help = match (&node.raw, kind) {
            (Raw::Text(text), Kind::Bool) if word_bool(text).is_some() => {
                Some("leave out the quotes".to_owned())
            }
            (Raw::Text(text), Kind::Int) if word_int(text).is_some() => {
                Some("leave out the quotes".to_owned())
            }
            (Raw::Text(text), Kind::Float)
                if word_int(text).is_some() || word_float(text).is_some() =>
            {
                Some("leave out the quotes".to_owned())
            }
            (Raw::Float(value), Kind::Int) if value.fract() == 0.0 => {
                Some(format!("write {value}"))
            }
            (Raw::Word(word), Kind::Int)
                if word_float(word).is_some_and(|value| value.fract() == 0.0) =>
            {
                word_float(word).map(|value| format!("write {value}"))
            }
            (Raw::Word(word), Kind::Bool) => match word.to_ascii_lowercase().as_str() {
                "yes" | "on" | "1" => Some("write true".to_owned()),
                "no" | "off" | "0" => Some("write false".to_owned()),
                _ => None,
            },
            (
                Raw::Bool(_) | Raw::Int(_) | Raw::Float(_) | Raw::Date(_),
                Kind::Text | Kind::Path,
            ) => Some("write it in quotes".to_owned()),
            (Raw::Text(text), Kind::List(_)) => Some(format!("write [\"{text}\"]")),
            (Raw::Word(word), Kind::List(_)) => Some(format!("write [{word}]")),
            _ => None,
        };
        self.fault(
            node,
            format!("expected {expectation}, found {}", node.describe()),
            format!("expected {expectation}"),
            help,
        )
    }

    fn fault(
        &mut self,
        node: &Node,
        title: String,
        note: String,
        help: Option<String>,
    ) -> Option<Value> {
        self.faults.push(Fault {
            span: node.span.clone(),
            title,
            note,
            help,
        });
        None
    }
}
