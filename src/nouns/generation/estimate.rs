//! What writing captions will take, without asking anybody.

use serde::Serialize;

use super::question::Questions;
use super::work::{CaptionWork, WorkState};
use super::work_list::WorkList;
use crate::net::llm::{Price, Usage};

/// Tokens of a caption, with its number or quotes.
const CAPTION_TOKENS: u64 = 20;

/// Of how many asked-for captions one is accepted at worst.
const WORST_YIELD: u64 = 2;

/// A number between two bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range<T> {
    /// If every caption is accepted.
    pub least: T,
    /// If only every second one is, and answers are as long as they may be.
    pub most: T,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Nouns that need captions.
    pub nouns: u64,
    /// Captions that are missing, `[singular, plural]`.
    pub captions: [u64; 2],
    /// Requests.
    pub requests: Range<u64>,
    /// Tokens of requests.
    pub prompt_tokens: Range<u64>,
    /// Tokens of answers.
    pub completion_tokens: Range<u64>,
    /// Cost in USD, if the prices are known.
    pub cost: Option<Range<f64>>,
}

impl Estimate {
    /// Of everything that is open in `list`.
    pub fn new(list: &WorkList, questions: &Questions, price: Option<Price>) -> Self {
        let mut nouns = 0;
        let mut captions = [0; 2];
        let (mut least, mut most) = ((0, Usage::default()), (0, Usage::default()));
        for (_, work) in list.open() {
            nouns += 1;
            let missing = work.missing();
            captions = [captions[0] + missing[0], captions[1] + missing[1]];
            for (at, missing) in missing.into_iter().enumerate() {
                let Some(prompt) = prompt_tokens(work, questions, at) else {
                    continue;
                };
                let per_call = questions.per_call.max(1) as u64;
                let (few, many) = (
                    missing.div_ceil(per_call),
                    (missing * WORST_YIELD).div_ceil(per_call),
                );
                least.0 += few;
                most.0 += many;
                least.1 += Usage {
                    prompt_tokens: few * prompt,
                    cached_tokens: 0,
                    completion_tokens: few * per_call * CAPTION_TOKENS,
                };
                most.1 += Usage {
                    prompt_tokens: many * prompt,
                    cached_tokens: 0,
                    completion_tokens: many * u64::from(questions.max_tokens),
                };
            }
        }
        Self {
            nouns,
            captions,
            requests: Range {
                least: least.0,
                most: most.0,
            },
            prompt_tokens: Range {
                least: least.1.prompt_tokens,
                most: most.1.prompt_tokens,
            },
            completion_tokens: Range {
                least: least.1.completion_tokens,
                most: most.1.completion_tokens,
            },
            cost: price.map(|price| Range {
                least: price.cost(&least.1),
                most: price.cost(&most.1),
            }),
        }
    }
}

/// Tokens of a question about one number of a noun; none if nothing is missing.
fn prompt_tokens(work: &CaptionWork, questions: &Questions, at: usize) -> Option<u64> {
    if work.state() != WorkState::Open || work.missing()[at] == 0 {
        return None;
    }
    let question = work.question(questions.per_call)?;
    Some(questions.request(&question).text_tokens())
}
