//! The files of a dataset inside the archive in which it is published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use crate::net::{Member, UnpackError, UnpackLimits, walk};

/// Largest file that is read into memory.
const MAX_BYTES: u64 = 1 << 30;

/// Files of an archive, to be read in any order: where they lie if it is a plain
/// tar, else out of a temporary file without a name that they are unpacked into.
#[derive(Debug)]
pub(super) struct ArchivedFiles {
    archive: PathBuf,
    /// The archive or the temporary file.
    content: File,
    /// Name below the top folder → where it begins and how long it is.
    files: BTreeMap<String, (u64, u64)>,
    /// Names of all folders below the top folder.
    folders: BTreeSet<String>,
    unpacked: bool,
}

impl ArchivedFiles {
    /// The files below folder `top` whose names `wanted` accepts; links and
    /// everything else that is no plain file are not there.
    ///
    /// # Errors
    /// A damaged archive, one without such files; no space for temporary files.
    pub(super) fn open(
        archive: &Path,
        top: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Self, DatasetError> {
        let mut files = BTreeMap::new();
        let mut folders = BTreeSet::new();
        let mut copy = None;
        let limit = UnpackLimits::default().bytes;
        walk(archive, &mut |name, member| {
            let name = name.strip_prefix("./").unwrap_or(name);
            let below = name.strip_prefix(top).and_then(|n| n.strip_prefix('/'));
            let Some(name) = below.filter(|name| !name.is_empty()) else {
                return Ok(());
            };
            let folder = match &member {
                Member::Folder => Some(name.trim_end_matches('/')),
                _ => name.rsplit_once('/').map(|(folder, _)| folder),
            };
            let mut folder = folder.filter(|folder| !folders.contains(*folder));
            while let Some(new) = folder {
                folders.insert(new.to_owned());
                folder = new.rsplit_once('/').map(|(parent, _)| parent);
            }
            let Member::File { content, place } = member else {
                return Ok(());
            };
            if !wanted(name) {
                return Ok(());
            }
            let place = match place {
                Some(place) => place,
                None => {
                    let copy = match &mut copy {
                        Some(copy) => copy,
                        slot => slot.insert(Copied::new(archive)?),
                    };
                    copy.append(archive, content, limit)?
                }
            };
            if place.1 > MAX_BYTES {
                return Err(too_large(archive, MAX_BYTES));
            }
            files.insert(name.to_owned(), place);
            Ok(())
        })?;
        if files.is_empty() {
            return Err(DatasetError::Layout {
                path: archive.to_owned(),
                reason: format!("has no such files in a folder {top}"),
            });
        }
        let unpacked = copy.is_some();
        let content = match copy {
            Some(copy) => copy.finish(archive)?,
            None => File::open(archive).map_err(|source| DatasetError::Read {
                path: archive.to_owned(),
                source,
            })?,
        };
        Ok(Self {
            archive: archive.to_owned(),
            content,
            files,
            folders,
            unpacked,
        })
    }

    /// The archive.
    pub(super) fn archive(&self) -> &Path {
        &self.archive
    }

    /// Whether its files had to be unpacked.
    pub(super) fn is_unpacked(&self) -> bool {
        self.unpacked
    }

    /// Names of its files in byte order.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Names of its folders in byte order.
    pub(super) fn folders(&self) -> &BTreeSet<String> {
        &self.folders
    }

    /// Whether it has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// What stands for a file in texts.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.archive.join(name)
    }

    /// Content of a file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, DatasetError> {
        let read = || {
            let place = self.files.get(name);
            let &(start, size) = place.ok_or(io::ErrorKind::NotFound)?;
            let size = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let mut bytes = vec![0; size];
            self.content.read_exact_at(&mut bytes, start)?;
            Ok(bytes)
        };
        read().map_err(|source| DatasetError::Read {
            path: self.path(name),
            source,
        })
    }
}

/// A temporary file without a name, one file of an archive after the other.
struct Copied {
    file: BufWriter<File>,
    bytes: u64,
}

