//! What a cache has to know about the embedder its vectors come from.

use serde_json::Value;

use super::dtype::{FloatDtype, IntDtype};
use super::hash::ConfigHash;
use super::header::Header;
use crate::embedders::Embedder;
use crate::embedders::tokenizer::TokenDtype;

/// Identity of an embedder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderSignature {
    /// Embedding dimension `F`.
    pub dim: usize,
    /// Type of its embeddings.
    pub dtype: FloatDtype,
    /// Type of its tokenizer's ids.
    pub token_dtype: TokenDtype,
    /// Hash of its configuration; files written with it carry this one.
    pub hash: ConfigHash,
    equivalent: Vec<ConfigHash>,
}

impl EmbedderSignature {
    /// Signature of an embedder with this configuration object.
    pub fn new(
        dim: usize,
        dtype: FloatDtype,
        token_dtype: TokenDtype,
        configuration: &Value,
    ) -> Self {
        Self {
            dim,
            dtype,
            token_dtype,
            hash: ConfigHash::of(configuration),
            equivalent: Vec::new(),
        }
    }

    /// What caches store of an embedder. The same model on another device or
    /// in another precision gives equivalent vectors under another hash.
    pub fn of_embedder(embedder: &Embedder) -> Self {
        let object = embedder.config_object();
        let token_dtype = embedder.tokenizer().constants().dtype;
        let mut signature = Self::new(embedder.dim(), FloatDtype::F32, token_dtype, &object);
        for device in ["cpu", "cuda"] {
            for precision in ["None", "torch.float16", "torch.bfloat16"] {
                let mut other = object.clone();
                other["device_type"] = device.into();
                other["amp_dtype"] = precision.into();
                signature = signature.or_equivalent(&other);
            }
        }
        signature
    }

    /// Signature of whichever embedder wrote a file, for tools that only look
    /// at files.
    pub fn of_file(header: &Header) -> Self {
        Self {
            dim: usize::from(header.embed_dim),
            dtype: header.delivered_dtype(),
            token_dtype: match header.target_dtype {
                IntDtype::I32 => TokenDtype::I32,
                _ => TokenDtype::I64,
            },
            hash: header.embedder_hash,
            equivalent: Vec::new(),
        }
    }

    /// Also accepts files of this configuration: the same model on another
    /// device or in another precision gives equivalent vectors, but another
    /// hash.
    #[must_use]
    pub fn or_equivalent(mut self, configuration: &Value) -> Self {
        self.equivalent.push(ConfigHash::of(configuration));
        self
    }

    /// Whether a file with this hash may be read.
    pub fn accepts(&self, hash: ConfigHash) -> bool {
        self.hash == hash || self.equivalent.contains(&hash)
    }
}
