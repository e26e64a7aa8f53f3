//! Token ids of words, kept from text to text: prompts repeat a few words
//! around nouns that return in every prompt.

use std::collections::HashMap;
use std::sync::RwLock;

use rayon::prelude::*;

use super::tokenizer::TokenizerError;

/// Words that are kept; later ones are cut into tokens every time.
const MOST_WORDS: usize = 1 << 18;
/// Longest word that is kept, in bytes.
const LONGEST_WORD: usize = 64;
/// Texts per unit of work of a thread.
const TEXTS_PER_UNIT: usize = 256;

/// The token ids of every word met so far. Memory is bounded by the number and
/// the length of words.
#[derive(Default)]
pub struct WordIds {
    known: RwLock<HashMap<Box<str>, Box<[u32]>>>,
}

impl WordIds {
    /// Appends the ids of `words` to `ids`; `tokenize` gives those of a word
    /// that was not met before.
    pub fn append<'a>(
        &self,
        words: impl Iterator<Item = &'a str>,
        tokenize: impl Fn(&str) -> Result<Vec<u32>, TokenizerError>,
        ids: &mut Vec<i64>,
    ) -> Result<(), TokenizerError> {
        let mut new: Vec<(&str, Vec<u32>)> = Vec::new();
        {
            let known = self.known.read().unwrap_or_else(|e| e.into_inner());
            for word in words {
                if let Some(found) = known.get(word) {
                    ids.extend(found.iter().map(|&id| i64::from(id)));
                } else {
                    let made = tokenize(word)?;
                    ids.extend(made.iter().map(|&id| i64::from(id)));
                    new.push((word, made));
                }
            }
            new.retain(|(word, _)| word.len() <= LONGEST_WORD && known.len() < MOST_WORDS);
        }
        if !new.is_empty() {
            let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
            known.extend(new.into_iter().map(|(word, ids)| (word.into(), ids.into())));
        }
        Ok(())
    }
}

/// The ids of every text, by all threads where there are many.
pub fn encode_all(
    texts: &[&str],
    encode: impl Fn(&str) -> Result<Vec<i64>, TokenizerError> + Sync,
) -> Result<Vec<Vec<i64>>, TokenizerError> {
    let unit = texts.par_iter().with_min_len(TEXTS_PER_UNIT);
    unit.map(|text| encode(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_once() {
        let ids = WordIds::default();
        let cut = std::cell::RefCell::new(Vec::new());
        let tokenize = |word: &str| {
            cut.borrow_mut().push(word.to_owned());
            Ok(vec![word.len() as u32, 7])
        };
        let long = "x".repeat(LONGEST_WORD + 1);
        for _ in 0..2 {
            let mut found = vec![1];
            let words = ["a", "bc", "a", &long].into_iter();
            ids.append(words, tokenize, &mut found).unwrap();
            assert_eq!(found, [1, 1, 7, 2, 7, 1, 7, 65, 7]);
        }
        assert_eq!(
            cut.into_inner(),
            ["a", "bc", "a", long.as_str(), long.as_str()]
        );
    }

    #[test]
    fn a_word_that_cannot_be_cut_fails_its_text() {
        let failed = |text: &str| TokenizerError::Encode {
            text: text.to_owned(),
            reason: "no".to_owned(),
        };
        let ids = WordIds::default();
        let mut found = Vec::new();
        let words = || ["good", "bad"].into_iter();
        let tokenize = |word: &str| match word {
            "good" => Ok(vec![3]),
            word => Err(failed(word)),
        };
        assert!(ids.append(words(), tokenize, &mut found).is_err());
        let texts: Vec<&str> = std::iter::repeat_n("text", 2000).collect();
        let all = encode_all(&texts, |_| Ok(vec![1])).unwrap();
        assert_eq!(all.len(), 2000);
        assert!(encode_all(&texts, |text| Err(failed(text))).is_err());
    }
}
