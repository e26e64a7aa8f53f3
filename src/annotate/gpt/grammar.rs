//! Verdicts out of what a model says (`annotation.md` 8).
//!
//! [`read_text`] takes a numbered list after a description, [`read_answer`]
//! also JSON. What the original takes is taken as it does; only if it would
//! refuse an answer, marks that do not change what is said are left out, and it
//! is read once more.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use thiserror::Error;

use super::prompt::as_asked;
use super::relax::relaxed;
use crate::nouns::{canonical, collapse_spaces};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// What the picture shows; may be empty.
    pub description: String,
    /// Whether each noun of the list is right.
    pub verdicts: Vec<bool>,
    /// What is odd about the answer.
    pub warnings: Vec<String>,
}

/// Why an answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The list has another length.
    #[error("it has not one line for each of the {0} nouns")]
    Count(usize),
    /// The numbers are not 1, 2, 3, …
    #[error("line {0} has another number")]
    Number(usize),
    /// A line is not a noun and a verdict.
    #[error("line {0} does not end in a verdict")]
    Line(usize),
    /// A line is about another noun.
    #[error("line {number} is about {found:?} instead of {asked:?}")]
    Noun {
        /// Number of the line.
        number: usize,
        /// Noun of the line.
        found: String,
        /// Noun that was asked about.
        asked: String,
    },
    /// The question has a noun twice.
    #[error("a noun was asked about twice")]
    Duplicates,
    /// JSON that is something else.
    #[error("it is not the JSON that was asked for: {0}")]
    Json(String),
}

/// Reads an answer in any form.
///
/// # Errors
/// Anything in it is not as asked for: then nothing of it counts.
pub fn read_answer(nouns: &[String], text: &str) -> Result<Verdicts, Refusal> {
    match json_of(text) {
        Some(value) => read_json(nouns, &value),
        None => read_text(nouns, text),
    }
}

/// Reads a description with a numbered list.
///
/// # Errors
/// As [`read_answer`].
pub fn read_text(nouns: &[String], text: &str) -> Result<Verdicts, Refusal> {
    let unique: HashSet<&String> = nouns.iter().collect();
    if unique.len() < nouns.len() {
        return Err(Refusal::Duplicates);
    }
    strict(nouns, text).or_else(|refusal| {
        let mended = relaxed(text);
        if mended == text {
            return Err(refusal);
        }
        strict(nouns, &mended).map_err(|_| refusal)
    })
}

static NUMBERED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([1-9][0-9]*)([.)])\s*(.*?)\s*$").ok());
static VERDICT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(.*?)[^\p{L}\p{N}_]+((?i-u:in)?(?i-u:correct))$").ok());

/// A numbered line.
struct Line<'a> {
    /// Index among all lines.
    at: usize,
    number: &'a str,
    content: &'a str,
}

/// The numbered lines with this mark behind the number.
fn numbered<'a>(lines: &[&'a str], mark: &str) -> Vec<Line<'a>> {
    let line = |(at, line): (usize, &&'a str)| {
        let found = NUMBERED.as_ref()?.captures(line)?;
        let (_, [number, own, content]) = found.extract();
        (own == mark).then_some(Line {
            at,
            number,
            content,
        })
    };
    lines.iter().enumerate().filter_map(line).collect()
}

/// Whether a line ends as a verdict does.
fn has_verdict(line: &Line<'_>) -> bool {
    let end = line.content.len().checked_sub("correct".len());
    end.and_then(|end| line.content.get(end..))
        .is_some_and(|end| end.eq_ignore_ascii_case("correct"))
}

/// The original's reading.
fn strict(nouns: &[String], text: &str) -> Result<Verdicts, Refusal> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut dots = numbered(&lines, ".");
    let mut brackets = numbered(&lines, ")");
    let mut warnings = Vec::new();
    if !dots.is_empty() && !brackets.is_empty() {
        dots.retain(has_verdict);
        brackets.retain(has_verdict);
    } else {
        for kind in [&mut dots, &mut brackets] {
            if kind.len() > nouns.len() {
                kind.retain(has_verdict);
            }
        }
    }
    let used = if dots.len() == nouns.len() {
        if !brackets.is_empty() {
            warnings.push("it has lists of two kinds".to_owned());
        }
        dots
    } else if brackets.len() == nouns.len() {
        if !dots.is_empty() {
            warnings.push("it has lists of two kinds".to_owned());
        }
        brackets
    } else {
        return Err(Refusal::Count(nouns.len()));
    };
    let first = used.first().map_or(lines.len(), |line| line.at);
    let taken: HashSet<usize> = used.iter().map(|line| line.at).collect();
    let more = (first..lines.len()).filter(|at| !taken.contains(at));
    if more.into_iter().any(|at| !lines[at].trim().is_empty()) {
        warnings.push("text in or after the list is ignored".to_owned());
    }
    for (line, number) in used.iter().zip(1..) {
        if line.number != number.to_string() {
            return Err(Refusal::Number(number));
        }
    }
    let mut verdicts = Vec::with_capacity(nouns.len());
    for ((line, noun), number) in used.iter().zip(nouns).zip(1..) {
        verdicts.push(verdict(line.content, noun, number)?);
    }
    Ok(Verdicts {
        description: collapse_spaces(&lines[..first].join("\n")),
        verdicts,
        warnings,
    })
}

