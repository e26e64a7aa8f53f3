//! The text tokenizer interface that target configurations and text towers
//! share (`embedders.md` section 4).

use thiserror::Error;

/// Integer type in which the original stores token ids of this tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenDtype {
    /// `torch.int32` (OpenAI tokenizer).
    I32,
    /// `torch.int64` (all others).
    I64,
}

/// Constants of a tokenizer, always read from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerConstants {
    /// Longest sequence of the text tower, including start and end tokens.
    pub context_length: usize,
    /// Number of token ids, added tokens included.
    pub vocab_size: usize,
    /// Start token, if the tokenizer adds one.
    pub start_id: Option<i64>,
    /// End token.
    pub end_id: i64,
    /// Padding token; may equal `end_id`.
    pub pad_id: i64,
    /// Token dtype of the original.
    pub dtype: TokenDtype,
}

/// Why a text could not be tokenized or a sequence not be read back.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The tokenizer library refused the text.
    #[error("failed to tokenize {text:?}: {reason}")]
    Encode {
        /// The offending text.
        text: String,
        /// What the library said.
        reason: String,
    },
    /// The ids are not ids of this tokenizer.
    #[error("failed to read tokens back: {reason}")]
    Decode {
        /// What the library said.
        reason: String,
    },
}

/// A tokenizer as seen by target configurations and text towers.
pub trait TextTokenizer: Send + Sync {
    /// Vocabulary size, special ids and context length.
    fn constants(&self) -> &TokenizerConstants;

    /// Token ids of each text, unpadded, with the start token (if the
    /// tokenizer has one) and the end token. Sequences longer than
    /// `max_tokens` are truncated so that the end token remains; `None` never
    /// truncates.
    fn encode(
        &self,
        texts: &[&str],
        max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError>;

    /// Text of a sequence without its special tokens.
    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError>;
}
