//! The article by pronunciation: numbers as they are read, initials by the names
//! of their letters, words by a list of those that are not pronounced as they
//! are spelled.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Words for which [`spelling_takes_an`] is wrong, one a line, in lower case;
/// made of a pronouncing dictionary (`extras/dictionary/README.md`).
const EXCEPTIONS: &str = include_str!("../../../extras/dictionary/lists/articles.txt");

static LIST: LazyLock<HashSet<&'static str>> = LazyLock::new(|| EXCEPTIONS.lines().collect());

/// Letters whose names begin with a vowel.
const VOWEL_NAMES: &[u8] = b"aefhilmnorsx";

/// Capitals that are too many to be read letter by letter if they can be read
/// as a word.
const WORD_LENGTH: usize = 4;

/// Whether the noun as spelled gets "an".
pub(super) fn takes_an(noun: &str) -> bool {
    let start = noun.trim_start_matches(|c: char| !c.is_alphanumeric());
    let end = start
        .find(|c: char| c.is_whitespace() || matches!(c, '-' | '/' | '&'))
        .unwrap_or(start.len());
    let word = &start[..end];
    let Some(first) = word.bytes().next() else {
        return false;
    };
    if first.is_ascii_digit() {
        return number_takes_an(word);
    }
    let lower = word.to_ascii_lowercase();
    let name = VOWEL_NAMES.contains(&first.to_ascii_lowercase());
    if are_initials(word) {
        return name;
    }
    spelling_takes_an(&lower) != LIST.contains(lower.as_str())
}

/// Whether a word is read letter by letter: one letter, letters with dots, or
/// capitals (and a final s) that are few or cannot be read together.
fn are_initials(word: &str) -> bool {
    let letters = word.strip_suffix("'s").unwrap_or(word);
    let dotted = letters.len() > 1
        && letters.bytes().enumerate().all(|(at, byte)| {
            (at % 2 == 1) == (byte == b'.') && (at % 2 == 1 || byte.is_ascii_alphabetic())
        });
    if letters.len() == 1 || dotted {
        return letters.as_bytes()[0].is_ascii_alphabetic();
    }
    let capitals = match letters.strip_suffix('s') {
        Some(stem) if stem.len() > 1 => stem,
        _ => letters,
    };
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if capitals.len() < 2 || !capitals.bytes().all(is_capital) {
        return false;
    }
    capitals.len() < WORD_LENGTH || !is_pronounceable(capitals)
}

/// Whether capitals have vowels often enough to be a word: no three consonants
/// in a row, no two at either end.
fn is_pronounceable(capitals: &str) -> bool {
    let mut run = 1;
    for byte in capitals.bytes() {
        if is_vowel(byte) || byte.eq_ignore_ascii_case(&b'y') {
            run = 0;
        } else {
            run += 1;
        }
        if run > 2 || byte.is_ascii_digit() {
            return false;
        }
    }
    run < 2
}

/// Eight, eighty, eight hundred; eleven and eighteen, alone or of thousands.
fn number_takes_an(word: &str) -> bool {
    let digits: String = word
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(|c| *c != ',')
        .collect();
    let teen = digits.starts_with("11") || digits.starts_with("18");
    digits.starts_with('8') || teen && digits.len() % 3 == 2
}

/// What the spelling of a word in lower case suggests: vowels get "an", unless
/// they look like "you" or "w".
pub fn spelling_takes_an(word: &str) -> bool {
    let bytes = word.as_bytes();
    let at = |index: usize| bytes.get(index).copied();
    let Some(first) = at(0) else { return false };
    let like_consonant = match first {
        b'e' => matches!(at(1), Some(b'u' | b'w')),
        b'o' => word == "one" || word == "once" || word.starts_with("oui"),
        b'u' => {
            word.starts_with("uni")
                || at(1)
                    .is_some_and(|b| b.is_ascii_alphabetic() && !is_vowel(b) && !b"np".contains(&b))
                    && at(2).is_some_and(is_vowel)
        }
        _ => false,
    };
    is_vowel(first) && !like_consonant
}

fn is_vowel(byte: u8) -> bool {
    b"aeiou".contains(&byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_follow_the_ear() {
        for noun in [
            "apple",
            "hour",
            "hourglass",
            "honest man",
            "heir",
            "honor roll",
            "umbrella",
            "unimportant thing",
            "X-ray",
            "x ray",
            "FAQ",
            "LED lamp",
            "MRI scanner",
            "SUV",
            "HDMI cable",
            "LPs",
            "M&M",
            "F.B.I. agent",
            "8 ball",
            "8-track",
            "11th floor",
            "18-wheeler",
            "80s song",
            "ice cream",
            "onion",
            "usher",
            "HTML page",
            "18,000 seat arena",
            "eight-day clock",
        ] {
            assert!(takes_an(noun), "an {noun}");
        }
        for noun in [
            "banana",
            "unicorn",
            "university",
            "European hamster",
            "eucalyptus",
            "ukulele",
            "one-way street",
            "U-turn",
            "UFO",
            "USB stick",
            "T-shirt",
            "NASA rocket",
            "CD",
            "BMW",
            "7-segment display",
            "180 degree turn",
            "1800 model",
            "110 volt outlet",
            "house",
            "ewe",
            "yacht",
            "ouija board",
            "",
        ] {
            assert!(!takes_an(noun), "a {noun}");
        }
    }

    #[test]
    fn the_list_is_in_order_and_of_use() {
        let words: Vec<&str> = EXCEPTIONS.lines().collect();
        assert!(words.len() > 100 && words.is_sorted());
        for word in ["hour", "heir", "honest"] {
            assert!(LIST.contains(word) && !spelling_takes_an(word));
        }
    }
}
