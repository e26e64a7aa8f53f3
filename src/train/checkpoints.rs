//! Where a training's checkpoints lie: published ones, named as the original
//! names them, and a working folder with the last two points the training can
//! go on from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Result, TrainError};
use super::keeping::KeepPolicy;
use crate::decoder::checkpoint::CheckpointHeader;

/// Points to go on from that are kept.
const KEPT: usize = 2;
/// Ending of native checkpoints.
const ENDING: &str = ".safetensors";

/// The two folders.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    published: PathBuf,
    working: PathBuf,
    interval: Duration,
    keep: KeepPolicy,
}

impl CheckpointFolder {
    /// Checkpoints of save decisions go to `published`; at least every
    /// `interval` a point to go on from is written to `working`. Both folders
    /// are made if missing and should be on one file system.
    ///
    /// # Errors
    /// Folders that cannot be made.
    pub fn new(published: PathBuf, working: PathBuf, interval: Duration) -> Result<Self> {
        for folder in [&published, &working] {
            fs::create_dir_all(folder).map_err(|source| failed("make", folder, source))?;
        }
        Ok(Self {
            published,
            working,
            interval,
            keep: KeepPolicy::default(),
        })
    }

    /// The same with another choice of published checkpoints that stay.
    #[must_use]
    pub fn keeping(mut self, keep: KeepPolicy) -> Self {
        self.keep = keep;
        self
    }

    /// Time after which a point to go on from is written.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Points to go on from, the latest first.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn latest(&self) -> Result<Vec<PathBuf>> {
        let mut points = self.points()?;
        points.reverse();
        Ok(points.into_iter().map(|(_, path)| path).collect())
    }

    /// Published checkpoint of the latest chunk.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn last_published(&self) -> Result<Option<PathBuf>> {
        Ok(entries(&self.published)?
            .into_iter()
            .filter(|path| chunk_of(path).is_some())
            .max_by_key(|path| chunk_of(path)))
    }

    /// Writes the checkpoint of finished chunk `chunk` under its published
    /// name and keeps it as point to go on from too. A checkpoint of the same
    /// chunk from before an interruption is replaced.
    pub(super) fn publish(
        &self,
        chunk: u64,
        batch: u64,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let stem = format!("ovod_chunk{chunk:04}_");
        let stamp = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S");
        let path = self.published.join(format!("{stem}{stamp}{ENDING}"));
        write(&path)?;
        for entry in entries(&self.published)? {
            if entry != path && name(&entry).starts_with(&stem) && name(&entry).ends_with(ENDING) {
                remove(&entry)?;
            }
        }
        let point = self.point(batch);
        if point.exists() {
            remove(&point)?;
        }
        if fs::hard_link(&path, &point).is_err() {
            fs::copy(&path, &point).map_err(|source| failed("write", &point, source))?;
        }
        self.prune()?;
        self.remove_surplus()?;
        Ok(path)
    }

    /// Removes the published checkpoints that the policy does not keep.
    fn remove_surplus(&self) -> Result<()> {
        if self.keep.keeps_all() {
            return Ok(());
        }
        let published: Vec<(u64, PathBuf)> = entries(&self.published)?
            .into_iter()
            .filter_map(|path| Some((chunk_of(&path)?, path)))
            .collect();
        let saved: Vec<(u64, f64)> = published
            .iter()
            .map(|(chunk, path)| (*chunk, saved_top1(path)))
            .collect();
        let surplus = self.keep.surplus(&saved);
        for (chunk, path) in &published {
            if surplus.contains(chunk) {
                remove(path)?;
            }
        }
        Ok(())
    }

    /// Writes a point to go on from, unless this one exists.
    pub(super) fn keep(
        &self,
        batch: u64,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.point(batch);
        if !path.exists() {
            write(&path)?;
            self.prune()?;
        }
        Ok(path)
    }

    fn point(&self, batch: u64) -> PathBuf {
        self.working.join(format!("batch_{batch:012}{ENDING}"))
    }

    /// Points with their batch numbers, the latest last.
    fn points(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut points: Vec<(u64, PathBuf)> = entries(&self.working)?
            .into_iter()
            .filter_map(|path| {
                let number = name(&path).strip_prefix("batch_")?.strip_suffix(ENDING)?;
                Some((number.parse().ok()?, path))
            })
            .collect();
        points.sort();
        Ok(points)
    }

    fn prune(&self) -> Result<()> {
        let points = self.points()?;
        let surplus = points.len().saturating_sub(KEPT);
        for (_, path) in &points[..surplus] {
            remove(path)?;
        }
        Ok(())
    }
}

