//! What a file to be written will hold (`embedding-cache.md` sections 5, 7).

use super::dtype::{FloatDtype, IntDtype};
use super::error::{CacheError, Result};
use super::hash::ConfigHash;
use super::header::{HEADER_SIZE, Header, VERSION, VERSION_COMPACT};
use super::noun_table::NounTable;
use super::reader::Cache;
use super::signature::EmbedderSignature;
use super::target_config::TargetConfig;
use super::tokenize::TokenRows;
use crate::embedders::tokenizer::TextTokenizer;
use crate::random::{Draws, Purpose};

/// Type of the target ids in every file written.
pub(super) const ID_DTYPE: IntDtype = IntDtype::I32;

/// Properties of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFlags {
    /// No target is absent. Always so without targets or with one per sample.
    pub full_targets: bool,
    /// Weights are uniform over the present targets and made by the writer.
    pub default_weights: bool,
    /// Weights of a sample sum to 1. Always so with default weights.
    pub unit_weights: bool,
    /// Readers must have the same embedder and target configuration.
    pub embedder_strict: bool,
}

impl Default for FileFlags {
    fn default() -> Self {
        Self {
            full_targets: true,
            default_weights: true,
            unit_weights: true,
            embedder_strict: true,
        }
    }
}

/// Which row of the file a written sample goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// The order of writing.
    AsWritten,
    /// A random order; readers rely on it, as they keep neighbours together.
    Shuffled {
        /// Seed of the order.
        seed: u64,
    },
    /// Sample `i` goes to row `rows[i]`.
    Given(Vec<u32>),
}

/// Nouns of a file and their tokens.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    config_hash: ConfigHash,
    use_masks: bool,
    pub(super) nouns: NounTable,
    pub(super) tokens: TokenRows,
    pub(super) per_sample: usize,
}

impl TargetPlan {
    /// Plan for `per_sample` targets per sample out of `nouns`.
    ///
    /// # Errors
    /// Nouns that the configuration cannot express.
    pub fn new(
        config: &TargetConfig,
        tokenizer: &dyn TextTokenizer,
        nouns: NounTable,
        per_sample: usize,
    ) -> Result<Self> {
        let tokens = config.token_table(tokenizer, &nouns)?;
        Ok(Self::with_tokens(config, nouns, tokens, per_sample))
    }

    /// The same with a token table that is known already.
    pub fn with_tokens(
        config: &TargetConfig,
        nouns: NounTable,
        tokens: TokenRows,
        per_sample: usize,
    ) -> Self {
        Self {
            config_hash: config.hash(),
            use_masks: config.use_masks,
            nouns,
            tokens,
            per_sample,
        }
    }
}

/// A file to be written: its header, its tables, and the places of its rows.
#[derive(Clone, Debug)]
pub struct FilePlan {
    pub(super) header: Header,
    /// Everything before the samples, without the magic bytes.
    pub(super) preamble: Vec<u8>,
    pub(super) order: RowOrder,
}

impl FilePlan {
    /// Plan for a file of `samples` embeddings of this embedder.
    ///
    /// # Errors
    /// Counts that the format cannot hold, no samples, no targets per sample,
    /// a token table that does not fit, an order that is not a permutation.
    pub fn new(
        samples: u64,
        embedder: &EmbedderSignature,
        targets: Option<&TargetPlan>,
        flags: FileFlags,
        order: RowOrder,
    ) -> Result<Self> {
        if samples == 0 {
            return Err(CacheError::NoSamples);
        }
        let embed_num = u32::try_from(samples).map_err(|_| CacheError::TooLarge {
            what: "number of samples",
            value: samples,
            limit: u64::from(u32::MAX),
        })?;
        if let RowOrder::Given(rows) = &order {
            check_permutation(rows, samples)?;
        }
        let dim = narrow("embedding dimension", embedder.dim)?;
        let mut header = Header {
            version: VERSION,
            use_targets: targets.is_some(),
            full_targets: true,
            default_weights: true,
            unit_weights: true,
            embedder_strict: flags.embedder_strict,
            embedder_hash: ConfigHash::NONE,
            target_config_hash: ConfigHash::NONE,
            target_nouns_num: 0,
            target_nouns_size: 0,
            target_dim: 0,
            target_dtype: embedder.token_dtype.into(),
            embed_num,
            embed_targets_dim: 0,
            embed_targets_dtype: ID_DTYPE,
            embed_dim: dim,
            embed_dtype: embedder.dtype,
        };
        if flags.embedder_strict {
            header.embedder_hash = embedder.hash;
        }
        let mut tables = Vec::new();
        if let Some(targets) = targets {
            if targets.per_sample == 0 || targets.tokens.columns == 0 {
                return Err(CacheError::EmptyTargets);
            }
            tables = targets.nouns.encode();
            header.full_targets = flags.full_targets || targets.per_sample == 1;
            header.default_weights = flags.default_weights;
            header.unit_weights = flags.unit_weights || flags.default_weights;
            header.target_nouns_num = targets.nouns.len() as u32;
            header.target_nouns_size =
                u32::try_from(tables.len()).map_err(|_| CacheError::TooLarge {
                    what: "size of the noun names in bytes",
                    value: tables.len() as u64,
                    limit: u64::from(u32::MAX),
                })?;
            header.target_dim = narrow("token length", targets.tokens.columns)?;
            header.embed_targets_dim = narrow("number of targets per sample", targets.per_sample)?;
            if flags.embedder_strict {
                header.target_config_hash = targets.config_hash;
            }
            targets.append_tables(header.target_dtype, &mut tables)?;
        }
        let mut preamble = header.encode(false);
        preamble.append(&mut tables);
        Ok(Self {
            header,
            preamble,
            order,
        })
    }

