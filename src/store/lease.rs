//! Leases: one process at a time, released by the operating system.
//!
//! A lease is a small file with a lock on it. The lock goes when its process
//! goes, however it goes, so nothing ever has to be unlocked by hand; the
//! content (process number, start of the machine, last beat) only tells people
//! who it is. On file systems without locks the content decides instead.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::process::{boot_id, host, is_alive, now_ms, pid_space};

/// Time between two beats of a held lease.
const BEAT: Duration = Duration::from_secs(1);

/// Without locks, and from another machine, a lease counts as abandoned when
/// its last beat is this old. Far longer than any pause of a live process.
const SILENCE_MS: u64 = 15 * 60 * 1000;

/// Who holds or held a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process number.
    pub pid: u32,
    /// Name of the machine.
    pub host: String,
    /// Start of the machine: the same process number means another process
    /// after a restart.
    pub boot_id: String,
    /// Set of process numbers (container) that `pid` belongs to.
    pub pid_space: String,
    /// What the holder says about itself, such as its run id.
    pub note: String,
    /// When it took the lease, ms since 1970.
    pub since_ms: u64,
    /// Its last sign of life, ms since 1970.
    pub beat_ms: u64,
    /// Whether it holds a lock on the file too; else this content alone tells
    /// whether it lives.
    #[serde(default = "yes")]
    pub locked: bool,
}

fn yes() -> bool {
    true
}

impl Holder {
    fn me(note: &str, locked: bool) -> Holder {
        let now = now_ms();
        Holder {
            pid: std::process::id(),
            host: host().to_owned(),
            boot_id: boot_id().to_owned(),
            pid_space: pid_space().to_owned(),
            note: note.chars().take(200).collect(),
            since_ms: now,
            beat_ms: now,
            locked,
        }
    }

    /// Seconds since the last sign of life.
    pub fn silent_for(&self) -> f64 {
        now_ms().saturating_sub(self.beat_ms) as f64 / 1000.0
    }

    /// Whether it can be told from the content alone that the holder is gone.
    fn is_gone(&self) -> bool {
        if self.host == host() && !self.boot_id.is_empty() {
            if self.boot_id != boot_id() {
                return true;
            }
            if self.pid_space == pid_space() {
                return !is_alive(self.pid);
            }
        }
        now_ms().saturating_sub(self.beat_ms) > SILENCE_MS
    }

    /// Same process and same moment of taking.
    fn is_same(&self, other: &Holder) -> bool {
        self.pid == other.pid
            && self.host == other.host
            && self.boot_id == other.boot_id
            && self.since_ms == other.since_ms
            && self.note == other.note
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.host != host() {
            write!(f, " on {}", self.host)?;
        }
        if !self.note.is_empty() {
            write!(f, " ({})", self.note)?;
        }
        Ok(())
    }
}

/// How leases of a store are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockSupport {
    /// By locks of the operating system; by content where it has none.
    #[default]
    Locks,
    /// By content only.
    ContentOnly,
}

/// The answer to an attempt at a lease.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Held(Lease),
    /// Somebody else holds it; `None` if that cannot be read yet.
    Busy(Option<Holder>),
}

/// What a look at a lease file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// There is no lease file.
    Absent,
    /// A live process holds it.
    Held(Option<Holder>),
    /// Its process ended without giving it back.
    Abandoned(Option<Holder>),
}

/// An exclusive claim that ends with its process at the latest.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    beat: Arc<Beat>,
    locked: bool,
}

