//! Merging caches (`embedding-cache.md` section 8): what fits together and
//! what comes of it.

use super::error::{CacheError, Result};
use super::hash::ConfigHash;
use super::header::{Header, VERSION};
use super::merged::MergeOptions;
use super::noun_table::NounTable;
use super::plan::ID_DTYPE;
use super::reader::{Body, CacheFile};
use super::signature::EmbedderSignature;
use crate::config::schema::MultiMode;

impl CacheFile {
    /// Several files read as one: input `i` counts `repeats[i]` times. All are
    /// opened with or all without targets, for `embedder`, whose hash the
    /// result carries.
    ///
    /// # Errors
    /// No inputs, a count that is missing or 0, inputs with other nouns or
    /// only some with targets, no targets per sample, too many samples.
    pub fn merged(
        files: Vec<CacheFile>,
        repeats: &[usize],
        options: MergeOptions,
        embedder: &EmbedderSignature,
    ) -> Result<CacheFile> {
        let Some(first) = files.first() else {
            return Err(CacheError::NothingToMerge);
        };
        if files.len() != repeats.len() {
            return Err(CacheError::RepeatCount {
                inputs: files.len(),
                repeats: repeats.len(),
            });
        }
        if let Some((file, _)) = files.iter().zip(repeats).find(|(_, repeat)| **repeat == 0) {
            return Err(CacheError::RepeatZero {
                path: file.path.clone(),
            });
        }
        check_nouns(&files)?;
        let header = header(&files, repeats, options.multi, embedder)?;
        Ok(CacheFile {
            path: first.path.clone(),
            header,
            nouns: first.nouns.clone(),
            body: Body::Merged {
                inputs: files
                    .into_iter()
                    .zip(repeats.iter().map(|&repeat| repeat as u64))
                    .collect(),
                options,
            },
        })
    }
}

fn check_nouns(files: &[CacheFile]) -> Result<()> {
    let with = files.iter().find(|file| file.nouns.is_some());
    let without = files.iter().find(|file| file.nouns.is_none());
    if let (Some(with), Some(without)) = (with, without) {
        return Err(CacheError::MixedTargets {
            with: with.path.clone(),
            without: without.path.clone(),
        });
    }
    let all = |file: &CacheFile| -> Vec<String> {
        file.nouns
            .as_ref()
            .map_or(Vec::new(), |nouns| nouns.all().to_vec())
    };
    let nouns = files.first().map(all).unwrap_or_default();
    for file in &files[1..] {
        let other = file.nouns.as_ref().map_or(&[][..], NounTable::all);
        if other != nouns {
            let longest = nouns.len().max(other.len());
            let id = (0..longest)
                .find(|&id| nouns.get(id) != other.get(id))
                .unwrap_or(longest);
            return Err(CacheError::OtherNouns {
                first: files[0].path.clone(),
                second: file.path.clone(),
                difference: (id, nouns.get(id).cloned(), other.get(id).cloned()),
            });
        }
    }
    Ok(())
}

fn header(
    files: &[CacheFile],
    repeats: &[usize],
    multi: MultiMode,
    embedder: &EmbedderSignature,
) -> Result<Header> {
    let headers = || files.iter().map(|file| &file.header);
    let samples: u128 = headers()
        .zip(repeats)
        .map(|(header, &repeat)| u128::from(header.embed_num) * repeat as u128)
        .sum();
    let embed_num = u32::try_from(samples).map_err(|_| CacheError::TooLarge {
        what: "number of samples",
        value: u64::try_from(samples).unwrap_or(u64::MAX),
        limit: u64::from(u32::MAX),
    })?;
    let first = &files[0].header;
    let mut header = Header {
        version: VERSION,
        use_targets: false,
        full_targets: true,
        default_weights: true,
        unit_weights: true,
        embedder_strict: true,
        embedder_hash: embedder.hash,
        target_config_hash: ConfigHash::NONE,
        target_nouns_num: 0,
        target_nouns_size: 0,
        target_dim: 0,
        target_dtype: embedder.token_dtype.into(),
        embed_num,
        embed_targets_dim: 0,
        embed_targets_dtype: ID_DTYPE,
        embed_dim: first.embed_dim,
        embed_dtype: first.delivered_dtype(),
    };
    if files[0].nouns.is_some() {
        let counts = || headers().map(|header| header.embed_targets_dim);
        let targets = match multi {
            MultiMode::Min => counts().min().unwrap_or(0),
            MultiMode::Max => counts().max().unwrap_or(0),
            MultiMode::Count(count) => u16::try_from(count).map_err(|_| CacheError::TooLarge {
                what: "number of targets per sample",
                value: count as u64,
                limit: u64::from(u16::MAX),
            })?,
        };
        if targets == 0 {
            return Err(CacheError::NoTargetsPerSample);
        }
        header = Header {
            use_targets: true,
            full_targets: targets <= 1
                || headers().all(|h| h.full_targets && targets <= h.embed_targets_dim),
            default_weights: false,
            unit_weights: headers().all(|h| h.unit_weights && targets >= h.embed_targets_dim),
            target_nouns_num: first.target_nouns_num,
            target_nouns_size: first.target_nouns_size,
            target_dim: first.target_dim,
            target_dtype: first.target_dtype,
            embed_targets_dim: targets,
            ..header
        };
    }
    Ok(header)
}
