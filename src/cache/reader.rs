//! Reading cache files (`embedding-cache.md` section 6).
//!
//! A [`CacheFile`] is an open file whose header and nouns have been checked;
//! [`CacheFile::enter`] makes a [`Cache`] of it, which delivers samples.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::data_config::{DataConfig, StrictFields};
use super::dtype::{FloatDtype, FloatVec};
use super::error::{CacheError, Result};
use super::header::{HEADER_SIZE, Header, MAGIC};
use super::merged::{MergeOptions, MergedRows};
use super::noun_table::NounTable;
use super::plan::TargetPlan;
use super::rows::{FileRows, Floats, Rows, count, read_at};
use super::signature::EmbedderSignature;
use super::target_config::TargetConfig;
use super::translation::Translation;
use super::virtual_merge::VirtualMerge;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Use the targets: yes, no, or `None` = if the file has them.
    pub use_targets: Option<bool>,
    /// Check the hashes of embedder and target configuration, if the file
    /// carries them.
    pub strict: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            use_targets: None,
            strict: true,
        }
    }
}

/// An open file with a valid header, or several that are read as one.
#[derive(Debug)]
pub struct CacheFile {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) nouns: Option<NounTable>,
    pub(super) body: Body,
}

/// Where the samples of a [`CacheFile`] are.
#[derive(Debug)]
pub(super) enum Body {
    File {
        file: File,
        start: [u8; HEADER_SIZE],
        modified: (i64, i64),
        check_hash: bool,
    },
    /// Files with the same nouns, and how often each counts.
    Merged {
        inputs: Vec<(CacheFile, u64)>,
        options: MergeOptions,
    },
}

impl CacheFile {
    /// Opens a file for reading only.
    ///
    /// # Errors
    /// Every violation of the format that the header, the nouns and the size
    /// of the file show, and a mismatch with the embedder.
    pub fn open(
        path: impl AsRef<Path>,
        embedder: &EmbedderSignature,
        options: OpenOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let open = || match VirtualMerge::read(path)? {
            Some(merge) => merge.open(path, Some(embedder), options),
            None => Self::check(path, embedder, options),
        };
        open().map_err(|error| error.in_file(path))
    }

    /// Whether a file says that it is a cache, or several that are read as one.
    pub fn is_one(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let mut start = [0; MAGIC.len()];
        let has_magic = File::open(path)
            .and_then(|mut file| file.read_exact(&mut start))
            .is_ok_and(|()| start == MAGIC);
        has_magic || matches!(VirtualMerge::read(path), Ok(Some(_)))
    }

