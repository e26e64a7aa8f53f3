//! Guide nouns in other spellings than the model's.

use std::collections::HashSet;

use super::guide::shortened;
use crate::nouns::{TargetAlignment, VariantMap};

/// A noun list in the spellings of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownSpellings {
    /// The nouns, each once, in the order of the list.
    pub nouns: Vec<String>,
    /// What was replaced by what.
    pub replaced: Vec<(String, String)>,
}

/// Writes nouns as a model knows them: one that is not in its vocabulary, but
/// whose canonical form is a spelling (another case, a plural, a variant) of a
/// dictionary entry that the model has a noun of, becomes that noun. Others
/// stay as they are.
pub fn known_spellings(
    nouns: &[String],
    vocabulary: &[String],
    variants: &VariantMap,
) -> KnownSpellings {
    let known: HashSet<&String> = vocabulary.iter().collect();
    let unknown: Vec<String> = (nouns.iter())
        .filter(|noun| !known.contains(noun))
        .cloned()
        .collect();
    let alignment = TargetAlignment::new(variants, vocabulary, &unknown);
    let mut found = alignment.classes.into_iter();
    let mut spelled = KnownSpellings::default();
    let mut seen = HashSet::new();
    for noun in nouns {
        let own = if known.contains(noun) {
            None
        } else {
            found.next().and_then(|nouns| nouns.into_iter().next())
        };
        if let Some(own) = &own {
            spelled.replaced.push((noun.clone(), own.clone()));
        }
        let noun = own.unwrap_or_else(|| noun.clone());
        if seen.insert(noun.clone()) {
            spelled.nouns.push(noun);
        }
    }
    spelled
}

impl KnownSpellings {
    /// What was replaced, in words; nothing if nothing was.
    pub fn note(&self) -> Option<String> {
        if self.replaced.is_empty() {
            return None;
        }
        let count = self.replaced.len();
        let named = self.replaced.iter();
        let named = named.map(|(given, known)| format!("{given} → {known}"));
        Some(format!(
            "{count} guide nouns are written as the model knows them: {}",
            shortened(named, count)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nouns::{EMBEDDED, Vocabulary};

    #[test]
    fn other_cases_and_plurals_become_what_the_model_knows() {
        let dictionary = Vocabulary::load(std::path::Path::new(EMBEDDED), 0).unwrap();
        let variants = VariantMap::new(dictionary.dictionary());
        let list =
            |nouns: &[&str]| -> Vec<String> { nouns.iter().map(|&noun| noun.to_owned()).collect() };
        let vocabulary = list(&["cat", "red fox"]);
        let given = list(&["Red Foxes", "cat", "CATS", "qwertz", "red fox"]);
        let spelled = known_spellings(&given, &vocabulary, &variants);
        assert_eq!(spelled.nouns, ["red fox", "cat", "qwertz"]);
        assert_eq!(
            spelled.note().unwrap(),
            "2 guide nouns are written as the model knows them: Red Foxes → red fox, CATS → cat"
        );
        let same = known_spellings(&vocabulary, &vocabulary, &variants);
        assert_eq!((same.nouns, same.replaced.len()), (vocabulary, 0));
    }
}
