//! How the original makes templates of captions, oddities included.

use super::work::Spellings;
use crate::nouns::captions::field;
use crate::nouns::noun::Number;

/// What captions must not end with.
const ENDINGS: [char; 5] = [',', '.', '?', '!', ':'];

/// Marks that may follow a noun.
const MARKS: &[u8] = b",.?!:";

/// Template of one number, from the first spelling that occurs and gives one
/// that `captions` does not have. The second value tells whether one was there
/// already.
pub(super) fn template(
    caption: &str,
    spellings: &Spellings,
    number: Number,
    captions: &[String],
) -> (Option<String>, bool) {
    let pretty = match number {
        Number::Singular if !spellings.of(number).is_empty() => Some(spellings.pretty()),
        _ => None,
    };
    let mut is_known = false;
    for noun in pretty
        .into_iter()
        .chain(spellings.of(number).iter().map(String::as_str))
    {
        let Some(template) = replace(caption, noun, field(number)) else {
            continue;
        };
        let template = template.trim_end_matches(ENDINGS);
        if !captions.iter().any(|known| known == template) {
            return (Some(template.to_owned()), is_known);
        }
        is_known = true;
    }
    (None, is_known)
}

/// Every occurrence between white space or ends replaced; none without one.
/// Matches take the white space around them, so that of neighbours only every
/// second one is found.
fn replace(caption: &str, noun: &str, field: &str) -> Option<String> {
    let text = caption.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < text.len() {
        let start = match text[at] {
            byte if byte.is_ascii_whitespace() => at + 1,
            _ if at == 0 => 0,
            _ => {
                at += 1;
                continue;
            }
        };
        let found = text
            .get(start..start + noun.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(noun.as_bytes()));
        match after(text, start + noun.len()).filter(|_| found) {
            None => at += 1,
            Some(after) => {
                out.push_str(&caption[copied..start]);
                out.push_str(field);
                out.push_str(&caption[after.mark..after.end]);
                copied = after.end;
                at = after.end;
            }
        }
    }
    (copied > 0).then(|| out + &caption[copied..])
}

/// What follows a noun: a mark and white space.
struct After {
    mark: usize,
    end: usize,
}

/// A dot that is not the end is dropped, then a mark may come, then white space
/// or the end must.
fn after(text: &[u8], noun_end: usize) -> Option<After> {
    let inner_dot = text.get(noun_end) == Some(&b'.') && noun_end + 1 < text.len();
    let starts = [inner_dot.then_some(noun_end + 1), Some(noun_end)];
    for mark in starts.into_iter().flatten() {
        let rest = text.get(mark..)?;
        let lengths = [
            rest.starts_with(b"'s").then_some(2),
            rest.starts_with(b"'").then_some(1),
            rest.first().filter(|byte| MARKS.contains(byte)).map(|_| 1),
            Some(0),
        ];
        for length in lengths.into_iter().flatten() {
            match rest.get(length) {
                None => {
                    return Some(After {
                        mark,
                        end: text.len(),
                    });
                }
                Some(byte) if byte.is_ascii_whitespace() => {
                    return Some(After {
                        mark,
                        end: mark + length + 1,
                    });
                }
                Some(_) => {}
            }
        }
    }
    None
}