    /// Opens a file for whichever embedder wrote it: for tools that only look
    /// at files.
    ///
    /// # Errors
    /// As [`CacheFile::open`].
    pub fn open_any(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            if let Some(merge) = VirtualMerge::read(path)? {
                return merge.open(path, None, options);
            }
            let file = File::open(path).map_err(CacheError::Open)?;
            if !file.metadata().map_err(CacheError::Open)?.is_file() {
                return Err(CacheError::NotACache);
            }
            let mut start = [0; HEADER_SIZE];
            read_at(&file, &mut start, 0)?;
            let header = Header::check_start(&start)?.parse_fields()?;
            Self::check(path, &EmbedderSignature::of_file(&header), options)
        };
        open().map_err(|error| error.in_file(path))
    }

    fn check(path: &Path, embedder: &EmbedderSignature, options: OpenOptions) -> Result<Self> {
        let file = File::open(path).map_err(CacheError::Open)?;
        let metadata = file.metadata().map_err(CacheError::Open)?;
        if !metadata.is_file() {
            return Err(CacheError::NotACache);
        }
        let size = metadata.len();
        let mut start = [0; HEADER_SIZE];
        read_at(&file, &mut start, 0)?;
        let raw = Header::check_start(&start)?;

        let check_hash = options.strict && raw.embedder_strict();
        if check_hash && !embedder.accepts(raw.embedder_hash()) {
            return Err(CacheError::OtherEmbedder {
                file: raw.embedder_hash(),
                embedder: embedder.hash,
            });
        }
        let use_targets = options.use_targets.unwrap_or(raw.use_targets());
        if use_targets && !raw.use_targets() {
            return Err(CacheError::NoTargets);
        }
        let nouns = if use_targets {
            let bytes = u64::from(raw.target_nouns_size());
            if HEADER_SIZE as u64 + bytes > size {
                return Err(CacheError::Truncated);
            }
            let mut section = vec![0; bytes as usize];
            read_at(&file, &mut section, HEADER_SIZE as u64)?;
            Some(NounTable::decode(
                &section,
                u64::from(raw.target_nouns_num()),
            )?)
        } else {
            None
        };

        let header = raw.parse_fields()?;
        if header.embed_num == 0 {
            return Err(CacheError::NoSamples);
        }
        let dtype = header.delivered_dtype();
        if usize::from(header.embed_dim) != embedder.dim || dtype != embedder.dtype {
            return Err(CacheError::OtherVectors {
                file_dim: usize::from(header.embed_dim),
                file_dtype: dtype,
                dim: embedder.dim,
                dtype: embedder.dtype,
            });
        }
        let expected = header.layout().total_size();
        if size != expected {
            return Err(CacheError::WrongSize { size, expected });
        }
        if let Some(nouns) = &nouns {
            if header.target_dim == 0 || header.embed_targets_dim == 0 {
                return Err(CacheError::EmptyTargets);
            }
            if header.target_dtype != embedder.token_dtype.into() {
                return Err(CacheError::OtherTokenDtype {
                    file: header.target_dtype,
                    tokenizer: embedder.token_dtype.into(),
                });
            }
            if nouns.len() as u64 - 1 > header.embed_targets_dtype.max() {
                return Err(CacheError::IdsTooNarrow {
                    dtype: header.embed_targets_dtype,
                    nouns: nouns.len(),
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            header,
            nouns,
            body: Body::File {
                file,
                start,
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                check_hash,
            },
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Target nouns, if targets are used.
    pub fn nouns(&self) -> Option<&NounTable> {
        self.nouns.as_ref()
    }

    /// Samples `N`.
    pub fn samples(&self) -> u64 {
        u64::from(self.header.embed_num)
    }

    /// What the file delivers unless something else is requested, and what
    /// cannot be changed.
    pub fn nominal(&self) -> (DataConfig, StrictFields) {
        DataConfig::of_file(&self.header)
    }

    /// Whether it is several files, read as one.
    pub fn is_merged(&self) -> bool {
        matches!(self.body, Body::Merged { .. })
    }

    /// First bytes of the file, if it is one file.
    pub(super) fn start(&self) -> Option<&[u8; HEADER_SIZE]> {
        match &self.body {
            Body::File { start, .. } => Some(start),
            Body::Merged { .. } => None,
        }
    }

    /// Makes the samples available with the tokens that the file holds,
    /// whatever target configuration they are of: for tools that only look at
    /// files.
    ///
    /// # Errors
    /// As [`CacheFile::enter`].
    pub fn enter_as_is(self) -> Result<Cache> {
        let path = self.path.clone();
        self.enter_unnamed(Tables::AsTheyAre)
            .map_err(|error| error.in_file(&path))
    }

    /// Makes the samples available. With targets, `config` is the target
    /// configuration of this file's nouns; `translation` maps its tokens to
    /// those of a model.
    ///
    /// # Errors
    /// The file changed since it was opened, the configuration is missing or
    /// another one than the file was written with, or a token has no
    /// translation.
    pub fn enter(
        self,
        config: Option<&TargetConfig>,
        translation: Option<&Translation>,
    ) -> Result<Cache> {
        let path = self.path.clone();
        self.enter_unnamed(Tables::For(config, translation))
            .map_err(|error| error.in_file(&path))
    }

    fn enter_unnamed(self, tables: Tables<'_>) -> Result<Cache> {
        match self.body {
            Body::Merged { inputs, options } => {
                enter_merged(self.path, self.header, inputs, &options, tables)
            }
            Body::File {
                file,
                start,
                modified,
                check_hash,
            } => {
                check_unchanged(&file, &self.header, &start, modified)?;
                let targets = match (self.nouns, tables) {
                    (None, Tables::For(_, Some(_))) => return Err(CacheError::NoTargets),
                    (None, _) => None,
                    (Some(_), Tables::For(None, _)) => return Err(CacheError::NoTargetConfig),
                    (Some(nouns), Tables::For(Some(config), translation)) => {
                        check_config(&self.header, config, check_hash)?;
                        let mut targets = Targets::read(&file, &self.header, nouns, translation)?;
                        targets.fixed_token_length = config.fixed_token_length;
                        targets.use_masks = config.use_masks;
                        Some(targets)
                    }
                    (Some(nouns), Tables::AsTheyAre) => {
                        Some(Targets::read(&file, &self.header, nouns, None)?)
                    }
                };
                Ok(Cache {
                    rows: Rows::File(FileRows::new(file, self.path.clone(), self.header.clone())),
                    path: self.path,
                    header: self.header,
                    targets,
                })
            }
        }
    }
}

/// Which tokens the nouns of a file have.
#[derive(Clone, Copy)]
enum Tables<'a> {
    /// Those of the file, whatever they mean.
    AsTheyAre,
    /// Those of a target configuration, translated if asked for.
    For(Option<&'a TargetConfig>, Option<&'a Translation>),
}

fn enter_merged(
    path: PathBuf,
    mut header: Header,
    inputs: Vec<(CacheFile, u64)>,
    options: &MergeOptions,
    tables: Tables<'_>,
) -> Result<Cache> {
    let per_sample = usize::from(header.embed_targets_dim);
    let mut targets = None;
    let mut rows = Vec::with_capacity(inputs.len());
    if let Some((first, _)) = inputs.first() {
        header.target_config_hash = first.header.target_config_hash;
    }
    for (input, repeat) in inputs {
        let len = input.samples();
        let path = input.path.clone();
        let cache = input
            .enter_unnamed(tables)
            .map_err(|error| error.in_file(&path))?;
        rows.push((cache.rows, len, repeat));
        match (&targets, cache.targets) {
            (None, first) => targets = first,
            (Some(first), Some(targets)) if !first.has_tokens_of(&targets) => {
                return Err(CacheError::OtherTokens { path });
            }
            _ => {}
        }
    }
    if let (Tables::For(Some(config), _), true) = (tables, header.use_targets) {
        header.target_config_hash = config.hash();
    }
    let shape = (usize::from(header.embed_dim), header.embed_dtype);
    Ok(Cache {
        rows: Rows::Merged(MergedRows::new(rows, per_sample, shape, options)?),
        targets: targets.map(|targets| Targets {
            per_sample,
            ..targets
        }),
        path,
        header,
    })
}

fn check_unchanged(
    file: &File,
    header: &Header,
    start: &[u8; HEADER_SIZE],
    modified: (i64, i64),
) -> Result<()> {
    let metadata = file.metadata().map_err(CacheError::Read)?;
    let mut now = [0; HEADER_SIZE];
    read_at(file, &mut now, 0)?;
    if now != *start
        || metadata.len() != header.layout().total_size()
        || (metadata.mtime(), metadata.mtime_nsec()) != modified
    {
        return Err(CacheError::Changed);
    }
    Ok(())
}

/// Whether the target configuration fits a file.
fn check_config(header: &Header, config: &TargetConfig, check_hash: bool) -> Result<()> {
    let file_hash = header.target_config_hash;
    // Masks that the reader does not want may be there all the same.
    if check_hash && config.hash() != file_hash && config.with_masks(true).hash() != file_hash {
        return Err(CacheError::OtherTargetConfig);
    }
    if config.token_length != usize::from(header.target_dim) {
        return Err(CacheError::OtherTokenLength {
            file: usize::from(header.target_dim),
            config: config.token_length,
        });
    }
    if header.target_dtype != config.token_dtype.into() {
        return Err(CacheError::OtherTokenDtype {
            file: header.target_dtype,
            tokenizer: config.token_dtype.into(),
        });
    }
    Ok(())
}

fn token_ids(tokens: &[i64], nouns: &NounTable, columns: usize) -> Result<Vec<u32>> {
    tokens
        .iter()
        .enumerate()
        .map(|(at, &token)| {
            u32::try_from(token).map_err(|_| CacheError::UnknownToken {
                noun: nouns.all()[at / columns].clone(),
                token,
            })
        })
        .collect()
}

/// A cache whose samples can be read.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    pub(super) header: Header,
    pub(super) rows: Rows,
    pub(super) targets: Option<Targets>,
}

/// Tables of a cache that is read with targets.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) nouns: NounTable,
    /// `[R, C]`.
    pub(super) tokens: Vec<u32>,
    /// `[R, C]`, true = padding.
    pub(super) padding: Vec<bool>,
    pub(super) columns: usize,
    pub(super) per_sample: usize,
    pub(super) fixed_token_length: bool,
    pub(super) use_masks: bool,
}

impl Targets {
    fn read(
        file: &File,
        header: &Header,
        nouns: NounTable,
        translation: Option<&Translation>,
    ) -> Result<Self> {
        let layout = header.layout();
        let columns = usize::from(header.target_dim);
        let mut tokens = vec![0; layout.tokens.size() as usize];
        read_at(file, &mut tokens, layout.tokens.offset)?;
        let mut tokens = header.target_dtype.decode(&tokens);
        let left_out = match translation {
            Some(translation) => translation.apply_rows(&mut tokens, columns)?,
            None => Vec::new(),
        };
        let mut masks = vec![0; layout.masks.size() as usize];
        read_at(file, &mut masks, layout.masks.offset)?;
        let mut padding: Vec<bool> = masks.into_iter().map(|byte| byte != 0).collect();
        for row in left_out {
            let start = row * columns;
            padding[start..start + columns].fill(true);
        }
        Ok(Self {
            tokens: token_ids(&tokens, &nouns, columns)?,
            padding,
            columns,
            per_sample: usize::from(header.embed_targets_dim),
            nouns,
            fixed_token_length: false,
            use_masks: true,
        })
    }

    /// Tables that are planned.
    pub(super) fn planned(plan: TargetPlan, config: &TargetConfig) -> Result<Self> {
        let columns = plan.tokens.columns;
        let mut padding = plan.tokens.padding;
        padding[..columns].fill(true);
        Ok(Self {
            tokens: token_ids(&plan.tokens.ids, &plan.nouns, columns)?,
            padding,
            columns,
            per_sample: plan.per_sample,
            nouns: plan.nouns,
            fixed_token_length: config.fixed_token_length,
            use_masks: config.use_masks,
        })
    }

    fn has_tokens_of(&self, other: &Self) -> bool {
        self.columns == other.columns && self.tokens == other.tokens
    }
}

/// Samples as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Number of samples.
    pub len: usize,
    /// `[len, F]`.
    pub embeds: FloatVec,
    /// Noun ids `[len, M]`, 0 = absent; if targets are used.
    pub target_ids: Option<Vec<u32>>,
    /// Weights `[len, M]`; if targets are used.
    pub weights: Option<FloatVec>,
}

