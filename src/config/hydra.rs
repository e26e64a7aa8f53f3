//! Override strings as the original reads them: values get their type from
//! their form alone, not from their key (`training.md` 1.6).
//!
//! For commands that were written for the original; the program's own command
//! line is read by the type of the key.

use serde_json::{Map, Value};

use super::node::{Node, Raw, word_bool, word_float, word_int};
use super::overrides::{self, Operation, SyntaxError};

pub use super::hydra_points::points;

/// A value without a schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Untyped {
    /// `null`.
    Null,
    /// Truth value.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Floating-point number; may be infinite or NaN.
    Float(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<Untyped>),
    /// Dictionary, in the order of the text.
    Dict(Vec<(String, Untyped)>),
}

/// What overrides change of a flat dictionary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Keys that are set, each with its last value, in the order of the text.
    pub set: Vec<(String, Untyped)>,
    /// Keys that are removed.
    pub removed: Vec<String>,
}

/// Why the original would refuse an override.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error("`{text}`: {error}")]
    Syntax {
        /// The override.
        text: String,
        /// What is wrong with it.
        error: SyntaxError,
    },
    /// The key does not exist, and there is no `+`.
    #[error("there is no key `{0}`; write `+{0}=…` to add it")]
    UnknownKey(String),
    /// The key exists, so `+` cannot add it.
    #[error("the key `{0}` exists; write `{0}=…` or `++{0}=…`")]
    KnownKey(String),
    /// A sweep with more points than can be listed.
    #[error("the sweep has more than {0} points")]
    TooManyPoints(usize),
}

/// What overrides change, where `is_key` tells the keys of the dictionary.
pub fn changes(
    overrides: &[impl AsRef<str>],
    is_key: impl Fn(&str) -> bool,
) -> Result<Changes, Refused> {
    let mut changes = Changes::default();
    for text in overrides {
        let text = text.as_ref();
        let syntax = |error| Refused::Syntax {
            text: text.to_owned(),
            error,
        };
        let parsed = overrides::parse(text).map_err(syntax)?;
        let names: Vec<_> = parsed.key.iter().map(|part| part.name.as_str()).collect();
        let key = names.join(".");
        let added = changes.set.iter().any(|(name, _)| *name == key);
        let exists = added || is_key(&key) && !changes.removed.contains(&key);
        match (parsed.operation, exists) {
            (Operation::Set | Operation::Remove, false) => return Err(Refused::UnknownKey(key)),
            (Operation::Add, true) => return Err(Refused::KnownKey(key)),
            _ => {}
        }
        changes.set.retain(|(name, _)| *name != key);
        changes.removed.retain(|name| *name != key);
        match parsed.value {
            Some(node) => {
                let value = Untyped::read(&node, text, false).map_err(syntax)?;
                changes.set.push((key, value));
            }
            None => changes.removed.push(key),
        }
    }
    Ok(changes)
}

impl Untyped {
    fn read(node: &Node, text: &str, inside: bool) -> Result<Self, SyntaxError> {
        Ok(match &node.raw {
            Raw::Bool(value) => Self::Bool(*value),
            Raw::Int(value) => Self::Int(*value),
            Raw::Float(value) => Self::Float(*value),
            Raw::Date(value) | Raw::Text(value) => Self::Text(value.clone()),
            Raw::Word(word) => {
                if inside && text[node.span.clone()].starts_with('~') {
                    return Err(SyntaxError {
                        message: "`~` at the beginning of an element".to_owned(),
                        span: node.span.clone(),
                        help: "put the element in quotes".to_owned(),
                    });
                }
                Self::from_word(word)
            }
            Raw::List(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::read(item, text, true))
                    .collect::<Result<_, _>>()?,
            ),
            Raw::Table(fields) => {
                let mut entries = Vec::new();
                for field in fields {
                    entries.push((field.key.clone(), Self::read(&field.value, text, true)?));
                }
                Self::Dict(entries)
            }
        })
    }

    /// A bare word by its form.
    pub(super) fn from_word(word: &str) -> Self {
        if word.eq_ignore_ascii_case("null") {
            Self::Null
        } else if let Some(value) = word_bool(word) {
            Self::Bool(value)
        } else if let Some(value) = word_int(word) {
            Self::Int(value)
        } else if let Some(value) = word_float(word) {
            Self::Float(value)
        } else {
            Self::Text(word.to_owned())
        }
    }

    /// The type as the original names it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
        }
    }

    /// As JSON; non-finite numbers as the texts `inf`, `-inf`, `nan`.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::from(*value),
            Self::Int(value) => Value::from(*value),
            Self::Float(value) if value.is_finite() => Value::from(*value),
            Self::Float(value) => Value::from(value.to_string().to_lowercase()),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Dict(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}
