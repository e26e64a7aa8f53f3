//! The nouns of a cache and their ids (`embedding-cache.md` section 1).

use std::collections::HashMap;

use super::error::{CacheError, Result};

/// Target nouns; the id of a noun is its place, id 0 is the empty noun that
/// means "absent".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NounTable {
    nouns: Vec<String>,
    ids: HashMap<String, u32>,
}

impl NounTable {
    /// Nouns at the start of the table that are no targets: the empty one.
    pub const INVALID: usize = 1;

    /// Table of these nouns, the empty one not included. One of them may be
    /// empty, all others must differ.
    ///
    /// # Errors
    /// No nouns, repeated nouns, nouns with a zero character (it separates
    /// nouns in the file), more than an id can count.
    pub fn new<S: Into<String>>(valid: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut nouns = vec![String::new()];
        nouns.extend(valid.into_iter().map(Into::into));
        if nouns.len() <= Self::INVALID {
            return Err(CacheError::NoNouns);
        }
        if nouns.len() - 1 > i32::MAX as usize {
            return Err(CacheError::TooLarge {
                what: "number of target nouns",
                value: nouns.len() as u64,
                limit: i32::MAX as u64 + 1,
            });
        }
        let mut ids = HashMap::with_capacity(nouns.len());
        for (id, noun) in nouns.iter().enumerate() {
            if noun.contains('\0') {
                return Err(CacheError::NounWithSeparator { noun: noun.clone() });
            }
            let repeated = ids.insert(noun.clone(), id as u32).is_some();
            if repeated && !noun.is_empty() {
                return Err(CacheError::RepeatedNoun { noun: noun.clone() });
            }
        }
        Ok(Self { nouns, ids })
    }

    /// Table of a noun section: names joined by a zero byte.
    pub(super) fn decode(section: &[u8], expected: u64) -> Result<Self> {
        let text = std::str::from_utf8(section).map_err(|_| CacheError::NounsNotText)?;
        let found = text.split('\0').count() as u64;
        if found != expected {
            return Err(CacheError::NounCount { found, expected });
        }
        let mut nouns = text.split('\0');
        if nouns.next().is_some_and(|first| !first.is_empty()) {
            return Err(CacheError::FirstNounNotEmpty);
        }
        Self::new(nouns)
    }

    /// The noun section of a file.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.nouns.join("\0").into_bytes()
    }

    /// Number of nouns `R`, the empty one included.
    pub fn len(&self) -> usize {
        self.nouns.len()
    }

    /// Always false: a table holds at least one valid noun.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All nouns in order of their ids.
    pub fn all(&self) -> &[String] {
        &self.nouns
    }

    /// The nouns that can be targets, in order of their ids.
    pub fn valid(&self) -> &[String] {
        &self.nouns[Self::INVALID..]
    }

    /// Id of a noun; of two empty nouns the last.
    pub fn id(&self, noun: &str) -> Option<u32> {
        self.ids.get(noun).copied()
    }

    /// Noun with this id.
    pub fn noun(&self, id: u32) -> Option<&str> {
        self.nouns.get(id as usize).map(String::as_str)
    }
}