impl Samples {
    /// No samples.
    pub(super) fn none() -> Self {
        Self {
            len: 0,
            embeds: FloatVec::empty(FloatDtype::F32),
            target_ids: None,
            weights: None,
        }
    }
}

impl Cache {
    /// Samples that lie in no file.
    pub(super) fn made(header: Header, rows: Rows, targets: Targets) -> Self {
        Self {
            path: PathBuf::new(),
            header,
            rows,
            targets: Some(targets),
        }
    }

    /// Where the file lies; nowhere, for samples that are made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// As [`CacheFile::nominal`].
    pub fn nominal(&self) -> (DataConfig, StrictFields) {
        DataConfig::of_file(&self.header)
    }

    /// Samples `N`.
    pub fn len(&self) -> u64 {
        u64::from(self.header.embed_num)
    }

    /// Always false: a file holds at least one sample.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Target nouns, if targets are used.
    pub fn nouns(&self) -> Option<&NounTable> {
        self.targets.as_ref().map(|targets| &targets.nouns)
    }

    /// Token ids and padding `[R, C]` of all nouns, if targets are used.
    pub fn token_table(&self) -> Option<(&[u32], &[bool])> {
        self.targets
            .as_ref()
            .map(|targets| (&targets.tokens[..], &targets.padding[..]))
    }

