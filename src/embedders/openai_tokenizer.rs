//! The tokenizer of OpenAI's own CLIP (`embedders.md` section 7.1): texts are
//! repaired, un-escaped, lower-cased and cut into words, whose bytes are
//! merged.

use std::collections::HashMap;
use std::path::Path;

use regex::Regex;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

use super::clip_vocabulary::{self, ClipVocabulary, END, START, WORD_END};
use super::error::EmbedderError;
use super::text_cleaning::{Cleaning, clean};
use super::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use super::word_ids::{UnitWords, WordIds};

/// Special tokens, contractions, words, digits, everything else.
const WORDS: &str =
    r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// Tokenizer with a vocabulary of merges.
pub struct OpenAiTokenizer {
    model: BPE,
    tokens: Vec<String>,
    constants: TokenizerConstants,
    words: Regex,
    known: WordIds,
    byte_characters: [char; 256],
    character_bytes: HashMap<char, u8>,
}

impl OpenAiTokenizer {
    /// With the built-in vocabulary or that of a file of merges.
    pub fn open(merges: Option<&Path>, context_length: usize) -> Result<Self, EmbedderError> {
        let vocabulary = match merges {
            Some(path) => ClipVocabulary::open(path)?,
            None => ClipVocabulary::built_in()?,
        };
        let bad = |reason: String| EmbedderError::BadFile {
            path: merges
                .unwrap_or(Path::new("the built-in vocabulary of CLIP"))
                .to_owned(),
            reason,
        };
        let tokens = vocabulary.tokens();
        let ids = tokens
            .iter()
            .cloned()
            .zip(0u32..)
            .collect::<HashMap<_, _>>();
        if ids.len() != tokens.len() {
            return Err(bad("a merge is listed twice".to_owned()));
        }
        let model = BPE::builder()
            .vocab_and_merges(
                ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                vocabulary.merges().to_vec(),
            )
            .end_of_word_suffix(WORD_END.to_owned())
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let end_id = tokens.len() as i64 - 1;
        Ok(Self {
            model,
            constants: TokenizerConstants {
                context_length,
                vocab_size: tokens.len(),
                start_id: Some(end_id - 1),
                end_id,
                pad_id: end_id,
                dtype: TokenDtype::I32,
            },
            tokens,
            words: Regex::new(WORDS).map_err(|error| bad(error.to_string()))?,
            known: WordIds::default(),
            byte_characters: clip_vocabulary::byte_characters(),
            character_bytes: clip_vocabulary::character_bytes(),
        })
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    fn encode_one(
        &self,
        text: &str,
        known: &mut UnitWords<'_>,
    ) -> Result<Vec<i64>, TokenizerError> {
        let (start, end) = (self.constants.end_id - 1, self.constants.end_id);
        let tokenize = |word: &str| match word {
            START => Ok(vec![start as u32]),
            END => Ok(vec![end as u32]),
            word => {
                let characters = word.bytes().map(|b| self.byte_characters[usize::from(b)]);
                let characters: String = characters.collect();
                let tokens = self.model.tokenize(&characters);
                let tokens = tokens.map_err(|error| TokenizerError::Encode {
                    text: text.chars().take(200).collect(),
                    reason: error.to_string(),
                })?;
                Ok(tokens.into_iter().map(|token| token.id).collect())
            }
        };
        let cleaned = clean(text, Cleaning::Lower);
        let words = self.words.find_iter(&cleaned).map(|word| word.as_str());
        let mut ids = vec![start];
        known.append(words, tokenize, &mut ids)?;
        ids.push(end);
        Ok(ids)
    }
}

impl TextTokenizer for OpenAiTokenizer {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        self.known.encode_all(texts, |text, known| {
            let mut ids = self.encode_one(text, known)?;
            if let Some(max) = max_tokens.filter(|&max| ids.len() > max) {
                ids.truncate(max);
                if let Some(last) = ids.last_mut() {
                    *last = self.constants.end_id;
                }
            }
            Ok(ids)
        })
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let end = self.constants.end_id;
        let mut bytes = Vec::new();
        for &id in ids.iter().filter(|&&id| id != end && id != end - 1) {
            let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
            let token = token.ok_or_else(|| TokenizerError::Decode {
                reason: format!("token id {id} is not in the vocabulary"),
            })?;
            let known = token.chars().filter_map(|c| self.character_bytes.get(&c));
            bytes.extend(known);
        }
        let text = String::from_utf8_lossy(&bytes).replace(WORD_END, " ");
        Ok(text.trim_end().to_owned())
    }
}
