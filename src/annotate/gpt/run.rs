//! What all ways of asking share: options, progress, how a run ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::failures::FailureKind;
use super::journal::{Ledger, Line, now};
use super::log::RequestLog;
use super::prompt::{Questioning, can_be_asked};
use super::questions::Dealing;
use super::small::size_of;
use super::state::State;
use crate::annotate::error::Result;
use crate::net::llm::{Failure, LlmError, Spent};

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
    /// Some pairs got no answers, last for this reason; they stay open.
    Unanswered(Failure),
    /// Too many batches had no results.
    FailedBatches(FailedBatches),
    /// Few questions are left, which are asked one by one.
    Few,
}

/// Batches without useful results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedBatches {
    /// How many.
    pub count: u32,
    /// What the service said about the last one of which it said anything.
    pub reason: Option<String>,
}

impl std::fmt::Display for FailedBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} batches had no useful results", self.count)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
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

    /// What becomes of the pairs of an image of which the service does not take
    /// what it is asked: it never takes it. None if no pair is open.
    pub(super) fn not_taken(&self, state: &State, image: usize, failure: &Failure) -> Option<Line> {
        let open = state.open_pairs(&self.predicted);
        let nouns: Vec<String> = open
            .filter(|(at, _)| *at == image)
            .map(|(_, noun)| noun.to_owned())
            .collect();
        (!nouns.is_empty()).then(|| Line::Unanswered {
            at: now(),
            image: state.meta.images[image].clone(),
            nouns,
            class: FailureKind::BadRequest,
            message: failure.to_string(),
            for_good: true,
        })
    }

    /// Judges the nouns of which nothing is left to be asked about, first of all
    /// the empty one: they are never right, without asking anybody.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn settle_empty_nouns(&self, ledger: &mut Ledger) -> Result<()> {
        for line in self.empty_nouns(&ledger.state) {
            ledger.take(&line)?;
        }
        Ok(())
    }

    /// What settles these nouns.
    pub fn empty_nouns(&self, state: &State) -> Vec<Line> {
        let images = self.predicted.iter().enumerate();
        let of_image = |(image, predicted): (usize, &Vec<String>)| {
            let known = state.records[image].opinions.keys();
            let empty: BTreeSet<&String> = known
                .chain(predicted)
                .filter(|noun| !can_be_asked(noun))
                .collect();
            let settled = empty
                .into_iter()
                .filter_map(|noun| settled(state, image, noun));
            settled.collect::<Vec<_>>()
        };
        images.flat_map(of_image).collect()
    }
}

/// A noun is wrong every time, as often as it takes.
fn settled(state: &State, image: usize, noun: &str) -> Option<Line> {
    let rule = state.meta.rule;
    let opinions = state.records[image].opinions.get(noun);
    let mut opinions = opinions.cloned().unwrap_or_default();
    let before = opinions.len();
    while rule.need_of(&opinions) > 0 {
        opinions.push(false);
    }
    let times = opinions.len() - before;
    (times > 0).then(|| Line::Known {
        image: state.meta.images[image].clone(),
        noun: noun.to_owned(),
        times,
    })
}
