//! A merge that is a small file: the names of the caches, how often each
//! counts, and the seed of the order. Reading it delivers what the merged
//! cache would.

use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{CacheError, Result};
use super::merged::MergeOptions;
use super::reader::{CacheFile, OpenOptions};
use super::signature::EmbedderSignature;
use super::writer::folder;
use crate::config::schema::MultiMode;
use crate::store::publish_file;

/// Version of the file.
pub const FORMAT: u32 = 1;

/// Value of its first member, which tells what the file is.
const NAME: &str = "virtual merge of embedding caches";

/// Largest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Caches that are read as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualMerge {
    novic: String,
    format: u32,
    /// Targets per sample.
    multi_mode: MultiMode,
    /// Whether targets are used; none: if there are any.
    save_targets: Option<bool>,
    seed: u64,
    parts: Vec<VirtualPart>,
}

/// One of the caches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VirtualPart {
    /// Path, relative to the folder of the file that names it.
    path: PathBuf,
    repeat: usize,
}

impl VirtualMerge {
    /// A merge of no caches yet.
    pub fn new(multi_mode: MultiMode, save_targets: Option<bool>, seed: u64) -> Self {
        Self {
            novic: NAME.to_owned(),
            format: FORMAT,
            multi_mode,
            save_targets,
            seed,
            parts: Vec::new(),
        }
    }

    /// The same with one more cache that counts `repeat` times.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, repeat: usize) -> Self {
        self.parts.push(VirtualPart {
            path: path.into(),
            repeat,
        });
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    /// An output error.
    pub fn write(&self, path: &Path) -> Result<()> {
        let written = publish_file(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        });
        written.map_err(|error| CacheError::Write(error).in_file(path))
    }

    /// The merge that a file describes, or none if it is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let file = fs::File::open(path).map_err(CacheError::Open)?;
        if !file.metadata().map_err(CacheError::Open)?.is_file() {
            return Ok(None);
        }
        let mut text = Vec::new();
        let mut file = file.take(LIMIT + 1);
        // No cache begins with a brace: its first byte is 0 or that of the
        // magic bytes.
        file.by_ref()
            .take(1)
            .read_to_end(&mut text)
            .map_err(CacheError::Read)?;
        if text != b"{" {
            return Ok(None);
        }
        file.read_to_end(&mut text).map_err(CacheError::Read)?;
        let invalid = |reason: String| CacheError::InvalidVirtualMerge { reason };
        if text.len() as u64 > LIMIT {
            return Err(invalid(format!("it is larger than {LIMIT} bytes")));
        }
        let merge: Self =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        if merge.novic != NAME {
            return Err(invalid(format!("`novic` is not {NAME:?}")));
        }
        if merge.format > FORMAT {
            return Err(invalid(format!(
                "its format {} is newer than this program, which reads up to {FORMAT}",
                merge.format
            )));
        }
        Ok(Some(merge))
    }

    /// Opens the caches. Paths are relative to the folder of `path`.
    pub(super) fn open(
        self,
        path: &Path,
        embedder: Option<&EmbedderSignature>,
        options: OpenOptions,
    ) -> Result<CacheFile> {
        let options = OpenOptions {
            use_targets: options.use_targets.or(self.save_targets),
            ..options
        };
        let mut signature = embedder.cloned();
        let (mut files, mut repeats) = (Vec::new(), Vec::new());
        for part in self.parts {
            let place = folder(path).join(&part.path);
            if Self::read(&place)
                .map_err(|error| error.in_file(&place))?
                .is_some()
            {
                return Err(CacheError::InvalidVirtualMerge {
                    reason: format!(
                        "{} is a virtual merge, too; name its parts",
                        place.display()
                    ),
                });
            }
            let file = match &signature {
                Some(signature) => CacheFile::open(&place, signature, options)?,
                None => CacheFile::open_any(&place, options)?,
            };
            signature.get_or_insert_with(|| EmbedderSignature::of_file(file.header()));
            files.push(file);
            repeats.push(part.repeat);
        }
        let signature = signature.ok_or(CacheError::NothingToMerge)?;
        let merge = MergeOptions {
            multi: self.multi_mode,
            ..MergeOptions::shuffled(self.seed)
        };
        let mut merged = CacheFile::merged(files, &repeats, merge, &signature)?;
        merged.path = path.to_owned();
        Ok(merged)
    }
}
