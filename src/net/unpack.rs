//! Archives of downloads, unpacked into an empty folder: zip, tar, gzipped tar.
//! Names that lead outside, links and special files are errors; sizes and
//! counts have limits.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use thiserror::Error;

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// Damaged or of another kind.
    #[error("archive {path}: {reason}")]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A member that may not be there.
    #[error("archive {path}: member {member:?} {reason}; nothing of it was used")]
    Forbidden {
        /// The archive.
        path: PathBuf,
        /// Name of the member.
        member: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than allowed.
    #[error("archive {path}: more than {limit} {what}; nothing of it was used")]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file could not be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Limits on what comes out of an archive.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Number of members.
    pub members: u64,
}

impl Default for UnpackLimits {
    /// 200 GiB, 4 million members.
    fn default() -> Self {
        Self {
            bytes: 200 << 30,
            members: 4_000_000,
        }
    }
}

/// What a member of an archive is.
pub(crate) enum Member<'a> {
    /// A folder.
    Folder,
    /// A plain file.
    File {
        /// Its bytes.
        content: &'a mut dyn Read,
        /// Where they begin in the archive and how many they are, where they
        /// lie there as they are.
        place: Option<(u64, u64)>,
    },
    /// Something else: what it is.
    Other(&'static str),
}

/// Shows the members of an archive, whose kind its first bytes tell, in their
/// order and with their names as they are.
///
/// # Errors
/// Damaged archives, and what `visit` says.
pub(crate) fn walk(
    archive: &Path,
    visit: &mut dyn FnMut(&str, Member<'_>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let damaged = |error: &dyn std::fmt::Display| damaged(archive, error);
    let open = || File::open(archive).map_err(|error| damaged(&error));
    let mut start = [0; 4];
    let count = open()?.read(&mut start).map_err(|error| damaged(&error))?;
    let file = BufReader::new(open()?);
    if start[..count].starts_with(b"PK") {
        let mut zip = zip::ZipArchive::new(file).map_err(|error| damaged(&error))?;
        for index in 0..zip.len() {
            let mut member = zip.by_index(index).map_err(|error| damaged(&error))?;
            let name = member.name().map_err(|error| damaged(&error))?.into_owned();
            let member = if member.is_dir() {
                Member::Folder
            } else if member.is_symlink() {
                Member::Other("is a link")
            } else {
                Member::File {
                    content: &mut member,
                    place: None,
                }
            };
            visit(&name, member)?;
        }
        Ok(())
    } else if start[..count].starts_with(&[0x1f, 0x8b]) {
        let mut tar = tar::Archive::new(GzDecoder::new(file));
        let members = tar.entries().map_err(|error| damaged(&error))?;
        walk_tar(archive, members, None, visit)
    } else {
        let length = file.get_ref().metadata().map_err(|error| damaged(&error))?;
        let mut tar = tar::Archive::new(file);
        let members = tar.entries_with_seek().map_err(|error| damaged(&error))?;
        walk_tar(archive, members, Some(length.len()), visit)
    }
}

/// Members of a tar; `length` is that of a file whose members are skipped without
/// being read.
fn walk_tar<R: Read>(
    archive: &Path,
    members: tar::Entries<'_, R>,
    length: Option<u64>,
    visit: &mut dyn FnMut(&str, Member<'_>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    for member in members {
        let mut member = member.map_err(|error| damaged(archive, &error))?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let kind = member.header().entry_type();
        if kind.is_dir() {
            visit(&name, Member::Folder)?;
        } else if kind.is_file() {
            let place = length.map(|_| (member.raw_file_position(), member.size()));
            if let (Some((start, size)), Some(length)) = (place, length)
                && start.checked_add(size).is_none_or(|end| end > length)
            {
                return Err(damaged(archive, &format!("{name} is cut off")));
            }
            let content = &mut member;
            visit(&name, Member::File { content, place })?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            visit(&name, Member::Other("is a link"))?;
        } else if !kind.is_pax_global_extensions() {
            visit(&name, Member::Other("is no plain file"))?;
        }
    }
    Ok(())
}

fn damaged(archive: &Path, error: &dyn std::fmt::Display) -> UnpackError {
    UnpackError::Damaged {
        path: archive.to_owned(),
        reason: error.to_string(),
    }
}

/// Unpacks an archive, whose kind its first bytes tell, into a folder.
///
/// # Errors
/// Damaged archives and everything that is not a plain file or folder inside.
pub fn unpack(archive: &Path, folder: &Path, limits: UnpackLimits) -> Result<u64, UnpackError> {
    let mut sink = Sink {
        archive,
        folder,
        limits,
        members: 0,
        bytes: 0,
    };
    walk(archive, &mut |name, member| match member {
        Member::Folder => sink.folder(name),
        Member::File { content, .. } => sink.file(name, content),
        Member::Other(reason) => Err(sink.forbidden(name, reason)),
    })?;
    if sink.members == 0 {
        return Err(damaged(archive, &"it is empty"));
    }
    Ok(sink.members)
}

/// Where members go.
struct Sink<'a> {
    archive: &'a Path,
    folder: &'a Path,
    limits: UnpackLimits,
    members: u64,
    bytes: u64,
}

