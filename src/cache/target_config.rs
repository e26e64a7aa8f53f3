//! Target configurations: which tokens a decoder knows and how nouns become
//! rows of them (`embedding-cache.md` section 2).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CacheError, Result};
use super::hash::ConfigHash;
use crate::embedders::tokenizer::{TextTokenizer, TokenDtype};

/// Wishes from which a target configuration is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetOptions {
    /// Keep or add a start token.
    pub with_start_token: bool,
    /// Keep the end token.
    pub with_end_token: bool,
    /// Renumber to the tokens in use.
    pub compact_ids: bool,
    /// Same number of columns in every batch.
    pub fixed_token_length: bool,
    /// Take the number of columns from the nouns, else the context length.
    pub auto_fixed_token_length: bool,
    /// Produce padding masks.
    pub use_masks: bool,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            with_start_token: false,
            with_end_token: true,
            compact_ids: true,
            fixed_token_length: false,
            auto_fixed_token_length: true,
            use_masks: true,
        }
    }
}

impl TargetOptions {
    /// What the object decoder needs, whatever was wished: no start token, an
    /// end token, compact ids. Also names the keys that this changes.
    pub fn for_decoder(self) -> (Self, Vec<&'static str>) {
        let adjusted = Self {
            with_start_token: false,
            with_end_token: true,
            compact_ids: true,
            ..self
        };
        let changed = [
            ("with_start_token", self.with_start_token),
            ("with_end_token", !self.with_end_token),
            ("compact_ids", !self.compact_ids),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        (adjusted, changed.map(|(key, _)| key).collect())
    }
}

/// Maps between token ids of the tokenizer and of a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactIds {
    /// Compact id of every tokenizer id, −1 if unused.
    pub map: Vec<i64>,
    /// Tokenizer id of every compact id; −1 for a start token that the
    /// tokenizer does not have.
    pub unmap: Vec<i64>,
}

/// Tokens of a decoder and the shape of its targets. End and pad token share
/// id 0 with compact ids: only the mask tells them apart.
///
/// As JSON it has the field names and dtype names of the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct TargetConfig {
    /// Number of token ids `V`.
    pub vocab_size: usize,
    /// Token dtype of the original's tensors.
    pub token_dtype: TokenDtype,
    /// Start token, if targets have one.
    pub start_token_id: Option<i64>,
    /// End token, if targets have one.
    pub end_token_id: Option<i64>,
    /// Padding token.
    pub pad_token_id: i64,
    /// Renumbering, if ids are compact.
    pub compact: Option<CompactIds>,
    /// Whether every batch has `token_length` columns.
    pub fixed_token_length: bool,
    /// Columns `C` of the token table, the maximum in any batch.
    pub token_length: usize,
    /// Whether padding masks are produced.
    pub use_masks: bool,
}

impl TargetConfig {
    /// Configuration for these nouns, all that will occur.
    ///
    /// # Errors
    /// No nouns, a text the tokenizer refuses, a tokenizer whose ids lie
    /// outside its own vocabulary, targets that would have no token.
    pub fn build<S: AsRef<str>>(
        tokenizer: &dyn TextTokenizer,
        nouns: &[S],
        options: &TargetOptions,
    ) -> Result<Self> {
        let constants = tokenizer.constants();
        if nouns.is_empty() {
            return Err(CacheError::NoNouns);
        }
        let texts: Vec<&str> = nouns.iter().map(AsRef::as_ref).collect();
        let sequences = tokenizer.encode(&texts, Some(constants.context_length))?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);

        let removed = usize::from(!options.with_end_token)
            + usize::from(constants.start_id.is_some() && !options.with_start_token);
        let added = usize::from(constants.start_id.is_none() && options.with_start_token);
        let length = (longest + added).saturating_sub(removed);
        if length == 0 {
            return Err(CacheError::EmptyTargets);
        }

        let compact = if options.compact_ids {
            let used: BTreeSet<i64> = sequences.into_iter().flatten().collect();
            Some(CompactIds::of(tokenizer, &used, options.with_start_token)?)
        } else {
            None
        };
        Ok(Self {
            vocab_size: compact
                .as_ref()
                .map_or(constants.vocab_size, |ids| ids.unmap.len()),
            token_dtype: constants.dtype,
            start_token_id: match &compact {
                _ if !options.with_start_token => None,
                Some(_) => Some(1),
                None => constants.start_id,
            },
            end_token_id: match &compact {
                _ if !options.with_end_token => None,
                Some(_) => Some(0),
                None => Some(constants.end_id),
            },
            pad_token_id: if compact.is_some() {
                0
            } else {
                constants.pad_id
            },
            compact,
            fixed_token_length: options.fixed_token_length,
            token_length: if options.fixed_token_length && !options.auto_fixed_token_length {
                constants.context_length
            } else {
                length
            },
            use_masks: options.use_masks,
        })
    }

    /// Hash that cache headers store; `fixed_token_length` does not count.
    pub fn hash(&self) -> ConfigHash {
        let mut fields = serde_json::json!(Fields::from(self.clone()));
        if let Some(fields) = fields.as_object_mut() {
            fields.remove("fixed_token_length");
        }
        let mut object = serde_json::Map::new();
        object.insert("target_config".to_owned(), fields);
        ConfigHash::of(&Value::Object(object))
    }

    /// The same with other masks.
    pub(super) fn with_masks(&self, use_masks: bool) -> Self {
        Self {
            use_masks,
            ..self.clone()
        }
    }
}

