//! How captions become templates: every spelling of the noun is found where it
//! stands as a word, also in quotes, brackets and before dashes, and none may be
//! left.

use super::work::Spellings;
use crate::nouns::captions::field;
use crate::nouns::noun::Number;

/// What captions do not end with.
const ENDINGS: [char; 6] = [',', '.', '?', '!', ':', ';'];

/// Why a caption is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// It has braces.
    Braces,
    /// The noun does not occur.
    Unmatched,
    /// The noun occurs in the singular and in the plural.
    Mixed,
}

/// Templates by number: more than one for nouns that are spelled alike in both.
pub(super) fn templates(
    caption: &str,
    spellings: &Spellings,
) -> Result<[Option<String>; 2], Rejected> {
    if caption.contains(['{', '}']) {
        return Err(Rejected::Braces);
    }
    let caption = without_wrapping(caption);
    let found = occurrences(&caption, spellings);
    if found.is_empty() {
        return Err(Rejected::Unmatched);
    }
    let template = |number: Number| {
        let all = found.iter().all(|at| at.is(number));
        all.then(|| {
            let mut out = String::with_capacity(caption.len() + 16);
            let mut copied = 0;
            for at in &found {
                out.push_str(&caption[copied..at.start]);
                out.push_str(field(number));
                copied = at.end;
            }
            out.push_str(&caption[copied..]);
            let end = out.trim_end_matches(|c: char| ENDINGS.contains(&c) || c.is_whitespace());
            end.to_owned()
        })
    };
    match Number::ALL.map(template) {
        [None, None] => Err(Rejected::Mixed),
        templates => Ok(templates),
    }
}

/// Without quotes around the whole and without emphasis.
fn without_wrapping(caption: &str) -> String {
    let caption = caption.replace("**", "");
    let inner = caption
        .strip_prefix('"')
        .and_then(|rest| rest.trim_end_matches(ENDINGS).strip_suffix('"'))
        .filter(|inner| !inner.contains('"'));
    inner.unwrap_or(&caption).trim().to_owned()
}

/// A spelling in a caption.
struct Occurrence {
    start: usize,
    end: usize,
    numbers: [bool; 2],
}

impl Occurrence {
    fn is(&self, number: Number) -> bool {
        match number {
            Number::Singular => self.numbers[0],
            Number::Plural => self.numbers[1],
        }
    }
}

/// All spellings that stand as words, the longest at each place, whatever their
/// case.
fn occurrences(caption: &str, spellings: &Spellings) -> Vec<Occurrence> {
    let mut found: Vec<Occurrence> = Vec::new();
    let mut before = None;
    for (start, letter) in caption.char_indices() {
        let is_covered = found.last().is_some_and(|last| start < last.end);
        if !is_covered && !is_word(before) {
            let rest = &caption[start..];
            let longest = spellings.by_length().find_map(|(spelling, numbers)| {
                let end = spelling.len();
                let same = rest
                    .get(..end)
                    .is_some_and(|text| text.eq_ignore_ascii_case(spelling));
                let next = same.then(|| rest[end..].chars().next());
                next.filter(|next| !is_word(*next))
                    .map(|_| (start + end, numbers))
            });
            if let Some((end, numbers)) = longest {
                found.push(Occurrence {
                    start,
                    end,
                    numbers,
                });
            }
        }
        before = Some(letter);
    }
    found
}

fn is_word(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn singular(caption: &str, spellings: &Spellings) -> Result<String, Rejected> {
        templates(caption, spellings).map(|[singular, _]| singular.unwrap_or_default())
    }

    #[test]
    fn nouns_are_found_as_words_wherever_they_stand() {
        let apple = Spellings::new("apple", &["apple"], &["apples"]);
        for (caption, template) in [
            ("An (apple) in brackets", "An ({singular}) in brackets"),
            ("The \"apple\" label", "The \"{singular}\" label"),
            ("My apple; it is good", "My {singular}; it is good"),
            ("An apple-flavoured sweet", "An {singular}-flavoured sweet"),
            (
                "apple apple APPLE in a row",
                "{singular} {singular} {singular} in a row",
            ),
            (
                "Start apple. Then more text.",
                "Start {singular}. Then more text",
            ),
            ("The big apple?!..", "The big {singular}"),
            ("The apple's skin", "The {singular}'s skin"),
            ("\"Quoted apple in text.\"", "Quoted {singular} in text"),
            (
                "**Title:** the apple at noon",
                "Title: the {singular} at noon",
            ),
        ] {
            assert_eq!(singular(caption, &apple).as_deref(), Ok(template));
        }
        for (caption, why) in [
            ("A pineapple is not one", Rejected::Unmatched),
            ("Weird {x} apple in text", Rejected::Braces),
            ("An apple among apples", Rejected::Mixed),
        ] {
            assert_eq!(singular(caption, &apple), Err(why), "{caption}");
        }
    }

    #[test]
    fn dots_of_spellings_belong_to_them() {
        let dog = Spellings::new("St. Bernard", &["St. Bernard", "st bernard"], &[]);
        let caption = "Here is a St. Bernard. And more";
        let template = "Here is a {singular}. And more";
        assert_eq!(singular(caption, &dog).as_deref(), Ok(template));
        let city = Spellings::new("Washington D.C.", &["Washington D.C."], &[]);
        let template = "The streets of {singular} at night";
        let caption = "The streets of Washington D.C. at night";
        assert_eq!(singular(caption, &city).as_deref(), Ok(template));
    }

    #[test]
    fn nouns_alike_in_both_numbers_give_both() {
        let sheep = Spellings::new("sheep", &["sheep"], &["sheep"]);
        let both = templates("White sheep in the snow", &sheep).expect("a template");
        let expected =
            ["{singular}", "{plural}"].map(|field| Some(format!("White {field} in the snow")));
        assert_eq!(both, expected);
    }
}