    /// Plan for a file with the rows of a cache, in their order.
    ///
    /// # Errors
    /// A token that the type of the token table cannot hold.
    pub fn copying(cache: &Cache) -> Result<Self> {
        let mut header = cache.header().clone();
        header.embed_dtype = header.delivered_dtype();
        header.version = VERSION;
        let mut preamble = header.encode(false);
        if let Some(targets) = &cache.targets {
            preamble.extend(targets.nouns.encode());
            let plan = TargetPlan {
                config_hash: header.target_config_hash,
                use_masks: targets.use_masks,
                nouns: targets.nouns.clone(),
                tokens: TokenRows {
                    columns: targets.columns,
                    ids: targets.tokens.iter().map(|&id| i64::from(id)).collect(),
                    padding: targets.padding.clone(),
                },
                per_sample: targets.per_sample,
            };
            plan.append_tables(header.target_dtype, &mut preamble)?;
        }
        Ok(Self {
            header,
            preamble,
            order: RowOrder::AsWritten,
        })
    }

    /// The same plan with embeddings stored in another type. Single precision
    /// gives a file of version 1, less one of version 2.
    ///
    /// # Errors
    /// The embeddings are not of single precision.
    pub fn stored_as(mut self, stored: FloatDtype) -> Result<Self> {
        if stored == self.header.embed_dtype {
            return Ok(self);
        }
        let dtype = self.header.delivered_dtype();
        if dtype != FloatDtype::F32 || stored == FloatDtype::F64 {
            return Err(CacheError::NotCompactable { dtype, stored });
        }
        self.header.version = match stored {
            FloatDtype::F32 => VERSION,
            _ => VERSION_COMPACT,
        };
        self.header.embed_dtype = stored;
        self.preamble
            .splice(..HEADER_SIZE, self.header.encode(false));
        Ok(self)
    }

    /// Metadata of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Row of every sample, `None` = the order of writing.
    pub(super) fn rows(&self) -> Option<Vec<u32>> {
        match &self.order {
            RowOrder::AsWritten => None,
            RowOrder::Shuffled { seed } => {
                Some(Draws::new(Purpose::FileRows, *seed, 0).permutation(self.header.embed_num))
            }
            RowOrder::Given(rows) => Some(rows.clone()),
        }
    }
}

impl TargetPlan {
    /// Token table and mask table. Row 0 is padding throughout; without masks
    /// nothing else is marked.
    fn append_tables(&self, dtype: IntDtype, out: &mut Vec<u8>) -> Result<()> {
        let tokens = &self.tokens;
        let cells = self.nouns.len() * tokens.columns;
        if tokens.ids.len() != cells || tokens.padding.len() != cells {
            return Err(CacheError::BadShape {
                what: "the tables of tokens and masks",
                found: format!("{} and {} cells", tokens.ids.len(), tokens.padding.len()),
                expected: format!("{cells} cells each"),
            });
        }
        for (at, &token) in tokens.ids.iter().enumerate() {
            if !(0..=dtype.max()).contains(&(token as u64)) {
                return Err(CacheError::UnknownToken {
                    noun: self.nouns.all()[at / tokens.columns].clone(),
                    token,
                });
            }
            dtype.encode(token, out);
        }
        out.extend(tokens.padding.iter().enumerate().map(|(at, &padding)| {
            let absent = at < tokens.columns;
            u8::from(absent || (self.use_masks && padding))
        }));
        Ok(())
    }
}

fn narrow(what: &'static str, value: usize) -> Result<u16> {
    u16::try_from(value).map_err(|_| CacheError::TooLarge {
        what,
        value: value as u64,
        limit: u64::from(u16::MAX),
    })
}

fn check_permutation(rows: &[u32], samples: u64) -> Result<()> {
    let mut seen = vec![false; rows.len()];
    let fits = rows.len() as u64 == samples
        && rows.iter().all(|&row| {
            seen.get_mut(row as usize)
                .is_some_and(|seen| !std::mem::replace(seen, true))
        });
    if fits {
        Ok(())
    } else {
        Err(CacheError::NotAPermutation { samples })
    }
}
