//! What a pickle describes: plain values, tensors not yet read, and, in script
//! archives, modules as maps of their attributes.

use std::sync::Arc;

use safetensors::Dtype;

use super::error::Fault;
use super::storage::TensorInfo;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number, any.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// Bytes, or a Python 2 text that is not UTF-8.
    Bytes(Arc<[u8]>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Dict(Dict),
    /// A tensor type such as `torch.int64`.
    Dtype(Dtype),
    /// A tensor, to be read with [`super::Archive::tensor`].
    Tensor(Arc<TensorInfo>),
    /// A module of a script archive.
    Module(Box<Module>),
}

/// A dictionary in the order of the file; every key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dict {
    /// Whether it is a `collections.OrderedDict`.
    pub ordered: bool,
    /// Keys and values.
    pub entries: Vec<(Value, Value)>,
}

/// A module of a script archive: its class is a name, nothing more.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Name of its class.
    pub class: Arc<str>,
    /// What it was saved with, usually a dictionary of its attributes.
    pub state: Value,
}

impl Value {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Dtype(_) => "a tensor type",
            Self::Tensor(_) => "a tensor",
            Self::Module(_) => "a module",
        }
    }

    /// The dictionary that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn dict(&self, what: &str) -> Result<&Dict, Fault> {
        match self {
            Self::Dict(dict) => Ok(dict),
            other => Err(other.instead_of(what, "a dictionary")),
        }
    }

    /// The text that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, what: &str) -> Result<&str, Fault> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.instead_of(what, "a text")),
        }
    }

    /// The tensor that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn tensor(&self, what: &str) -> Result<&TensorInfo, Fault> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            other => Err(other.instead_of(what, "a tensor")),
        }
    }

    /// The elements of the list or tuple that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn items(&self, what: &str) -> Result<&[Value], Fault> {
        match self {
            Self::List(items) | Self::Tuple(items) => Ok(items),
            other => Err(other.instead_of(what, "a list")),
        }
    }

    /// The whole number that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn int(&self, what: &str) -> Result<i64, Fault> {
        match self {
            Self::Int(number) => Ok(*number),
            other => Err(other.instead_of(what, "a whole number")),
        }
    }

    /// The number that `what` must be; a whole one counts too.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self, what: &str) -> Result<f64, Fault> {
        match self {
            Self::Int(number) => Ok(*number as f64),
            Self::Float(number) => Ok(*number),
            other => Err(other.instead_of(what, "a number")),
        }
    }

    /// The truth value that `what` must be.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool(&self, what: &str) -> Result<bool, Fault> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => Err(other.instead_of(what, "a truth value")),
        }
    }

    fn instead_of(&self, what: &str, wanted: &str) -> Fault {
        Fault::Content {
            reason: format!("{what} is {}, not {wanted}", self.kind()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Dict {
    /// A plain dictionary of named values.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self {
            ordered: false,
            entries: entries
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        }
    }

    /// Value of a text key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self
            .entries
            .iter()
            .find(|(key, _)| matches!(key, Value::Text(key) if **key == *name));
        found.map(|(_, value)| value)
    }

    /// Value of a text key of the dictionary `what`.
    ///
    /// # Errors
    /// There is none.
    pub fn require(&self, name: &str, what: &str) -> Result<&Value, Fault> {
        self.get(name).ok_or_else(|| Fault::Content {
            reason: format!("{what} lacks {name}"),
        })
    }

    /// Entries of the dictionary `what` by name.
    ///
    /// # Errors
    /// A key that is not a text.
    pub fn named(&self, what: &str) -> Result<Vec<(&str, &Value)>, Fault> {
        let key = format!("a key of {what}");
        self.entries
            .iter()
            .map(|(name, value)| Ok((name.text(&key)?, value)))
            .collect()
    }
}
