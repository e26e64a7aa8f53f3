//! Cleaning of the class names of CLIP evaluations (`nouns-captions.md` 6.1).

use crate::nouns::canonical::collapse_spaces;

/// A class name without bracketed remarks and alternatives: `"ram (adult male
/// sheep)"` → `"ram"`, `"vaulted or arched ceiling"` → `"vaulted ceiling"`.
/// A name of which nothing would be left stays as it is.
pub fn clean_class_name(name: &str) -> String {
    let without_brackets = remove_brackets(name);
    let first = without_brackets.split('/').next().unwrap_or_default();
    let cleaned = match collapse_spaces(first).as_str() {
        "bell or wind chime" => "chime".to_owned(),
        _ => collapse_spaces(&first_alternative(first)),
    };
    if cleaned.is_empty() {
        name.to_owned()
    } else {
        cleaned
    }
}

/// `text` without `(…)`, innermost ones first; unmatched brackets stay.
fn remove_brackets(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(range) = text.match_indices(')').find_map(|(end, _)| {
        let start = text[..end].rfind('(')?;
        Some(start..=end)
    }) {
        text.replace_range(range, "");
    }
    text
}

/// Of `a b or c d` the first alternative; one word before a phrase stands for
/// the first word of that phrase.
fn first_alternative(text: &str) -> String {
    let Some((first, rest)) = text.split_once(" or ") else {
        return text.to_owned();
    };
    let second = rest.split(" or ").next().unwrap_or_default();
    let mut words = second.split_whitespace();
    let shared: Vec<&str> = words.by_ref().skip(1).collect();
    if first.split_whitespace().count() == 1 && !shared.is_empty() {
        format!("{first} {}", shared.join(" "))
    } else {
        first.to_owned()
    }
}
