//! Writing cache files (`embedding-cache.md` section 7).
//!
//! A file gets its name when it is complete and on disk; until then it has
//! zero magic bytes and another name in the same folder. An existing file is
//! replaced only then.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use tempfile::NamedTempFile;

use super::error::{CacheError, Result};
use super::header::{Header, MAGIC};
use super::plan::FilePlan;
use super::row_sink::{RowSink, write_at};
use super::sample_rows::{SampleRows, default_weights};
use super::spill::Aside;

/// Writes a file in one go. Dropping it unfinished leaves nothing behind.
#[derive(Debug)]
pub struct CacheWriter {
    path: PathBuf,
    file: NamedTempFile,
    samples: SampleSink,
}

impl CacheWriter {
    /// Starts a file that will get the name `path`; its folder must exist.
    ///
    /// # Errors
    /// The folder cannot be written to or the disk has no room for the file.
    pub fn create(path: impl Into<PathBuf>, plan: &FilePlan) -> Result<Self> {
        let path = path.into();
        let start = || -> Result<_> {
            let file = tempfile::Builder::new()
                .prefix(".novic-cache-")
                .suffix(".partial")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(folder(&path))
                .map_err(CacheError::Write)?;
            let aside = Aside::Hidden(folder(&path).to_owned());
            let samples = SampleSink::start(file.as_file(), plan, aside)?;
            Ok((file, samples))
        };
        let (file, samples) = start().map_err(|error| error.in_file(&path))?;
        Ok(Self {
            path,
            file,
            samples,
        })
    }

    /// Samples written so far.
    pub fn written(&self) -> u64 {
        self.samples.written()
    }

    /// Writes the next samples.
    ///
    /// # Errors
    /// A sample that breaks a rule, arrays that do not fit, more samples than
    /// announced, an output error. The file is lost then.
    pub fn write(&mut self, rows: &SampleRows<'_>) -> Result<()> {
        self.samples
            .write(self.file.as_file(), rows)
            .map_err(|error| error.in_file(&self.path))
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// Fewer samples than announced, an earlier failure, an output error.
    pub fn finish(self) -> Result<()> {
        let Self {
            path,
            file,
            mut samples,
        } = self;
        let publish = || -> Result<()> {
            samples.finish(file.as_file())?;
            file.persist(&path)
                .map_err(|error| CacheError::Write(error.error))?;
            sync_folder(&path)
        };
        publish().map_err(|error| error.in_file(&path))
    }
}

/// Checks samples and hands them to their places; shared by both writers.
#[derive(Debug)]
pub(super) struct SampleSink {
    header: Header,
    sink: RowSink,
    failed: bool,
}

impl SampleSink {
    /// Takes room for a new file and writes all but the samples.
    pub(super) fn start(file: &File, plan: &FilePlan, aside: Aside) -> Result<Self> {
        reserve(file, plan.header.layout().total_size())?;
        write_at(file, &plan.preamble, 0)?;
        Self::resume(plan, 0, aside)
    }

    /// Goes on with a file of which `written` samples are kept.
    pub(super) fn resume(plan: &FilePlan, written: u64, aside: Aside) -> Result<Self> {
        let layout = plan.header.layout();
        Ok(Self {
            header: plan.header.clone(),
            sink: RowSink::new(&layout, plan.rows(), written, aside)?,
            failed: false,
        })
    }

    pub(super) fn written(&self) -> u64 {
        self.sink.written()
    }

    pub(super) fn write(&mut self, file: &File, rows: &SampleRows<'_>) -> Result<()> {
        let outcome = self.write_checked(file, rows);
        self.failed |= outcome.is_err();
        outcome
    }

    fn write_checked(&mut self, file: &File, rows: &SampleRows<'_>) -> Result<()> {
        let count = rows.check(&self.header, self.written())?;
        let ids = rows.target_ids.unwrap_or_default();
        let defaults;
        let weights = match rows.weights {
            Some(weights) => weights.bytes(),
            None => {
                let targets = usize::from(self.header.embed_targets_dim).max(1);
                defaults = default_weights(ids, targets, self.header.delivered_dtype());
                defaults.as_slice().bytes()
            }
        };
        // Ids were checked to lie below a noun count that fits `ID_DTYPE`.
        let ids: &[u8] = bytemuck::cast_slice(ids);
        let stored;
        let embeds = if self.header.embed_dtype == rows.embeds.dtype() {
            rows.embeds.bytes()
        } else {
            stored = rows.embeds.rounded_to(self.header.embed_dtype);
            stored.as_slice().bytes()
        };
        self.sink.push(file, count, [ids, weights, embeds])
    }

    fn check_whole(&self) -> Result<()> {
        if self.failed {
            return Err(CacheError::FailedBefore);
        }
        Ok(())
    }

    /// Makes sure that what has been written can be had again after a crash.
    pub(super) fn keep(&mut self, file: &File) -> Result<()> {
        self.check_whole()?;
        self.sink.keep(file)
    }

    /// Writes what is left and the magic bytes, and waits for the disk.
    pub(super) fn finish(&mut self, file: &File) -> Result<()> {
        self.check_whole()?;
        let announced = u64::from(self.header.embed_num);
        if self.written() != announced {
            return Err(CacheError::TooFewSamples {
                written: self.written(),
                announced,
            });
        }
        self.sink.finish(file)?;
        // The magic bytes must not reach the disk before the samples.
        file.sync_data().map_err(CacheError::Write)?;
        write_at(file, &MAGIC, 0)?;
        file.sync_all().map_err(CacheError::Write)
    }
}

/// Makes the file this long and, where the file system can, takes the room
/// for it, so that a full disk shows at once.
fn reserve(file: &File, size: u64) -> Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.set_len(size).map_err(CacheError::Write)
        }
        Err(error) => Err(CacheError::Write(error.into())),
    }
}

pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let sync = || -> io::Result<()> { File::open(folder(path))?.sync_all() };
    sync().map_err(CacheError::Write)
}
