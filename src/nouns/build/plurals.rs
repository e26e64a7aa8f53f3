//! Plurals of nouns: lists of unchanged and irregular ones, then the rules of
//! spelling.

use super::lists::Lists;
use super::sources::Sources;

/// Words after which a noun is not declined: the word before them is.
const PARTICLES: [&str; 10] = [
    "of", "in", "on", "for", "at", "de", "la", "to", "and", "with",
];
/// Words on -man that are no compounds of "man".
const NOT_MEN: [&str; 6] = ["human", "german", "roman", "ottoman", "talisman", "caiman"];

/// The plural of a spelling, with its hyphens and capitals.
pub(super) fn plural(spelling: &str, sources: &Sources, lists: &Lists) -> String {
    let mut words: Vec<&str> = spelling.split_inclusive([' ', '-']).collect();
    let declined = declined_word(&words);
    let Some(word) = words.get(declined) else {
        return String::new();
    };
    let stem = word.trim_end_matches([' ', '-']);
    let separator = &word[stem.len()..];
    let replaced = plural_of_word(stem, sources, lists) + separator;
    words[declined] = &replaced;
    words.concat()
}

fn declined_word(words: &[&str]) -> usize {
    // In "surface-to-air missile" the hyphens make one qualifier.
    let one_compound = !words.iter().any(|word| word.ends_with(' '));
    let is_particle = |word: &&str| {
        let bare = word.trim_end_matches([' ', '-']).to_lowercase();
        (one_compound || !word.ends_with('-')) && PARTICLES.contains(&bare.as_str())
    };
    let particle = words.iter().skip(1).position(is_particle);
    particle.unwrap_or(words.len().saturating_sub(1))
}

fn plural_of_word(word: &str, sources: &Sources, lists: &Lists) -> String {
    let lower = word.to_lowercase();
    if lists.is_unchanged(&lower) {
        return word.to_owned();
    }
    let regular = regular_plural(word, &lower);
    let Some(irregular) = sources.irregular.get(&lower) else {
        return regular;
    };
    // The list has plurals that only dictionaries know.
    if sources.words.zipf(&regular.to_lowercase()) > sources.words.zipf(irregular) {
        return regular;
    }
    // Keeps a capital where the irregular plural starts with its letter.
    let capital = word.chars().next().filter(char::is_ascii_uppercase);
    match (capital, irregular.get(1..)) {
        (Some(first), Some(rest)) if irregular.starts_with(first.to_ascii_lowercase()) => {
            format!("{first}{rest}")
        }
        _ => irregular.clone(),
    }
}

fn regular_plural(word: &str, lower: &str) -> String {
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let without_end = |length: usize| &word[..word.len() - length];
    if ends(&["s", "x", "z", "ch", "sh"]) {
        return format!("{word}es");
    }
    if ends(&["man"]) && !ends(&NOT_MEN) {
        return format!("{}men", without_end(3));
    }
    let after_vowel = ends(&["ay", "ey", "iy", "oy", "uy"]);
    if ends(&["y"]) && lower.len() > 1 && !after_vowel {
        return format!("{}ies", without_end(1));
    }
    format!("{word}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noun_is_declined_not_its_qualifiers() {
        let declined = |spelling: &str| {
            let words: Vec<&str> = spelling.split_inclusive([' ', '-']).collect();
            words[declined_word(&words)].to_owned()
        };
        assert_eq!(declined("bus stop"), "stop");
        assert_eq!(declined("man-of-war"), "man-");
        assert_eq!(declined("lily of the valley"), "lily ");
        assert_eq!(declined("surface-to-air missile"), "missile");
    }

    #[test]
    fn regular_plurals() {
        for (singular, plural) in [
            ("box", "boxes"),
            ("baby", "babies"),
            ("day", "days"),
            ("fireman", "firemen"),
            ("caiman", "caimans"),
            ("apple", "apples"),
        ] {
            assert_eq!(regular_plural(singular, singular), plural);
        }
    }
}
