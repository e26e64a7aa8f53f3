//! Noun lists that guide the decoding.

use std::collections::HashSet;
use std::path::Path;

use super::error::InferError;
use crate::config::nearest;
use crate::decoder::generate::{
    DropReason, DroppedNoun, EncodedNouns, GenerationConfig, Guiding, NounTrie,
};

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
    /// Nouns with the tokens of an earlier one, and that one.
    merged: Vec<(String, String)>,
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
        let trie = encoded.trie()?;
        let noun = |place: u32| nouns[encoded.indices[place as usize]].clone();
        let merged = (trie.repeated().into_iter())
            .map(|(other, first)| (noun(other), noun(first)))
            .collect();
        Ok(Self {
            known: nouns.iter().cloned().collect(),
            trie,
            dropped: encoded.dropped.clone(),
            outside,
            merged,
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
            let named = self.outside.iter().map(|noun| {
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
            let named = self.dropped.iter().map(|dropped| match &dropped.reason {
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
        if !self.merged.is_empty() {
            let named = self
                .merged
                .iter()
                .map(|(other, first)| format!("{other} = {first}"));
            warnings.push(format!(
                "{} guide nouns have the tokens of others and count once with them: {}",
                self.merged.len(),
                shortened(named, self.merged.len())
            ));
        }
        warnings
    }

    /// What a user should know who asks for more results than there are nouns.
    pub fn shortage(&self, config: &GenerationConfig) -> Option<String> {
        let usable = self.trie.distinct();
        (config.guide != Guiding::None && config.topk > usable).then(|| {
            format!(
                "{config} asks for {} results, but only {usable} nouns can be generated: there \
                 are no more results",
                config.topk
            )
        })
    }

    /// Nouns that the model was not trained on, but whose lower-case form it was.
    pub fn capitalised<'a>(&'a self, vocabulary: &'a Guide) -> impl Iterator<Item = &'a str> {
        let outside = self.outside.iter().map(String::as_str);
        outside.filter(move |noun| vocabulary.contains(&noun.to_lowercase()))
    }
}

/// The first of `count` names, and how many more there are.
pub(super) fn shortened(named: impl Iterator<Item = String>, count: usize) -> String {
    let mut text = named.take(NAMED).collect::<Vec<_>>().join(", ");
    if count > NAMED {
        text.push_str(&format!(" and {} more", count - NAMED));
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

    /// What was given again, in words; nothing if nothing was.
    pub fn note(&self) -> Option<String> {
        let count = self.repeated.len();
        (count > 0).then(|| {
            format!(
                "{count} guide nouns are given more than once and count once: {}",
                shortened(self.repeated.iter().cloned(), count)
            )
        })
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
    use crate::infer::{CheckpointSource, NovicModel};

    #[test]
    fn warnings_say_what_they_leave_out() {
        let model = NovicModel::load(&CheckpointSource::Embedded).unwrap();
        let decoder = model.decoder();
        let list = |nouns: &[&str]| {
            nouns
                .iter()
                .map(|&noun| noun.to_owned())
                .collect::<Vec<_>>()
        };
        let words = model.vocabulary().iter().take(23);
        let nouns: Vec<String> = words.map(|word| format!("{word} fox key")).collect();
        let guide = decoder.guide(&nouns).unwrap();
        let warning = &guide.warnings(model.vocabulary())[0];
        assert!(
            warning.starts_with("23 guide nouns are not in") && warning.ends_with(" and 3 more"),
            "{warning}"
        );
        // Spellings that are written alike are one noun.
        let guide = decoder.guide(&list(&["key", "fox", "Fox", "FOX"])).unwrap();
        assert_eq!(guide.trie().distinct(), 2);
        let warnings = guide.warnings(model.vocabulary());
        let merged = "2 guide nouns have the tokens of others and count once with them: \
                      Fox = fox, FOX = fox";
        assert!(
            warnings.iter().any(|warning| warning == merged),
            "{warnings:?}"
        );
        let capitalised: Vec<&str> = guide.capitalised(decoder.vocabulary()).collect();
        assert_eq!(capitalised, ["FOX", "Fox"]);
        let config = |name: &str| name.parse::<GenerationConfig>().unwrap();
        assert!(
            guide
                .shortage(&config("all_k3_gp"))
                .unwrap()
                .contains("only 2 nouns")
        );
        assert_eq!(guide.shortage(&config("all_k2_gp")), None);
        assert_eq!(guide.shortage(&config("beam_k3_gn")), None);
        // Each is one result.
        let model = model.with_generation(config("all_k4_gp")).unwrap();
        let model = model.with_guide(std::sync::Arc::new(guide)).unwrap();
        let labels = &model.classify_texts(&["a fox"]).unwrap()[0];
        let nouns: Vec<&str> = labels.iter().map(|label| label.noun.as_str()).collect();
        assert_eq!(nouns, ["fox", "key"]);
    }

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
