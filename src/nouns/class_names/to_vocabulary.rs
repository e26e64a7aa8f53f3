//! From class names to nouns of the vocabulary (`nouns-captions.md` 6.2).

use std::collections::{BTreeSet, HashMap};

use super::parts;
use crate::nouns::NounsError;
use crate::nouns::canonical::canonical;
use crate::nouns::dictionary::Vocabulary;

/// What to do with a class name that several nouns share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAmbiguity {
    /// Take the noun that comes first in the dictionary.
    #[default]
    TakeFirst,
    /// Fail.
    Fail,
}

/// The nouns of each class, as target indices of a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabularyAlignment {
    /// Per class its nouns in the order of its name's parts; never empty.
    pub classes: Vec<Vec<usize>>,
    /// Parts of class names that no noun has.
    pub unknown: BTreeSet<String>,
    /// Parts that several nouns have, with all of them.
    pub ambiguous: Vec<(String, Vec<usize>)>,
    /// The least frequent noun matched.
    pub least_frequent: Option<usize>,
}

impl VocabularyAlignment {
    /// Looks up every comma-separated part of every class name by its
    /// canonical form. Fails if a class has no noun at all.
    pub fn new(
        vocabulary: &Vocabulary,
        classes: &[String],
        on_ambiguity: OnAmbiguity,
    ) -> Result<Self, NounsError> {
        let mut owners: HashMap<&str, Vec<usize>> = HashMap::new();
        for (target, noun) in vocabulary.nouns().enumerate() {
            for variant in noun.variants() {
                let owners = owners.entry(&variant.text).or_default();
                if owners.last() != Some(&target) {
                    owners.push(target);
                }
            }
        }

        let mut alignment = Self {
            classes: Vec::with_capacity(classes.len()),
            unknown: BTreeSet::new(),
            ambiguous: Vec::new(),
            least_frequent: None,
        };
        let mut without_noun = Vec::new();
        for class in classes {
            let nouns = alignment.nouns_of(class, &owners);
            if nouns.is_empty() {
                without_noun.push(class.clone());
            }
            alignment.classes.push(nouns);
        }
        if !without_noun.is_empty() {
            return Err(NounsError::ClassesWithoutNoun {
                classes: without_noun,
            });
        }
        if on_ambiguity == OnAmbiguity::Fail && !alignment.ambiguous.is_empty() {
            let parts = alignment.ambiguous.into_iter().map(|(part, _)| part);
            return Err(NounsError::AmbiguousClassNames {
                parts: parts.collect(),
            });
        }
        let matched = alignment.classes.iter().flatten().copied();
        alignment.least_frequent =
            matched.min_by_key(|&target| vocabulary.noun(target).frequency());
        Ok(alignment)
    }

    fn nouns_of(&mut self, class: &str, owners: &HashMap<&str, Vec<usize>>) -> Vec<usize> {
        let mut nouns = Vec::new();
        for part in parts(class) {
            let owners = owners.get(canonical(part).as_str());
            let Some((&first, others)) = owners.and_then(|o| o.split_first()) else {
                self.unknown.insert(part.to_owned());
                continue;
            };
            if !others.is_empty() {
                let all = owners.cloned().unwrap_or_default();
                self.ambiguous.push((part.to_owned(), all));
            }
            if !nouns.contains(&first) {
                nouns.push(first);
            }
        }
        nouns
    }
}
