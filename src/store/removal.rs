//! Removing outputs: what there is, and taking it away all at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::building::PartialState;
use super::error::StoreError;
use super::key::{EntryId, Key};
use super::lease::{Attempt, Lease};
use super::shelf::Store;

/// Unfinished work in the store.
#[derive(Clone, Debug)]
pub struct PartialWork {
    /// What it was to become.
    pub id: EntryId,
    /// What is known about it.
    pub state: PartialState,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// When it was last worked on, ms since 1970.
    pub touched_ms: u64,
}

/// What became of something that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Another process is making it; it stays.
    Busy,
}

impl Store {
    /// Stage kinds that have outputs or unfinished work, sorted.
    pub fn kinds(&self) -> Result<Vec<String>, StoreError> {
        let kind = |name: String| EntryId::new(&name, Key::of(b"")).is_ok().then_some(name);
        let mut kinds: Vec<_> = names(self.root())?.into_iter().filter_map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    /// Unfinished work of a kind, in no order.
    pub fn partials(&self, kind: &str) -> Result<Vec<PartialWork>, StoreError> {
        let mut found = Vec::new();
        for name in names(&self.partials_dir(kind))? {
            let Ok(key) = name.parse::<Key>() else {
                continue;
            };
            let id = EntryId::new(kind, key)?;
            let dir = self.partial_dir(&id);
            if dir.is_dir() {
                found.push(PartialWork {
                    state: PartialState::read(&dir).unwrap_or_default(),
                    bytes: size(&dir),
                    touched_ms: touched(&dir.join("partial.json")),
                    id,
                });
            }
        }
        Ok(found)
    }

    /// Removes a finished output. Nobody ever sees a part of it: it first gets
    /// out of the way as a whole.
    pub fn remove_entry(&self, id: &EntryId) -> Result<Removal, StoreError> {
        self.remove(id, &self.entry_dir(id))
    }

    /// Removes unfinished work, unless a process is at it.
    pub fn remove_partial(&self, id: &EntryId) -> Result<Removal, StoreError> {
        self.remove(id, &self.partial_dir(id))
    }

    fn remove(&self, id: &EntryId, dir: &Path) -> Result<Removal, StoreError> {
        let parent = self.partials_dir(id.kind());
        fs::create_dir_all(&parent).map_err(StoreError::io("make", &parent))?;
        let lease = match Lease::try_take(&self.lease_path(id), "gc", self.support())? {
            Attempt::Held(lease) => lease,
            Attempt::Busy(_) => return Ok(Removal::Busy),
        };
        let doomed = parent.join(format!("{}.doomed.{}", id.key(), std::process::id()));
        match fs::rename(dir, &doomed) {
            Ok(()) => fs::remove_dir_all(&doomed).map_err(StoreError::io("remove", &doomed))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("remove", dir)(error)),
        }
        lease.remove()?;
        Ok(Removal::Removed)
    }

    /// Directories that were on their way out when their process was killed.
    pub fn doomed(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut found = Vec::new();
        for kind in self.kinds()? {
            let dir = self.partials_dir(&kind);
            let left = names(&dir)?.into_iter().filter(|name| is_left_over(name));
            found.extend(left.map(|name| dir.join(name)));
        }
        Ok(found)
    }
}

/// Whether a name is that of a directory on its way out whose process is gone.
fn is_left_over(name: &str) -> bool {
    let Some((_, pid)) = name.split_once(".doomed.") else {
        return false;
    };
    pid.parse().is_ok_and(|pid| !super::process::is_alive(pid))
}

/// Names in a directory; none if it does not exist.
fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let items = match fs::read_dir(dir) {
        Ok(items) => items,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for item in items {
        let name = item.map_err(StoreError::io("list", dir))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// Sum of the sizes of all files below, as far as they can be looked at.
fn size(dir: &Path) -> u64 {
    let mut bytes = 0;
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        match item.metadata() {
            Ok(data) if data.is_dir() => bytes += size(&item.path()),
            Ok(data) => bytes += data.len(),
            Err(_) => {}
        }
    }
    bytes
}

fn touched(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|data| data.modified()).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::{Claim, EntryDescription};
    use super::*;

    fn id(name: &[u8]) -> EntryId {
        EntryId::new("nothing", Key::of(name)).unwrap()
    }

    fn build(store: &Store, id: &EntryId) -> Box<super::super::Building> {
        match store.claim(id, "ovod_test").unwrap() {
            Claim::Build(building) => building,
            other => panic!("not free: {other:?}"),
        }
    }

    #[test]
    fn what_is_removed_is_gone_as_a_whole_and_what_is_being_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("store"));
        assert!(store.kinds().unwrap().is_empty() && store.doomed().unwrap().is_empty());
        let building = build(&store, &id(b"a"));
        fs::write(building.out().join("data"), b"12345").unwrap();
        building.publish(EntryDescription::default()).unwrap();
        let unfinished = build(&store, &id(b"b"));
        fs::write(unfinished.work().join("data"), b"123").unwrap();
        assert_eq!(store.kinds().unwrap(), ["nothing"]);
        let partials = store.partials("nothing").unwrap();
        assert_eq!(partials.len(), 1);
        assert!(partials[0].bytes >= 3 && partials[0].touched_ms > 0);
        assert_eq!(store.remove_partial(&id(b"b")).unwrap(), Removal::Busy);
        unfinished.keep(None).unwrap();
        assert_eq!(store.remove_partial(&id(b"b")).unwrap(), Removal::Removed);
        assert_eq!(store.remove_entry(&id(b"a")).unwrap(), Removal::Removed);
        assert_eq!(store.remove_entry(&id(b"a")).unwrap(), Removal::Removed);
        assert!(store.get(&id(b"a")).unwrap().is_none());
        let left = fs::read_dir(store.root().join("nothing/.partial")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn leftovers_of_killed_processes_are_found_and_those_of_live_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let partial = dir.path().join("nothing/.partial");
        let key = Key::of(b"a");
        let mine = partial.join(format!("{key}.doomed.{}", std::process::id()));
        let dead = partial.join(format!("{key}.doomed.{}", u32::MAX / 2));
        fs::create_dir_all(&mine).unwrap();
        fs::create_dir_all(&dead).unwrap();
        assert_eq!(store.doomed().unwrap(), [dead]);
    }
}
