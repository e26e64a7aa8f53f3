//! Looking for everything that can be wrong with a cache file, at the speed of
//! the disk and in constant memory.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::error::{CacheError, Result};
use super::hash::ConfigHash;
use super::header::Header;
use super::reader::{Cache, CacheFile, OpenOptions, Samples};
use super::sample_rows::default_weights;
use super::signature::EmbedderSignature;
use super::target_config::{TargetConfig, TargetOptions};
use crate::embedders::tokenizer::TextTokenizer;

/// Rows that are looked at together.
const CHUNK: u64 = 4096;

/// Chunks that are read at a time.
const CHUNKS: u64 = 16;

/// What a file is compared with, if anything.
#[derive(Clone, Copy, Default)]
pub struct VerifyWith<'a> {
    /// The embedder that it should be of.
    pub embedder: Option<&'a EmbedderSignature>,
    /// The embedder's tokenizer.
    pub tokenizer: Option<&'a dyn TextTokenizer>,
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// First row where it is, if it is about rows.
    pub row: Option<u64>,
    /// Number of places.
    pub count: u64,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Everything that is wrong, in the order of the file.
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    fn add(&mut self, what: impl ToString, row: Option<u64>) {
        let what = what.to_string();
        match self.0.iter_mut().find(|known| known.what == what) {
            Some(known) => known.count += 1,
            None => self.0.push(Finding {
                what,
                row,
                count: 1,
            }),
        }
    }
}

/// Checks a file: sizes, header, tables, every row. What the header shows to
/// be unreadable ends the check. `progress` is told how many rows are done.
///
/// # Errors
/// An input error while rows are read.
pub fn verify(
    path: &Path,
    with: VerifyWith<'_>,
    mut progress: impl FnMut(u64),
) -> Result<Findings> {
    let mut findings = Findings::default();
    let options = OpenOptions {
        use_targets: None,
        strict: with.embedder.is_some(),
    };
    let opened = match with.embedder {
        Some(embedder) => CacheFile::open(path, embedder, options),
        None => CacheFile::open_any(path, options),
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            findings.add(without_path(error), None);
            return Ok(findings);
        }
    };
    check_header(&file, &mut findings);
    let cache = match file.enter_as_is() {
        Ok(cache) => cache,
        Err(error) => {
            findings.add(without_path(error), None);
            return Ok(findings);
        }
    };
    check_tables(&cache, &mut findings);
    if let Some(tokenizer) = with.tokenizer {
        check_tokens(&cache, tokenizer, &mut findings);
    }
    check_rows(&cache, &mut findings, &mut progress)?;
    Ok(findings)
}

/// The path is known to who asks.
fn without_path(error: CacheError) -> String {
    match error {
        CacheError::File { source, .. } => source.to_string(),
        error => error.to_string(),
    }
}

fn check_header(file: &CacheFile, findings: &mut Findings) {
    let header = file.header();
    if let Some(start) = file.start() {
        let flags = [
            (33, "use_targets"),
            (34, "full_targets"),
            (35, "default_weights"),
            (36, "unit_weights"),
            (37, "embedder_strict"),
        ];
        for (offset, name) in flags {
            if start[offset] > 1 {
                findings.add(
                    format!("flag {name} is {}, not 0 or 1", start[offset]),
                    None,
                );
            }
        }
    }
    let counts = [
        header.target_nouns_num > 0,
        header.target_nouns_size > 0,
        header.target_dim > 0,
        header.embed_targets_dim > 0,
    ];
    if !header.use_targets && counts.contains(&true) {
        findings.add(
            "the header says that there are no targets, but counts some",
            None,
        );
    }
    if header.default_weights && !header.unit_weights {
        findings.add("default weights sum to 1, but the header denies it", None);
    }
    let hashes = [header.embedder_hash, header.target_config_hash];
    if !header.embedder_strict && hashes.iter().any(|hash| *hash != ConfigHash::NONE) {
        findings.add("a file that is not strict has a hash", None);
    }
    if header.embedder_strict && header.embedder_hash == ConfigHash::NONE {
        findings.add("a strict file has no hash of its embedder", None);
    }
}

