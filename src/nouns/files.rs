//! Reading whole files with a limit on their size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::NounsError;

/// The content of `path`; fails before allocating if it is larger than
/// `limit` bytes.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, NounsError> {
    let failed = |source| NounsError::Read {
        path: path.to_owned(),
        source,
    };
    let too_large = |size| NounsError::TooLarge {
        path: path.to_owned(),
        size,
        limit,
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > limit {
        return Err(too_large(size));
    }
    let mut content = Vec::new();
    // Pipes and growing files have no true size in advance.
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    match content.len() as u64 {
        read if read > limit => Err(too_large(read)),
        _ => Ok(content),
    }
}
