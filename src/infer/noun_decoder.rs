//! [`NounDecoder`]: a trained decoder with what it takes to read its nouns.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::error::{EmbeddingFault, InferError};
use super::guide::Guide;
use super::label::LabelToken;
use super::task::DecodingTask;
use super::trained_decoder::TrainedDecoder;
use crate::cache::TargetConfig;
use crate::decoder::Decoder;
use crate::decoder::checkpoint::CheckpointHeader;
use crate::decoder::generate::{EncodedNouns, GenerationConfig, Generator, NounReader, NounTrie};
use crate::embedders::tokenizer::TextTokenizer;
use crate::evaluate::Subject;

/// A trained decoder and its vocabulary. Knows nothing of pictures: it reads
/// nouns from embeddings.
pub struct NounDecoder {
    trained: TrainedDecoder,
    tokenizer: Arc<dyn TextTokenizer>,
    vocabulary: Arc<Guide>,
}

impl NounDecoder {
    /// `tokenizer` must be that of the embedder that the decoder was trained
    /// on.
    ///
    /// # Errors
    /// A decoder that generates nothing, or a vocabulary that the tokenizer
    /// cannot write.
    pub fn new(
        trained: TrainedDecoder,
        tokenizer: Arc<dyn TextTokenizer>,
    ) -> Result<Self, InferError> {
        if matches!(trained.subject, Subject::Dud(_)) {
            return Err(InferError::Header {
                path: trained.path,
                reason: "it is the decoder that looks at its targets, which reads nothing from \
                         embeddings"
                    .to_owned(),
            });
        }
        let nouns = trained.header.vocabulary();
        let encoded = EncodedNouns::new(&trained.target, tokenizer.as_ref(), nouns)?;
        let vocabulary = Arc::new(Guide::new(nouns.to_vec(), &encoded, |_| true)?);
        Ok(Self {
            trained,
            tokenizer,
            vocabulary,
        })
    }

    /// Dimension F of its embeddings.
    pub fn dim(&self) -> usize {
        self.trained.header.embed_dim
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &CheckpointHeader {
        &self.trained.header
    }

    /// The checkpoint with the configuration it was built with.
    pub fn trained(&self) -> &TrainedDecoder {
        &self.trained
    }

    /// The checkpoint file; `embedded` for the one in the program.
    pub fn path(&self) -> &Path {
        &self.trained.path
    }

    /// Name for people: the checkpoint's directory and file.
    pub fn tail(&self) -> String {
        let (dir, name) = (self.dir_name(), self.file_name());
        if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        }
    }

    /// Name of the checkpoint's directory.
    pub fn dir_name(&self) -> String {
        name(self.path().parent().and_then(Path::file_name))
    }

    /// Name of the checkpoint's file.
    pub fn file_name(&self) -> String {
        name(self.path().file_name())
    }

    /// Its nouns, as a guide list.
    pub fn vocabulary(&self) -> &Arc<Guide> {
        &self.vocabulary
    }

    /// Tokens it writes.
    pub fn target(&self) -> &TargetConfig {
        &self.trained.target
    }

    /// A list of nouns to guide it, each once.
    ///
    /// # Errors
    /// An empty list, an empty noun, duplicates, or nothing that the decoder
    /// could write.
    pub fn guide<S: AsRef<str>>(&self, nouns: &[S]) -> Result<Guide, InferError> {
        let nouns: Vec<String> = nouns.iter().map(|noun| noun.as_ref().to_owned()).collect();
        let encoded = EncodedNouns::new(self.target(), self.tokenizer.as_ref(), &nouns)?;
        Guide::new(nouns, &encoded, |noun| self.vocabulary.contains(noun))
    }

    /// One way of decoding, with what does not depend on the embeddings
    /// computed once.
    ///
    /// # Errors
    /// Configurations that have no meaning.
    pub fn task<'a>(
        &'a self,
        config: GenerationConfig,
        guide: &'a Guide,
    ) -> Result<DecodingTask<'a>, InferError> {
        DecodingTask::new(self, config, guide)
    }

    /// Whether nouns can be read from an embedding.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_embedding(&self, embedding: &[f32]) -> Result<(), EmbeddingFault> {
        if embedding.len() != self.dim() {
            Err(EmbeddingFault::Length)
        } else if embedding.iter().any(|value| !value.is_finite()) {
            Err(EmbeddingFault::NotFinite)
        } else if embedding.iter().all(|&value| value == 0.0) {
            Err(EmbeddingFault::Zero)
        } else {
            Ok(())
        }
    }

    /// The likeliest tokens at each place of a noun that was read from an
    /// embedding `[1, F]`: for each of its `tokens`, the `count` best
    /// continuations of what is before it, best first. Only continuations of
    /// guide nouns if there is a guide; their probabilities are those among all
    /// tokens.
    ///
    /// # Errors
    /// Embeddings that do not fit the model, tokens that are none.
    pub fn alternatives(
        &self,
        embed: &Tensor,
        tokens: &[u32],
        count: usize,
        guide: Option<&Guide>,
    ) -> Result<Vec<Vec<LabelToken>>, InferError> {
        let rows = Generator::alternatives(self.decoder()?, embed, tokens, guide.map(Guide::trie))?;
        rows.into_iter()
            .map(|row| {
                row.into_iter()
                    .take(count)
                    .map(|(id, log_prob)| self.token(id, log_prob))
                    .collect()
            })
            .collect()
    }

    pub(super) fn decoder(&self) -> Result<&Decoder, InferError> {
        match &self.trained.subject {
            Subject::Decoder(decoder) => Ok(decoder),
            Subject::Dud(_) => Err(InferError::Header {
                path: self.path().to_owned(),
                reason: "it has no weights".to_owned(),
            }),
        }
    }

    pub(super) fn reader(&self) -> NounReader<'_> {
        NounReader {
            target: &self.trained.target,
            tokenizer: self.tokenizer.as_ref(),
        }
    }

    pub(super) fn vocabulary_trie(&self) -> &NounTrie {
        self.vocabulary.trie()
    }

    /// A token with its text. Pieces are read one by one, so a blank that ends
    /// a word is lost.
    pub(super) fn token(&self, id: u32, log_prob: f64) -> Result<LabelToken, InferError> {
        let text = if id == crate::decoder::generate::END {
            String::new()
        } else {
            self.reader().text(&[id])?
        };
        Ok(LabelToken { text, id, log_prob })
    }

    /// Its nouns as a set.
    pub fn vocabulary_set(&self) -> HashSet<String> {
        self.vocabulary.nouns().iter().cloned().collect()
    }
}

fn name(part: Option<&std::ffi::OsStr>) -> String {
    part.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
