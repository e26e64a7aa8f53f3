//! Text that was UTF-8 once and was read as something else (`embedders.md`
//! section 7.3), found and repaired as ftfy does.
//!
//! The categories of characters and the sequences that betray such text are
//! those of ftfy 6 by Robyn Speer (Apache License 2.0), in its notation.

use std::sync::LazyLock;

use regex::Regex;
use regex::bytes::Regex as BytesRegex;

use super::code_pages::CODE_PAGES;

/// Kinds of characters that occur in such text, as parts of character classes.
const KINDS: &[(&str, &str)] = &[
    ("common", "\u{a0}\u{ad}·´–—―…’"),
    ("c1", "\u{80}-\u{9f}"),
    ("bad", "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\u{fffd}ªº"),
    ("law", "¶§"),
    ("currency", "¢£¥₧€"),
    ("start_punctuation", "¡«¿©΄΅‘‚“„•‹\u{f8ff}"),
    ("end_punctuation", "®»˝”›™"),
    ("numeric", "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"),
    ("kaomoji", "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°"),
    (
        "upper_accented",
        "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ",
    ),
    ("lower_accented", "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ"),
    ("upper_common", "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я"),
    ("lower_common", "α-ωάέήίΰа-џ"),
    ("box", "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"),
];

/// Sequences that are hardly ever meant as they stand; `{kind}` stands for the
/// characters of a kind.
const UNLIKELY: &[&str] = &[
    r"[{c1}]",
    r"[{bad}{lower_accented}{upper_accented}{box}{start_punctuation}{end_punctuation}{currency}{numeric}{law}][{bad}]",
    r"[a-zA-Z][{lower_common}{upper_common}][{bad}]",
    r"[{bad}][{lower_accented}{upper_accented}{box}{start_punctuation}{end_punctuation}{currency}{numeric}{law}]",
    r"[{lower_accented}{lower_common}{box}{end_punctuation}{currency}{numeric}][{upper_accented}]",
    r"[{box}{end_punctuation}{currency}{numeric}][{lower_accented}]",
    r"[{lower_accented}{box}{end_punctuation}][{currency}]",
    r"\s[{upper_accented}][{currency}]",
    r"[{upper_accented}{box}][{numeric}{law}]",
    r"[{lower_accented}{upper_accented}{box}{currency}{end_punctuation}][{start_punctuation}][{numeric}]",
    r"[{lower_accented}{upper_accented}{currency}{numeric}{box}{law}][{end_punctuation}][{start_punctuation}]",
    r"[{currency}{numeric}{box}][{start_punctuation}]",
    r"[a-z][{upper_accented}][{start_punctuation}{currency}]",
    r"[{box}][{kaomoji}]",
    r"[{lower_accented}{upper_accented}{currency}{numeric}{start_punctuation}{end_punctuation}{law}][{box}]",
    r"[{box}][{end_punctuation}]",
    r"[{lower_accented}{upper_accented}][{start_punctuation}{end_punctuation}]\w",
    r"[Œœ][^A-Za-z]",
    r"[{upper_accented}]°",
    r"[ÂÃÎÐ][€œŠš¢£Ÿž\xa0\xad®©°·»{start_punctuation}{end_punctuation}–—´]",
    r"×[²³]",
    r"[ØÙ][{common}{currency}{bad}{numeric}{start_punctuation}ŸŠ®°µ»][ØÙ][{common}{currency}{bad}{numeric}{start_punctuation}ŸŠ®°µ»]",
    r"à[²µ¹¼½¾]",
    r"√[±∂†≠®™´≤≥¥µø]",
    r"≈[°¢]",
    r"‚Ä[ìîïòôúùû†°¢π]",
    r"‚[âó][àä°ê]",
    r"вЂ",
    r"[ВГРС][{c1}{bad}{start_punctuation}{end_punctuation}{currency}°µ][ВГРС]",
    r"ГўВЂВ.[A-Za-z ]",
    r"Ã[\xa0¡]",
    r"[a-z]\s?[ÃÂ][ ]",
    r"^[ÃÂ][ ]",
    r"[a-z.,?!{end_punctuation}]Â[ {start_punctuation}{end_punctuation}]",
    r"β€[™\xa0Ά\xad®°]",
    r"[ΒΓΞΟ][{c1}{bad}{start_punctuation}{end_punctuation}{currency}°][ΒΓΞΟ]",
    r"ā€",
];

