//! Tokens of one target configuration in terms of another, for evaluating a
//! model on data that were tokenized for a different vocabulary
//! (`embedding-cache.md` section 4, "Translation").

use std::fmt;

use super::error::{CacheError, Result};
use super::target_config::TargetConfig;

/// How token ids of a data source become ids of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    mapping: Mapping,
    notices: Vec<TranslationNotice>,
    leaves_out_unknown: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mapping {
    Identity,
    /// Ids stay, but must lie inside the model's vocabulary.
    SameIds {
        vocab_size: i64,
    },
    /// Model id of each source id, if there is one.
    Table(Vec<Option<i64>>),
}

/// A property in which the data differ from the model and win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranslationNotice {
    /// `fixed_token_length` differs.
    FixedTokenLength,
    /// `token_length` differs.
    TokenLength,
    /// `use_masks` differs.
    UseMasks,
}

impl fmt::Display for TranslationNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::FixedTokenLength => "fixed_token_length",
            Self::TokenLength => "token_length",
            Self::UseMasks => "use_masks",
        };
        write!(
            f,
            "{name} of the data differs from the model's target configuration; the data's is used"
        )
    }
}

impl Translation {
    /// Translation from a data source's configuration to a model's.
    ///
    /// # Errors
    /// They disagree about compact ids, start or end tokens.
    pub fn new(source: &TargetConfig, model: &TargetConfig) -> Result<Self> {
        for (property, differs) in [
            (
                "compact ids",
                source.compact.is_some() != model.compact.is_some(),
            ),
            (
                "start tokens",
                source.start_token_id.is_some() != model.start_token_id.is_some(),
            ),
            (
                "end tokens",
                source.end_token_id.is_some() != model.end_token_id.is_some(),
            ),
        ] {
            if differs {
                return Err(CacheError::NotTranslatable { property });
            }
        }
        let mapping = if source == model {
            Mapping::Identity
        } else {
            match (&source.compact, &model.compact) {
                (Some(from), Some(to)) => Mapping::Table(
                    (0..from.unmap.len() as i64)
                        .map(|id| match (source.start_token_id, model.start_token_id) {
                            (Some(start), Some(model_start)) if start == id => Some(model_start),
                            _ => from.token(id).and_then(|token| to.compact(token)),
                        })
                        .collect(),
                ),
                _ => Mapping::SameIds {
                    vocab_size: i64::try_from(model.vocab_size).unwrap_or(i64::MAX),
                },
            }
        };
        let notices = [
            (
                TranslationNotice::FixedTokenLength,
                source.fixed_token_length != model.fixed_token_length,
            ),
            (
                TranslationNotice::TokenLength,
                source.token_length != model.token_length,
            ),
            (
                TranslationNotice::UseMasks,
                source.use_masks != model.use_masks,
            ),
        ];
        Ok(Self {
            mapping,
            notices: notices
                .into_iter()
                .filter(|(_, differs)| *differs)
                .map(|(notice, _)| notice)
                .collect(),
            leaves_out_unknown: false,
        })
    }

    /// The same, with nouns that the model cannot express absent instead of an
    /// error.
    #[must_use]
    pub fn leaving_out_unknown(mut self) -> Self {
        self.leaves_out_unknown = true;
        self
    }

    /// Translates the rows of a token table in place. Returns the rows that
    /// are left out; their tokens mean nothing.
    ///
    /// # Errors
    /// An id that the model does not have, unless such rows are left out.
    pub(super) fn apply_rows(&self, ids: &mut [i64], columns: usize) -> Result<Vec<usize>> {
        let mut left_out = Vec::new();
        for (row, ids) in ids.chunks_mut(columns.max(1)).enumerate() {
            match self.apply(ids) {
                Ok(()) => {}
                Err(CacheError::NotASuperset { .. }) if self.leaves_out_unknown => {
                    ids.fill(0);
                    left_out.push(row);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(left_out)
    }

    /// Properties in which the data differ from the model.
    pub fn notices(&self) -> &[TranslationNotice] {
        &self.notices
    }

    /// Translates ids in place.
    ///
    /// # Errors
    /// An id that the model does not have.
    pub fn apply(&self, ids: &mut [i64]) -> Result<()> {
        match &self.mapping {
            Mapping::Identity => Ok(()),
            Mapping::SameIds { vocab_size } => {
                match ids.iter().find(|id| !(0..*vocab_size).contains(id)) {
                    None => Ok(()),
                    Some(&token) => Err(CacheError::NotASuperset { token }),
                }
            }
            Mapping::Table(table) => ids.iter_mut().try_for_each(|id| {
                let known = usize::try_from(*id).ok().and_then(|at| table.get(at));
                *id = known
                    .copied()
                    .flatten()
                    .ok_or(CacheError::NotASuperset { token: *id })?;
                Ok(())
            }),
        }
    }
}
