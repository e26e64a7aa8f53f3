//! What a model says of a picture.

use serde::Serialize;

use crate::evaluate::PredictionType;

/// A predicted noun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The noun, blanks collapsed.
    pub noun: String,
    /// The noun as the decoder wrote it; what noun lists are compared with.
    #[serde(skip)]
    pub written: String,
    /// Ranking value; a log-probability if `probability` is given.
    pub score: f64,
    /// exp(score), where the configuration makes it a probability.
    pub probability: Option<f64>,
    /// What the noun is to the guide and to the model.
    pub kind: PredictionType,
    /// Whether the noun is in the model's vocabulary.
    pub in_vocabulary: bool,
    /// Its tokens, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<LabelToken>>,
}

/// A token of a predicted noun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelToken {
    /// The piece of text it stands for; empty for the end token.
    pub text: String,
    /// Its id in the model's vocabulary of tokens.
    pub id: u32,
    /// Log-probability, in nats, behind the tokens before it.
    pub log_prob: f64,
}