    /// The samples from `start` up to `stop`, cut at the end of the file.
    ///
    /// # Errors
    /// An input error, a noun id outside the table, an embedding that is not
    /// finite.
    pub fn samples(&self, start: u64, stop: u64) -> Result<Samples> {
        let mut samples = Samples::none();
        self.read_samples(start, stop, &mut samples)?;
        Ok(samples)
    }

    /// The same into memory that is used again.
    pub(super) fn read_samples(&self, start: u64, stop: u64, out: &mut Samples) -> Result<()> {
        let stop = stop.min(self.len());
        let run = start.min(stop)..stop;
        let runs = std::slice::from_ref(&run);
        let located = self.rows.locate(runs);
        out.len = count(runs);
        self.rows
            .floats(Floats::Embeds, &located, &mut out.embeds)?;
        if self.targets.is_none() {
            (out.target_ids, out.weights) = (None, None);
            return Ok(());
        }
        let ids = out.target_ids.get_or_insert_default();
        self.rows.target_ids(&located, ids)?;
        let weights = out
            .weights
            .get_or_insert_with(|| FloatVec::empty(self.header.delivered_dtype()));
        self.rows.floats(Floats::Weights, &located, weights)
    }

    /// As [`Rows::keep_in_memory`].
    pub(super) fn keep_in_memory(&self) -> bool {
        self.rows.keep_in_memory()
    }

    /// Says that rows are wanted soon.
    pub(super) fn prefetch(&self, runs: &[Range<u64>]) {
        self.rows.prefetch(runs);
    }
}
