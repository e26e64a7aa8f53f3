//! A model's own tokenizer files behind [`TextTokenizer`] (`embedders.md`
//! sections 4 and 7): `tokenizer.json`, else `vocab.json` and `merges.txt`,
//! else `spiece.model`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenizers::{Model, NormalizedString, Normalizer, Tokenizer};

use super::clip_vocabulary::{self, ClipVocabulary};
use super::error::EmbedderError;
use super::files::ModelFiles;
use super::sentencepiece;
use super::text_cleaning::{Cleaning, clean};
use super::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use super::word_ids::{UnitWords, WordIds};

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
    /// Texts of special tokens, recognised before a text is cleaned.
    special: Vec<(String, i64)>,
    /// `model_max_length` of its files.
    longest: Option<usize>,
    /// Ids of words met so far, where words are cut into tokens one by one.
    words: Option<WordIds>,
    /// The files it was read from.
    files: Vec<String>,
}

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const PIECES: &str = "spiece.model";

impl HfTokenizer {
    /// Reads the tokenizer files and the special tokens named by
    /// `tokenizer_config.json` and `special_tokens_map.json`.
    pub fn open(files: &ModelFiles, settings: TokenizerSettings) -> Result<Self, EmbedderError> {
        let special = SpecialTokens::read(files)?;
        let (content, names) = if files.has(TOKENIZER) {
            if !matches!(files, ModelFiles::Embedded(_)) {
                // Where the library meets bad JSON inside a decoder, it panics.
                files.read_json(TOKENIZER)?;
            }
            (files.read(TOKENIZER)?, vec![TOKENIZER])
        } else if files.has(VOCABULARY) && files.has(MERGES) {
            let path = files.path(VOCABULARY);
            let vocabulary = files.read_json(VOCABULARY)?;
            let merges = clip_vocabulary::parse_merges(&files.read(MERGES)?, &files.path(MERGES))?;
            let json = clip_vocabulary::tokenizer_json(vocabulary, &merges).ok_or_else(|| {
                EmbedderError::BadFile {
                    path,
                    reason: "<|startoftext|> or <|endoftext|> is missing".to_owned(),
                }
            })?;
            (json.into(), vec![VOCABULARY, MERGES])
        } else if files.has(PIECES) {
            let path = files.path(PIECES);
            let pieces = sentencepiece::parse(&files.read(PIECES)?).map_err(|reason| {
                EmbedderError::BadFile {
                    path,
                    reason: format!("not a sentencepiece model: {reason}"),
                }
            })?;
            (pieces.tokenizer_json().into(), vec![PIECES])
        } else {
            return Err(EmbedderError::BadFile {
                path: files.path(TOKENIZER),
                reason: format!(
                    "missing, and neither {VOCABULARY} with {MERGES} nor {PIECES} lies beside it"
                ),
            });
        };
        let path = files.path(names[0]);
        Self::new(&content, &path, &special, settings, &names)
    }

    /// Whether a model has files of a tokenizer.
    pub fn is_in(files: &ModelFiles) -> bool {
        [TOKENIZER, VOCABULARY, PIECES]
            .iter()
            .any(|name| files.has(name))
    }

    /// The same; a model of CLIP's vocabulary without any tokenizer file gets
    /// the built-in one.
    pub fn open_or_clip(
        files: &ModelFiles,
        settings: TokenizerSettings,
        vocab_size: usize,
    ) -> Result<Self, EmbedderError> {
        if !Self::is_in(files) && vocab_size == clip_vocabulary::SIZE {
            Self::clip(settings)
        } else {
            Self::open(files, settings)
        }
    }

    /// CLIP's own vocabulary, which is inside the binary.
    pub fn clip(settings: TokenizerSettings) -> Result<Self, EmbedderError> {
        let content = ClipVocabulary::built_in()?.tokenizer_json();
        let role = |token: &str| Value::from(token);
        let special = SpecialTokens {
            config: json!({
                "bos_token": role(clip_vocabulary::START),
                "eos_token": role(clip_vocabulary::END),
                "pad_token": role(clip_vocabulary::END),
            }),
            map: Value::Null,
            tidy: true,
            longest: Some(77),
            path: PathBuf::from("the built-in vocabulary of CLIP"),
        };
        let path = special.path.clone();
        Self::new(&content, &path, &special, settings, &[])
    }