/// The verdict of one line about one noun.
fn verdict(content: &str, noun: &str, number: usize) -> Result<bool, Refusal> {
    if noun.is_empty() {
        // Nothing is ever an instance of nothing.
        return Ok(false);
    }
    let content = collapse_spaces(content);
    let found = VERDICT
        .as_ref()
        .and_then(|verdict| verdict.captures(&content));
    let (said, word) = match &found {
        Some(found) => {
            let (_, [said, word]) = found.extract();
            (said, word)
        }
        None => return Err(Refusal::Line(number)),
    };
    check_noun(said, noun, number)?;
    Ok(word.eq_ignore_ascii_case("correct"))
}

/// Whether a noun is the one that was asked about.
fn check_noun(said: &str, asked: &str, number: usize) -> Result<(), Refusal> {
    let stripped = said.trim_matches(['*', '_']);
    // Models repeat what they were told.
    if canonical(stripped) == canonical(&as_asked(asked)) {
        return Ok(());
    }
    Err(Refusal::Noun {
        number,
        found: said.to_owned(),
        asked: asked.to_owned(),
    })
}

/// The JSON object that a text is, between fences or not; none if it does not
/// look like one.
fn json_of(text: &str) -> Option<Result<Value, String>> {
    let text = text.trim();
    let text = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .unwrap_or(text)
        .trim();
    if !text.starts_with('{') {
        return None;
    }
    let text = text.trim_end_matches('`').trim_end();
    Some(serde_json::from_str(text).map_err(|error| error.to_string()))
}

fn read_json(nouns: &[String], value: &Result<Value, String>) -> Result<Verdicts, Refusal> {
    let unique: HashSet<&String> = nouns.iter().collect();
    if unique.len() < nouns.len() {
        return Err(Refusal::Duplicates);
    }
    let value = value
        .as_ref()
        .map_err(|reason| Refusal::Json(reason.clone()))?;
    let list = value["verdicts"]
        .as_array()
        .ok_or_else(|| Refusal::Json("it has no list \"verdicts\"".to_owned()))?;
    if list.len() != nouns.len() {
        return Err(Refusal::Count(nouns.len()));
    }
    let mut verdicts = Vec::with_capacity(nouns.len());
    for ((item, noun), number) in list.iter().zip(nouns).zip(1_usize..) {
        if item["number"].as_u64() != Some(number as u64) {
            return Err(Refusal::Number(number));
        }
        let word = item["verdict"].as_str().map(str::trim).unwrap_or_default();
        let right = match word {
            word if word.eq_ignore_ascii_case("correct") => true,
            word if word.eq_ignore_ascii_case("incorrect") => false,
            _ => return Err(Refusal::Line(number)),
        };
        if noun.is_empty() {
            verdicts.push(false);
            continue;
        }
        let said = item["noun"].as_str().unwrap_or_default().trim();
        check_noun(said, noun, number)?;
        verdicts.push(right);
    }
    Ok(Verdicts {
        description: collapse_spaces(value["description"].as_str().unwrap_or_default()),
        verdicts,
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nouns(list: &[&str]) -> Vec<String> {
        list.iter().map(|noun| (*noun).to_owned()).collect()
    }

    fn json_answer(verdicts: &Value) -> String {
        json!({"description": " A  scene. ", "verdicts": verdicts}).to_string()
    }

    #[test]
    fn json_is_checked_as_text_is() {
        let asked = nouns(&["T-shirt", "dog"]);
        let item = |number: u64, noun: &str, verdict: &str| json!({"number": number, "noun": noun, "verdict": verdict});
        let (first, second) = (item(1, "t shirt", "Correct"), item(2, "dog", "incorrect"));
        let good = json_answer(&json!([first, second]));
        for text in [good.clone(), format!("```json\n{good}\n```")] {
            let read = read_answer(&asked, &text).unwrap();
            assert_eq!(read.verdicts, [true, false]);
            assert_eq!(read.description, "A scene.");
        }
        for bad in [
            json!([first]),
            json!([second, first]),
            json!([first, item(2, "cat", "correct")]),
            json!([first, item(2, "dog", "partially correct")]),
            json!([first, item(3, "dog", "correct")]),
            json!("none"),
        ] {
            assert!(read_answer(&asked, &json_answer(&bad)).is_err(), "{bad}");
        }
        assert!(read_answer(&asked, &good[..good.len() - 3]).is_err());
    }

    #[test]
    fn nouns_are_expected_as_they_were_asked_about() {
        let asked = nouns(&["x\u{1b}[31m", "red\u{7}fox", "dog"]);
        let text = "A scene.\n1) x [31m - Correct\n2) red fox - Incorrect\n3) dog - Correct";
        assert_eq!(
            read_answer(&asked, text).unwrap().verdicts,
            [true, false, true]
        );
        let other = text.replace("red fox", "red wolf");
        assert!(read_answer(&asked, &other).is_err());
    }

    #[test]
    fn hedged_verdicts_are_none_however_they_are_marked() {
        let asked = nouns(&["dog"]);
        for verdict in [
            "partially correct",
            "**not correct**",
            "Correct?",
            "Correct / Incorrect",
            "mostly Correct.",
            "Correct (maybe)",
            "in correct",
        ] {
            let text = format!("A scene.\n\n1) dog - {verdict}");
            assert!(read_text(&asked, &text).is_err(), "{verdict}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_said_is_a_crash(text in ".{0,200}", lines in "(\\PC{0,30}\n){0,5}") {
            let asked = nouns(&["dog", "red panda"]);
            let _ = read_answer(&asked, &text);
            let _ = read_answer(&asked, &lines);
        }
    }
}
