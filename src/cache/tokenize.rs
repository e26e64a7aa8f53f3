//! Nouns to target tokens and back (`embedding-cache.md` section 2).

use super::error::{CacheError, Result};
use super::noun_table::NounTable;
use super::target_config::TargetConfig;
use crate::embedders::tokenizer::TextTokenizer;

/// Tokens of several nouns, one row each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRows {
    /// Number of columns.
    pub columns: usize,
    /// Token ids `[rows, columns]` of the target configuration.
    pub ids: Vec<i64>,
    /// Padding mask of the same shape, true = padding, whether or not the
    /// configuration uses masks. The end token is never masked.
    pub padding: Vec<bool>,
}

impl TargetConfig {
    /// Tokens of nouns, with the columns of the longest of them, or
    /// `token_length` columns if the length is fixed.
    ///
    /// # Errors
    /// A noun with tokens that the configuration does not know, or longer
    /// than a fixed length, named.
    pub fn tokenize<S: AsRef<str>>(
        &self,
        tokenizer: &dyn TextTokenizer,
        nouns: &[S],
    ) -> Result<TokenRows> {
        let rows = self.token_sequences(tokenizer, nouns)?;
        let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
        let columns = if self.fixed_token_length {
            if let Some(at) = rows.iter().position(|row| row.len() > self.token_length) {
                return Err(CacheError::NounTooLong {
                    noun: nouns[at].as_ref().to_owned(),
                    tokens: rows[at].len(),
                    limit: self.token_length,
                });
            }
            self.token_length
        } else {
            rows.iter().map(Vec::len).max().unwrap_or(0)
        };
        Ok(self.padded(&rows, columns))
    }

    /// Tokens of each noun, unpadded and of any length, or why there are none.
    ///
    /// # Errors
    /// The tokenizer failed altogether.
    fn token_sequences<S: AsRef<str>>(
        &self,
        tokenizer: &dyn TextTokenizer,
        nouns: &[S],
    ) -> Result<Vec<Result<Vec<i64>>>> {
        let constants = tokenizer.constants();
        let texts: Vec<&str> = nouns.iter().map(AsRef::as_ref).collect();
        let sequences = tokenizer.encode(&texts, Some(constants.context_length))?;
        let cut_front = usize::from(constants.start_id.is_some() && self.start_token_id.is_none());
        let cut_back = usize::from(self.end_token_id.is_none());
        // Only compact ids have a number for a start token that the tokenizer
        // lacks.
        let artificial_start = match (&self.compact, constants.start_id, self.start_token_id) {
            (Some(_), None, Some(start)) => Some(start),
            _ => None,
        };
        let row = |(noun, sequence): (&&str, &Vec<i64>)| {
            let end = sequence.len().saturating_sub(cut_back);
            let kept = sequence.get(cut_front..end).unwrap_or_default();
            let known = kept.iter().map(|&token| {
                self.target_id(token)
                    .ok_or_else(|| CacheError::UnknownToken {
                        noun: (*noun).to_owned(),
                        token,
                    })
            });
            artificial_start.into_iter().map(Ok).chain(known).collect()
        };
        Ok(texts.iter().zip(&sequences).map(row).collect())
    }

    /// Token table of a cache: one row per noun, `token_length` columns, row
    /// 0 all padding.
    ///
    /// # Errors
    /// As [`tokenize`](Self::tokenize), and a noun longer than the table.
    pub fn token_table(
        &self,
        tokenizer: &dyn TextTokenizer,
        nouns: &NounTable,
    ) -> Result<TokenRows> {
        let fixed = Self {
            fixed_token_length: true,
            ..self.clone()
        };
        let valid = fixed.tokenize(tokenizer, nouns.valid())?;
        let mut table = self.padded(&[Vec::new()], self.token_length);
        table.ids.extend(valid.ids);
        table.padding.extend(valid.padding);
        Ok(table)
    }

    /// Text of a row of target ids. The end token and everything behind it,
    /// or else trailing padding, are left out.
    ///
    /// # Errors
    /// Ids outside the vocabulary, or a sequence that the tokenizer cannot
    /// read.
    pub fn detokenize(&self, tokenizer: &dyn TextTokenizer, ids: &[i64]) -> Result<String> {
        let stop = match self.end_token_id {
            Some(end) => ids.iter().position(|&id| id == end),
            None => ids
                .iter()
                .rposition(|&id| id != self.pad_token_id)
                .map_or(Some(0), |last| Some(last + 1)),
        };
        let mut content = &ids[..stop.unwrap_or(ids.len())];
        if let (Some(start), Some(&first)) = (self.start_token_id, content.first())
            && start == first
        {
            content = &content[1..];
        }
        let tokens: Vec<i64> = match &self.compact {
            None => content.to_vec(),
            Some(compact) => content
                .iter()
                .map(|&id| {
                    compact.token(id).ok_or(CacheError::TokenOutsideVocabulary {
                        token: id,
                        vocab_size: self.vocab_size,
                    })
                })
                .collect::<Result<_>>()?,
        };
        Ok(tokenizer.decode(&tokens)?)
    }

    fn target_id(&self, token: i64) -> Option<i64> {
        match &self.compact {
            Some(compact) => compact.compact(token),
            None => (0..self.vocab_size as i64)
                .contains(&token)
                .then_some(token),
        }
    }

    fn padded(&self, rows: &[Vec<i64>], columns: usize) -> TokenRows {
        let mut ids = Vec::with_capacity(rows.len() * columns);
        let mut padding = Vec::with_capacity(rows.len() * columns);
        for row in rows {
            ids.extend(row);
            ids.resize(ids.len() + columns - row.len(), self.pad_token_id);
            padding.resize(padding.len() + row.len(), false);
            padding.resize(padding.len() + columns - row.len(), true);
        }
        TokenRows {
            columns,
            ids,
            padding,
        }
    }
}
