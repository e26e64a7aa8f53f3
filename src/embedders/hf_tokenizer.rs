//! A model's own `tokenizer.json` behind [`TextTokenizer`] (`embedders.md`
//! sections 4 and 7).

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::error::EmbedderError;
use super::files::ModelFiles;
use super::openclip_config::Cleaning;
use super::text_cleaning::clean;
use super::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};

/// Settings of a tokenizer that its own files do not contain.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerSettings {
    /// Positions of the text tower.
    pub context_length: usize,
    /// What happens to a text first.
    pub cleaning: Cleaning,
    /// Whether the separator's id is replaced by the pad id.
    pub strip_separator: bool,
}

/// A tokenizer of the `tokenizers` library.
pub struct HfTokenizer {
    tokenizer: Tokenizer,
    constants: TokenizerConstants,
    settings: TokenizerSettings,
    /// Id of the separator that is replaced by the pad id.
    separator: Option<i64>,
    /// Whether decoded text is tidied as transformers does by default.
    tidy: bool,
}

impl HfTokenizer {
    /// Reads `tokenizer.json` and the special tokens named by
    /// `tokenizer_config.json` and `special_tokens_map.json`.
    pub fn open(files: &ModelFiles, settings: TokenizerSettings) -> Result<Self, EmbedderError> {
        let path = files.path("tokenizer.json");
        let bad = |reason: String| EmbedderError::BadFile {
            path: path.clone(),
            reason,
        };
        let mut tokenizer = Tokenizer::from_bytes(files.read("tokenizer.json")?)
            .map_err(|error| bad(format!("not a tokenizer: {error}")))?;
        tokenizer
            .with_truncation(None)
            .map_err(|error| bad(error.to_string()))?
            .with_padding(None);
        let special = SpecialTokens::read(files)?;
        let id = |token: Option<&str>, role: &str| -> Result<Option<i64>, EmbedderError> {
            token
                .map(|token| {
                    tokenizer.token_to_id(token).map(i64::from).ok_or_else(|| {
                        bad(format!("{role} token {token:?} is not in the vocabulary"))
                    })
                })
                .transpose()
        };
        let start_id = id(special.get(&["bos_token", "cls_token"]), "start")?;
        let end_id = id(special.get(&["eos_token", "sep_token"]), "end")?
            .ok_or_else(|| special.missing("eos_token or sep_token"))?;
        let pad_id =
            id(special.get(&["pad_token"]), "pad")?.ok_or_else(|| special.missing("pad_token"))?;
        if start_id == Some(pad_id) {
            return Err(bad("the pad token is also the start token".to_owned()));
        }
        let separator = if settings.strip_separator {
            id(special.get(&["sep_token"]), "separator")?
        } else {
            None
        };
        let constants = TokenizerConstants {
            context_length: settings.context_length,
            vocab_size: tokenizer.get_vocab_size(true),
            start_id,
            end_id: if separator == Some(end_id) {
                pad_id
            } else {
                end_id
            },
            pad_id,
            dtype: TokenDtype::I64,
        };
        Ok(Self {
            tokenizer,
            constants,
            settings,
            separator,
            tidy: special.tidy,
        })
    }
}

impl TextTokenizer for HfTokenizer {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let cleaned: Vec<Cow<'_, str>> = texts
            .iter()
            .map(|text| clean(text, self.settings.cleaning))
            .collect();
        let encodings = self
            .tokenizer
            .encode_batch_fast(cleaned, true)
            .map_err(|error| TokenizerError::Encode {
                text: texts.join("\n").chars().take(200).collect(),
                reason: error.to_string(),
            })?;
        let to_ids = |encoding: tokenizers::Encoding| {
            let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
            if let Some(separator) = self.separator {
                for id in &mut ids {
                    if *id == separator {
                        *id = self.constants.pad_id;
                    }
                }
            }
            if let Some(max) = max_tokens
                && ids.len() > max
            {
                let end = ids.pop();
                ids.truncate(max.saturating_sub(1));
                ids.extend(end);
            }
            ids
        };
        Ok(encodings.into_iter().map(to_ids).collect())
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let ids: Result<Vec<u32>, _> = ids.iter().map(|&id| u32::try_from(id)).collect();
        let ids = ids.map_err(|_| TokenizerError::Decode {
            reason: "negative token id".to_owned(),
        })?;
        if let Some(id) = ids
            .iter()
            .find(|&&id| self.tokenizer.id_to_token(id).is_none())
        {
            return Err(TokenizerError::Decode {
                reason: format!("token id {id} is not in the vocabulary"),
            });
        }
        let text = self
            .tokenizer
            .decode(&ids, true)
            .map_err(|error| TokenizerError::Decode {
                reason: error.to_string(),
            })?;
        // Byte-level BPE marks word ends, which its decoder leaves in the text.
        let text = if text.contains("</w>") {
            text.replace("</w>", " ").trim().to_owned()
        } else {
            text
        };
        Ok(if self.tidy { tidy(text) } else { text })
    }
}

/// `clean_up_tokenization_spaces` of transformers.
fn tidy(text: String) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES.iter().fold(text, |text, (from, to)| {
        if text.contains(from) {
            text.replace(from, to)
        } else {
            text
        }
    })
}

/// Roles of special tokens in the files beside `tokenizer.json`.
struct SpecialTokens {
    config: Value,
    map: Value,
    tidy: bool,
    path: PathBuf,
}

impl SpecialTokens {
    fn read(files: &ModelFiles) -> Result<Self, EmbedderError> {
        let optional = |name| {
            if files.has(name) {
                files.read_json(name)
            } else {
                Ok(Value::Null)
            }
        };
        let config = optional("tokenizer_config.json")?;
        Ok(Self {
            tidy: config
                .get("clean_up_tokenization_spaces")
                .and_then(Value::as_bool)
                .unwrap_or(true),
            config,
            map: optional("special_tokens_map.json")?,
            path: files.path("tokenizer_config.json"),
        })
    }

    /// Text of the first role that is set.
    fn get(&self, roles: &[&str]) -> Option<&str> {
        roles.iter().find_map(|role| {
            [&self.config, &self.map].into_iter().find_map(|file| {
                let token = file.get(role)?;
                token.as_str().or_else(|| token.get("content")?.as_str())
            })
        })
    }

    fn missing(&self, roles: &str) -> EmbedderError {
        EmbedderError::BadFile {
            path: self.path.clone(),
            reason: format!("no {roles} is set, here or in special_tokens_map.json"),
        }
    }
}
