//! What can go wrong between a specification and an embedding.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::tokenizer::TokenizerError;

/// Errors of specifications, model files, towers and inputs.
#[derive(Debug, Error)]
pub enum EmbedderError {
    /// The specification is not `TYPE:NAME` with a known type.
    #[error("embedder {given:?} is not TYPE:NAME; types are openai, openclip, transformers{hint}")]
    BadSpec {
        /// What was given.
        given: String,
        /// Nearest known specification, as a sentence.
        hint: String,
    },
    /// A type whose models cannot be loaded by this version.
    #[error(
        "embedder {spec}: {what} cannot be loaded by this version; the embedded openclip:novic/drawings always can"
    )]
    Unsupported {
        /// The specification.
        spec: String,
        /// What is not supported.
        what: String,
    },
    /// The repository is not (completely) in the hub cache.
    #[error(
        "embedder {spec}: {missing} not in the cache {cache}; `novic hub get {spec}` fetches them from {repository}, or name a local folder ({kind}:./folder){hint}",
        missing = .missing.join(", ")
    )]
    NotInCache {
        /// The specification.
        spec: String,
        /// Type of the specification.
        kind: &'static str,
        /// `owner/repo`, or the address of an archive.
        repository: String,
        /// Files that are missing.
        missing: Vec<String>,
        /// The cache directory.
        cache: PathBuf,
        /// Nearest known specification, as a sentence.
        hint: String,
    },
    /// A local folder lacks files.
    #[error("model folder {folder}: {missing} missing", missing = .missing.join(", "))]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// Files that are missing.
        missing: Vec<String>,
    },
    /// A model file could not be read.
    #[error("failed to read model file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A configuration or tokenizer file has wrong content.
    #[error("model file {path}: {reason}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A weight file cannot be parsed.
    #[error("weights {path}: {reason}")]
    BadWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The weight file lacks a parameter.
    #[error("weights {path}: parameter {name} is missing")]
    MissingParameter {
        /// The file.
        path: PathBuf,
        /// Name of the parameter.
        name: String,
    },
    /// A parameter has another shape than the configuration asks for.
    #[error(
        "weights {path}: parameter {name} has shape {found:?}, the configuration asks for {wanted:?}"
    )]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// Name of the parameter.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by the configuration.
        wanted: Vec<usize>,
    },
    /// The weight file has parameters that the model does not know.
    #[error("weights {path}: unexpected parameters {}; the configuration describes another model", .names.join(", "))]
    UnexpectedParameters {
        /// The file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A text could not be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Token ids or pixels that do not fit the towers.
    #[error("embedder {spec}: {reason}")]
    BadInput {
        /// The specification.
        spec: String,
        /// What is wrong.
        reason: String,
    },
    /// The device has no memory left for a single input.
    #[error(
        "embedder {spec}: the device has no memory even for one {what}; keep the weights in half precision (embedder.dtype = \"bf16\"), free some memory, or choose a smaller model"
    )]
    NoMemory {
        /// The specification.
        spec: String,
        /// Kind of input.
        what: &'static str,
    },
    /// The tensor library failed.
    #[error("failed to compute embeddings: {0}")]
    Compute(#[from] candle_core::Error),
}
