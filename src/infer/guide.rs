//! Noun lists that guide the decoding.

use std::collections::HashSet;
use std::path::Path;

use super::error::InferError;
use crate::config::nearest;
use crate::decoder::generate::{DropReason, DroppedNoun, EncodedNouns, NounTrie};

/// Largest guide list that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Nouns that a warning names.
const NAMED: usize = 20;

/// Nouns that a decoder may be restricted to, made by
/// [`NounDecoder::guide`](super::NounDecoder::guide).
#[derive(Clone, Debug)]
pub struct Guide {
    nouns: Vec<String>,
    known: HashSet<String>,
    trie: NounTrie,
    dropped: Vec<DroppedNoun>,
    outside: Vec<String>,
}

impl Guide {
    pub(super) fn new(
        nouns: Vec<String>,
        encoded: &EncodedNouns,
        vocabulary: impl Fn(&str) -> bool,
    ) -> Result<Self, InferError> {
        let mut outside: Vec<String> = nouns
            .iter()
            .filter(|noun| !vocabulary(noun))
            .cloned()
            .collect();
        outside.sort();
        Ok(Self {
            known: nouns.iter().cloned().collect(),
            trie: encoded.trie()?,
            dropped: encoded.dropped.clone(),
            outside,
            nouns,
        })
    }

    /// All nouns of the list, in its order; also those that the decoder cannot
    /// write.
    pub fn nouns(&self) -> &[String] {
        &self.nouns
    }

    /// Whether a noun is in the list.
    pub fn contains(&self, noun: &str) -> bool {
        self.known.contains(noun)
    }

    /// The nouns that can be written, as a prefix tree.
    pub fn trie(&self) -> &NounTrie {
        &self.trie
    }

    /// Nouns that the decoder cannot write; they guide nothing.
    pub fn dropped(&self) -> &[DroppedNoun] {
        &self.dropped
    }

    /// Nouns that the model was not trained on, sorted.
    pub fn outside_vocabulary(&self) -> &[String] {
        &self.outside
    }

    /// What a user should know of the list, with the nearest nouns of the
    /// model for those that it does not know.
    pub fn warnings(&self, vocabulary: &[String]) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.outside.is_empty() {
            let named = self.outside.iter().take(NAMED).map(|noun| {
                let near = nearest(noun, vocabulary.iter().map(String::as_str));
                match near {
                    Some(near) => format!("{noun} (near: {near})"),
                    None => noun.clone(),
                }
            });
            warnings.push(format!(
                "{} guide nouns are not in the model's vocabulary: {}",
                self.outside.len(),
                shortened(named, self.outside.len())
            ));
        }
        if !self.dropped.is_empty() {
            let named = self
                .dropped
                .iter()
                .take(NAMED)
                .map(|dropped| match &dropped.reason {
                    DropReason::UnknownToken => dropped.noun.clone(),
                    DropReason::TooLong { tokens } => {
                        format!("{} (too long: {tokens} tokens)", dropped.noun)
                    }
                });
            warnings.push(format!(
                "{} guide nouns are left out, because the model has no tokens for them: {}",
                self.dropped.len(),
                shortened(named, self.dropped.len())
            ));
        }
        warnings
    }
}

fn shortened(named: impl Iterator<Item = String>, count: usize) -> String {
    let mut text = named.collect::<Vec<_>>().join(", ");
    if count > NAMED {
        text.push_str(", …");
    }
    text
}

/// A list of nouns as users write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NounList {
    /// The nouns, each once, in the order of the list.
    pub nouns: Vec<String>,
    /// Nouns that were given again, and left out.
    pub repeated: Vec<String>,
}

impl NounList {
    /// Adds a noun unless it is there already.
    pub fn push(&mut self, noun: &str) {
        if self.nouns.iter().any(|known| known == noun) {
            self.repeated.push(noun.to_owned());
        } else {
            self.nouns.push(noun.to_owned());
        }
    }

    /// Reads a text with one noun per line: blanks around nouns, empty lines
    /// and lines that begin with `#` do not count.
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        let mut seen = HashSet::new();
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if seen.insert(line) {
                list.nouns.push(line.to_owned());
            } else {
                list.repeated.push(line.to_owned());
            }
        }
        list
    }

    /// Reads a UTF-8 file of that form.
    ///
    /// # Errors
    /// A file that cannot be read, is too large, no UTF-8, or has no noun.
    pub fn read(path: &Path) -> Result<Self, InferError> {
        let wrong = |reason: String| InferError::GuideList {
            path: path.to_owned(),
            reason,
        };
        let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if size.len() > MAX_BYTES {
            return Err(wrong(format!(
                "it has {} bytes, at most {MAX_BYTES} are read",
                size.len()
            )));
        }
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| wrong(format!("it is not UTF-8: {error}; save it as UTF-8")))?;
        let list = Self::parse(&text);
        if list.nouns.is_empty() {
            return Err(wrong("it has no noun: write one per line".to_owned()));
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_line_by_line() {
        let list = NounList::parse("\u{feff}mug\r\n\n  tea kettle \n# a comment\nmug\nétagère");
        assert_eq!(list.nouns, ["mug", "tea kettle", "étagère"]);
        assert_eq!(list.repeated, ["mug"]);
    }

    #[test]
    fn unusable_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nouns.txt");
        for (content, expected) in [(&b"\n \n"[..], "no noun"), (&b"caf\xe9"[..], "UTF-8")] {
            std::fs::write(&path, content).unwrap();
            let error = NounList::read(&path).unwrap_err().to_string();
            assert!(
                error.contains("nouns.txt") && error.contains(expected),
                "{error}"
            );
        }
        assert!(NounList::read(&folder.path().join("none")).is_err());
    }
}
