//! The best continuations of one candidate.

use crate::decoder::error::DecoderError;
use crate::ops::tape::math::log_sum_exp;

use super::config::{GenerationConfig, Guiding};
use super::prior::Prior;
use super::trie::{END, NodeId, NounTrie};

/// Rules that decide what may follow a candidate and what it costs.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub guide: Option<&'a NounTrie>,
    pub renormalized: bool,
    pub prior: Option<Prior<'a>>,
    pub temperature: f64,
    pub length_alpha: f64,
}

/// Where a candidate stands in guide and vocabulary. A candidate that left the
/// vocabulary of a prior has no continuation and is never a state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub guide: Option<NodeId>,
    pub vocabulary: Option<NodeId>,
}

/// One continuation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor {
    pub token: u32,
    pub place: Place,
    /// Model log-probability of the token.
    pub log_prob: f64,
    /// Sum of the candidate with this token.
    pub total: f64,
}

impl<'a> Rules<'a> {
    pub fn new(
        config: &GenerationConfig,
        guide: Option<&'a NounTrie>,
        vocabulary: Option<&'a NounTrie>,
    ) -> Self {
        Self {
            guide: guide.filter(|_| config.guide != Guiding::None),
            renormalized: config.guide == Guiding::Renormalized,
            prior: Prior::new(config.prior, vocabulary),
            temperature: config.temperature,
            length_alpha: config.length_alpha,
        }
    }

    pub fn start(&self) -> Place {
        Place {
            guide: self.guide.map(NounTrie::root),
            vocabulary: self.prior.map(|prior| prior.trie.root()),
        }
    }

    /// Ranking value of a sum over `length` tokens.
    pub fn ranking(&self, total: f64, length: usize) -> f64 {
        if self.length_alpha == 0.0 {
            total
        } else {
            total * (length as f64).powf(-self.length_alpha)
        }
    }

    /// log Σ exp(z/τ) over the tokens that share the probability.
    pub fn log_norm(&self, logits: &[f32], place: Place) -> Result<f64, DecoderError> {
        let scale = (1.0 / self.temperature) as f32;
        let norm = match (self.guide, place.guide) {
            (Some(guide), Some(node)) if self.renormalized => {
                let possible: Vec<f32> = guide
                    .children(node)
                    .map(|(token, _)| logits[token as usize])
                    .collect();
                log_sum_exp(&possible, scale)
            }
            _ => log_sum_exp(logits, scale),
        };
        if norm.is_nan() {
            return Err(DecoderError::Batch {
                reason:
                    "the model's output is not a number: the weights or the embedding are damaged"
                        .to_owned(),
            });
        }
        Ok(f64::from(norm))
    }

    /// The `count` best continuations of a candidate with sum `sum`, best
    /// first, lower token first among equals. `first`: it has no token yet.
    pub fn best(
        &self,
        logits: &[f32],
        place: Place,
        sum: f64,
        first: bool,
        count: usize,
    ) -> Result<Vec<Successor>, DecoderError> {
        let norm = self.log_norm(logits, place)?;
        let mut best = Best {
            kept: Vec::with_capacity(count.min(logits.len()) + 1),
            count,
        };
        let log_prob = |token: u32| f64::from(logits[token as usize]) / self.temperature - norm;
        let guide = self.guide.zip(place.guide);
        let prior = self.prior.zip(place.vocabulary);
        let mut offer =
            |token: u32, guide: Option<NodeId>, vocabulary: Option<NodeId>, gain: f64| {
                if first && token == END {
                    return;
                }
                let log_prob = log_prob(token);
                let place = Place { guide, vocabulary };
                best.offer(Successor {
                    token,
                    place,
                    log_prob,
                    total: sum + log_prob + gain,
                });
            };
        match (guide, prior) {
            (None, None) => {
                for token in 0..logits.len() as u32 {
                    offer(token, None, None, 0.0);
                }
            }
            (Some((guide, node)), None) => {
                for (token, child) in guide.children(node) {
                    offer(token, Some(child), None, 0.0);
                }
            }
            (None, Some((prior, node))) => {
                for (token, child) in prior.trie.children(node) {
                    offer(token, None, Some(child), prior.gain(node, child));
                }
            }
            (Some((guide, at)), Some((prior, node))) => {
                for (token, guided) in guide.children(at) {
                    if let Some(child) = prior.trie.child(node, token) {
                        offer(token, Some(guided), Some(child), prior.gain(node, child));
                    }
                }
            }
        }
        Ok(best.kept)
    }
}

/// Bounded list, best first.
struct Best {
    kept: Vec<Successor>,
    count: usize,
}

impl Best {
    fn offer(&mut self, successor: Successor) {
        let full = self.kept.len() == self.count;
        if full
            && self
                .kept
                .last()
                .is_none_or(|last| successor.total <= last.total)
        {
            return;
        }
        // Impossible, or not a number.
        if successor.total.is_nan() || successor.total == f64::NEG_INFINITY {
            return;
        }
        let at = self
            .kept
            .partition_point(|kept| kept.total >= successor.total);
        self.kept.insert(at, successor);
        self.kept.truncate(self.count);
    }
}
