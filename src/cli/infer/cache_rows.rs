//! Embeddings of a cache as inputs, and its nouns as a guide.

use std::path::{Path, PathBuf};

use crate::cache::{Cache, CacheFile, OpenOptions};
use crate::cli::{CliError, Exit};
use crate::infer::{Content, NounList, Sample, SampleError};

/// Rows read together.
const ROWS: u64 = 1024;

fn open(path: &Path) -> Result<CacheFile, CliError> {
    CacheFile::open_any(path, OpenOptions::default())
        .map_err(|error| CliError::from_error(Exit::Usage, &error))
}

/// The nouns of a cache.
pub(super) fn nouns(path: &Path) -> Result<NounList, CliError> {
    let file = open(path)?;
    let nouns = file.nouns().ok_or_else(|| {
        CliError::usage(format!(
            "{} has no target nouns to choose from",
            path.display()
        ))
    })?;
    Ok(NounList {
        nouns: nouns.valid().to_vec(),
        repeated: Vec::new(),
    })
}

/// The embeddings of a cache, read as they are asked for.
pub(super) struct CacheRows {
    path: PathBuf,
    cache: Cache,
    next: u64,
    read: std::vec::IntoIter<Sample>,
}

impl CacheRows {
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let cache = open(path)?
            .enter_as_is()
            .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        Ok(Self {
            path: path.to_owned(),
            cache,
            next: 0,
            read: Vec::new().into_iter(),
        })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.cache.len()).unwrap_or(usize::MAX)
    }

    fn read(&self) -> Vec<Sample> {
        let stop = (self.next + ROWS).min(self.cache.len());
        let sample = |row: u64, content| Sample {
            name: format!("{}[{row}]", self.path.display()),
            content,
            tag: None,
        };
        match self.cache.samples(self.next, stop) {
            Ok(samples) => {
                let values = samples.embeds.into_f32();
                let dim = values.len() / samples.len.max(1);
                let rows = values.chunks(dim.max(1)).map(<[f32]>::to_vec);
                (self.next..stop)
                    .zip(rows)
                    .map(|(row, values)| sample(row, Content::Embedding(values)))
                    .collect()
            }
            Err(error) => (self.next..stop)
                .map(|row| {
                    let error = SampleError::input(error.to_string());
                    sample(row, Content::Failed(error))
                })
                .collect(),
        }
    }
}

impl Iterator for CacheRows {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if let Some(sample) = self.read.next() {
            return Some(sample);
        }
        if self.next >= self.cache.len() {
            return None;
        }
        self.read = self.read().into_iter();
        self.next = (self.next + ROWS).min(self.cache.len());
        self.read.next()
    }
}