impl Lease {
    /// Tries to take the lease `path`, whose directory exists.
    pub fn try_take(path: &Path, note: &str, support: LockSupport) -> Result<Attempt, StoreError> {
        if support == LockSupport::ContentOnly {
            return Lease::try_take_by_content(path, note);
        }
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(StoreError::io("open", path))?;
            match file.try_lock() {
                Ok(()) if is_still_at(&file, path) => {
                    if let Some(holder) = read_holder(path)?
                        && !holder.locked
                        && !holder.is_gone()
                    {
                        return Ok(Attempt::Busy(Some(holder)));
                    }
                    let lease = Lease {
                        path: path.to_path_buf(),
                        beat: Beat::new(file, note, true),
                        locked: true,
                    };
                    match lease.beat.write() {
                        // The lock is what counts, and what frees space takes leases, too.
                        Err(error) if is_full(&error) => {}
                        written => written.map_err(StoreError::io("write", path))?,
                    }
                    heart::adopt(&lease.beat);
                    return Ok(Attempt::Held(lease));
                }
                // Given back and removed between opening and locking.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => return Ok(Attempt::Busy(read_holder(path)?)),
                Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                    return Lease::try_take_by_content(path, note);
                }
                Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
            }
        }
    }

    fn try_take_by_content(path: &Path, note: &str) -> Result<Attempt, StoreError> {
        loop {
            match OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)
            {
                Ok(file) => {
                    let lease = Lease {
                        path: path.to_path_buf(),
                        beat: Beat::new(file, note, false),
                        locked: false,
                    };
                    lease.beat.write().map_err(StoreError::io("write", path))?;
                    heart::adopt(&lease.beat);
                    return Ok(Attempt::Held(lease));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let Some(holder) = read_holder(path)? else {
                        // Being written; or its writer died in between.
                        let age = fs::metadata(path).and_then(|data| data.modified()).ok();
                        let age = age.and_then(|time| time.elapsed().ok()).unwrap_or_default();
                        if age < Duration::from_secs(60) {
                            return Ok(Attempt::Busy(None));
                        }
                        remove_if_there(path)?;
                        continue;
                    };
                    if !holder.is_gone() {
                        return Ok(Attempt::Busy(Some(holder)));
                    }
                    set_aside(path, &holder)?;
                }
                Err(error) => return Err(StoreError::io("make", path)(error)),
            }
        }
    }

    /// Looks at the lease `path` without taking or changing it.
    pub fn inspect(path: &Path, support: LockSupport) -> Result<LeaseState, StoreError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LeaseState::Absent),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        let holder = read_holder(path)?;
        let by_content = || match &holder {
            Some(who) if who.is_gone() => LeaseState::Abandoned(holder.clone()),
            _ => LeaseState::Held(holder.clone()),
        };
        let unlocked = holder.as_ref().is_some_and(|holder| !holder.locked);
        if support == LockSupport::ContentOnly || unlocked {
            return Ok(by_content());
        }
        match file.try_lock_shared() {
            Ok(()) => Ok(LeaseState::Abandoned(holder)),
            Err(TryLockError::WouldBlock) => Ok(LeaseState::Held(holder)),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => Ok(by_content()),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    /// Checks that nobody took this lease over; possible only without locks,
    /// when this process was silent for very long.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.locked {
            return Ok(());
        }
        match read_holder(&self.path)? {
            Some(holder) if !holder.is_same(&self.beat.holder()) => Err(StoreError::LeaseLost {
                path: self.path.clone(),
                holder,
            }),
            _ => Ok(()),
        }
    }

    /// Gives the lease back and removes its file.
    pub fn remove(self) -> Result<(), StoreError> {
        self.check()?;
        remove_if_there(&self.path)
    }
}

/// A held lease's file, and what stands in it.
#[derive(Debug)]
struct Beat {
    file: File,
    holder: Mutex<Holder>,
}

impl Beat {
    fn new(file: File, note: &str, locked: bool) -> Arc<Beat> {
        Arc::new(Beat {
            file,
            holder: Mutex::new(Holder::me(note, locked)),
        })
    }

    fn holder(&self) -> Holder {
        self.holder
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Writes the content in place; its length does not change between beats.
    fn write(&self) -> io::Result<()> {
        let text = {
            let mut holder = self
                .holder
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            holder.beat_ms = now_ms();
            serde_json::to_string(&*holder)?
        };
        self.file.write_all_at(format!("{text}\n").as_bytes(), 0)?;
        self.file.set_len(text.len() as u64 + 1)
    }
}

/// The thread that beats for all leases of this process.
mod heart {
    use super::*;

    struct Heart {
        beats: Vec<Weak<Beat>>,
        running: bool,
    }

    static HEART: Mutex<Heart> = Mutex::new(Heart {
        beats: Vec::new(),
        running: false,
    });

    pub(super) fn adopt(beat: &Arc<Beat>) {
        let mut heart = HEART
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        heart.beats.push(Arc::downgrade(beat));
        if !heart.running {
            // Without the thread, beats are missing but the locks still hold.
            heart.running = std::thread::Builder::new()
                .name("lease beats".into())
                .spawn(run)
                .is_ok();
        }
    }

