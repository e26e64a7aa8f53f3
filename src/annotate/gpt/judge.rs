//! What becomes of an answer: verdicts, or why it is of no use.

use super::failures::FailureKind;
use super::grammar::read_answer;
use super::journal::{AnswerLine, FailedAnswer, now};
use crate::net::llm::{ChatAnswer, Finish};

/// Longest text of an answer that is kept, in bytes.
const TEXT: usize = 1 << 20;

/// Judges an answer about nouns of an image that cost so much.
pub fn judge(image: &str, nouns: &[String], answer: &ChatAnswer, cost: f64) -> AnswerLine {
    let read = match &answer.finish {
        Finish::Stop if answer.text.is_empty() => {
            Err((FailureKind::Invalid, "it says nothing".to_owned()))
        }
        Finish::Stop => read_answer(nouns, &answer.text)
            .map_err(|refusal| (FailureKind::Invalid, refusal.to_string())),
        Finish::Length => Err((
            FailureKind::Truncated,
            "it is longer than allowed".to_owned(),
        )),
        Finish::Refused(words) => Err((FailureKind::Refused, words.clone())),
        Finish::Unsaid => Err((
            FailureKind::Invalid,
            "the service does not say whether it is complete".to_owned(),
        )),
        Finish::Other(reason) => Err((FailureKind::Invalid, format!("it ends with {reason}"))),
    };
    let (verdicts, description, failed) = match read {
        Ok(read) => (Some(read.verdicts), read.description, None),
        Err((class, message)) => {
            let failed = FailedAnswer {
                class,
                message: one_line(&message),
                counts: true,
                for_good: false,
            };
            (None, String::new(), Some(failed))
        }
    };
    let mut end = answer.text.len().min(TEXT);
    while !answer.text.is_char_boundary(end) {
        end -= 1;
    }
    AnswerLine {
        at: now(),
        image: image.to_owned(),
        nouns: nouns.to_vec(),
        verdicts,
        description,
        failed,
        usage: answer.counters.clone(),
        cost,
        text: answer.text[..end].to_owned(),
        model: answer.model.clone(),
        request: answer.request_id.clone(),
        batch: None,
    }
}

/// Words from outside on one line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    const LENGTH: usize = 300;
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LENGTH)
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}