fn check_tables(cache: &Cache, findings: &mut Findings) {
    let (Some((tokens, padding)), Some(nouns)) = (cache.token_table(), cache.nouns()) else {
        return;
    };
    let columns = tokens.len() / nouns.len().max(1);
    let Some((absent, padding_of_nouns)) = padding.split_at_checked(columns) else {
        return;
    };
    if absent.contains(&false) {
        findings.add(
            "the absent noun (row 0 of the mask table) is not all padding",
            None,
        );
    }
    if tokens[..columns].iter().any(|&token| token != tokens[0]) {
        findings.add(
            "the tokens of the absent noun (row 0) are not all padding",
            None,
        );
    }
    for (row, noun) in padding_of_nouns.chunks(columns).zip(nouns.valid()) {
        if row.windows(2).any(|pair| pair[0] && !pair[1]) {
            findings.add(format!("noun {noun:?} has padding before its end"), None);
        }
    }
}

/// Whether the tokens are those of the tokenizer under some target options.
fn check_tokens(cache: &Cache, tokenizer: &dyn TextTokenizer, findings: &mut Findings) {
    let (Some((tokens, _)), Some(nouns)) = (cache.token_table(), cache.nouns()) else {
        return;
    };
    let header = cache.header();
    let mut known = false;
    for options in option_sets() {
        let Ok(config) = TargetConfig::build(tokenizer, nouns.valid(), &options) else {
            continue;
        };
        if header.embedder_strict && config.hash() != header.target_config_hash {
            continue;
        }
        known = true;
        let Ok(table) = config.token_table(tokenizer, nouns) else {
            continue;
        };
        if tokens.iter().map(|&token| i64::from(token)).eq(table.ids) {
            return;
        }
    }
    findings.add(
        if known {
            "the token table is not what the tokenizer makes of the nouns"
        } else {
            "the target configuration is none that this tokenizer and these nouns can have"
        },
        None,
    );
}

/// All target options that change tokens or hash, those of the decoder first.
fn option_sets() -> impl Iterator<Item = TargetOptions> {
    (0..32_u8).map(|bits| {
        let bit = |place: u8| bits >> place & 1 == 1;
        TargetOptions {
            use_masks: !bit(0),
            fixed_token_length: bit(1),
            auto_fixed_token_length: !bit(1),
            compact_ids: !bit(2),
            with_end_token: !bit(3),
            with_start_token: bit(4),
        }
    })
}

fn check_rows(
    cache: &Cache,
    findings: &mut Findings,
    progress: &mut impl FnMut(u64),
) -> Result<()> {
    let mut header = cache.header().clone();
    if !header.use_targets {
        // Whatever else the header says, rows are read without targets.
        header.default_weights = true;
    }
    let mut start = 0;
    while start < cache.len() {
        let chunks: Vec<u64> = (0..CHUNKS)
            .map(|chunk| start + chunk * CHUNK)
            .filter(|&first| first < cache.len())
            .collect();
        let found: Vec<Findings> = chunks
            .par_iter()
            .map(|&first| check_chunk(cache, &header, first, (first + CHUNK).min(cache.len())))
            .collect::<Result<_>>()?;
        for finding in found.into_iter().flat_map(|findings| findings.0) {
            match findings
                .0
                .iter_mut()
                .find(|known| known.what == finding.what)
            {
                Some(known) => known.count += finding.count,
                None => findings.0.push(finding),
            }
        }
        start += CHUNKS * CHUNK;
        progress(start.min(cache.len()));
    }
    Ok(())
}

