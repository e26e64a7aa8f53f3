//! Noun lists as tokens, for guides and priors (`decoder.md` section 6).

use std::collections::HashSet;

use crate::cache::{CacheError, TargetConfig};
use crate::decoder::error::DecoderError;
use crate::embedders::tokenizer::TextTokenizer;

use super::trie::{END, NounTrie};

/// Why a noun of a list cannot be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It has a token that the model does not know.
    UnknownToken,
    /// It has more tokens than the model's longest noun.
    TooLong {
        /// Its tokens, end token included.
        tokens: usize,
    },
}

/// A noun that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedNoun {
    /// The noun.
    pub noun: String,
    /// Why.
    pub reason: DropReason,
}

/// A noun list in tokens, in the order of the list.
#[derive(Clone, Debug)]
pub struct EncodedNouns {
    /// Tokens of each kept noun, closed by the end token.
    pub tokens: Vec<Vec<u32>>,
    /// Place of each kept noun in the list.
    pub indices: Vec<usize>,
    /// Nouns the model cannot generate; callers warn about them.
    pub dropped: Vec<DroppedNoun>,
}

/// Nouns per call of the tokenizer.
const CHUNK: usize = 1024;

impl EncodedNouns {
    /// Tokens of `nouns` for a model with this target configuration.
    ///
    /// # Errors
    /// An empty list, an empty noun, duplicates, nothing left.
    pub fn new<S: AsRef<str>>(
        target: &TargetConfig,
        tokenizer: &dyn TextTokenizer,
        nouns: &[S],
    ) -> Result<Self, DecoderError> {
        let fail = |reason: String| Err(DecoderError::Nouns { reason });
        if nouns.is_empty() {
            return fail("it is empty".to_owned());
        }
        let mut seen = HashSet::with_capacity(nouns.len());
        for noun in nouns {
            let noun = noun.as_ref();
            if noun.trim().is_empty() {
                return fail("it contains an empty noun: remove it".to_owned());
            }
            if !seen.insert(noun) {
                return fail(format!("{noun:?} occurs twice: remove one"));
            }
        }
        let mut encoded = Self {
            tokens: Vec::with_capacity(nouns.len()),
            indices: Vec::with_capacity(nouns.len()),
            dropped: Vec::new(),
        };
        // Lengths are checked here, so that a noun too long is left out alone.
        let free = TargetConfig {
            fixed_token_length: false,
            ..target.clone()
        };
        for (chunk, nouns) in nouns.chunks(CHUNK).enumerate() {
            match free.tokenize(tokenizer, nouns) {
                Ok(rows) => {
                    let lines = rows
                        .ids
                        .chunks(rows.columns)
                        .zip(rows.padding.chunks(rows.columns));
                    for (i, (ids, padding)) in lines.enumerate() {
                        let used = padding.iter().filter(|&&padded| !padded).count();
                        encoded.add(
                            target,
                            tokenizer,
                            chunk * CHUNK + i,
                            nouns[i].as_ref(),
                            &ids[..used],
                        )?;
                    }
                }
                // Some noun has an unknown token: find out which.
                Err(CacheError::UnknownToken { .. }) => {
                    for (i, noun) in nouns.iter().enumerate() {
                        let noun = noun.as_ref();
                        match free.tokenize(tokenizer, &[noun]) {
                            Ok(rows) => encoded.add(
                                target,
                                tokenizer,
                                chunk * CHUNK + i,
                                noun,
                                &rows.ids,
                            )?,
                            Err(CacheError::UnknownToken { .. }) => {
                                encoded.dropped.push(DroppedNoun {
                                    noun: noun.to_owned(),
                                    reason: DropReason::UnknownToken,
                                })
                            }
                            Err(error) => return fail(error.to_string()),
                        }
                    }
                }
                Err(error) => return fail(error.to_string()),
            }
        }
        if encoded.tokens.is_empty() {
            let reason = "the model can generate none of its nouns: check that list and model belong together";
            return fail(reason.to_owned());
        }
        Ok(encoded)
    }

    /// Their prefix tree.
    ///
    /// # Errors
    /// As [`NounTrie::new`].
    pub fn trie(&self) -> Result<NounTrie, DecoderError> {
        NounTrie::new(&self.tokens)
    }

    fn add(
        &mut self,
        target: &TargetConfig,
        tokenizer: &dyn TextTokenizer,
        index: usize,
        noun: &str,
        ids: &[i64],
    ) -> Result<(), DecoderError> {
        let length = length(tokenizer, noun, ids)?;
        let reason = if length > target.token_length {
            DropReason::TooLong { tokens: length }
        } else {
            let tokens: Vec<u32> = ids
                .iter()
                .filter_map(|&id| u32::try_from(id).ok())
                .collect();
            let content = tokens.split_last().filter(|&(&end, content)| {
                end == END && !content.is_empty() && !content.contains(&END)
            });
            if content.is_some() && tokens.len() == ids.len() {
                self.tokens.push(tokens);
                self.indices.push(index);
                return Ok(());
            }
            DropReason::UnknownToken
        };
        self.dropped.push(DroppedNoun {
            noun: noun.to_owned(),
            reason,
        });
        Ok(())
    }
}

/// Number of tokens of a noun whose `ids` may be cut to the tokenizer's context.
fn length(tokenizer: &dyn TextTokenizer, noun: &str, ids: &[i64]) -> Result<usize, DecoderError> {
    let constants = tokenizer.constants();
    let start = usize::from(constants.start_id.is_some());
    if ids.len() + start < constants.context_length {
        return Ok(ids.len());
    }
    let whole = tokenizer
        .encode(&[noun], None)
        .map_err(|error| DecoderError::Nouns {
            reason: error.to_string(),
        })?;
    Ok(whole.first().map_or(ids.len(), |whole| whole.len() - start))
}
