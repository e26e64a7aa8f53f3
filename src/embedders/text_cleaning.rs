//! What open_clip tokenizers do to a text first (`embedders.md` 7.1–7.3):
//! repair, un-escape, lower-case, canonicalise.
//!
//! The repair covers entities, terminal escapes, Windows-1252 control bytes,
//! ligatures, character widths, curly quotes, line breaks and control
//! characters; text decoded with a wrong encoding is left as it is.

use std::borrow::Cow;

use tokenizers::NormalizedString;

use super::openclip_config::Cleaning;

/// Cleans a text.
pub fn clean(text: &str, cleaning: Cleaning) -> Cow<'_, str> {
    match cleaning {
        Cleaning::Nothing => Cow::Borrowed(text),
        Cleaning::Lower => Cow::Owned(collapse_whitespace(&unescape_twice(text)).to_lowercase()),
        Cleaning::Canonicalize => Cow::Owned(canonicalize(&unescape_twice(text))),
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

fn repair(text: &str) -> Cow<'_, str> {
    let is_plain =
        |c: char| c.is_ascii() && c != '&' && (!c.is_ascii_control() || matches!(c, '\n' | '\t'));
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let text = if text.contains('<') {
        Cow::Borrowed(text)
    } else {
        unescape(text)
    };
    let text = remove_terminal_escapes(&text);
    let mut repaired = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = windows_1252(c);
        match c {
            '\r' => {
                if chars.peek() == Some(&'\n') {
                    chars.next();
                }
                repaired.push('\n');
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => repaired.push('\n'),
            '\u{2018}'..='\u{201b}' | '\u{02bc}' => repaired.push('\''),
            '\u{201c}'..='\u{201f}' => repaired.push('"'),
            '\u{3000}'
            | '\u{ff01}'..='\u{ffef}'
            | '\u{fb00}'..='\u{fb06}'
            | '\u{132}'
            | '\u{133}'
            | '\u{1c4}'..='\u{1cc}'
            | '\u{1f1}'..='\u{1f3}' => {
                let mut wide = NormalizedString::from(c.to_string());
                wide.nfkc();
                repaired.push_str(wide.get());
            }
            '\u{149}' => repaired.push_str("'n"),
            '\t' | '\n' | '\u{c}' => repaired.push(c),
            '\0'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}' => {}
            c => repaired.push(c),
        }
    }
    let mut composed = NormalizedString::from(repaired);
    composed.nfc();
    Cow::Owned(composed.get().to_owned())
}

/// C1 control characters are usually Windows-1252 bytes.
fn windows_1252(c: char) -> char {
    const TABLE: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match u32::from(c) {
        code @ 0x80..=0x9f => TABLE[(code - 0x80) as usize],
        _ => c,
    }
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

/// Replaces numeric and the common named HTML entities.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.bytes().take(12).position(|b| b == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?).map(windows_1252);
    }
    Some(match name {
        "amp" | "AMP" => '&',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "eacute" => 'é',
        "egrave" => 'è',
        "aacute" => 'á',
        "oacute" => 'ó',
        "iacute" => 'í',
        "uacute" => 'ú',
        "ntilde" => 'ñ',
        "ccedil" => 'ç',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "szlig" => 'ß',
        "copy" => '©',
        "reg" => '®',
        "deg" => '°',
        "frac12" => '½',
        "times" => '×',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "bull" => '•',
        "euro" => '€',
        "trade" => '™',
        _ => return None,
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