fn check_chunk(cache: &Cache, header: &Header, first: u64, end: u64) -> Result<Findings> {
    let mut findings = Findings::default();
    let together = cache
        .samples(first, end)
        .and_then(|samples| check_samples(header, &samples, first));
    if together.is_ok() {
        return Ok(findings);
    }
    for row in first..end {
        let outcome = cache
            .samples(row, row + 1)
            .and_then(|samples| check_samples(header, &samples, row));
        match outcome.map_err(row_rule) {
            Ok(()) => {}
            Err(Ok(rule)) => findings.add(rule, Some(row)),
            Err(Err(error)) => return Err(error),
        }
    }
    Ok(findings)
}

/// The rule that a row breaks, in words without its number, or the error that
/// is none of the row.
fn row_rule(error: CacheError) -> std::result::Result<String, CacheError> {
    match error {
        CacheError::File { source, path } => {
            row_rule(*source).map_err(|error| error.in_file(&path))
        }
        CacheError::BadSample { rule, .. } => Ok(rule.to_owned()),
        CacheError::NounIdOutside { .. } => Ok("a target is not in the table of nouns".to_owned()),
        CacheError::NotFinite { .. } => Ok("the embedding is not finite".to_owned()),
        error => Err(error),
    }
}

fn check_samples(header: &Header, samples: &Samples, first: u64) -> Result<()> {
    let rows = samples.rows(header.default_weights);
    rows.check(header, first)?;
    if let (true, Some(ids), Some(weights)) = (
        header.default_weights,
        &samples.target_ids,
        &samples.weights,
    ) {
        let targets = usize::from(header.embed_targets_dim).max(1);
        let expected = default_weights(ids, targets, header.delivered_dtype());
        let same =
            (0..ids.len()).position(|at| expected.as_slice().get(at) != weights.as_slice().get(at));
        if let Some(at) = same {
            return Err(CacheError::BadSample {
                sample: first + (at / targets) as u64,
                rule: "the weights are not the default ones",
            });
        }
    }
    Ok(())
}

/// A hash of every row, of its embedding and targets, in the order of the
/// file. Needs 8 bytes of memory per row.
///
/// # Errors
/// An input error, or a row that cannot be read.
pub fn row_hashes(cache: &Cache) -> Result<Vec<u64>> {
    hashes(cache, true)
}

/// How many rows have an embedding that an earlier one has, bit by bit. Needs
/// 8 bytes of memory per row.
///
/// # Errors
/// An input error, or a row that cannot be read.
pub fn repeated_rows(cache: &Cache) -> Result<u64> {
    let mut hashes = hashes(cache, false)?;
    hashes.par_sort_unstable();
    let all = hashes.len();
    hashes.dedup();
    Ok((all - hashes.len()) as u64)
}

fn hashes(cache: &Cache, with_targets: bool) -> Result<Vec<u64>> {
    let mut hashes = Vec::new();
    cache.for_each_chunk(0..cache.len(), |samples| -> Result<()> {
        let width = samples.embeds.as_slice().bytes().len() / samples.len.max(1);
        let embeds = samples.embeds.as_slice().bytes();
        let ids: &[u8] = bytemuck::cast_slice(samples.target_ids.as_deref().unwrap_or_default());
        let weights = samples
            .weights
            .as_ref()
            .map_or(&[][..], |w| w.as_slice().bytes());
        let part = |bytes: &'_ [u8], row: usize| {
            let width = bytes.len() / samples.len.max(1);
            row * width..(row + 1) * width
        };
        let hash = |(row, embed): (usize, &[u8])| {
            let mut hash = blake3::Hasher::new();
            hash.update(embed);
            if with_targets {
                hash.update(&ids[part(ids, row)]);
                hash.update(&weights[part(weights, row)]);
            }
            let hash = hash.finalize();
            let (first, _) = hash.as_bytes().as_chunks::<8>();
            u64::from_le_bytes(first[0])
        };
        hashes.par_extend(embeds.par_chunks_exact(width).enumerate().map(hash));
        Ok(())
    })?;
    Ok(hashes)
}
