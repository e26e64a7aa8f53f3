//! The store: where entries lie and who may build them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::building::{Building, PartialState};
use super::entry::{Entry, MANIFEST};
use super::error::StoreError;
use super::key::{EntryId, Key};
use super::lease::{Attempt, Holder, Lease, LeaseState, LockSupport};

/// The answer to a claim on an entry.
#[derive(Debug)]
pub enum Claim {
    /// It is finished.
    Ready(Box<Entry>),
    /// It is ours to make.
    Build(Box<Building>),
    /// Another process is making it.
    Busy(Option<Holder>),
}

/// The content-addressed outputs of a project: `<kind>/<key>/…`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    support: LockSupport,
}

impl Store {
    /// The store in `root`, which need not exist yet.
    pub fn new(root: PathBuf) -> Store {
        Store {
            root,
            support: LockSupport::default(),
        }
    }

    /// The same store with another way to hold leases.
    pub fn with_locks(self, support: LockSupport) -> Store {
        Store { support, ..self }
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the entry is or will be.
    pub fn entry_dir(&self, id: &EntryId) -> PathBuf {
        self.root.join(id.path())
    }

    /// How leases are held.
    pub(super) fn support(&self) -> LockSupport {
        self.support
    }

    /// Where unfinished work of a kind lies.
    pub(super) fn partials_dir(&self, kind: &str) -> PathBuf {
        self.root.join(kind).join(".partial")
    }

    pub(super) fn partial_dir(&self, id: &EntryId) -> PathBuf {
        self.partials_dir(id.kind()).join(id.key().to_string())
    }

    pub(super) fn lease_path(&self, id: &EntryId) -> PathBuf {
        self.partials_dir(id.kind())
            .join(format!("{}.lease", id.key()))
    }

    /// The finished entry, if there is one and its files have their sizes.
    /// Writes nothing.
    pub fn get(&self, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        let entry = Entry::read(&self.entry_dir(id), id)?;
        entry.as_ref().map_or(Ok(()), Entry::check_sizes)?;
        Ok(entry)
    }

    /// The finished entry with a key, of whatever kind. Writes nothing.
    pub fn with_key(&self, key: Key) -> Result<Option<Entry>, StoreError> {
        let kinds = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            kinds => kinds.map_err(StoreError::io("list", &self.root))?,
        };
        for kind in kinds {
            let kind = kind
                .map_err(StoreError::io("list", &self.root))?
                .file_name();
            let id = kind.to_str().map(|kind| EntryId::new(kind, key));
            if let Some(Ok(id)) = id
                && let Some(entry) = self.get(&id)?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// What an earlier attempt left, if it left anything. Writes nothing.
    pub fn partial(&self, id: &EntryId) -> Option<PartialState> {
        PartialState::read(&self.partial_dir(id))
    }

    /// The live process that is making the entry, if one is. Writes nothing.
    pub fn builder(&self, id: &EntryId) -> Result<Option<Holder>, StoreError> {
        match Lease::inspect(&self.lease_path(id), self.support)? {
            LeaseState::Held(holder) => Ok(holder),
            LeaseState::Absent | LeaseState::Abandoned(_) => Ok(None),
        }
    }

    /// Asks for the entry: it is finished, ours to make, or being made.
    ///
    /// `run` says who we are. A damaged entry counts as not made.
    pub fn claim(&self, id: &EntryId, run: &str) -> Result<Claim, StoreError> {
        if let Some(entry) = self.find_whole(id)? {
            self.tidy(id, run);
            return Ok(Claim::Ready(Box::new(entry)));
        }
        self.claim_to_build(id, run, false)
    }

    /// Asks for the right to make the entry from nothing. A finished one stays
    /// until the new one replaces it.
    pub fn claim_anew(&self, id: &EntryId, run: &str) -> Result<Claim, StoreError> {
        self.claim_to_build(id, run, true)
    }

    fn claim_to_build(&self, id: &EntryId, run: &str, anew: bool) -> Result<Claim, StoreError> {
        let dir = self.partial_dir(id);
        let parent = self.partials_dir(id.kind());
        fs::create_dir_all(&parent).map_err(StoreError::io("make", &parent))?;
        let lease = match Lease::try_take(&self.lease_path(id), run, self.support)? {
            Attempt::Held(lease) => lease,
            Attempt::Busy(holder) => return Ok(Claim::Busy(holder)),
        };
        if anew {
            discard(&dir)?;
        } else if let Some(entry) = self.find_whole(id)? {
            // Published while we were asking.
            discard(&dir)?;
            lease.remove()?;
            return Ok(Claim::Ready(Box::new(entry)));
        }
        let complete = dir.join("out").join(MANIFEST).exists();
        let building = Building::begin(id.clone(), dir, self.entry_dir(id), lease, run)?;
        if complete {
            match Entry::read(&building.out(), id) {
                Ok(Some(entry)) if entry.check_sizes().is_ok() => {
                    return building
                        .publish_complete()
                        .map(|entry| Claim::Ready(Box::new(entry)));
                }
                _ => {
                    let manifest = building.out().join(MANIFEST);
                    fs::remove_file(&manifest).map_err(StoreError::io("remove", &manifest))?;
                }
            }
        }
        Ok(Claim::Build(Box::new(building)))
    }

    /// Removes what a process left that was killed between publishing the
    /// entry and clearing up. Best effort: the entry is whole with or without.
    fn tidy(&self, id: &EntryId, run: &str) {
        let (dir, lease) = (self.partial_dir(id), self.lease_path(id));
        if !dir.exists() && !lease.exists() {
            return;
        }
        // Whoever holds the lease is about to clear up.
        if let Ok(Attempt::Held(lease)) = Lease::try_take(&lease, run, self.support) {
            // The lease goes last: killed here, the next claim goes on.
            if fs::remove_dir_all(&dir).is_ok() || !dir.exists() {
                let _ = lease.remove();
            }
        }
    }

    /// Like [`Store::get`], but a damaged entry is none: it will be replaced.
    fn find_whole(&self, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        match self.get(id) {
            Err(StoreError::Damaged { .. }) => Ok(None),
            other => other,
        }
    }

    /// Keys of all finished entries of a kind, by their names alone.
    pub fn keys(&self, kind: &str) -> Result<HashSet<Key>, StoreError> {
        keys_in(&self.root.join(kind))
    }

    /// Keys of all unfinished entries of a kind, likewise.
    pub fn partial_keys(&self, kind: &str) -> Result<HashSet<Key>, StoreError> {
        keys_in(&self.partials_dir(kind))
    }

    /// All finished entries of a kind that can be read, in no order.
    pub fn entries(&self, kind: &str) -> Result<Vec<Entry>, StoreError> {
        let dir = self.root.join(kind);
        let items = match fs::read_dir(&dir) {
            Ok(items) => items,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("list", &dir)(error)),
        };
        let items: Vec<_> = items
            .collect::<std::io::Result<_>>()
            .map_err(StoreError::io("list", &dir))?;
        let read = |item: &fs::DirEntry| -> Result<Option<Entry>, StoreError> {
            let name = item.file_name();
            let Some(key) = name.to_str().and_then(|name| name.parse().ok()) else {
                return Ok(None);
            };
            let id = EntryId::new(kind, key)?;
            Ok(Entry::read(&item.path(), &id).unwrap_or_default())
        };
        let found: Vec<Option<Entry>> = items.par_iter().map(read).collect::<Result<_, _>>()?;
        let found = found.into_iter().flatten().collect();
        Ok(found)
    }
}

/// Names of a directory that are keys.
fn keys_in(dir: &Path) -> Result<HashSet<Key>, StoreError> {
    let items = match fs::read_dir(dir) {
        Ok(items) => items,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(StoreError::io("list", dir)(error)),
    };
    let mut keys = HashSet::new();
    for item in items {
        let name = item.map_err(StoreError::io("list", dir))?.file_name();
        keys.extend(name.to_str().and_then(|name| name.parse::<Key>().ok()));
    }
    Ok(keys)
}

/// Removes a directory all at once as far as anybody can see: first out of the
/// way, then for good.
fn discard(old: &Path) -> Result<(), StoreError> {
    let doomed = old.with_extension(format!("doomed.{}", std::process::id()));
    match fs::rename(old, &doomed) {
        Ok(()) => fs::remove_dir_all(&doomed).map_err(StoreError::io("remove", &doomed)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("remove", old)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EntryDescription, Failure, Key, Progress};
    use super::*;

    fn id() -> EntryId {
        EntryId::new("nothing", Key::of(b"x")).unwrap()
    }

    fn build(store: &Store) -> Box<Building> {
        match store.claim(&id(), "ovod_test").unwrap() {
            Claim::Build(building) => building,
            other => panic!("not free: {other:?}"),
        }
    }

    #[test]
    fn an_entry_appears_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("store"));
        let building = build(&store);
        fs::create_dir(building.out().join("sub")).unwrap();
        fs::write(building.out().join("sub/data.bin"), b"12345").unwrap();
        fs::write(building.work().join("scratch"), b"...").unwrap();
        assert!(store.get(&id()).unwrap().is_none());
        assert!(store.builder(&id()).unwrap().is_some());
        let description = EntryDescription {
            seconds: 1.5,
            ..Default::default()
        };
        let entry = building.publish(description).unwrap();
        assert_eq!(entry.manifest().bytes, 5);
        assert_eq!(
            entry.file("sub/data.bin").unwrap(),
            entry.dir().join("sub/data.bin")
        );
        assert!(entry.file("other").is_err());
        entry.check_content().unwrap();
        assert!(!entry.dir().join("work").exists());
        assert!(store.partial(&id()).is_none());
        assert!(matches!(
            store.claim(&id(), "again").unwrap(),
            Claim::Ready(_)
        ));
        assert_eq!(store.entries("nothing").unwrap().len(), 1);
        assert_eq!(
            fs::read_dir(store.root().join("nothing/.partial"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn what_a_publisher_killed_at_its_very_end_left_is_cleared_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        build(&store).publish(EntryDescription::default()).unwrap();
        // As the rename leaves it: the entry in place, its partial directory
        // and a lease that nobody holds any more.
        fs::create_dir_all(store.partial_dir(&id())).unwrap();
        fs::write(store.partial_dir(&id()).join("partial.json"), "{}").unwrap();
        fs::write(store.lease_path(&id()), "").unwrap();
        let claim = store.claim(&id(), "next").unwrap();
        assert!(matches!(claim, Claim::Ready(_)));
        assert!(!store.partial_dir(&id()).exists());
        assert!(!store.lease_path(&id()).exists());
    }

    #[test]
    fn partial_work_is_kept_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let mut building = build(&store);
        fs::write(building.work().join("half"), b"half").unwrap();
        building.progress(Progress {
            unit: "samples".into(),
            done: 5,
            total: Some(10),
        });
        let failure = Failure {
            message: "no more".into(),
            run: "ovod_test".into(),
            at_ms: 1,
        };
        building.keep(Some(failure.clone())).unwrap();
        let state = store.partial(&id()).unwrap();
        assert_eq!(state.failure, Some(failure));
        assert_eq!(state.progress.unwrap().done, 5);
        let building = build(&store);
        assert!(building.is_resumed());
        assert_eq!(fs::read(building.work().join("half")).unwrap(), b"half");
        assert!(store.partial(&id()).unwrap().failure.is_none());
    }

    #[test]
    fn a_second_builder_is_told_who_is_at_it() {
        for support in [LockSupport::Locks, LockSupport::ContentOnly] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::new(dir.path().to_path_buf()).with_locks(support);
            let building = build(&store);
            let Claim::Busy(Some(holder)) = store.claim(&id(), "other").unwrap() else {
                panic!("busy")
            };
            assert_eq!(holder.note, "ovod_test");
            drop(building);
            if support == LockSupport::Locks {
                assert!(matches!(
                    store.claim(&id(), "other").unwrap(),
                    Claim::Build(_)
                ));
            }
        }
    }

    #[test]
    fn a_complete_output_is_published_by_whoever_comes_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let building = build(&store);
        fs::write(building.out().join("data"), b"12345").unwrap();
        let entry = building.publish(EntryDescription::default()).unwrap();
        // As if killed just before the rename.
        let partial = store.partial_dir(&id());
        fs::create_dir_all(&partial).unwrap();
        fs::rename(entry.dir(), partial.join("out")).unwrap();
        let Claim::Ready(entry) = store.claim(&id(), "next").unwrap() else {
            panic!("ready")
        };
        entry.check_content().unwrap();
        assert!(!partial.exists());
    }