/// Characters that the bytes of UTF-8 sequences turn into.
const CLUES: &[(&str, &str)] = &[
    (
        "utf8_first_of_2",
        "ĂÂÄĀÅÃÆĆČÇĎĐÉĚÊËĖÈĒĘÐĞĢÍÎÏİÌĪĶĹĻŁŃŇŅÑÓÔÖŐÒŌØÕŘŚŠŞŢÞÚÛÜŰÙŪŲŮÝŹŽŻß×ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    ),
    (
        "utf8_first_of_3",
        "áăâäàāąåãæćčçďéěêëėèēęęģíîïìīįķĺļŕźΰαβγδεζηθικλμνξοабвгдежзийклмноп",
    ),
    ("utf8_first_of_4", "đðğóšπσру"),
    (
        "utf8_continuation",
        "\u{80}-¿ ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ–—―‘’‚“”„†‡•…‰‹›€№™",
    ),
    (
        "utf8_continuation_strict",
        "\u{80}-¿ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡‰‹›€№™",
    ),
];

/// The pattern with the characters of every kind in its place.
fn filled(pattern: &str, kinds: &[(&str, &str)]) -> String {
    kinds
        .iter()
        .fold(pattern.to_owned(), |pattern, (kind, characters)| {
            pattern.replace(&format!("{{{kind}}}"), characters)
        })
}

/// All patterns are constants; a test compiles them.
fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

static IS_UNLIKELY: LazyLock<Option<Regex>> =
    LazyLock::new(|| regex(&filled(&UNLIKELY.join("|"), KINDS)));

/// Runs of characters that look like UTF-8.
static LOOKS_LIKE_UTF8: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(&filled(
        "(?:[{utf8_first_of_2}][{utf8_continuation}]|[{utf8_first_of_3}][{utf8_continuation}]{2}|[{utf8_first_of_4}][{utf8_continuation}]{3})+",
        CLUES,
    ))
});

static CONTINUES: LazyLock<Option<Regex>> =
    LazyLock::new(|| regex(&filled("[{utf8_continuation_strict}]$", CLUES)));

/// UTF-8 whose no-break spaces became spaces.
static WITH_SPACES: LazyLock<Option<BytesRegex>> = LazyLock::new(|| {
    BytesRegex::new(concat!(
        r"(?-u)[\xc2\xc3\xc5\xce\xd0\xd9] ",
        r"|[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]",
        r"|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] ",
        r"|\xf0 [\x80-\xbf][\x80-\xbf]",
        r"|\xf0[\x80-\xbf] [\x80-\xbf]",
        r"|\xf0[\x80-\xbf][\x80-\xbf] ",
    ))
    .ok()
});

/// UTF-8 with bytes that were lost.
static LOSSY: LazyLock<Option<BytesRegex>> = LazyLock::new(|| {
    BytesRegex::new(concat!(
        r"(?-u)[\xc2-\xdf]\x1a",
        r"|[\xc2-\xc3]\?",
        r"|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]",
        r"|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]",
        r"|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]",
        r"|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]",
        r"|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]",
        r"|\x1a",
    ))
    .ok()
});

fn is_unlikely(text: &str) -> bool {
    IS_UNLIKELY
        .as_ref()
        .is_some_and(|regex| regex.is_match(text))
}

/// Repairs a text as often as that helps.
pub fn repair_encoding(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let repaired = one_step(&text);
        if repaired == text {
            return text;
        }
        text = repaired;
    }
}

fn one_step(text: &str) -> String {
    if text.is_ascii() || !is_unlikely(text) {
        return text.to_owned();
    }
    let mut latin_1 = None;
    let mut is_windows_1252 = false;
    for page in CODE_PAGES {
        let Some(bytes) = encoded(text, page.upper, page.sloppy) else {
            continue;
        };
        let mut repaired = bytes.clone();
        if page.name != "Mac Roman" {
            repaired = with_no_break_spaces(repaired);
        }
        if page.sloppy {
            repaired = with_lost_characters(&repaired);
        }
        if let Ok(decoded) = String::from_utf8(repaired) {
            return decoded;
        }
        match page.name {
            "Latin-1" => latin_1 = Some(bytes),
            "Windows-1252" => is_windows_1252 = true,
            _ => {}
        }
    }
    let inside = repair_inside(text);
    if inside != text {
        return inside;
    }
    match latin_1 {
        Some(_) if is_windows_1252 => text.to_owned(),
        _ => text.chars().map(windows_1252).collect(),
    }
}

