//! What can go wrong with a cache.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::dtype::{FloatDtype, IntDtype};
use super::hash::ConfigHash;
use crate::embedders::tokenizer::TokenizerError;

/// Result of this room.
pub type Result<T> = std::result::Result<T, CacheError>;

/// Why a cache cannot be read, written or used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Samples that lie in no file cannot be made.
    #[error("failed to make samples: {0}")]
    Made(String),
    /// One of the others, in this file.
    #[error("embedding cache {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<CacheError>,
    },

    // The file.
    /// It cannot be opened.
    #[error("failed to open: {0}")]
    Open(#[source] io::Error),
    /// It cannot be read.
    #[error("failed to read: {0}")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("failed to write: {0}; free some space or choose another place")]
    Write(#[source] io::Error),
    /// It ends too early.
    #[error("the file is truncated; write it again")]
    Truncated,
    /// Its size does not fit its header.
    #[error("the file has {size} bytes, its header asks for {expected}; write it again")]
    WrongSize {
        /// Bytes of the file.
        size: u64,
        /// Bytes that the header implies.
        expected: u64,
    },
    /// It does not start with the magic bytes.
    #[error("this is not an embedding cache")]
    NotACache,
    /// It was never finished.
    #[error("the file was not written to its end; write it again")]
    Incomplete,
    /// It has another format version.
    #[error("format version {version} is unknown, 1 (and 2 in half precision) can be read")]
    UnknownVersion {
        /// Version in the header.
        version: u8,
    },
    /// An element type is not in the table.
    #[error("the header names {kind} type {id}, which does not exist; write the file again")]
    UnknownDtype {
        /// Kind of elements.
        kind: &'static str,
        /// Id in the header.
        id: u16,
    },
    /// It does not start with the marker of text caches.
    #[error("this is not a text cache of a noun dataset")]
    NotATextCache,
    /// It describes no merge.
    #[error("this is not a virtual merge: {reason}")]
    InvalidVirtualMerge {
        /// What is wrong.
        reason: String,
    },
    /// Embeddings that are not single precision cannot be stored in less.
    #[error(
        "only {:?} embeddings can be stored as {stored:?}, these are {dtype:?}",
        FloatDtype::F32
    )]
    NotCompactable {
        /// Their type.
        dtype: FloatDtype,
        /// The wanted one.
        stored: FloatDtype,
    },
    /// It changed between opening and reading.
    #[error("the file changed while it was open; start again when nothing writes to it")]
    Changed,
    /// The header says that there are no samples.
    #[error("the file holds no samples")]
    NoSamples,
    /// Targets are wanted of a file without.
    #[error("the file has no targets; use one that has, or read embeddings only")]
    NoTargets,
    /// Targets without tokens, or samples without room for targets.
    #[error("targets would have no tokens or samples no targets; keep the end token")]
    EmptyTargets,

    // Its contents.
    /// A noun id in the file that no noun has.
    #[error("sample {row} has noun id {id}, only 0 to {} exist; write the file again", nouns - 1)]
    NounIdOutside {
        /// Row of the sample.
        row: u64,
        /// Its id.
        id: i64,
        /// Number of nouns.
        nouns: i64,
    },
    /// An embedding with infinite or undefined elements.
    #[error("the embedding of sample {row} is not finite; write the file again")]
    NotFinite {
        /// Row of the sample.
        row: u64,
    },

    // Who may read it.
    /// The hashes of the embedders differ.
    #[error(
        "written with another embedder (hash {file}, this embedder has {embedder}); use the \
         embedder it was written with, or set data.strict_embedder=false if you know that \
         the vectors are equivalent"
    )]
    OtherEmbedder {
        /// Hash in the file.
        file: ConfigHash,
        /// Hash of the embedder.
        embedder: ConfigHash,
    },
    /// Dimension or type of the vectors differ.
    #[error(
        "holds vectors of {file_dim} × {file_dtype:?}, the embedder makes {dim} × {dtype:?}; \
         use the embedder it was written with"
    )]
    OtherVectors {
        /// Dimension in the file.
        file_dim: usize,
        /// Type in the file.
        file_dtype: FloatDtype,
        /// Dimension of the embedder.
        dim: usize,
        /// Type of the embedder.
        dtype: FloatDtype,
    },
    /// Types of token ids differ.
    #[error(
        "holds {file:?} tokens, the tokenizer makes {tokenizer:?}; use the embedder it was written with"
    )]
    OtherTokenDtype {
        /// Type in the file.
        file: IntDtype,
        /// Type of the tokenizer.
        tokenizer: IntDtype,
    },
    /// Hashes of the target configurations differ.
    #[error(
        "written with another target configuration; use the same nouns and [target] settings, or \
         set data.strict_embedder=false if you know that the tokens are the same"
    )]
    OtherTargetConfig,
    /// Token lengths differ.
    #[error(
        "targets have {file} tokens in the file but {config} in the target configuration; use the same nouns and [target] settings"
    )]
    OtherTokenLength {
        /// Columns of the file.
        file: usize,
        /// Columns of the configuration.
        config: usize,
    },
    /// Target ids cannot count the nouns.
    #[error("{dtype:?} ids cannot count {nouns} nouns; write the file again")]
    IdsTooNarrow {
        /// Type of the ids.
        dtype: IntDtype,
        /// Number of nouns.
        nouns: usize,
    },
    /// Targets are used without a target configuration.
    #[error("reading targets needs a target configuration for the file's nouns")]
    NoTargetConfig,

    // Nouns and tokens.
    /// No nouns to choose targets from.
    #[error("there are no target nouns; give at least one")]
    NoNouns,
    /// A noun twice.
    #[error("target noun {noun:?} occurs twice; remove one")]
    RepeatedNoun {
        /// The noun.
        noun: String,
    },
    /// A noun that cannot be stored.
    #[error("target noun {noun:?} contains a zero character; remove it")]
    NounWithSeparator {
        /// The noun.
        noun: String,
    },
    /// The noun section is not UTF-8.
    #[error("the noun section is not text; write the file again")]
    NounsNotText,
    /// The number of nouns does not fit the header.
    #[error(
        "the noun section holds {found} nouns, the header says {expected}; write the file again"
    )]
    NounCount {
        /// In the section.
        found: u64,
        /// In the header.
        expected: u64,
    },
    /// Noun 0 means "absent".
    #[error("the first noun is not the empty one; write the file again")]
    FirstNounNotEmpty,
    /// A token that the target configuration lacks.
    #[error(
        "noun {noun:?} has token {token}, which is not in the target vocabulary; add the noun to the nouns the vocabulary is made from"
    )]
    UnknownToken {
        /// The noun.
        noun: String,
        /// The tokenizer's id.
        token: i64,
    },
    /// More tokens than the fixed length.
    #[error(
        "noun {noun:?} has {tokens} tokens, the limit is {limit}; leave it out or raise the token length"
    )]
    NounTooLong {
        /// The noun.
        noun: String,
        /// Its tokens.
        tokens: usize,
        /// The token length.
        limit: usize,
    },
    /// A token id that does not exist.
    #[error(
        "token {token} lies outside a vocabulary of {vocab_size}; check that tokenizer and data belong together"
    )]
    TokenOutsideVocabulary {
        /// The id.
        token: i64,
        /// Number of ids.
        vocab_size: usize,
    },
    /// A stored target configuration contradicts itself.
    #[error("invalid target configuration: {reason}")]
    InvalidTargetConfig {
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Two target configurations that cannot be translated.
    #[error(
        "the data and the model disagree about {property}; choose data made with the model's [target] settings"
    )]
    NotTranslatable {
        /// In what they differ.
        property: &'static str,
    },
    /// A token that the model does not know.
    #[error(
        "token {token} of the data is unknown to the model: its vocabulary is not a superset; evaluate on data of the model's nouns"
    )]
    NotASuperset {
        /// The data's id.
        token: i64,
    },

    // How samples are delivered.
    /// More targets per sample than there are.
    #[error("{requested} targets per sample were requested, the data have {available}")]
    TooManyTargets {
        /// Wanted.
        requested: usize,
        /// There.
        available: usize,
    },
    /// No targets per sample.
    #[error("at least one target per sample must be requested")]
    NoTargetsPerSample,
    /// A property that is not for choosing.
    #[error("{field} is a property of the data and cannot be changed; leave it open")]
    StrictDataField {
        /// Its name.
        field: &'static str,
    },
    /// Neither masks nor weights show which targets are absent.
    #[error(
        "some targets are absent and nothing would show which; set target.masks=true or target.weights=true, or use one target per sample"
    )]
    AbsentTargetsHidden,
    /// A batch that cannot be filled.
    #[error(
        "a batch size of {batch_size} is not possible with {samples} samples; choose 1 to {samples}"
    )]
    BatchSize {
        /// Samples per batch.
        batch_size: usize,
        /// Samples there are.
        samples: u64,
    },
    /// Steps of no batches.
    #[error(
        "gradients must be accumulated over at least one batch; set train.accum_factor to 1 or more"
    )]
    NoAccumulation,
    /// No step would ever be complete.
    #[error(
        "an epoch has {batches} batches, fewer than the {accum_size} that form one step; lower train.accum_factor or data.batch_size"
    )]
    EpochTooShort {
        /// Batches per epoch.
        batches: u64,
        /// Batches per step.
        accum_size: usize,
    },
    /// A thread ended without delivering its batch.
    #[error("a thread that reads batches stopped unexpectedly; start again")]
    WorkerStopped,

    // Merging.
    /// No inputs.
    #[error("there is nothing to merge; give at least one cache")]
    NothingToMerge,
    /// Not one count per input.
    #[error("{repeats} counts are given for {inputs} caches; give one for each")]
    RepeatCount {
        /// Inputs.
        inputs: usize,
        /// Counts.
        repeats: usize,
    },
    /// An input that counts zero times.
    #[error("{} is to be repeated 0 times; leave it out or repeat it at least once", path.display())]
    RepeatZero {
        /// The input.
        path: PathBuf,
    },
    /// Some inputs have targets and some have none.
    #[error(
        "{} has targets and {} has none; merge caches of one kind, or set merge.save_targets=false \
         to keep the embeddings only", with.display(), without.display()
    )]
    MixedTargets {
        /// An input with targets.
        with: PathBuf,
        /// An input without.
        without: PathBuf,
    },
    /// Inputs with different noun tables.
    #[error(
        "{} has other target nouns than {} ({}); make both from the same dictionary, threshold \
         included", second.display(), first.display(), NounDifference(difference)
    )]
    OtherNouns {
        /// The first input.
        first: PathBuf,
        /// The one that differs.
        second: PathBuf,
        /// The first place where they differ: its id, and the noun of each.
        difference: (usize, Option<String>, Option<String>),
    },
    /// Inputs whose nouns have different tokens.
    #[error(
        "the nouns of {} have other tokens than they should; write it again with this embedder",
        path.display()
    )]
    OtherTokens {
        /// The input.
        path: PathBuf,
    },
    /// The output is one of the inputs.
    #[error("{} is an input, too; choose another name for the output", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },

    // Writing.
    /// A count that the format cannot hold.
    #[error("{what} is {value}, the format ends at {limit}; split the data")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Largest value.
        limit: u64,
    },
    /// A sample that breaks a rule of section 7.
    #[error("sample {sample}: {rule}")]
    BadSample {
        /// Its place in the order of writing.
        sample: u64,
        /// The rule.
        rule: &'static str,
    },
    /// Arrays that do not fit the file.
    #[error("{what}: {found} given, {expected} needed")]
    BadShape {
        /// Which array.
        what: &'static str,
        /// What it is.
        found: String,
        /// What fits.
        expected: String,
    },
    /// An array that the file needs.
    #[error("{what} must be given for this file")]
    Missing {
        /// Which array.
        what: &'static str,
    },
    /// An array for which the file has no place.
    #[error("{what} must not be given for this file")]
    Unwanted {
        /// Which array.
        what: &'static str,
    },
    /// More samples than announced.
    #[error("{announced} samples were announced and more are written")]
    TooManySamples {
        /// Announced.
        announced: u64,
    },
    /// An earlier write call failed.
    #[error("an earlier sample could not be written; the file is not kept")]
    FailedBefore,
    /// Fewer samples than announced.
    #[error("{written} of {announced} samples were written; the file is not kept")]
    TooFewSamples {
        /// Written.
        written: u64,
        /// Announced.
        announced: u64,
    },
    /// An order of rows that is not a permutation.
    #[error("the order of rows is not a permutation of {samples} rows")]
    NotAPermutation {
        /// Number of rows.
        samples: u64,
    },
}

struct NounDifference<'a>(&'a (usize, Option<String>, Option<String>));

impl std::fmt::Display for NounDifference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, first, second) = self.0;
        match (first, second) {
            (Some(first), Some(second)) => write!(f, "noun {id} is {second:?}, not {first:?}"),
            (Some(first), None) => write!(f, "noun {id}, {first:?}, is missing"),
            (_, second) => write!(
                f,
                "noun {id}, {:?}, is too many",
                second.as_deref().unwrap_or("")
            ),
        }
    }
}

impl CacheError {
    /// This error with the file it happened in.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::File { .. } => self,
            source => Self::File {
                path: path.to_owned(),
                source: Box::new(source),
            },
        }
    }
}
