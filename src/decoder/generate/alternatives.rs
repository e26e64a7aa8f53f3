//! What could have followed at each place of a noun.

use candle_core::Tensor;

use crate::decoder::error::DecoderError;
use crate::decoder::model::Decoder;
use crate::ops::tape::math::log_sum_exp;
use crate::ops::tape::{PageRef, host};

use super::cache::{KeyValueCache, NewRow};
use super::trie::NounTrie;

/// For each place of `tokens`, the tokens that may stand there behind those
/// before it, with their log-probabilities, best first. With a guide, only
/// continuations of its nouns; the probabilities are those among all tokens.
pub(super) fn alternatives(
    decoder: &Decoder,
    embed: &Tensor,
    tokens: &[u32],
    guide: Option<&NounTrie>,
) -> Result<Vec<Vec<(u32, f64)>>, DecoderError> {
    let dimensions = decoder.architecture().dimensions;
    if tokens.len() > dimensions.token_length
        || tokens
            .iter()
            .any(|&token| token as usize >= dimensions.vocab_size)
    {
        return Err(DecoderError::Nouns {
            reason: "these are no tokens of a noun of this model".to_owned(),
        });
    }
    let (mut cache, mut logits) = KeyValueCache::start(decoder, embed)?;
    let mut pages = Vec::new();
    let mut node = guide.map(NounTrie::root);
    let mut places = Vec::with_capacity(tokens.len());
    for (place, &token) in tokens.iter().enumerate() {
        {
            let row = host(&logits)?;
            let norm = f64::from(log_sum_exp(&row, 1.0));
            let log_prob = |token: u32| (token, f64::from(row[token as usize]) - norm);
            let mut possible: Vec<(u32, f64)> = match (guide, node) {
                (Some(guide), Some(node)) => guide
                    .children(node)
                    .map(|(token, _)| log_prob(token))
                    .collect(),
                (Some(_), None) => Vec::new(),
                (None, _) => (0..row.len() as u32).map(log_prob).collect(),
            };
            possible.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            places.push(possible);
        }
        if let (Some(guide), Some(at)) = (guide, node) {
            node = guide.child(at, token);
        }
        if place + 1 < tokens.len() {
            logits = cache.extend(&[NewRow {
                sample: 0,
                token,
                pages: &pages,
            }])?;
            pages.push(PageRef {
                step: cache.last_step(),
                row: 0,
            });
        }
    }
    Ok(places)
}