impl Copied {
    fn new(archive: &Path) -> Result<Self, UnpackError> {
        let file = tempfile::tempfile().map_err(|error| no_space(archive, &error))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            bytes: 0,
        })
    }

    /// Where the content lies now.
    fn append(
        &mut self,
        archive: &Path,
        content: &mut dyn Read,
        limit: u64,
    ) -> Result<(u64, u64), UnpackError> {
        let start = self.bytes;
        let mut buffer = [0; 1 << 16];
        loop {
            let count = content.read(&mut buffer);
            let count = count.map_err(|error| damaged(archive, &error.to_string()))?;
            if count == 0 {
                return Ok((start, self.bytes - start));
            }
            self.bytes += count as u64;
            if self.bytes > limit {
                return Err(too_large(archive, limit));
            }
            if self.bytes - start > MAX_BYTES {
                return Err(too_large(archive, MAX_BYTES));
            }
            let written = self.file.write_all(&buffer[..count]);
            written.map_err(|error| no_space(archive, &error))?;
        }
    }

    fn finish(self, archive: &Path) -> Result<File, UnpackError> {
        let file = self.file.into_inner();
        file.map_err(|error| no_space(archive, error.error()))
    }
}

fn too_large(archive: &Path, limit: u64) -> UnpackError {
    UnpackError::TooLarge {
        path: archive.to_owned(),
        what: "bytes",
        limit,
    }
}

fn damaged(archive: &Path, reason: &str) -> UnpackError {
    UnpackError::Damaged {
        path: archive.to_owned(),
        reason: reason.to_owned(),
    }
}

fn no_space(archive: &Path, error: &io::Error) -> UnpackError {
    let folder = std::env::temp_dir();
    let reason = format!(
        "cannot be read through temporary files in {} ({error}): name another folder in TMPDIR, \
         or unpack it",
        folder.display()
    );
    damaged(archive, &reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar of `files`, plain and gzipped.
    fn archives(folder: &Path, files: &[(&str, &[u8])]) -> [PathBuf; 2] {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar).unwrap();
        let paths = ["x.tar", "x.tgz"].map(|name| folder.join(name));
        std::fs::write(&paths[0], tar).unwrap();
        std::fs::write(&paths[1], packed.finish().unwrap()).unwrap();
        paths
    }

    #[test]
    fn files_are_read_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 4] = [
            ("top/val/b/2.jpg", b"two"),
            ("top/val/a/1.jpg", b"one"),
            ("top/train/a/3.jpg", b"three"),
            ("other/val/a/1.jpg", b"no"),
        ];
        for (path, unpacked) in archives(folder.path(), &files).iter().zip([false, true]) {
            let opened = ArchivedFiles::open(path, "top", |name| name.starts_with("val/"));
            let opened = opened.unwrap();
            assert_eq!(opened.is_unpacked(), unpacked);
            let names: Vec<&str> = opened.files().collect();
            assert_eq!(names, ["val/a/1.jpg", "val/b/2.jpg"]);
            assert!(opened.folders().contains("train/a"));
            assert_eq!(opened.read("val/b/2.jpg").unwrap(), b"two");
            assert_eq!(opened.read("val/a/1.jpg").unwrap(), b"one");
            let missing = opened.read("train/a/3.jpg").unwrap_err().to_string();
            assert!(missing.contains("train/a/3.jpg"), "{missing}");
            assert!(ArchivedFiles::open(path, "to", |_| true).is_err());
        }
    }

    #[test]
    fn files_too_large_for_the_memory_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        let mut header = tar::Header::new_gnu();
        header.set_path("top/a").unwrap();
        header.set_size(MAX_BYTES + 1);
        header.set_cksum();
        std::fs::write(&path, header.as_bytes()).unwrap();
        // The rest is a hole.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(512 + MAX_BYTES + 512).unwrap();
        let error = ArchivedFiles::open(&path, "top", |_| true).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        for path in archives(folder.path(), &[("top/a", &content)]) {
            let whole = std::fs::read(&path).unwrap();
            for length in [0, 100, whole.len() / 2] {
                std::fs::write(&path, &whole[..length]).unwrap();
                assert!(ArchivedFiles::open(&path, "top", |_| true).is_err());
            }
        }
    }
}