    fn run() {
        loop {
            std::thread::sleep(BEAT);
            let mut heart = HEART
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            heart.beats.retain(|beat| beat.strong_count() > 0);
            if heart.beats.is_empty() {
                heart.running = false;
                return;
            }
            let beats: Vec<_> = heart.beats.iter().filter_map(Weak::upgrade).collect();
            drop(heart);
            for beat in beats {
                // A beat that is late or lost (a full disk) harms nothing.
                let _ = beat.write();
            }
        }
    }
}

/// Whether `path` still names the open `file`.
fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// Whether the file system has no locks.
fn is_unsupported(error: &io::Error) -> bool {
    let nolck = rustix::io::Errno::NOLCK.raw_os_error();
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(nolck)
}

/// Whether there is no space left.
fn is_full(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded
}

/// What stands in a lease file; `None` if it is not there or not readable.
fn read_holder(path: &Path) -> Result<Option<Holder>, StoreError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text)) {
        Ok(_) => Ok(text
            .lines()
            .next()
            .and_then(|line| serde_json::from_str(line).ok())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes the lease of a process that is gone, unless a third process was
/// faster: then its fresh lease is put back.
fn set_aside(path: &Path, dead: &Holder) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".dead.{}", std::process::id()));
    let aside = path.with_file_name(name);
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("replace", path)(error)),
        Ok(()) => {}
    }
    if read_holder(&aside)?.is_some_and(|holder| !holder.is_same(dead)) {
        let _ = fs::hard_link(&aside, path);
    }
    remove_if_there(&aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path, support: LockSupport) -> Attempt {
        Lease::try_take(path, "ovod_test", support).unwrap()
    }

    #[test]
    fn one_at_a_time() {
        for support in [LockSupport::Locks, LockSupport::ContentOnly] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.lease");
            assert_eq!(Lease::inspect(&path, support).unwrap(), LeaseState::Absent);
            let Attempt::Held(lease) = take(&path, support) else {
                panic!("free")
            };
            let Attempt::Busy(Some(holder)) = take(&path, support) else {
                panic!("taken")
            };
            assert_eq!(holder.pid, std::process::id());
            assert!(matches!(
                Lease::inspect(&path, support).unwrap(),
                LeaseState::Held(Some(_))
            ));
            lease.remove().unwrap();
            assert!(!path.exists());
            assert!(matches!(take(&path, support), Attempt::Held(_)));
        }
    }

    #[test]
    fn a_dropped_lease_is_abandoned_and_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        drop(take(&path, LockSupport::Locks));
        assert!(matches!(
            Lease::inspect(&path, LockSupport::Locks).unwrap(),
            LeaseState::Abandoned(Some(_))
        ));
        assert!(matches!(take(&path, LockSupport::Locks), Attempt::Held(_)));
    }

    /// Writes the lease file of some other process.
    fn plant(path: &Path, change: impl Fn(&mut Holder)) {
        let mut holder = Holder::me("another run", false);
        change(&mut holder);
        fs::write(
            path,
            format!("{}\n", serde_json::to_string(&holder).unwrap()),
        )
        .unwrap();
    }

    #[test]
    fn without_locks_the_dead_are_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let gone: [&dyn Fn(&mut Holder); 3] = [
            &|holder| holder.boot_id = "before the restart".into(),
            &|holder| holder.pid = i32::MAX as u32,
            &|holder| {
                holder.host = "elsewhere".into();
                holder.beat_ms -= SILENCE_MS + 1;
            },
        ];
        for change in gone {
            plant(&path, change);
            assert!(matches!(
                Lease::inspect(&path, LockSupport::ContentOnly).unwrap(),
                LeaseState::Abandoned(Some(_))
            ));
            let Attempt::Held(lease) = take(&path, LockSupport::ContentOnly) else {
                panic!("free")
            };
            lease.remove().unwrap();
        }
    }

    #[test]
    fn without_locks_the_living_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let alive: [&dyn Fn(&mut Holder); 3] = [
            // A late beat on this machine: the process exists, so it lives.
            &|holder| holder.beat_ms = 0,
            &|holder| holder.host = "elsewhere".into(),
            // A clock that was moved back.
            &|holder| holder.beat_ms += 1_000_000_000,
        ];
        for change in alive {
            plant(&path, change);
            assert!(matches!(
                take(&path, LockSupport::ContentOnly),
                Attempt::Busy(Some(_))
            ));
        }
    }

    #[test]
    fn who_trusts_locks_respects_who_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let lease = take(&path, LockSupport::ContentOnly);
        assert!(matches!(
            take(&path, LockSupport::Locks),
            Attempt::Busy(Some(_))
        ));
        assert!(matches!(
            Lease::inspect(&path, LockSupport::Locks).unwrap(),
            LeaseState::Held(Some(_))
        ));
        drop(lease);
        plant(&path, |holder| holder.pid = i32::MAX as u32);
        assert!(matches!(
            Lease::inspect(&path, LockSupport::Locks).unwrap(),
            LeaseState::Abandoned(Some(_))
        ));
        assert!(matches!(take(&path, LockSupport::Locks), Attempt::Held(_)));
    }

    #[test]
    fn a_lease_that_was_taken_over_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let Attempt::Held(lease) = take(&path, LockSupport::ContentOnly) else {
            panic!("free")
        };
        lease.check().unwrap();
        plant(&path, |holder| holder.note = "usurper".into());
        assert!(matches!(lease.check(), Err(StoreError::LeaseLost { .. })));
        assert!(lease.remove().is_err());
        assert!(path.exists());
    }
}
