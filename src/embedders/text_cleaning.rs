//! What open_clip tokenizers do to a text first (`embedders.md` 7.1–7.3):
//! repair, un-escape, lower-case, canonicalise.
//!
//! The repair is that of ftfy: entities, wrong encodings, terminal escapes,
//! Windows-1252 control bytes, ligatures, character widths, curly quotes, line
//! breaks and control characters.

use std::borrow::Cow;

use tokenizers::NormalizedString;

use super::mojibake::{repair_encoding, windows_1252};

/// What happens to a text before the tokenizer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    /// Nothing: texts are assumed clean.
    Nothing,
    /// Repair, unescape, collapse whitespace.
    Whitespace,
    /// Repair, unescape, collapse whitespace, lower case.
    Lower,
    /// As lower, and without punctuation.
    Canonicalize,
    /// Lower case without ASCII punctuation, nothing repaired: the tokenizer
    /// of SigLIP in the transformers library.
    WithoutPunctuation,
}

/// Cleans a text.
pub fn clean(text: &str, cleaning: Cleaning) -> Cow<'_, str> {
    match cleaning {
        Cleaning::Nothing => Cow::Borrowed(text),
        Cleaning::Whitespace => Cow::Owned(collapse_whitespace(&unescape_twice(text))),
        Cleaning::Lower => Cow::Owned(collapse_whitespace(&unescape_twice(text)).to_lowercase()),
        Cleaning::Canonicalize => Cow::Owned(canonicalize(&unescape_twice(text))),
        Cleaning::WithoutPunctuation => {
            // The separators that Python counts as whitespace, and the mark
            // that stands for a space in pieces.
            let is_space = |c: char| matches!(c, '\u{1c}'..='\u{1f}' | '\u{2581}');
            let kept = text.chars().filter(|c| !c.is_ascii_punctuation());
            let kept: String = kept.map(|c| if is_space(c) { ' ' } else { c }).collect();
            Cow::Owned(collapse_whitespace(&kept.to_lowercase()))
        }
    }
}

/// Repaired, un-escaped twice, without surrounding whitespace.
fn unescape_twice(text: &str) -> String {
    let repaired = repair(text);
    unescape(&unescape(&repaired)).trim().to_owned()
}

fn canonicalize(text: &str) -> String {
    let without_punctuation: String = text
        .chars()
        .map(|c| if c == '_' { ' ' } else { c })
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    collapse_whitespace(&without_punctuation.to_lowercase())
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Repairs each line as ftfy does; HTML entities only where the text has no
/// tags.
fn repair(text: &str) -> Cow<'_, str> {
    let is_plain =
        |c: char| c.is_ascii() && c != '&' && (!c.is_ascii_control() || matches!(c, '\n' | '\t'));
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let with_entities = !text.contains('<');
    let lines = text.split_inclusive('\n');
    Cow::Owned(lines.map(|line| repair_line(line, with_entities)).collect())
}

/// Repairs a line as often as that helps.
fn repair_line(line: &str, with_entities: bool) -> String {
    let mut text = line.to_owned();
    loop {
        let mut repaired = if with_entities {
            strict_entities(&text)
        } else {
            text.clone()
        };
        repaired = repair_encoding(&repaired);
        repaired = simple_characters(&repaired);
        repaired = remove_terminal_escapes(&repaired);
        repaired.retain(|c| !is_control(c));
        let mut composed = NormalizedString::from(repaired);
        composed.nfc();
        if composed.get() == text {
            return text;
        }
        text = composed.get().to_owned();
    }
}

/// One character of Windows-1252, ligatures, widths, quotes and line breaks.
fn simple_characters(text: &str) -> String {
    let mut simple = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match windows_1252(c) {
            '\r' => {
                if chars.peek() == Some(&'\n') {
                    chars.next();
                }
                simple.push('\n');
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => simple.push('\n'),
            '\u{2018}'..='\u{201b}' | '\u{02bc}' => simple.push('\''),
            '\u{201c}'..='\u{201f}' => simple.push('"'),
            '\u{149}' => simple.push_str("'n"),
            '\u{fb05}' => simple.push_str("\u{17f}t"),
            c @ ('\u{3000}'
            | '\u{ff01}'..='\u{ffef}'
            | '\u{fb00}'..='\u{fb06}'
            | '\u{132}'
            | '\u{133}'
            | '\u{1c4}'..='\u{1cc}'
            | '\u{1f1}'..='\u{1f3}') => {
                let mut wide = NormalizedString::from(c.to_string());
                wide.nfkc();
                simple.push_str(wide.get());
            }
            c => simple.push(c),
        }
    }
    simple
}

/// Characters that nobody means to write.
fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

/// `ESC [ numbers letter` is removed.
fn remove_terminal_escapes(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(start) = rest.find("\u{1b}[") {
        out.push_str(&rest[..start]);
        let tail = &rest[start + 2..];
        let end = tail
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .unwrap_or(tail.len());
        rest = match tail[end..].chars().next() {
            Some(letter) if letter.is_ascii_alphabetic() => &tail[end + 1..],
            _ => {
                out.push_str("\u{1b}[");
                tail
            }
        };
    }
    out.push_str(rest);
    out
}

/// Entities as HTML defines them.
fn unescape(text: &str) -> Cow<'_, str> {
    htmlize::unescape(text)
}

/// Entities that end with a semicolon; named ones also in capitals.
fn strict_entities(text: &str) -> String {
    const LONGEST: usize = 24;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let name = rest[1..].strip_prefix('#').unwrap_or(&rest[1..]);
        let length = name
            .bytes()
            .take_while(u8::is_ascii_alphanumeric)
            .take(LONGEST + 1)
            .count();
        let end = rest.len() - name.len() + length;
        let entity = (1..=LONGEST).contains(&length) && rest[end..].starts_with(';');
        match entity.then(|| strict_entity(&rest[..=end])).flatten() {
            Some(character) => {
                out.push_str(&character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn strict_entity(entity: &str) -> Option<String> {
    let known = |entity: &str| {
        let character = htmlize::unescape(entity);
        (!character.contains(';')).then(|| character.into_owned())
    };
    known(entity).or_else(|| {
        let lower = entity.to_ascii_lowercase();
        let in_capitals = !entity.starts_with("&#") && entity == entity.to_ascii_uppercase();
        (in_capitals && lower != entity)
            .then(|| known(&lower))
            .flatten()
            .map(|character| character.to_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts_have_no_case_and_punctuation() {
        for (text, canonical) in [
            ("A Photo of a_DOG.", "a photo of a dog"),
            ("rock-n-roll  &amp;amp; more\t!", "rocknroll more"),
            ("“It’s”\u{a0}ﬁne…", "its fine…"),
            ("ＦＵＬＬ width", "full width"),
            ("", ""),
        ] {
            assert_eq!(clean(text, Cleaning::Canonicalize), canonical);
        }
    }

    #[test]
    fn lower_keeps_punctuation() {
        assert_eq!(
            clean("  A\u{1b}[31mB &lt;C&gt;\r\nD_E ", Cleaning::Lower),
            "ab <c> d_e"
        );
        assert_eq!(clean("ΟΔΟΣ", Cleaning::Lower), "οδος");
        assert_eq!(clean("As it IS ", Cleaning::Nothing), "As it IS ");
    }
}
