//! Canonical noun forms and white space (`nouns-captions.md` 1.3).

use deunicode::deunicode;

/// White space in the sense of the dictionary format: Unicode white space and
/// the four ASCII information separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` with runs of white space collapsed to single spaces and trimmed.
pub fn collapse_spaces(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// Whether [`collapse_spaces`] would leave `text` as it is.
pub fn is_collapsed(text: &str) -> bool {
    let mut after_space = true;
    for c in text.chars() {
        let space = is_space(c);
        if space && (after_space || c != ' ') {
            return false;
        }
        after_space = space;
    }
    text.is_empty() || !after_space
}

/// `text` in ASCII, as the original writes it.
pub(super) fn transliterated(text: &str) -> String {
    // The one sign of captions that the library writes without its dot.
    deunicode(&text.replace('№', "No. "))
}

/// Canonical form of any text: white space collapsed, transliterated to
/// ASCII, lower case, without `'` and `.`, words separated by one space.
pub fn canonical(text: &str) -> String {
    canonical_trusted(&transliterated(&collapse_spaces(text)))
}

/// Canonical form of a spelling that is known to be ASCII with single spaces:
/// as [`canonical`] without the first two steps.
pub fn canonical_trusted(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    let lower = text.to_lowercase();
    for part in lower.split(|c| is_space(c) || c == '/' || c == '-') {
        let start = form.len();
        if start > 0 {
            form.push(' ');
        }
        let word = form.len();
        form.extend(part.chars().filter(|c| !matches!(c, '\'' | '.')));
        if form.len() == word {
            form.truncate(start);
        }
    }
    form
}

/// Whether a canonical form has only the characters `[a-z0-9 ]`; others
/// deserve a warning.
pub fn is_plain(form: &str) -> bool {
    form.bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b' '))
}
