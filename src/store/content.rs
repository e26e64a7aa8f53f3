//! Content identity of files that come from outside the store.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::num::ParseIntError;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::durable::{append_line, replace_file};
use super::entry::hash_file;
use super::error::StoreError;
use super::process::now_ms;
use super::project::Project;

/// A file's time stamps only speak for its content when they are older than
/// this at the time of reading: a later change within their resolution would
/// not show.
const SETTLED_MS: i128 = 2000;

/// The file of hints is rewritten when it has more lines than this.
const HINT_LINES: usize = 20_000;

/// Identity of some content: a BLAKE3 hash, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash(String);

impl ContentHash {
    /// The identity of bytes at hand, such as embedded assets.
    pub fn of(bytes: &[u8]) -> ContentHash {
        ContentHash(blake3::hash(bytes).to_hex().to_string())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the file system says about a file; equal stamps hint at equal content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
    device: u64,
}

impl Stamp {
    /// The stamp of a file.
    pub fn of(data: &fs::Metadata) -> Stamp {
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Stamp {
            size: data.len(),
            mtime_ns: ns(data.mtime(), data.mtime_nsec()),
            ctime_ns: ns(data.ctime(), data.ctime_nsec()),
            inode: data.ino(),
            device: data.dev(),
        }
    }

    fn is_settled(&self, now_ms: u64) -> bool {
        let newest = self.mtime_ns.max(self.ctime_ns) / 1_000_000;
        newest + SETTLED_MS < i128::from(now_ms)
    }
}

/// Its numbers, separated by colons.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp {
            size,
            mtime_ns,
            ctime_ns,
            inode,
            device,
        } = self;
        write!(f, "{size}:{mtime_ns}:{ctime_ns}:{inode}:{device}")
    }
}

impl FromStr for Stamp {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Stamp, ParseIntError> {
        let mut numbers = text.splitn(5, ':');
        let mut number = || numbers.next().unwrap_or_default();
        Ok(Stamp {
            size: number().parse()?,
            mtime_ns: number().parse()?,
            ctime_ns: number().parse()?,
            inode: number().parse()?,
            device: number().parse()?,
        })
    }
}

/// One line of the file of hints.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hint {
    path: PathBuf,
    stamp: Stamp,
    hash: ContentHash,
}

/// Content hashes of external files, with a memory of files that did not
/// change since they were last read.
///
/// The memory is only a hint, kept in `.novic/cache/`; it is written by
/// [`ContentHashes::save`] alone, so that inspection writes nothing.
#[derive(Debug)]
pub struct ContentHashes {
    path: PathBuf,
    paranoid: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hints: HashMap<PathBuf, Hint>,
    fresh: Vec<Hint>,
    named: HashMap<String, ContentHash>,
    lines: usize,
}

