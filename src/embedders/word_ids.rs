//! Token ids of words, kept from text to text: prompts repeat a few words
//! around nouns that return in every prompt.

use std::collections::HashMap;
use std::sync::{RwLock, RwLockReadGuard};

use rayon::prelude::*;

use super::tokenizer::TokenizerError;

/// Words that are kept; later ones are cut into tokens every time.
const MOST_WORDS: usize = 1 << 18;
/// Longest word that is kept, in bytes.
const LONGEST_WORD: usize = 64;
/// Texts per unit of work of a thread.
const TEXTS_PER_UNIT: usize = 256;

type Words = HashMap<Box<str>, Box<[u32]>>;

/// The token ids of every word met so far. Memory is bounded by the number and
/// the length of words.
#[derive(Default)]
pub struct WordIds {
    known: RwLock<Words>,
}

/// The words of one unit of texts: those that were met before, and its own.
pub struct UnitWords<'a> {
    known: RwLockReadGuard<'a, Words>,
    new: Words,
}

impl UnitWords<'_> {
    /// Appends the ids of `words` to `ids`; `tokenize` gives those of a word
    /// that was not met before.
    pub fn append<'t>(
        &mut self,
        words: impl Iterator<Item = &'t str>,
        tokenize: impl Fn(&str) -> Result<Vec<u32>, TokenizerError>,
        ids: &mut Vec<i64>,
    ) -> Result<(), TokenizerError> {
        for word in words {
            if let Some(found) = self.known.get(word).or_else(|| self.new.get(word)) {
                ids.extend(found.iter().map(|&id| i64::from(id)));
                continue;
            }
            let made = tokenize(word)?;
            ids.extend(made.iter().map(|&id| i64::from(id)));
            if word.len() <= LONGEST_WORD {
                self.new.insert(word.into(), made.into());
            }
        }
        Ok(())
    }
}

impl WordIds {
    /// The ids of every text, by all threads where there are many. `encode`
    /// gives those of one text; the words of a unit of texts become known when
    /// the unit is done.
    pub fn encode_all(
        &self,
        texts: &[&str],
        encode: impl Fn(&str, &mut UnitWords<'_>) -> Result<Vec<i64>, TokenizerError> + Sync,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let units = texts.par_chunks(TEXTS_PER_UNIT).map(|unit| {
            let known = self.known.read().unwrap_or_else(|e| e.into_inner());
            let space = MOST_WORDS.saturating_sub(known.len());
            let mut words = UnitWords {
                known,
                new: Words::new(),
            };
            let ids: Result<Vec<_>, _> = unit.iter().map(|t| encode(t, &mut words)).collect();
            let UnitWords { known, new } = words;
            drop(known);
            if !new.is_empty() && space > 0 {
                let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
                known.extend(new.into_iter().take(space));
            }
            ids
        });
        let units: Result<Vec<_>, _> = units.collect();
        Ok(units?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_once() {
        let ids = WordIds::default();
        let cut = std::sync::Mutex::new(Vec::new());
        let tokenize = |word: &str| {
            cut.lock().unwrap().push(word.to_owned());
            Ok(vec![word.len() as u32, 7])
        };
        let long = "x".repeat(LONGEST_WORD + 1);
        let text = format!("a bc a {long}");
        for _ in 0..2 {
            let found = ids.encode_all(&[&text, "a"], |text, words| {
                let mut found = vec![1];
                words.append(text.split(' '), tokenize, &mut found)?;
                Ok(found)
            });
            let first = vec![1, 1, 7, 2, 7, 1, 7, 65, 7];
            assert_eq!(found.unwrap(), [first, vec![1, 1, 7]]);
        }
        let cut = cut.into_inner().unwrap();
        assert_eq!(cut, ["a", "bc", long.as_str(), long.as_str()]);
    }

    #[test]
    fn a_word_that_cannot_be_cut_fails_its_text() {
        let failed = |text: &str| TokenizerError::Encode {
            text: text.to_owned(),
            reason: "no".to_owned(),
        };
        let ids = WordIds::default();
        let tokenize = |word: &str| match word {
            "good" => Ok(vec![3]),
            word => Err(failed(word)),
        };
        let encode = |text: &str, words: &mut UnitWords<'_>| {
            let mut found = Vec::new();
            words.append(text.split(' '), tokenize, &mut found)?;
            Ok(found)
        };
        assert!(ids.encode_all(&["good", "good bad"], encode).is_err());
        let texts: Vec<&str> = std::iter::repeat_n("good", 2000).collect();
        let all = ids.encode_all(&texts, encode).unwrap();
        assert_eq!(all, vec![vec![3]; 2000]);
    }
}
