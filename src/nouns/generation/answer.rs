//! Answers of a model, and the lines that may be captions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEnd {
    /// It is complete.
    Stop,
    /// It was cut at its longest allowed length.
    Length,
    /// The model refused.
    Refused,
    /// Nothing was said.
    Nothing,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was said: a numbered list, or JSON with a list `captions`.
    pub text: String,
    /// Why it ends.
    pub end: AnswerEnd,
}

/// What an answer may hold captions in.
pub(super) enum Lines<'a> {
    /// Lines of which only numbered ones count.
    Numbered(Vec<&'a str>),
    /// One caption each.
    Listed(Vec<String>),
}

impl Answer {
    /// A complete answer.
    pub fn complete(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            end: AnswerEnd::Stop,
        }
    }

    /// The lines; the last one of an answer that was cut is left out.
    pub(super) fn lines(&self) -> Lines<'_> {
        let text = self.text.trim();
        let is_cut = self.end == AnswerEnd::Length;
        if let Some(captions) = listed(text, is_cut) {
            return Lines::Listed(captions);
        }
        let mut lines: Vec<&str> = text.split('\n').collect();
        if is_cut {
            lines.pop();
        }
        Lines::Numbered(lines)
    }
}

/// The captions of an answer in JSON, which models like to put between fences;
/// none if it is something else.
fn listed(text: &str, is_cut: bool) -> Option<Vec<String>> {
    let text = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .unwrap_or(text)
        .trim_start();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let whole = text.trim_end().trim_end_matches('`').trim_end();
    if let Ok(value) = serde_json::from_str::<Value>(whole) {
        let list = match &value {
            Value::Array(list) => list,
            _ => value["captions"].as_array()?,
        };
        let captions = list.iter().filter_map(Value::as_str);
        return Some(captions.map(str::to_owned).collect());
    }
    is_cut.then(|| complete_texts(text))
}

/// The complete texts at the begin of a JSON list that was cut.
fn complete_texts(text: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = text.split_once('[').map_or("", |(_, rest)| rest);
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let Some(Ok(text)) = values.next() else {
            return texts;
        };
        texts.push(text);
        rest = &rest[values.byte_offset()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions(text: &str, end: AnswerEnd) -> Option<Vec<String>> {
        let answer = Answer {
            text: text.to_owned(),
            end,
        };
        match answer.lines() {
            Lines::Listed(captions) => Some(captions),
            Lines::Numbered(_) => None,
        }
    }

    #[test]
    fn json_is_read_however_it_is_wrapped() {
        for text in [
            r#"{"captions": ["one", "two"]}"#,
            r#"["one", "two"]"#,
            "```json\n{\"captions\": [\"one\", \"two\"]}\n```",
            "```\n{\"captions\": [\"one\", 7, \"two\"]}```",
        ] {
            let found = captions(text, AnswerEnd::Stop);
            assert_eq!(found, Some(vec!["one".into(), "two".into()]), "{text}");
        }
        assert_eq!(captions("1. one", AnswerEnd::Stop), None);
        assert_eq!(
            captions(r#"{"captions": ["one", "tw"#, AnswerEnd::Stop),
            None
        );
    }

    #[test]
    fn what_was_complete_before_a_cut_is_kept() {
        let text = r#"{"captions": ["one \"a\"", "two, too",  "thr"#;
        let found = captions(text, AnswerEnd::Length);
        assert_eq!(found, Some(vec!["one \"a\"".into(), "two, too".into()]));
        let answer = Answer {
            text: "1. first\n2. sec".to_owned(),
            end: AnswerEnd::Length,
        };
        assert!(matches!(answer.lines(), Lines::Numbered(lines) if lines == ["1. first"]));
    }
}