impl ContentHashes {
    /// The hashes known to a project. With `paranoid`, every file is read
    /// again.
    pub fn open(project: &Project, paranoid: bool) -> ContentHashes {
        let path = project.cache_dir().join("content-hashes.jsonl");
        let mut known = Known::default();
        if !paranoid && let Ok(file) = fs::File::open(&path) {
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                known.lines += 1;
                if let Ok(hint) = serde_json::from_str::<Hint>(&line) {
                    known.hints.insert(hint.path.clone(), hint);
                }
            }
        }
        ContentHashes {
            path,
            paranoid,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Identity of one file's content. Reads it only if it may have changed.
    pub fn file(&self, path: &Path) -> Result<ContentHash, StoreError> {
        let path = fs::canonicalize(path).map_err(StoreError::io("read", path))?;
        let stamp_of = || {
            fs::metadata(&path)
                .map(|data| Stamp::of(&data))
                .map_err(StoreError::io("read", &path))
        };
        // Reading a pipe would wait for ever.
        let is_file = fs::metadata(&path).is_ok_and(|data| data.is_file());
        if !is_file && path.exists() {
            return Err(StoreError::NotPlain { path });
        }
        let stamp = stamp_of()?;
        if let Some(hint) = self
            .known()
            .hints
            .get(&path)
            .filter(|hint| hint.stamp == stamp)
        {
            return Ok(hint.hash.clone());
        }
        let begun = now_ms();
        let hash = ContentHash(hash_file(&path)?);
        if stamp_of()? != stamp {
            return Err(StoreError::Unstable { path });
        }
        if stamp.is_settled(begun) {
            let hint = Hint {
                path: path.clone(),
                stamp,
                hash: hash.clone(),
            };
            let mut known = self.known();
            known.hints.insert(path, hint.clone());
            known.fresh.push(hint);
        }
        Ok(hash)
    }

    /// Identity of a directory: of the names and contents of all files in it.
    pub fn tree(&self, dir: &Path) -> Result<ContentHash, StoreError> {
        let mut files = Vec::new();
        let mut pending = vec![dir.to_path_buf()];
        while let Some(folder) = pending.pop() {
            for item in fs::read_dir(&folder).map_err(StoreError::io("list", &folder))? {
                let path = item.map_err(StoreError::io("list", &folder))?.path();
                match path.is_dir() {
                    true => pending.push(path),
                    false => files.push(path),
                }
            }
        }
        files.sort();
        let mut hasher = blake3::Hasher::new();
        for path in files {
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(self.file(&path)?.as_str().as_bytes());
        }
        Ok(ContentHash(hasher.finalize().to_hex().to_string()))
    }

    /// An identity that takes long to find and that several stages need: found
    /// once, and remembered as long as this value lives.
    pub fn remembered<E>(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<ContentHash, E>,
    ) -> Result<ContentHash, E> {
        if let Some(hash) = self.known().named.get(name) {
            return Ok(hash.clone());
        }
        let hash = find()?;
        self.known().named.insert(name.to_owned(), hash.clone());
        Ok(hash)
    }

    /// Writes down what was learned, for the next process.
    pub fn save(&self) -> Result<(), StoreError> {
        let mut known = self.known();
        if known.fresh.is_empty() {
            return Ok(());
        }
        let line = |hint: &Hint| {
            serde_json::to_string(hint).map_err(|e| StoreError::io("write", &self.path)(e.into()))
        };
        if self.paranoid || known.lines + known.fresh.len() <= HINT_LINES {
            let lines = known
                .fresh
                .iter()
                .map(line)
                .collect::<Result<Vec<_>, _>>()?;
            append_line(&self.path, &lines.join("\n"))?;
        } else {
            let lines = known
                .hints
                .values()
                .map(line)
                .collect::<Result<Vec<_>, _>>()?;
            replace_file(&self.path, format!("{}\n", lines.join("\n")).as_bytes())?;
        }
        known.fresh.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn project(dir: &Path) -> Project {
        let project = Project::locate(dir, None, None);
        project.create().unwrap();
        project
    }

    #[test]
    fn the_content_counts_not_the_name_or_time() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = ContentHashes::open(&project(dir.path()), false);
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, b"same").unwrap();
        fs::write(&b, b"same").unwrap();
        fs::File::open(&b)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(hashes.file(&a).unwrap(), hashes.file(&b).unwrap());
        assert_eq!(hashes.file(&a).unwrap(), ContentHash::of(b"same"));
        fs::write(&a, b"else").unwrap();
        assert_eq!(hashes.file(&a).unwrap(), ContentHash::of(b"else"));
    }

    #[test]
    fn a_fresh_file_is_never_trusted_by_its_time() {
        let stamp = Stamp {
            size: 1,
            mtime_ns: 5_000_000_000,
            ctime_ns: 5_000_000_000,
            inode: 1,
            device: 1,
        };
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        assert!("1:2:3:4".parse::<Stamp>().is_err());
        assert!(!stamp.is_settled(5_500));
        assert!(stamp.is_settled(7_500));
    }

    #[test]
    fn hints_survive_the_process_and_are_only_hints() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let path = fs::canonicalize(dir.path()).unwrap().join("weights");
        fs::write(&path, b"old").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let hint = Hint {
            path: path.clone(),
            stamp,
            hash: ContentHash::of(b"from the hint"),
        };
        append_line(
            &project.cache_dir().join("content-hashes.jsonl"),
            &serde_json::to_string(&hint).unwrap(),
        )
        .unwrap();
        append_line(&project.cache_dir().join("content-hashes.jsonl"), "garbage").unwrap();
        assert_eq!(
            ContentHashes::open(&project, false).file(&path).unwrap(),
            hint.hash
        );
        assert_eq!(
            ContentHashes::open(&project, true).file(&path).unwrap(),
            ContentHash::of(b"old")
        );
        fs::File::open(&path)
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(9))
            .unwrap();
        assert_eq!(
            ContentHashes::open(&project, false).file(&path).unwrap(),
            ContentHash::of(b"old")
        );
    }

    #[test]
    fn looking_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"x").unwrap();
        let project = Project::locate(dir.path(), None, None);
        ContentHashes::open(&project, false).file(&file).unwrap();
        assert!(!project.home().exists());
    }

    #[test]
    fn a_tree_is_its_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = ContentHashes::open(&project(dir.path()), false);
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/a"), b"1").unwrap();
        let one = hashes.tree(&tree).unwrap();
        assert_eq!(one, hashes.tree(&tree).unwrap());
        fs::rename(tree.join("sub/a"), tree.join("sub/b")).unwrap();
        assert_ne!(one, hashes.tree(&tree).unwrap());
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = ContentHashes::open(&project(dir.path()), false)
            .file(&dir.path().join("none"))
            .unwrap_err();
        assert!(error.is_not_found());
        assert!(error.to_string().contains("none"));
    }
}
