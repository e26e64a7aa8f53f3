//! Published entries: a directory of files with `entry.json`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::key::{EntryId, Key};

/// Format version of `entry.json`.
pub const FORMAT: u32 = 1;

/// Name of the manifest in an entry's directory.
pub(super) const MANIFEST: &str = "entry.json";

/// Largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// An input of an entry: another entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryInput {
    /// Name of the stage that made it.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Its key.
    pub key: Key,
    /// How many times it counts.
    pub repeat: u32,
}

/// A file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFile {
    /// Path within the entry, with `/`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the content, 64 hexadecimal digits.
    pub blake3: String,
}

/// What the maker of an entry says about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryDescription {
    /// Code version of the stage kind.
    pub code_version: u32,
    /// Name of the stage in its experiment.
    pub stage: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Experiment seed, for stages that draw random numbers or depend on one.
    pub seed: Option<u64>,
    /// The configuration values that the stage reads, as they entered the key.
    pub config: serde_json::Value,
    /// Other entries it was made from, in order.
    pub inputs: Vec<EntryInput>,
    /// External inputs and their content identities.
    pub resources: serde_json::Value,
    /// What the stage found out: a small object for tables and summaries.
    pub results: serde_json::Value,
    /// Run that finished it.
    pub run: String,
    /// Version of the program.
    pub program: String,
    /// Seconds of work, over all attempts.
    pub seconds: f64,
}

/// Content of `entry.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version of this file.
    pub format: u32,
    /// Stage kind.
    pub kind: String,
    /// Key.
    pub key: Key,
    /// When it was published, ms since 1970.
    pub published_ms: u64,
    /// Sum of the sizes of all files, in bytes.
    pub bytes: u64,
    /// All files but this one, sorted by path.
    pub files: Vec<EntryFile>,
    /// What its maker says.
    pub description: EntryDescription,
}

/// A finished output in the store. It never changes.
#[derive(Clone, Debug)]
pub struct Entry {
    dir: PathBuf,
    manifest: Manifest,
}

impl Entry {
    /// Reads the entry in `dir`; `None` if there is none.
    pub(super) fn read(dir: &Path, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        let path = dir.join(MANIFEST);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(MANIFEST_LIMIT).read_to_string(&mut text))
        {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |what: String| StoreError::Damaged {
            path: dir.to_path_buf(),
            what,
        };
        let version: Version =
            serde_json::from_str(&text).map_err(|e| damaged(format!("{MANIFEST}: {e}")))?;
        if version.format > FORMAT {
            return Err(StoreError::Newer {
                path,
                found: version.format,
                supported: FORMAT,
            });
        }
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|e| damaged(format!("{MANIFEST}: {e}")))?;
        if manifest.kind != id.kind() || manifest.key != id.key() {
            return Err(damaged(format!(
                "{MANIFEST} belongs to {}/{}",
                manifest.kind, manifest.key
            )));
        }
        Ok(Some(Entry {
            dir: dir.to_path_buf(),
            manifest,
        }))
    }

    /// The directory that holds the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `entry.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Path of one of its files.
    ///
    /// # Errors
    /// The entry has no such file.
    pub fn file(&self, name: &str) -> Result<PathBuf, StoreError> {
        if self.manifest.files.iter().any(|file| file.path == name) {
            Ok(self.dir.join(name))
        } else {
            Err(StoreError::Damaged {
                path: self.dir.clone(),
                what: format!("it has no file {name}"),
            })
        }
    }

    /// Cheap check that all files are there with their sizes.
    pub fn check_sizes(&self) -> Result<(), StoreError> {
        let damaged = |what| StoreError::Damaged {
            path: self.dir.clone(),
            what,
        };
        for file in &self.manifest.files {
            match fs::metadata(self.dir.join(&file.path)) {
                Ok(data) if data.is_file() && data.len() == file.bytes => {}
                Ok(data) => {
                    return Err(damaged(format!(
                        "{} has {} bytes instead of {}",
                        file.path,
                        data.len(),
                        file.bytes
                    )));
                }
                Err(error) => return Err(damaged(format!("{}: {error}", file.path))),
            }
        }
        Ok(())
    }

    /// Full check: reads all files and compares their content hashes.
    pub fn check_content(&self) -> Result<(), StoreError> {
        self.check_sizes()?;
        for file in &self.manifest.files {
            let found = hash_file(&self.dir.join(&file.path))?;
            if found != file.blake3 {
                let what = format!("the content of {} has changed", file.path);
                return Err(StoreError::Damaged {
                    path: self.dir.clone(),
                    what,
                });
            }
        }
        Ok(())
    }
}

/// BLAKE3 hash of a file, 64 hexadecimal digits.
pub(super) fn hash_file(path: &Path) -> Result<String, StoreError> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(file)
        .map_err(StoreError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// All files below `dir`, sorted by path, as they enter a manifest.
pub(super) fn list_files(dir: &Path) -> Result<Vec<EntryFile>, StoreError> {
    let mut found = Vec::new();
    let mut pending = vec![(dir.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = pending.pop() {
        for item in fs::read_dir(&folder).map_err(StoreError::io("list", &folder))? {
            let item = item.map_err(StoreError::io("list", &folder))?;
            let path = item.path();
            let data = fs::symlink_metadata(&path).map_err(StoreError::io("look at", &path))?;
            let Some(name) = item.file_name().to_str().map(str::to_owned) else {
                return Err(StoreError::NotPlain { path });
            };
            let name = format!("{prefix}{name}");
            if data.is_dir() {
                pending.push((path, format!("{name}/")));
            } else if !data.is_file() {
                return Err(StoreError::NotPlain { path });
            } else if name != MANIFEST {
                found.push(EntryFile {
                    path: name,
                    bytes: data.len(),
                    blake3: hash_file(&path)?,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
