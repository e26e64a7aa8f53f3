//! Unfinished entries: built beside their final place, kept when their maker
//! is killed, published by rename.
//!
//! `.partial/<key>/out/` becomes the entry, `.partial/<key>/work/` holds what
//! only the making needs, `.partial/<key>/partial.json` tells how far it got.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::durable::{replace_file, sync_dir, sync_file};
use super::entry::{Entry, EntryDescription, FORMAT, MANIFEST, Manifest, list_files};
use super::error::StoreError;
use super::key::EntryId;
use super::lease::Lease;
use super::process::now_ms;
use super::shelf::Store;

/// Name of the directory that becomes the entry.
const OUT: &str = "out";

/// Time between two notes of how far the work got.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// How far a piece of work is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is counted, such as `samples`.
    pub unit: String,
    /// How many are done.
    pub done: u64,
    /// How many there are, if known.
    pub total: Option<u64>,
}

/// Why the last attempt at an entry failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The error.
    pub message: String,
    /// Run it happened in.
    pub run: String,
    /// When, ms since 1970.
    pub at_ms: u64,
}

/// Content of `partial.json`: what is known about an unfinished entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartialState {
    /// Format version of this file.
    pub format: u32,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Run of the last attempt.
    pub run: String,
    /// Seconds of work so far, over all attempts.
    pub seconds: f64,
    /// How far the last attempt got.
    pub progress: Option<Progress>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Failure>,
}

impl Store {
    /// Where unfinished work has what it made of an output so far.
    pub fn unfinished_out(&self, id: &EntryId) -> PathBuf {
        self.partial_dir(id).join(OUT)
    }
}

impl PartialState {
    /// The state noted in a partial directory; `None` without a readable one.
    pub(super) fn read(dir: &Path) -> Option<PartialState> {
        let text = fs::read(dir.join("partial.json")).ok()?;
        serde_json::from_slice(&text)
            .ok()
            .filter(|state: &PartialState| state.format <= FORMAT)
    }
}

/// An entry that this process is making, under its lease.
///
/// Dropping it keeps what was made so far for the next attempt.
#[derive(Debug)]
pub struct Building {
    id: EntryId,
    dir: PathBuf,
    target: PathBuf,
    lease: Lease,
    state: PartialState,
    earlier: f64,
    begun: Instant,
    noted: Instant,
}

impl Building {
    pub(super) fn begin(
        id: EntryId,
        dir: PathBuf,
        target: PathBuf,
        lease: Lease,
        run: &str,
    ) -> Result<Self, StoreError> {
        for sub in ["out", "work"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(StoreError::io("make", &sub))?;
        }
        let earlier = PartialState::read(&dir).unwrap_or_default();
        let state = PartialState {
            format: FORMAT,
            attempts: earlier.attempts.saturating_add(1),
            run: run.to_owned(),
            failure: None,
            ..earlier
        };
        let now = Instant::now();
        let building = Building {
            id,
            dir,
            target,
            lease,
            earlier: state.seconds,
            state,
            begun: now,
            noted: now,
        };
        building.note()?;
        Ok(building)
    }

    /// Which entry this becomes.
    pub fn id(&self) -> &EntryId {
        &self.id
    }

    /// The directory that becomes the entry.
    pub fn out(&self) -> PathBuf {
        self.dir.join(OUT)
    }

    /// A directory for what only the making needs; gone when published.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// What is known so far, earlier attempts included.
    pub fn state(&self) -> &PartialState {
        &self.state
    }

    /// Whether an earlier attempt left something.
    pub fn is_resumed(&self) -> bool {
        self.state.attempts > 1
    }

    /// Seconds of work over all attempts.
    pub fn seconds(&self) -> f64 {
        self.earlier + self.begun.elapsed().as_secs_f64()
    }

    /// Tells how far the work is; written down about once a second.
    pub fn progress(&mut self, progress: Progress) {
        self.state.progress = Some(progress);
        if self.noted.elapsed() >= NOTE_EVERY {
            self.noted = Instant::now();
            self.state.seconds = self.seconds();
            // A note for people; the work itself reports a full disk.
            let _ = self.note();
        }
    }

    fn note(&self) -> Result<(), StoreError> {
        let path = self.dir.join("partial.json");
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|e| StoreError::io("write", &path)(e.into()))?;
        replace_file(&path, &text)
    }

    /// Stops without a result; what was made stays for the next attempt.
    pub fn keep(mut self, failure: Option<Failure>) -> Result<(), StoreError> {
        self.state.seconds = self.seconds();
        self.state.failure = failure;
        self.note()?;
        self.lease.remove()
    }

    /// Makes `out` the entry, durably and all at once.
    pub fn publish(self, description: EntryDescription) -> Result<Entry, StoreError> {
        let out = self.out();
        let files = list_files(&out)?;
        let manifest = Manifest {
            format: FORMAT,
            kind: self.id.kind().to_owned(),
            key: self.id.key(),
            published_ms: now_ms(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            description,
        };
        let path = out.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| StoreError::io("write", &path)(e.into()))?;
        // First the contents, then the names: a manifest in `out` means that
        // everything else of the entry is on the disk.
        // It is written outside of `out` and moved in, so that a process killed
        // in between leaves no file there that the next one would publish.
        let staged = self.dir.join(MANIFEST);
        fs::write(&staged, &text).map_err(StoreError::io("write", &staged))?;
        let files = manifest.files.iter().map(|file| out.join(&file.path));
        let mut files: Vec<PathBuf> = files.collect();
        files.push(staged.clone());
        // All at once: the disk takes many in the time of one.
        files.par_iter().try_for_each(|file| sync_file(file))?;
        fs::rename(&staged, &path).map_err(StoreError::io("write", &path))?;
        self.finish()
    }

    /// Publishes what an earlier process completed without publishing it.
    pub(super) fn publish_complete(self) -> Result<Entry, StoreError> {
        self.finish()
    }

    fn finish(self) -> Result<Entry, StoreError> {
        self.lease.check()?;
        let out = self.out();
        let work = self.work();
        fs::remove_dir_all(&work).map_err(StoreError::io("remove", &work))?;
        if self.target.exists() {
            // Only reached when the entry there was found to be damaged.
            let aside = self.dir.join("replaced");
            fs::rename(&self.target, &aside).map_err(StoreError::io("replace", &self.target))?;
        }
        fs::rename(&out, &self.target).map_err(StoreError::io("publish", &self.target))?;
        // Names of files became durable before: file systems keep the order of
        // renames. Should one not, sizes are checked, and the entry is no entry.
        sync_dir(self.target.parent().unwrap_or(Path::new(".")))?;
        let entry = Entry::read(&self.target, &self.id)?.ok_or_else(|| StoreError::Damaged {
            path: self.target.clone(),
            what: "it vanished".into(),
        })?;
        fs::remove_dir_all(&self.dir).map_err(StoreError::io("remove", &self.dir))?;
        self.lease.remove()?;
        Ok(entry)
    }
}
