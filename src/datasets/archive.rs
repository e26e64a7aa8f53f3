//! Files of a dataset inside the archive in which it is published.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::error::DatasetError;

/// Largest file that is read into memory.
const MAX_BYTES: u64 = 1 << 30;

/// The files of these names, in whatever folder of a gzipped tar archive.
///
/// # Errors
/// A damaged archive, one that lacks a file, a file that is too large.
pub(super) fn files(
    archive: &Path,
    names: &[&str],
) -> Result<BTreeMap<String, Vec<u8>>, DatasetError> {
    let layout = |reason: String| DatasetError::Layout {
        path: archive.to_owned(),
        reason,
    };
    let damaged = |error: std::io::Error| layout(format!("is damaged, fetch it again: {error}"));
    let file = File::open(archive).map_err(|source| DatasetError::Read {
        path: archive.to_owned(),
        source,
    })?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut found = BTreeMap::new();
    for member in tar.entries().map_err(damaged)? {
        if found.len() == names.len() {
            break;
        }
        let member = member.map_err(damaged)?;
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        if !member.header().entry_type().is_file() || !names.contains(&name) {
            continue;
        }
        let size = member.size();
        if size > MAX_BYTES {
            return Err(layout(format!("has a file {path} of {size} bytes")));
        }
        let mut content = Vec::new();
        (member.take(MAX_BYTES).read_to_end(&mut content)).map_err(damaged)?;
        found.entry(name.to_owned()).or_insert(content);
    }
    match names.iter().find(|&&name| !found.contains_key(name)) {
        Some(name) => Err(layout(format!("has no file {name}"))),
        None => Ok(found),
    }
}
