//! Opening a cache without its embedder, for tools that only look at files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::{CacheError, Result};
use super::header::{HEADER_SIZE, Header};
use super::reader::{CacheFile, OpenOptions};
use super::signature::EmbedderSignature;

impl CacheFile {
    /// Opens a file whichever embedder wrote it.
    ///
    /// # Errors
    /// As [`CacheFile::open`].
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let header = header(path).map_err(|error| error.in_file(path))?;
        let options = OpenOptions {
            use_targets: None,
            strict: false,
        };
        Self::open(path, &EmbedderSignature::of_file(&header), options)
    }
}

fn header(path: &Path) -> Result<Header> {
    let mut file = File::open(path).map_err(CacheError::Open)?;
    let mut start = [0; HEADER_SIZE];
    file.read_exact(&mut start)
        .map_err(|_| CacheError::Truncated)?;
    Header::check_start(&start)?.parse_fields()
}
