//! Writing a cache file that survives being killed.
//!
//! Beside the final name `NAME` lie, while it is written, `NAME.partial`, the
//! file in its final size with zero magic bytes, and `NAME.progress`, a line
//! of JSON that says how many samples in the order of writing are certainly
//! kept, and of which plan. They are in the file or, if its rows are in random
//! order, in `NAME.rows`. Later samples may be there, too; they are written
//! again with the same bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::error::{CacheError, Result};
use super::hash::ConfigHash;
use super::plan::{FilePlan, RowOrder};
use super::sample_rows::SampleRows;
use super::spill::Aside;
use super::writer::{SampleSink, folder, sync_folder};

/// Version of the progress file.
const PROGRESS_VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Progress {
    version: u32,
    plan: String,
    written: u64,
}

/// Writes a file over several lives of a program.
#[derive(Debug)]
pub struct ResumableCacheWriter {
    path: PathBuf,
    partial: PathBuf,
    progress: PathBuf,
    rows: PathBuf,
    plan: String,
    file: File,
    samples: SampleSink,
}

impl ResumableCacheWriter {
    /// Goes on with the file that will get the name `path`, or starts it if
    /// there is none of the same plan. The next sample to write is
    /// [`written`](Self::written). A complete file has the name already and
    /// needs no writer.
    ///
    /// # Errors
    /// The folder cannot be written to or the disk has no room for the file.
    pub fn open(path: impl Into<PathBuf>, plan: &FilePlan) -> Result<Self> {
        let path = path.into();
        Self::open_unnamed(&path, plan).map_err(|error| error.in_file(&path))
    }

    fn open_unnamed(path: &Path, plan: &FilePlan) -> Result<Self> {
        let partial = with_suffix(path, ".partial");
        let progress = with_suffix(path, ".progress");
        let rows = with_suffix(path, ".rows");
        let identity = identity(plan).to_string();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .map_err(CacheError::Write)?;
        let size = file.metadata().map_err(CacheError::Read)?.len();
        let done = read_progress(&progress)?.filter(|done| {
            done.version == PROGRESS_VERSION
                && done.plan == identity
                && done.written <= u64::from(plan.header.embed_num)
                && size == plan.header.layout().total_size()
                && (plan.order == RowOrder::AsWritten || done.written == 0 || rows.exists())
        });
        let aside = Aside::Named(rows.clone());
        let samples = match done {
            Some(done) => SampleSink::resume(plan, done.written, aside)?,
            None => {
                remove_if_there(&progress)?;
                file.set_len(0).map_err(CacheError::Write)?;
                SampleSink::start(&file, plan, aside)?
            }
        };
        Ok(Self {
            path: path.to_owned(),
            partial,
            progress,
            rows,
            plan: identity,
            file,
            samples,
        })
    }

    /// Whether the file that would get the name `path` has it already. What a
    /// killed program left beside it then goes away.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn is_finished(path: &Path) -> Result<bool> {
        if !path.exists() {
            return Ok(false);
        }
        for suffix in [".rows", ".progress"] {
            remove_if_there(&with_suffix(path, suffix)).map_err(|error| error.in_file(path))?;
        }
        Ok(true)
    }

    /// Samples written so far, those of earlier lives included.
    pub fn written(&self) -> u64 {
        self.samples.written()
    }

    /// Writes the next samples.
    ///
    /// # Errors
    /// As [`CacheWriter::write`](super::CacheWriter::write). What the last
    /// checkpoint covers is kept.
    pub fn write(&mut self, rows: &SampleRows<'_>) -> Result<()> {
        self.samples
            .write(&self.file, rows)
            .map_err(|error| error.in_file(&self.path))
    }

    /// Makes sure that what has been written is never lost.
    ///
    /// # Errors
    /// An earlier failure or an output error.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.checkpoint_unnamed()
            .map_err(|error| error.in_file(&self.path))
    }

    fn checkpoint_unnamed(&mut self) -> Result<()> {
        self.samples.keep(&self.file)?;
        let progress = Progress {
            version: PROGRESS_VERSION,
            plan: self.plan.clone(),
            written: self.samples.written(),
        };
        let replace = || -> std::io::Result<()> {
            let mut file = NamedTempFile::new_in(folder(&self.progress))?;
            serde_json::to_writer(&mut file, &progress)?;
            file.write_all(b"\n")?;
            file.as_file().sync_data()?;
            file.persist(&self.progress)?;
            Ok(())
        };
        replace().map_err(CacheError::Write)
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// Fewer samples than announced, an earlier failure, an output error.
    pub fn finish(mut self) -> Result<()> {
        let mut publish = || -> Result<()> {
            self.samples.finish(&self.file)?;
            fs::rename(&self.partial, &self.path).map_err(CacheError::Write)?;
            remove_if_there(&self.rows)?;
            remove_if_there(&self.progress)?;
            sync_folder(&self.path)
        };
        publish().map_err(|error| error.in_file(&self.path))
    }
}

/// Everything on which the bytes of the file depend, apart from the samples.
fn identity(plan: &FilePlan) -> ConfigHash {
    let mut hash = Sha256::new();
    hash.update(&plan.preamble);
    match &plan.order {
        RowOrder::AsWritten => hash.update(b"as written"),
        RowOrder::Shuffled { seed } => {
            hash.update(b"shuffled");
            hash.update(seed.to_le_bytes());
        }
        RowOrder::Given(rows) => {
            hash.update(b"given");
            hash.update(bytemuck::cast_slice::<u32, u8>(rows));
        }
    }
    ConfigHash(hash.finalize().into())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The progress file, if it is there and readable as such: a damaged one only
/// means starting again.
fn read_progress(path: &Path) -> Result<Option<Progress>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CacheError::Read(error)),
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CacheError::Write(error)),
        _ => Ok(()),
    }
}
