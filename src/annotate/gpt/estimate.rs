//! What a run will take, without asking anybody (`annotation.md` 12).

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::batches::{BatchLimits, OpenBatch};
use super::run::Asking;
use super::state::State;
use crate::annotate::error::{AnnotateError, Result};
use crate::net::llm::{AnswerForm, Price, Usage};
use crate::store::write_file;

/// Tokens of a usual answer: a description, and a line per noun.
const DESCRIPTION_TOKENS: u64 = 80;
const LINE_TOKENS: u64 = 10;

/// A number between two bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range<T> {
    /// If all opinions about a pair agree, and answers are as long as usual.
    pub least: T,
    /// If every pair takes as many opinions as allowed, and answers are as long
    /// as allowed.
    pub most: T,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Images.
    pub images: usize,
    /// Pairs that need opinions.
    pub open_pairs: usize,
    /// Pairs that are asked about no more.
    pub parked_pairs: usize,
    /// Questions.
    pub requests: Range<u64>,
    /// Tokens of questions.
    pub prompt_tokens: Range<u64>,
    /// Tokens of answers.
    pub completion_tokens: Range<u64>,
    /// USD one by one, if prices are known.
    pub cost: Option<Range<f64>>,
    /// USD in batches, if prices are known.
    pub batch_cost: Option<Range<f64>>,
    /// Batch files of the first round.
    pub batches: usize,
    /// Their bytes.
    pub batch_bytes: u64,
}

impl Asking {
    /// What everything that is open in a state will take.
    ///
    /// # Errors
    /// A small image cannot be read.
    pub fn estimate(
        &self,
        state: &State,
        beside: &Path,
        limits: &BatchLimits,
        (price, share): (Option<Price>, f64),
        form: AnswerForm,
    ) -> Result<Estimate> {
        let (mut least, mut most) = ((0, Usage::default()), (0, Usage::default()));
        let mut sizes = Vec::new();
        self.each_batch(state, beside, limits, form, |batch| {
            sizes.push(batch.bytes());
            Ok(())
        })?;
        let longest = u64::from(self.questioning.answer_tokens);
        for image in 0..state.meta.images.len() {
            let predicted = &self.predicted[image];
            let questions = state.questions(image, predicted, self.dealing, 0);
            if questions.is_empty() {
                continue;
            }
            let image_tokens = self.tokens_of_image(&state.small_image(beside, image));
            for question in questions {
                let nouns = &question.nouns;
                least.0 += 1;
                least.1.prompt_tokens += self.questioning.request_tokens(nouns, image_tokens);
                least.1.completion_tokens +=
                    (DESCRIPTION_TOKENS + LINE_TOKENS * nouns.len() as u64).min(longest);
            }
            for question in state.worst_questions(image, predicted, self.dealing) {
                let nouns = &question.nouns;
                most.0 += 1;
                most.1.prompt_tokens += self.questioning.request_tokens(nouns, image_tokens);
                most.1.completion_tokens += longest;
            }
        }
        let range = |of: fn(&(u64, Usage)) -> u64| Range {
            least: of(&least),
            most: of(&most),
        };
        let cost = |price: Price| Range {
            least: price.cost(&least.1),
            most: price.cost(&most.1),
        };
        Ok(Estimate {
            images: state.meta.images.len(),
            open_pairs: state.open_pairs(&self.predicted).count(),
            parked_pairs: state.failures.parked().count(),
            requests: range(|sum| sum.0),
            prompt_tokens: range(|sum| sum.1.prompt_tokens),
            completion_tokens: range(|sum| sum.1.completion_tokens),
            cost: price.map(cost),
            batch_cost: price.map(|price| cost(price.times(share))),
            batches: sizes.len(),
            batch_bytes: sizes.iter().sum(),
        })
    }

    /// The batches that a run would send first.
    fn each_batch(
        &self,
        state: &State,
        beside: &Path,
        limits: &BatchLimits,
        form: AnswerForm,
        mut take: impl FnMut(&OpenBatch) -> Result<()>,
    ) -> Result<()> {
        let mut open = OpenBatch::default();
        for image in 0..state.meta.images.len() {
            let questions = state.questions(image, &self.predicted[image], self.dealing, 0);
            if questions.is_empty() {
                continue;
            }
            let small = state.small_image(beside, image);
            let jpeg = std::fs::read(&small).map_err(AnnotateError::io("read", &small))?;
            let image_tokens = self.tokens_of_image(&small);
            for question in questions {
                let request = self.questioning.request(&jpeg, &question.nouns, 1);
                let tokens = self
                    .questioning
                    .request_tokens(&question.nouns, image_tokens);
                let name = &state.meta.images[image];
                open.add(question, name, &request.preview(form), tokens);
            }
            if open.is_full(limits) {
                take(&std::mem::take(&mut open))?;
            }
        }
        if !open.is_empty() {
            take(&open)?;
        }
        Ok(())
    }

    /// Writes the batch files that a run would send first into a directory.
    /// Returns how many.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write_batches(
        &self,
        state: &State,
        beside: &Path,
        limits: &BatchLimits,
        form: AnswerForm,
        folder: &Path,
    ) -> Result<usize> {
        std::fs::create_dir_all(folder).map_err(AnnotateError::io("make", folder))?;
        let mut count = 0;
        self.each_batch(state, beside, limits, form, |batch| {
            if let Some(pending) = batch.pending(&state.meta.images, "batch") {
                count += 1;
                write_file(&folder.join(&pending.json_file), batch.lines.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// The first requests as they would be sent, without their images.
    ///
    /// # Errors
    /// A small image cannot be read.
    pub fn first_requests(
        &self,
        state: &State,
        beside: &Path,
        count: usize,
        form: AnswerForm,
    ) -> Result<Vec<Value>> {
        let mut requests = Vec::new();
        for image in 0..state.meta.images.len() {
            for question in state.questions(image, &self.predicted[image], self.dealing, 0) {
                if requests.len() == count {
                    return Ok(requests);
                }
                let small = state.small_image(beside, image);
                let bytes = std::fs::metadata(&small)
                    .map_err(AnnotateError::io("read", &small))?
                    .len();
                let request = self.questioning.request(&[], &question.nouns, 1);
                let mut body = request.preview(form);
                let url = &mut body["messages"][1]["content"][0]["image_url"]["url"];
                *url = format!("data:image/jpeg;base64,<{bytes} bytes>").into();
                requests.push(body);
            }
        }
        Ok(requests)
    }
}
