//! Greedy decoding (`decoder.md` section 7).

use candle_core::Tensor;

use crate::decoder::error::DecoderError;
use crate::decoder::model::Decoder;
use crate::ops::tape::cross_entropy::{CrossEntropy, summarize};
use crate::ops::tape::{PageRef, host};

use super::cache::{KeyValueCache, NewRow};
use super::hypothesis::Hypothesis;
use super::successors::{Place, Rules};
use super::trie::END;

/// Result of greedy decoding for one sample.
#[derive(Clone, Debug)]
pub struct GreedyOutput {
    /// The noun.
    pub hypothesis: Hypothesis,
    /// Logits of each of its tokens, if asked for.
    pub logits: Vec<Vec<f32>>,
}

/// Cross entropy of the raw logits at generated tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GreedyLoss {
    /// Weighted sum in nats.
    pub sum: f64,
    /// Weighted number of tokens.
    pub basis: f64,
}

impl GreedyLoss {
    /// Loss of outputs that kept their logits; one weight per sample, absent =
    /// all 1.
    pub fn new(outputs: &[GreedyOutput], weights: Option<&[f32]>, label_smoothing: f64) -> Self {
        let mut loss = Self {
            sum: 0.0,
            basis: 0.0,
        };
        for (sample, output) in outputs.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| f64::from(weights[sample]));
            let entropy = CrossEntropy {
                targets: output.hypothesis.tokens.clone(),
                rows: (0..output.logits.len() as u32).collect(),
                label_smoothing: label_smoothing as f32,
            };
            let summaries: Vec<_> = output.logits.iter().map(|row| summarize(row)).collect();
            let width = output.logits.first().map_or(0, Vec::len);
            for value in entropy.losses(&output.logits.concat(), width, &summaries) {
                loss.sum += weight * f64::from(value);
                loss.basis += weight;
            }
        }
        loss
    }
}

struct State {
    sample: usize,
    place: Place,
    sum: f64,
    pages: Vec<PageRef>,
}

/// One noun per sample of `embeds` `[B, F]`.
pub(super) fn search(
    decoder: &Decoder,
    rules: &Rules<'_>,
    embeds: &Tensor,
    keep_logits: bool,
) -> Result<Vec<GreedyOutput>, DecoderError> {
    let max_steps = decoder.architecture().dimensions.token_length - 1;
    let (mut cache, mut logits) = KeyValueCache::start(decoder, embeds)?;
    let samples = embeds.dim(0)?;
    let empty = || GreedyOutput {
        hypothesis: Hypothesis {
            tokens: Vec::new(),
            score: 0.0,
            log_probs: Vec::new(),
        },
        logits: Vec::new(),
    };
    let mut outputs: Vec<GreedyOutput> = (0..samples).map(|_| empty()).collect();
    let mut live: Vec<State> = (0..samples)
        .map(|sample| State {
            sample,
            place: rules.start(),
            sum: 0.0,
            pages: Vec::new(),
        })
        .collect();
    for step in 1..=max_steps {
        let width = logits.dim(1)?;
        let mut next = Vec::with_capacity(live.len());
        for (mut state, row) in live.into_iter().zip(host(&logits)?.chunks_exact(width)) {
            let (token, place) = choose(rules, row, state.place, step == 1);
            let log_prob = f64::from(row[token as usize]) / rules.temperature
                - rules.log_norm(row, state.place)?;
            state.sum += log_prob;
            state.place = place;
            let output = &mut outputs[state.sample];
            output.hypothesis.tokens.push(token);
            output.hypothesis.log_probs.push(log_prob as f32);
            output.hypothesis.score = rules.ranking(state.sum, step);
            if keep_logits {
                output.logits.push(row.to_vec());
            }
            next.push((state, token));
        }
        next.retain(|&(_, token)| token != END);
        if next.is_empty() || step == max_steps {
            break;
        }
        let rows: Vec<NewRow<'_>> = next
            .iter()
            .map(|(state, token)| NewRow {
                sample: state.sample as u32,
                token: *token,
                pages: &state.pages,
            })
            .collect();
        logits = cache.extend(&rows)?;
        let step = cache.last_step();
        live = next
            .into_iter()
            .enumerate()
            .map(|(row, (mut state, _))| {
                state.pages.push(PageRef {
                    step,
                    row: row as u32,
                });
                state
            })
            .collect();
    }
    Ok(outputs)
}

/// The possible token with the largest logit, the lowest among equals.
fn choose(rules: &Rules<'_>, logits: &[f32], place: Place, first: bool) -> (u32, Place) {
    let mut best: Option<(f32, u32, Place)> = None;
    let mut offer = |token: u32, place: Place| {
        let logit = logits[token as usize];
        if best.is_none_or(|(value, ..)| logit > value) {
            best = Some((logit, token, place));
        }
    };
    match rules.guide.zip(place.guide) {
        Some((guide, node)) => {
            for (token, child) in guide.children(node) {
                offer(
                    token,
                    Place {
                        guide: Some(child),
                        vocabulary: None,
                    },
                );
            }
        }
        None => {
            for token in u32::from(first)..logits.len() as u32 {
                offer(token, place);
            }
        }
    }
    best.map_or((END, place), |(_, token, place)| (token, place))
}