impl Sink<'_> {
    fn forbidden(&self, member: &str, reason: &'static str) -> UnpackError {
        UnpackError::Forbidden {
            path: self.archive.to_owned(),
            member: member.to_owned(),
            reason,
        }
    }

    /// Where a member belongs.
    fn place(&mut self, member: &str) -> Result<PathBuf, UnpackError> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(UnpackError::TooLarge {
                path: self.archive.to_owned(),
                what: "members",
                limit: self.limits.members,
            });
        }
        let mut place = self.folder.to_owned();
        if member.contains(['\\', '\0']) {
            return Err(self.forbidden(member, "has an unusual name"));
        }
        for part in Path::new(member).components() {
            match part {
                Component::Normal(part) => place.push(part),
                Component::CurDir => {}
                _ => return Err(self.forbidden(member, "leads outside the archive")),
            }
        }
        Ok(place)
    }

    fn folder(&mut self, member: &str) -> Result<(), UnpackError> {
        let path = self.place(member)?;
        std::fs::create_dir_all(&path).map_err(|source| UnpackError::Write { path, source })
    }

    fn file(&mut self, member: &str, content: &mut dyn Read) -> Result<(), UnpackError> {
        let path = self.place(member)?;
        let write_error = |source| UnpackError::Write {
            path: path.clone(),
            source,
        };
        if path == self.folder {
            return Err(self.forbidden(member, "has no name"));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(write_error)?;
        }
        let mut file = File::create_new(&path).map_err(write_error)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = content
                .read(&mut buffer)
                .map_err(|error| UnpackError::Damaged {
                    path: self.archive.to_owned(),
                    reason: format!("{member}: {error}"),
                })?;
            if count == 0 {
                return Ok(());
            }
            self.bytes += count as u64;
            if self.bytes > self.limits.bytes {
                return Err(UnpackError::TooLarge {
                    path: self.archive.to_owned(),
                    what: "bytes",
                    limit: self.limits.bytes,
                });
            }
            file.write_all(&buffer[..count]).map_err(write_error)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(members: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // The builder itself refuses bad names.
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(content: &[u8], limits: UnpackLimits) -> Result<tempfile::TempDir, UnpackError> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        std::fs::write(&archive, content).unwrap();
        let target = folder.path().join("out");
        std::fs::create_dir(&target).unwrap();
        unpack(&archive, &target, limits).map(|_| folder)
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn plain_archives_are_unpacked() {
        let tar = tar_of(&[("a/b.txt", FILE, b"hello"), ("c.txt", FILE, b"")]);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar).unwrap();
        for content in [tar, packed.finish().unwrap()] {
            let folder = unpacked(&content, UnpackLimits::default()).unwrap();
            let text = std::fs::read_to_string(folder.path().join("out/a/b.txt")).unwrap();
            assert_eq!(text, "hello");
        }
    }

    #[test]
    fn hostile_archives_are_refused() {
        let limits = UnpackLimits::default();
        for (name, kind) in [
            ("../evil", FILE),
            ("/etc/evil", FILE),
            ("a/../../evil", FILE),
            ("link", tar::EntryType::Symlink),
            ("link", tar::EntryType::Link),
            ("device", tar::EntryType::Char),
            ("a\\b", FILE),
        ] {
            let error = unpacked(&tar_of(&[(name, kind, b"")]), limits).unwrap_err();
            assert!(
                matches!(error, UnpackError::Forbidden { .. }),
                "{name}: {error}"
            );
        }
        let big = tar_of(&[("a", FILE, &[7; 5000])]);
        let small = UnpackLimits {
            bytes: 4999,
            members: 10,
        };
        assert!(matches!(
            unpacked(&big, small),
            Err(UnpackError::TooLarge { .. })
        ));
        let many = tar_of(&[("a", FILE, b""), ("b", FILE, b"")]);
        let few = UnpackLimits {
            bytes: 10,
            members: 1,
        };
        assert!(matches!(
            unpacked(&many, few),
            Err(UnpackError::TooLarge { .. })
        ));
        for content in [&b"junk"[..], b"", b"PK\x03\x04junk", &big[..700]] {
            assert!(unpacked(content, limits).is_err());
        }
    }
}