/// Repairs the parts that look like UTF-8.
fn repair_inside(text: &str) -> String {
    let Some(parts) = LOOKS_LIKE_UTF8.as_ref() else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let mut search = 0;
    while let Some(found) = parts.find_at(text, search) {
        let follows = CONTINUES
            .as_ref()
            .is_some_and(|regex| regex.is_match(&text[..found.start()]));
        if follows {
            // Not from here, but perhaps from the next character on.
            let first = text[found.start()..]
                .chars()
                .next()
                .map_or(1, char::len_utf8);
            search = found.start() + first;
            continue;
        }
        let part = found.as_str();
        out.push_str(&text[done..found.start()]);
        if part.len() < text.len() && is_unlikely(part) {
            out.push_str(&repair_encoding(part));
        } else {
            out.push_str(part);
        }
        done = found.end();
        search = done;
    }
    out.push_str(&text[done..]);
    out
}

/// The bytes of a text in a code page, if it has all its characters.
fn encoded(text: &str, upper: &str, sloppy: bool) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| match c {
            '\u{1a}' if sloppy => None,
            '\u{fffd}' if sloppy => Some(0x1a),
            c if c.is_ascii() => Some(c as u8),
            c => {
                let index = upper.chars().position(|known| known == c)?;
                Some(0x80 + index as u8)
            }
        })
        .collect()
}

fn with_no_break_spaces(bytes: Vec<u8>) -> Vec<u8> {
    let Some(spaces) = WITH_SPACES.as_ref() else {
        return bytes;
    };
    if !spaces.is_match(&bytes) {
        return bytes;
    }
    // "Ã " is the word "à" unless a word goes on or is known to begin there.
    const OTHERS: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut repaired = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some((&byte, tail)) = rest.split_first() {
        repaired.push(byte);
        if byte == 0xc3 && tail.first() == Some(&b' ') {
            let after = &tail[1..];
            if !OTHERS.iter().any(|other| after.starts_with(other)) {
                repaired.push(0xa0);
            }
        }
        rest = tail;
    }
    let replaced = spaces.replace_all(&repaired, |found: &regex::bytes::Captures<'_>| {
        found[0]
            .iter()
            .map(|&byte| if byte == b' ' { 0xa0 } else { byte })
            .collect::<Vec<u8>>()
    });
    replaced.into_owned()
}

fn with_lost_characters(bytes: &[u8]) -> Vec<u8> {
    match LOSSY.as_ref() {
        Some(lossy) => lossy.replace_all(bytes, "\u{fffd}".as_bytes()).into_owned(),
        None => bytes.to_vec(),
    }
}

/// C1 control characters are usually Windows-1252 bytes.
pub fn windows_1252(c: char) -> char {
    match u32::from(c) {
        code @ 0x80..=0x9f => CODE_PAGES[1]
            .upper
            .chars()
            .nth((code - 0x80) as usize)
            .unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_patterns_compile() {
        for regex in [&IS_UNLIKELY, &LOOKS_LIKE_UTF8, &CONTINUES] {
            assert!(regex.is_some());
        }
        assert!(WITH_SPACES.is_some() && LOSSY.is_some());
        for page in CODE_PAGES {
            assert_eq!(page.upper.chars().count(), 128, "{}", page.name);
        }
    }

    /// Examples of the documentation of ftfy.
    #[test]
    fn texts_are_repaired() {
        for (given, repaired) in [
            ("sÃ³", "só"),
            ("voilÃ le travail", "voilà le travail"),
            ("âœ” No problems", "✔ No problems"),
            ("schÃ¶n", "schön"),
            ("ÃƒÂ©", "é"),
            ("l’humanitÃ©", "l’humanité"),
            ("plain text", "plain text"),
            ("naïve café", "naïve café"),
            ("Ångström Überfluß", "Ångström Überfluß"),
            ("Привет", "Привет"),
        ] {
            assert_eq!(repair_encoding(given), repaired);
        }
    }
}
