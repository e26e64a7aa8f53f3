//! Writing files so that a crash leaves either the old or the new content.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Writes `bytes` to `path` by way of a file beside it: after a crash, `path`
/// holds its old content or all of the new one.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = beside(path);
    let written = (|| {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(source) = written {
        let _ = fs::remove_file(&beside);
        return Err(StoreError::io("write", path)(source));
    }
    fs::rename(&beside, path).map_err(|source| {
        let _ = fs::remove_file(&beside);
        StoreError::io("write", path)(source)
    })?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Like [`write_file`], for files that may be lost with the power: whole or
/// old after a killed process, but not forced to the disk.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = beside(path);
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| {
            let _ = fs::remove_file(&beside);
            StoreError::io("write", path)(source)
        })
}

/// A name in the same directory that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

/// Appends one line to a file that several processes append to.
///
/// The line goes out in a single write, so lines do not mix.
pub fn append_line(path: &Path, line: &str) -> Result<(), StoreError> {
    let mut whole = String::with_capacity(line.len() + 1);
    whole.push_str(line);
    whole.push('\n');
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(whole.as_bytes()))
        .map_err(StoreError::io("append to", path))
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_file(&path, b"old").unwrap();
        fs::create_dir(beside(&path)).unwrap();
        let error = write_file(&path, b"new").unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn lines_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        append_line(&path, "one").unwrap();
        append_line(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