/// Finished chunks of a published checkpoint.
fn chunk_of(path: &Path) -> Option<u64> {
    let stem = name(path)
        .strip_prefix("ovod_chunk")?
        .strip_suffix(ENDING)?;
    stem.split('_').next()?.parse().ok()
}

/// Running accuracy when a checkpoint was saved; the lowest if it cannot be
/// read.
fn saved_top1(path: &Path) -> f64 {
    let training = CheckpointHeader::load(path).ok();
    let training = training.and_then(|header| header.training);
    let top1 = training.and_then(|training| {
        training
            .get("train_loop_state")?
            .get("saved_ewa_train_top1")?
            .as_f64()
    });
    top1.unwrap_or(f64::NEG_INFINITY)
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|source| failed("read", folder, source))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|source| failed("remove", path, source))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> TrainError {
    TrainError::File {
        action,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, CheckpointFolder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(
            dir.path().join("out"),
            dir.path().join("work"),
            Duration::ZERO,
        )
        .unwrap();
        (dir, folder)
    }

    fn write(content: &str) -> impl Fn(&Path) -> Result<()> + '_ {
        move |path| {
            fs::write(path, content).unwrap();
            Ok(())
        }
    }

    #[test]
    fn the_last_two_points_are_kept_in_numerical_order() {
        let (_dir, folder) = folder();
        for batch in [9, 10, 1_000_000_000_000, 11] {
            folder.keep(batch, write("x")).unwrap();
        }
        let latest = folder.latest().unwrap();
        assert_eq!(latest.len(), 2);
        assert!(latest[0].ends_with("batch_1000000000000.safetensors"));
        assert!(latest[1].ends_with("batch_000000000011.safetensors"));
    }

    #[test]
    fn only_what_the_policy_keeps_stays_published() {
        let (_dir, folder) = folder();
        let folder = folder.keeping(KeepPolicy {
            last: 2,
            best: 0,
            every: 5,
        });
        for chunk in [3, 5, 7, 9] {
            folder.publish(chunk, chunk, write("x")).unwrap();
        }
        let mut chunks: Vec<_> = entries(&folder.published).unwrap();
        chunks.sort();
        let chunks: Vec<_> = chunks.iter().filter_map(|path| chunk_of(path)).collect();
        assert_eq!(chunks, [5, 7, 9]);
    }

    #[test]
    fn a_published_checkpoint_is_also_the_latest_point() {
        let (_dir, folder) = folder();
        fs::write(
            folder.published.join("ovod_chunk0003_old.safetensors"),
            "old",
        )
        .unwrap();
        fs::write(
            folder.published.join("ovod_chunk0002_x.safetensors"),
            "other",
        )
        .unwrap();
        folder.keep(6, write("stale")).unwrap();
        let path = folder.publish(3, 6, write("new")).unwrap();
        assert!(name(&path).starts_with("ovod_chunk0003_2"));
        assert_eq!(folder.last_published().unwrap(), Some(path));
        assert_eq!(entries(&folder.published).unwrap().len(), 2);
        let latest = folder.latest().unwrap();
        assert_eq!(latest.len(), 1);
        assert_eq!(fs::read_to_string(&latest[0]).unwrap(), "new");
    }
}