impl CompactIds {
    fn of(
        tokenizer: &dyn TextTokenizer,
        used: &BTreeSet<i64>,
        with_start_token: bool,
    ) -> Result<Self> {
        let constants = tokenizer.constants();
        let special = [
            Some(constants.pad_id),
            Some(constants.end_id),
            constants.start_id,
        ];
        let mut unmap = vec![constants.pad_id];
        if with_start_token {
            unmap.push(constants.start_id.unwrap_or(-1));
        }
        let content = unmap.len();
        unmap.extend(used.iter().filter(|id| !special.contains(&Some(**id))));

        let mut map = vec![-1; constants.vocab_size];
        let mut set = |token: i64, id: usize| {
            usize::try_from(token)
                .ok()
                .and_then(|token| map.get_mut(token))
                .map(|place| *place = id as i64)
                .ok_or(CacheError::TokenOutsideVocabulary {
                    token,
                    vocab_size: constants.vocab_size,
                })
        };
        for (id, &token) in unmap.iter().enumerate().skip(content) {
            set(token, id)?;
        }
        set(constants.pad_id, 0)?;
        set(constants.end_id, 0)?;
        if let (true, Some(start)) = (with_start_token, constants.start_id) {
            set(start, 1)?;
        }
        Ok(Self { map, unmap })
    }

    /// Compact id of a tokenizer id, if it is in use.
    pub fn compact(&self, token: i64) -> Option<i64> {
        let id = *self.map.get(usize::try_from(token).ok()?)?;
        (id >= 0).then_some(id)
    }

    /// Tokenizer id of a compact id, if it stands for one.
    pub fn token(&self, id: i64) -> Option<i64> {
        let token = *self.unmap.get(usize::try_from(id).ok()?)?;
        (token >= 0).then_some(token)
    }
}

/// The original's names and values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    vocab_size: usize,
    token_dtype: String,
    mask_dtype: String,
    start_token_id: Option<i64>,
    end_token_id: Option<i64>,
    pad_token_id: i64,
    compact_ids: bool,
    compact_map: Option<Vec<i64>>,
    compact_unmap: Option<Vec<i64>>,
    fixed_token_length: bool,
    token_length: usize,
    use_masks: bool,
}

const MASK_DTYPE: &str = "torch.bool";

fn dtype_name(dtype: TokenDtype) -> &'static str {
    match dtype {
        TokenDtype::I32 => "torch.int32",
        TokenDtype::I64 => "torch.int64",
    }
}

impl From<TargetConfig> for Fields {
    fn from(config: TargetConfig) -> Self {
        let (map, unmap) = config
            .compact
            .map_or((None, None), |ids| (Some(ids.map), Some(ids.unmap)));
        Self {
            vocab_size: config.vocab_size,
            token_dtype: dtype_name(config.token_dtype).to_owned(),
            mask_dtype: MASK_DTYPE.to_owned(),
            start_token_id: config.start_token_id,
            end_token_id: config.end_token_id,
            pad_token_id: config.pad_token_id,
            compact_ids: map.is_some(),
            compact_map: map,
            compact_unmap: unmap,
            fixed_token_length: config.fixed_token_length,
            token_length: config.token_length,
            use_masks: config.use_masks,
        }
    }
}

impl TryFrom<Fields> for TargetConfig {
    type Error = CacheError;

    fn try_from(fields: Fields) -> Result<Self> {
        let invalid = |reason: &str| CacheError::InvalidTargetConfig {
            reason: reason.to_owned(),
        };
        let dtypes = [TokenDtype::I32, TokenDtype::I64];
        let token_dtype = dtypes
            .into_iter()
            .find(|&dtype| dtype_name(dtype) == fields.token_dtype)
            .ok_or_else(|| invalid("the token dtype is neither torch.int32 nor torch.int64"))?;
        if fields.mask_dtype != MASK_DTYPE {
            return Err(invalid("the mask dtype is not torch.bool"));
        }
        if fields.token_length == 0 {
            return Err(invalid("the token length is zero"));
        }
        let compact = match (fields.compact_ids, fields.compact_map, fields.compact_unmap) {
            (false, None, None) => None,
            (true, Some(map), Some(unmap)) => {
                let size = i64::try_from(unmap.len()).unwrap_or(i64::MAX);
                if unmap.len() != fields.vocab_size {
                    return Err(invalid("the compact list is not as long as the vocabulary"));
                }
                if map.iter().any(|id| !(-1..size).contains(id)) {
                    return Err(invalid("a compact id lies outside the vocabulary"));
                }
                Some(CompactIds { map, unmap })
            }
            _ => return Err(invalid("compact ids need both maps, other ids none")),
        };
        let size = i64::try_from(fields.vocab_size).unwrap_or(i64::MAX);
        let special = [fields.start_token_id, fields.end_token_id];
        let special = special.into_iter().flatten().chain([fields.pad_token_id]);
        if special.into_iter().any(|id| !(0..size).contains(&id)) {
            return Err(invalid("a special token lies outside the vocabulary"));
        }
        Ok(Self {
            vocab_size: fields.vocab_size,
            token_dtype,
            start_token_id: fields.start_token_id,
            end_token_id: fields.end_token_id,
            pad_token_id: fields.pad_token_id,
            compact,
            fixed_token_length: fields.fixed_token_length,
            token_length: fields.token_length,
            use_masks: fields.use_masks,
        })
    }
}
