//! Template files and the choice of collections.

use std::path::Path;

use serde_json::{Map, Value};

use super::TextRules;
use super::hypernyms::Hypernyms;
use super::prompts::Prompts;
use crate::nouns::NounsError;
use crate::nouns::files::read_limited;

/// Names of template collections, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionNames(Vec<String>);

impl CollectionNames {
    /// From a list of names; each is trimmed.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter();
        Self(names.map(|name| name.as_ref().trim().to_owned()).collect())
    }

    /// From names separated by `|`, as in `"ImageNet1K | CIFAR"`.
    pub fn parse(text: &str) -> Self {
        Self::new(text.split('|'))
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// The collections of a template file, not yet checked.
#[derive(Clone, Debug)]
pub struct TemplateFile {
    source: String,
    prompts: Map<String, Value>,
    hypernyms: Map<String, Value>,
}

/// The largest template file that is read, in bytes.
const SIZE_LIMIT: u64 = 64 << 20;

static SHIPPED: &[u8] = include_bytes!("../../../extras/data/prompts.json");

impl TemplateFile {
    /// Reads a template file.
    pub fn load(path: &Path) -> Result<Self, NounsError> {
        let json = read_limited(path, SIZE_LIMIT)?;
        Self::from_json(&path.display().to_string(), &json)
    }

    /// The templates that ship with the product.
    pub fn shipped() -> Result<Self, NounsError> {
        Self::from_json("the shipped templates", SHIPPED)
    }

    /// From JSON text; `source` names it in messages.
    pub fn from_json(source: &str, json: &[u8]) -> Result<Self, NounsError> {
        let value: Value = serde_json::from_slice(json).map_err(|error| NounsError::Json {
            file: source.to_owned(),
            source: error,
        })?;
        let malformed = |reason: String| NounsError::NotATemplateFile {
            file: source.to_owned(),
            reason,
        };
        let Value::Object(mut object) = value else {
            return Err(malformed("it is not an object".to_owned()));
        };
        let mut take = |key: &str| match object.remove(key) {
            Some(Value::Object(collections)) => Ok(collections),
            Some(_) => Err(malformed(format!("{key:?} is not an object"))),
            None => Err(malformed(format!("{key:?} is missing"))),
        };
        Ok(Self {
            prompts: take("prompts")?,
            hypernyms: take("hypernyms")?,
            source: source.to_owned(),
        })
    }

    /// Compiles the chosen prompt collections; only these are checked.
    pub fn prompts(
        &self,
        collections: &CollectionNames,
        rules: TextRules,
    ) -> Result<Prompts, NounsError> {
        Prompts::compile(self.choose("prompt", &self.prompts, collections)?, rules)
    }

    /// Compiles the chosen hypernym collections; only these are checked.
    pub fn hypernyms(
        &self,
        collections: &CollectionNames,
        rules: TextRules,
    ) -> Result<Hypernyms, NounsError> {
        Hypernyms::compile(
            self.choose("hypernym", &self.hypernyms, collections)?,
            rules,
        )
    }

    fn choose<'a>(
        &self,
        kind: &'static str,
        all: &'a Map<String, Value>,
        collections: &'a CollectionNames,
    ) -> Result<Vec<Collection<'a>>, NounsError> {
        let available = || all.keys().cloned().collect();
        if collections.names().is_empty() {
            return Err(NounsError::NoCollection {
                kind,
                available: available(),
            });
        }
        let chosen = collections.names().iter().map(|name| {
            let value = all.get(name).ok_or_else(|| NounsError::UnknownCollection {
                file: self.source.clone(),
                kind,
                name: name.clone(),
                available: available(),
            })?;
            let entries = value
                .as_array()
                .ok_or_else(|| NounsError::NotATemplateFile {
                    file: self.source.clone(),
                    reason: format!("the {kind} collection {name:?} is not a list"),
                })?;
            Ok(Collection {
                kind,
                name,
                entries,
            })
        });
        chosen.collect()
    }
}

/// A chosen collection with its unchecked entries.
pub(super) struct Collection<'a> {
    /// `prompt` or `hypernym`.
    pub kind: &'static str,
    pub name: &'a str,
    pub entries: &'a [Value],
}
