//! The zip archive around a pickle: which members there are, and where their
//! bytes lie. All members are stored uncompressed, so a storage is a slice of
//! the mapped file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use memmap2::Mmap;
use zip::{CompressionMethod, ZipArchive};

use super::error::{Fault, PickleError};
use super::globals::Allow;
use super::machine::Machine;
use super::storage::{TensorData, TensorInfo};
use super::value::Value;

/// First bytes of a zip archive.
const MAGIC: &[u8] = b"PK\x03\x04";
/// Member with the pickle, below the archive's folder.
const PICKLE: &str = "data.pkl";
/// Member that tells the byte order; absent in older files.
const BYTE_ORDER: &str = "byteorder";

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

struct Member {
    place: Range<usize>,
    crc32: u32,
}

/// An open PyTorch file.
pub struct Archive {
    path: PathBuf,
    bytes: Bytes,
    root: String,
    /// By name below the archive's folder.
    members: BTreeMap<String, Member>,
    /// Members whose checksums were found right.
    verified: Mutex<BTreeSet<String>>,
}

impl Archive {
    /// Opens a file; reads its directory only.
    ///
    /// # Errors
    /// No archive, a truncated one, one with compressed, repeated or
    /// overlapping members or with members outside its one folder.
    pub fn open(path: &Path) -> Result<Self, PickleError> {
        let failed = |fault| PickleError {
            path: path.to_owned(),
            fault,
        };
        let file = File::open(path).map_err(|error| failed(error.into()))?;
        // SAFETY: as with every mapped file, another process that truncates it
        // while it is read ends this one; values are copied out, never trusted
        // as addresses.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| failed(error.into()))?;
        Self::of(path, Bytes::Mapped(map))
    }

    /// An archive in memory; `path` stands for it in errors.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, PickleError> {
        Self::of(path, Bytes::Owned(bytes))
    }

    /// Whether a file begins as such archives do.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_archive(path: &Path) -> std::io::Result<bool> {
        use std::io::Read;
        let mut start = Vec::new();
        File::open(path)?
            .take(MAGIC.len() as u64)
            .read_to_end(&mut start)?;
        Ok(start == MAGIC)
    }

    fn of(path: &Path, bytes: Bytes) -> Result<Self, PickleError> {
        let failed = |fault| PickleError {
            path: path.to_owned(),
            fault,
        };
        let (root, members) = directory(bytes.as_slice()).map_err(failed)?;
        let archive = Self {
            path: path.to_owned(),
            bytes,
            root,
            members,
            verified: Mutex::default(),
        };
        if archive.members.contains_key(BYTE_ORDER) {
            let order = archive.member(BYTE_ORDER)?;
            if order.trim_ascii() != b"little" {
                return Err(archive.error(Fault::Member {
                    name: BYTE_ORDER.to_owned(),
                    reason: "says that numbers are not little-endian".to_owned(),
                }));
            }
        }
        Ok(archive)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the folder in the archive: that of the file when it was
    /// written, without ending.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Names and sizes of all members, below the archive's folder.
    pub fn members(&self) -> impl Iterator<Item = (&str, usize)> {
        self.members
            .iter()
            .map(|(name, member)| (name.as_str(), member.place.len()))
    }

    /// The bytes of a member; its checksum is compared the first time.
    ///
    /// # Errors
    /// No such member; another checksum.
    pub fn member(&self, name: &str) -> Result<&[u8], PickleError> {
        let wrong = |reason: &str| {
            self.error(Fault::Member {
                name: name.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let member = self.members.get(name).ok_or_else(|| wrong("is missing"))?;
        let bytes = &self.bytes.as_slice()[member.place.clone()];
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if !verified.contains(name) {
            if crc32fast::hash(bytes) != member.crc32 {
                return Err(wrong("is damaged: its checksum differs"));
            }
            verified.insert(name.to_owned());
        }
        Ok(bytes)
    }

    /// What the pickle describes. Storages are checked for their sizes, not
    /// read.
    ///
    /// # Errors
    /// Names that are not allowed, damaged pickles, missing or short storages.
    pub fn value(&self, allow: Allow) -> Result<Value, PickleError> {
        let pickle = self.member(PICKLE)?;
        let storage_bytes = |key: &str| {
            let member = self.members.get(&format!("data/{key}"))?;
            Some(member.place.len() as u64)
        };
        Machine::new(pickle, allow, &storage_bytes)
            .and_then(Machine::run)
            .map_err(|fault| self.error(fault))
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// Another checksum; a tensor of another file.
    pub fn tensor(&self, info: &TensorInfo) -> Result<TensorData, PickleError> {
        let storage = self.member(&format!("data/{}", info.storage.key))?;
        let wanted = info.storage.elements.checked_mul(info.storage.width());
        if wanted != Some(storage.len()) {
            return Err(self.error(Fault::Tensor {
                shape: info.shape.clone(),
                reason: "belongs to another file".to_owned(),
            }));
        }
        Ok(TensorData {
            dtype: info.storage.dtype,
            shape: info.shape.clone(),
            bytes: info.gather(storage),
        })
    }

    /// Compares the checksums of all members.
    ///
    /// # Errors
    /// A damaged member.
    pub fn verify(&self) -> Result<(), PickleError> {
        self.members
            .keys()
            .try_for_each(|name| self.member(name).map(|_| ()))
    }

    /// A fault in this file.
    pub fn error(&self, fault: Fault) -> PickleError {
        PickleError {
            path: self.path.clone(),
            fault,
        }
    }
}

/// Folder and members of an archive.
fn directory(bytes: &[u8]) -> Result<(String, BTreeMap<String, Member>), Fault> {
    let container = |reason: String| Fault::Container { reason };
    if !bytes.starts_with(MAGIC) {
        return Err(container(
            "it does not begin as a zip archive; files written before PyTorch 1.6 must be saved \
             anew"
                .to_owned(),
        ));
    }
    let damaged = |error: zip::result::ZipError| container(error.to_string());
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if zip.has_duplicate_names() {
        return Err(container("two members have one name".to_owned()));
    }
    if zip.has_overlapping_entries().map_err(damaged)? {
        return Err(container("members overlap".to_owned()));
    }
    let mut root: Option<String> = None;
    let mut members = BTreeMap::new();
    for index in 0..zip.len() {
        let file = zip.by_index_raw(index).map_err(damaged)?;
        let full = file.name().map_err(damaged)?.into_owned();
        let wrong = |reason: &str| Fault::Member {
            name: full.clone(),
            reason: reason.to_owned(),
        };
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        let plain = !full.contains(['\\', '\0']) && full.split('/').all(is_plain);
        let Some((folder, name)) = full.split_once('/').filter(|_| plain) else {
            return Err(wrong("does not lie in the folder of the archive"));
        };
        if *root.get_or_insert_with(|| folder.to_owned()) != folder {
            return Err(wrong("does not lie in the folder of the archive"));
        }
        // Script archives may compress their code, which nobody reads here.
        if name.starts_with("code/") {
            continue;
        }
        if file.compression() != CompressionMethod::Stored
            || file.compressed_size() != file.size()
            || file.encrypted()
        {
            return Err(wrong(
                "is compressed or encrypted, which PyTorch never does",
            ));
        }
        let place = file.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(file.size()).ok()?)?;
            (end <= bytes.len()).then_some(start..end)
        });
        let place = place.ok_or_else(|| wrong("reaches beyond the end of the file"))?;
        let crc32 = file.crc32();
        members.insert(name.to_owned(), Member { place, crc32 });
    }
    match root {
        Some(root) => Ok((root, members)),
        None => Err(container("it is empty".to_owned())),
    }
}
