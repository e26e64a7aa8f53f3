//! Words whose article is another one than their spelling suggests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::BuildError;
use super::sources::pronunciations;
use crate::nouns::article::spelling_takes_an;

/// Vowels of the pronouncing dictionary, without their stress.
const VOWELS: [&str; 15] = [
    "AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW",
];

/// The list, from the pronouncing dictionary below `sources`: one word a line,
/// sorted, by the first pronunciation of each.
///
/// # Errors
/// The dictionary is missing or another version.
pub fn build_article_list(sources: &Path) -> Result<String, BuildError> {
    let text = pronunciations(sources)?;
    let mut first = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        // Later pronunciations are marked `word(2)`.
        if let (Some(word), Some(sound)) = (parts.next(), parts.next())
            && is_plain(word)
        {
            first.entry(word).or_insert(sound);
        }
    }
    let exceptions: BTreeSet<&str> = first
        .into_iter()
        .filter(|(word, sound)| {
            let sound = sound.trim_end_matches(|c: char| c.is_ascii_digit());
            VOWELS.contains(&sound) != spelling_takes_an(word)
        })
        .map(|(word, _)| word)
        .collect();
    Ok(exceptions
        .into_iter()
        .map(|word| format!("{word}\n"))
        .collect())
}

/// Whether a word is two letters or more, with apostrophes inside at most.
fn is_plain(word: &str) -> bool {
    let letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase());
    word.len() > 1
        && letter(word.bytes().next())
        && letter(word.bytes().last())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'\'')
}