    #[test]
    fn a_damaged_entry_is_named_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let building = build(&store);
        fs::write(building.out().join("data"), b"12345").unwrap();
        let entry = building.publish(EntryDescription::default()).unwrap();
        fs::write(entry.dir().join("data"), b"123").unwrap();
        let error = store.get(&id()).unwrap_err().to_string();
        assert!(error.contains("data has 3 bytes instead of 5"), "{error}");
        let building = build(&store);
        fs::write(building.out().join("data"), b"54321").unwrap();
        building
            .publish(EntryDescription::default())
            .unwrap()
            .check_content()
            .unwrap();
        store.get(&id()).unwrap().unwrap();
    }

    #[test]
    fn anew_means_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let publish = |building: Box<Building>, content| {
            fs::write(building.out().join("data"), content).unwrap();
            building.publish(EntryDescription::default()).unwrap()
        };
        publish(build(&store), "old");
        let Claim::Build(building) = store.claim_anew(&id(), "force").unwrap() else {
            panic!("free")
        };
        assert!(!building.is_resumed());
        assert!(
            store.get(&id()).unwrap().is_some(),
            "the old one stays until there is a new one"
        );
        let entry = publish(building, "new");
        assert_eq!(fs::read(entry.file("data").unwrap()).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(store.root().join("nothing/.partial"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn a_newer_format_is_not_guessed_at() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_path_buf());
        let entry = build(&store).publish(EntryDescription::default()).unwrap();
        fs::write(
            entry.dir().join(MANIFEST),
            br#"{"format": 99, "shape": "unknown"}"#,
        )
        .unwrap();
        assert!(matches!(
            store.claim(&id(), "old"),
            Err(StoreError::Newer { found: 99, .. })
        ));
    }

    #[test]
    fn a_read_only_place_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o555)).unwrap();
        // The superuser may write anywhere.
        if fs::write(root.join("probe"), b"").is_err() {
            let error = Store::new(root.clone())
                .claim(&id(), "run")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&root.display().to_string()) && error.contains("NOVIC_HOME"),
                "{error}"
            );
        }
    }
}
