//! What decoding returns.

use serde::{Deserialize, Serialize};

use crate::cache::TargetConfig;
use crate::decoder::error::DecoderError;
use crate::embedders::tokenizer::TextTokenizer;

use super::trie::END;

/// One noun in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Token ids, with the end token if there is one, without padding.
    pub tokens: Vec<u32>,
    /// Ranking value: sum of log-probabilities minus priors, times the length
    /// factor. A log-probability only without priors and with exponent 0.
    pub score: f64,
    /// Log-probability of each token under the (renormalised) model.
    pub log_probs: Vec<f32>,
}

impl Hypothesis {
    /// Whether the noun is closed by an end token.
    pub fn finished(&self) -> bool {
        self.tokens.last() == Some(&END)
    }

    /// Log-probability of the whole noun, without priors and length factor.
    pub fn log_prob(&self) -> f64 {
        self.log_probs
            .iter()
            .map(|&log_prob| f64::from(log_prob))
            .sum()
    }
}

/// One predicted noun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The noun as the tokenizer reads it.
    pub text: String,
    /// Token ids, with the end token if there is one, without padding.
    pub tokens: Vec<u32>,
    /// Ranking value, see [`Hypothesis::score`].
    pub score: f64,
    /// Whether the noun is closed by an end token.
    pub finished: bool,
    /// Log-probability of each token, if asked for.
    pub token_log_probs: Option<Vec<f32>>,
}

/// Reads generated tokens back into text.
#[derive(Clone, Copy)]
pub struct NounReader<'a> {
    /// Target configuration of the model.
    pub target: &'a TargetConfig,
    /// Tokenizer of the embedder.
    pub tokenizer: &'a dyn TextTokenizer,
}

impl NounReader<'_> {
    /// Text of token ids.
    ///
    /// # Errors
    /// Ids the tokenizer cannot read.
    pub fn text(&self, tokens: &[u32]) -> Result<String, DecoderError> {
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        self.target
            .detokenize(self.tokenizer, &ids)
            .map_err(|error| DecoderError::Detokenize {
                reason: error.to_string(),
            })
    }

    /// Predictions of one sample, best first.
    ///
    /// # Errors
    /// Ids the tokenizer cannot read.
    pub fn predictions(
        &self,
        hypotheses: Vec<Hypothesis>,
        with_log_probs: bool,
    ) -> Result<Vec<Prediction>, DecoderError> {
        hypotheses
            .into_iter()
            .map(|hypothesis| {
                Ok(Prediction {
                    text: self.text(&hypothesis.tokens)?,
                    finished: hypothesis.finished(),
                    score: hypothesis.score,
                    tokens: hypothesis.tokens,
                    token_log_probs: with_log_probs.then_some(hypothesis.log_probs),
                })
            })
            .collect()
    }
}
