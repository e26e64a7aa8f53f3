//! Where values come from: for every key the whole stack of layers that set it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::schema;
use super::source::Location;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program's default.
    Default,
    /// A place in a file, a variable or an argument.
    At(Location),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::At(location) => location.fmt(f),
        }
    }
}

/// A value that a layer gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The value, as canonical JSON; a text with references as it is written.
    pub value: Value,
    /// Where it stands.
    pub location: Location,
}

/// The origins of a configuration; those of an experiment know its own
/// sections, such as `[slots]`, too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origins {
    stacks: BTreeMap<&'static str, Vec<Given>>,
}

impl Origins {
    /// What the layers give for a key, lowest first, without the default.
    pub fn given(&self, path: &str) -> &[Given] {
        self.stacks.get(path).map_or(&[], Vec::as_slice)
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, path: &str) -> Origin {
        self.location(path)
            .map_or(Origin::Default, |location| Origin::At(location.clone()))
    }

    /// The same, if it is not the default.
    pub fn location(&self, path: &str) -> Option<&Location> {
        self.given(path).last().map(|given| &given.location)
    }

    /// Whether any layer gives a key.
    pub fn is_given(&self, path: &str) -> bool {
        !self.given(path).is_empty()
    }

    /// The whole stack of a key with the default below, lowest first.
    pub fn stack(&self, path: &str) -> Vec<(Value, Origin)> {
        let key = schema::key(path).or_else(|| schema::document_key(path));
        let default = key.map(|key| ((key.default)(), Origin::Default));
        let given = self
            .given(path)
            .iter()
            .map(|given| (given.value.clone(), Origin::At(given.location.clone())));
        default.into_iter().chain(given).collect()
    }

    pub(super) fn set(&mut self, path: &'static str, given: Vec<Given>) {
        self.stacks.insert(path, given);
    }

    pub(super) fn push(&mut self, path: &'static str, given: Given) {
        self.stacks.entry(path).or_default().push(given);
    }
}
