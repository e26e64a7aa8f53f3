//! The rules of the published texts, oddities included ("a FAQ", "a heir"),
//! because training texts must be identical (`nouns-captions.md` 2.4).

/// Whether the noun as spelled gets "an".
pub(super) fn takes_an(noun: &str) -> bool {
    let bytes = noun.as_bytes();
    let lower = |index: usize| bytes.get(index).map(u8::to_ascii_lowercase);
    let spells = |word: &str| {
        bytes
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
    };
    let punctuated = matches!(lower(1), Some(b'.' | b'-'));

    if starts_with_vowel_sounding_initials(noun) {
        return true;
    }
    let first = lower(0);
    if punctuated && first.is_some_and(|b| b"aefhilmnorsx".contains(&b)) || spells("hour") {
        return true;
    }
    let sounds_like_consonant = punctuated && first.is_some_and(|b| b.is_ascii_lowercase())
        || first == Some(b'e') && matches!(lower(1), Some(b'u' | b'w'))
        || spells("once") && ends_word(noun, 4)
        || spells("one") && ends_word(noun, 3)
        || spells("uni")
        || first == Some(b'u')
            && lower(1).is_some_and(|b| b"bcfghjkqrst".contains(&b))
            && lower(2).is_some_and(is_vowel);
    !sounds_like_consonant && first.is_some_and(is_vowel)
}

/// Two or three capitals that are a word of their own, the first of them
/// pronounced with a vowel, the second not A.
fn starts_with_vowel_sounding_initials(noun: &str) -> bool {
    let [first, second, rest @ ..] = noun.as_bytes() else {
        return false;
    };
    b"AEFHILMNORSX".contains(first)
        && matches!(second, b'B'..=b'Z')
        && (ends_word(noun, 2)
            || rest.first().is_some_and(u8::is_ascii_uppercase) && ends_word(noun, 3))
}

/// Whether no word character follows the first `length` (ASCII) bytes.
fn ends_word(noun: &str, length: usize) -> bool {
    noun.get(length..)
        .and_then(|rest| rest.chars().next())
        .is_none_or(|c| !c.is_alphanumeric() && c != '_')
}

fn is_vowel(byte: u8) -> bool {
    b"aeiou".contains(&byte)
}