    fn new(
        content: &[u8],
        path: &Path,
        special: &SpecialTokens,
        settings: TokenizerSettings,
        files: &[&str],
    ) -> Result<Self, EmbedderError> {
        let bad = |reason: String| EmbedderError::BadFile {
            path: path.to_owned(),
            reason,
        };
        let mut tokenizer = Tokenizer::from_bytes(content)
            .map_err(|error| bad(format!("not a tokenizer: {error}")))?;
        tokenizer
            .with_truncation(None)
            .map_err(|error| bad(error.to_string()))?
            .with_padding(None);
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
        let mut recognised = Vec::new();
        if settings.cleaning == Cleaning::WithoutPunctuation {
            for (id, token) in tokenizer.get_added_tokens_decoder() {
                recognised.push((token.content, i64::from(id)));
            }
            recognised.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
        let by_word =
            start_id.is_some() && separator.is_none() && clip_vocabulary::cuts_words(content);
        Ok(Self {
            tokenizer,
            constants,
            settings,
            separator,
            words: by_word.then(WordIds::default),
            tidy: special.tidy,
            special: recognised,
            longest: special.longest,
            files: files.iter().map(|&name| name.to_owned()).collect(),
        })
    }

    /// With a context no longer than its own files say, as the transformers
    /// library has it.
    #[must_use]
    pub fn limited(mut self) -> Self {
        let own = self.constants.context_length;
        self.constants.context_length = self.longest.map_or(own, |longest| longest.min(own));
        self
    }

    /// The files it was read from; none for the built-in vocabulary.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Ids as the sentencepiece tokenizers of the transformers library give
    /// them: special tokens are recognised first, what lies between is cleaned
    /// and cut into pieces on its own, only the beginning gets a space.
    fn encode_pieces(&self, text: &str) -> Result<Vec<i64>, TokenizerError> {
        let failed = |reason: String| TokenizerError::Encode {
            text: text.chars().take(200).collect(),
            reason,
        };
        let mut ids = Vec::new();
        let mut rest = text;
        let mut first = true;
        while first || !rest.is_empty() {
            let next = self
                .special
                .iter()
                .filter_map(|(token, id)| Some((rest.find(token.as_str())?, token.len(), *id)))
                .min_by_key(|&(at, length, _)| (at, std::cmp::Reverse(length)));
            let end = next.map_or(rest.len(), |(at, ..)| at);
            let cleaned = clean(&rest[..end], self.settings.cleaning);
            let mut normal = NormalizedString::from(cleaned.as_ref());
            if let Some(normalizer) = self.tokenizer.get_normalizer() {
                normalizer
                    .normalize(&mut normal)
                    .map_err(|error| failed(error.to_string()))?;
            }
            if !normal.get().trim().is_empty() {
                let pieces = normal.get().replace(' ', "\u{2581}");
                let pieces = if first {
                    format!("\u{2581}{pieces}")
                } else {
                    pieces
                };
                let tokens = self.tokenizer.get_model().tokenize(&pieces);
                let tokens = tokens.map_err(|error| failed(error.to_string()))?;
                ids.extend(tokens.into_iter().map(|token| i64::from(token.id)));
            }
            if let Some((.., id)) = next {
                ids.push(id);
            }
            rest = next.map_or("", |(at, length, _)| &rest[at + length..]);
            first = false;
        }
        if ids.last() != Some(&self.constants.end_id) {
            ids.push(self.constants.end_id);
        }
        Ok(ids)
    }

    /// Ids of an ASCII text, word by word between start and end.
    fn encode_words(
        &self,
        text: &str,
        words: &mut UnitWords<'_>,
    ) -> Result<Vec<i64>, TokenizerError> {
        let failed = |error: tokenizers::Error| TokenizerError::Encode {
            text: text.chars().take(200).collect(),
            reason: error.to_string(),
        };
        let tokenize = |word: &str| {
            // The rules change nothing about small letters and keep them together.
            if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
                let tokens = self.tokenizer.get_model().tokenize(word).map_err(failed)?;
                return Ok(tokens.into_iter().map(|token| token.id).collect());
            }
            let encoding = self.tokenizer.encode_fast(word, false).map_err(failed)?;
            Ok(encoding.get_ids().to_vec())
        };
        let mut ids: Vec<i64> = self.constants.start_id.into_iter().collect();
        words.append(text.split_whitespace(), tokenize, &mut ids)?;
        ids.push(self.constants.end_id);
        Ok(ids)
    }

    fn truncate(&self, ids: &mut Vec<i64>, max_tokens: Option<usize>) {
        if let Some(max) = max_tokens
            && ids.len() > max
        {
            let end = ids.pop();
            ids.truncate(max.saturating_sub(1));
            ids.extend(end);
        }
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
        if self.settings.cleaning == Cleaning::WithoutPunctuation {
            return texts
                .iter()
                .map(|text| {
                    let mut ids = self.encode_pieces(text)?;
                    self.truncate(&mut ids, max_tokens);
                    Ok(ids)
                })
                .collect();
        }
        // What lies between words never matters to CLIP's byte pair encoding;
        // beyond ASCII a character may be composed with the one before it.
        if let Some(known) = &self.words
            && texts.iter().all(|text| text.is_ascii())
        {
            return known.encode_all(texts, |text, words| {
                let cleaned = clean(text, self.settings.cleaning);
                let mut ids = self.encode_words(&cleaned, words)?;
                self.truncate(&mut ids, max_tokens);
                Ok(ids)
            });
        }
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
            self.truncate(&mut ids, max_tokens);
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
        let text = if self.tidy { tidy(text) } else { text };
        // The tokenizers that `encode_pieces` is about strip what they decode.
        Ok(match self.settings.cleaning {
            Cleaning::WithoutPunctuation => text.trim().to_owned(),
            _ => text,
        })
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
    /// `model_max_length`, if it is a sensible number.
    longest: Option<usize>,
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
            longest: config
                .get("model_max_length")
                .and_then(Value::as_u64)
                .and_then(|length| usize::try_from(length).ok())
                .filter(|length| (1..=1 << 20).contains(length)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_ids_that_the_library_gives_their_texts() {
        let settings = TokenizerSettings {
            context_length: 77,
            cleaning: Cleaning::Lower,
            strip_separator: false,
        };
        let tokenizer = HfTokenizer::clip(settings).unwrap();
        assert!(tokenizer.words.is_some());
        let texts = [
            "a photo of a fox",
            "A PHOTO of an iMac",
            "rock'n'roll isn't what they've said it's",
            "an x-ray, 3d or 1st",
            "snake_case a.b <|startoftext|>fox<|endoftext|>",
            "pneumonoultramicroscopicsilicovolcanoconiosis a",
            "!?  ... ",
            "",
        ];
        for text in texts {
            let cleaned = clean(text, settings.cleaning);
            let whole = tokenizer.tokenizer.encode_fast(cleaned.as_ref(), true);
            let whole = whole.unwrap().get_ids().to_vec();
            for _ in 0..2 {
                let ids = tokenizer.encode(&[text], None).unwrap().remove(0);
                let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
                assert_eq!(ids, whole, "{text}");
            }
        }
    }
}
