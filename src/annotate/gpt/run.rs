//! What all ways of asking share: options, progress, how a run ends.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::journal::{Ledger, Line};
use super::log::RequestLog;
use super::prompt::Questioning;
use super::questions::Dealing;
use super::small::size_of;
use super::state::State;
use crate::annotate::error::Result;
use crate::net::llm::{LlmError, Spent};

use super::image_tokens::ImageTokens;

/// What a run asks, and how.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Predicted nouns of every image, sorted.
    pub predicted: Vec<Vec<String>>,
    /// How nouns are dealt into questions.
    pub dealing: Dealing,
    /// How questions are put.
    pub questioning: Questioning,
    /// What images cost.
    pub image_tokens: ImageTokens,
    /// Questions at a time.
    pub concurrency: usize,
    /// Questions in all, at most.
    pub most: Option<u64>,
    /// Where every request is written down.
    pub log: Option<Arc<RequestLog>>,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Pairs that have their opinions.
    pub done: usize,
    /// Pairs that need more.
    pub open: usize,
    /// Pairs that are asked about no more.
    pub parked: usize,
    /// What was spent on the state.
    pub spent: Spent,
    /// Batches under way.
    pub batches: usize,
    /// Their questions: all, answered and failed ones, as far as the service
    /// has told.
    pub in_batches: [u64; 3],
    /// Why nothing is sent now.
    pub waits: Option<String>,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing is open.
    Finished,
    /// Something made all further questions useless, or somebody pressed
    /// Ctrl-C.
    Stopped(LlmError),
    /// Too many batches had no results.
    FailedBatches(u32),
    /// Few questions are left, which are asked one by one.
    Few,
}

impl Asking {
    /// Estimated tokens of an image.
    pub(super) fn tokens_of_image(&self, small: &Path) -> u64 {
        let (width, height) = size_of(small).unwrap_or((512, 512));
        self.image_tokens.of(width, height, self.questioning.detail)
    }

    /// How far a state is.
    pub fn progress(&self, state: &State, spent: Spent, waits: Option<String>) -> Progress {
        let open = state.open_pairs(&self.predicted).count();
        let of = |record: &super::state::ImageRecord| {
            let rule = state.meta.rule;
            let done = |opinions: &&Vec<bool>| rule.need_of(opinions) == 0;
            record.opinions.values().filter(done).count()
        };
        Progress {
            done: state.records.iter().map(of).sum(),
            open,
            parked: state.failures.parked().count(),
            spent,
            batches: state.pending.len(),
            in_batches: state.in_batches(),
            waits,
        }
    }

    /// Judges the empty noun of every image, which is never right, without
    /// asking anybody.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn settle_empty_nouns(&self, ledger: &mut Ledger) -> Result<()> {
        for image in 0..self.predicted.len() {
            let is_known = ledger.state.records[image].opinions.contains_key("");
            let is_predicted = self.predicted[image].iter().any(String::is_empty);
            if !is_known && !is_predicted {
                continue;
            }
            // Wrong every time, as often as it takes.
            let rule = ledger.state.meta.rule;
            let mut opinions = ledger.state.records[image]
                .opinions
                .get("")
                .cloned()
                .unwrap_or_default();
            let before = opinions.len();
            while rule.need_of(&opinions) > 0 {
                opinions.push(false);
            }
            let times = opinions.len() - before;
            if times > 0 {
                ledger.take(&Line::Known {
                    image: ledger.state.meta.images[image].clone(),
                    noun: String::new(),
                    times,
                })?;
            }
        }
        Ok(())
    }
}
