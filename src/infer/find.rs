//! Which checkpoint files are meant: files, directories of them, and runs
//! (`training.md` 3.6).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::store::{Manifest, Project};
use crate::train::exchange::{EMBEDDED_NAME, Form};

/// Checkpoints named by a configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointNames<'a> {
    /// `checkpoint.load`: one; empty for none.
    pub load: &'a str,
    /// `checkpoint.load_many`: files, directories and runs.
    pub load_many: &'a [String],
    /// `checkpoint.per_dir`: newest files of each directory or run; 0 = all.
    pub per_dir: usize,
}

/// Where names that are no paths are looked up.
#[derive(Clone, Copy, Debug)]
pub struct SearchPlaces<'a> {
    /// What relative paths refer to.
    pub working_dir: &'a Path,
    /// The directory that holds the directories of runs.
    pub outputs: &'a Path,
    /// The store's folder of trainings, if there is one.
    pub trainings: Option<&'a Path>,
}

impl CheckpointNames<'_> {
    /// The files, newest first: by directory, then by the chunk and the time in
    /// their names. A name that is nothing that exists is taken as a file, so
    /// that reading it says what is wrong; `embedded` is the decoder in the
    /// program and stays as it is.
    pub fn find(&self, places: &SearchPlaces<'_>) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let names = self.load_many.iter().map(String::as_str);
        for name in [self.load].into_iter().chain(names) {
            if name.is_empty() {
                continue;
            }
            if name == EMBEDDED_NAME {
                found.push(PathBuf::from(name));
                continue;
            }
            let path = places.resolve(name);
            let mut files = Vec::new();
            if path.is_dir() {
                files.extend(checkpoints_in(&path));
            }
            if let Some(run) = run_id(name, places) {
                files.extend(places.trained_by(run));
            }
            if files.is_empty() && !path.is_dir() {
                found.push(path);
                continue;
            }
            files = once_each(files);
            newest_first(&mut files);
            if self.per_dir > 0 {
                files.truncate(self.per_dir);
            }
            found.extend(files);
        }
        newest_first(&mut found);
        found.dedup();
        found
    }
}

impl SearchPlaces<'_> {
    /// A name as an absolute path: as it is if it is absolute or exists, else
    /// below the outputs if it exists there.
    pub fn resolve(&self, name: &str) -> PathBuf {
        let here = self.working_dir.join(name);
        let there = self.outputs.join(name);
        if !here.exists() && there.exists() {
            there
        } else {
            here
        }
    }

    /// Native checkpoints in the store that a run made.
    fn trained_by(&self, run: &str) -> Vec<PathBuf> {
        let Some(trainings) = self.trainings else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(trainings).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|folder| {
                let text = std::fs::read_to_string(folder.join("entry.json"));
                let manifest = text
                    .ok()
                    .map(|text| serde_json::from_str::<Manifest>(&text));
                matches!(manifest, Some(Ok(manifest)) if manifest.description.run == run)
            })
            .flat_map(|folder| checkpoints_in(&folder))
            .filter(|path| ChunkName::of(path).is_some())
            .collect()
    }
}

/// Where a project keeps checkpoints; owns the paths of [`SearchPlaces`].
#[derive(Clone, Debug)]
pub struct ProjectPlaces {
    working_dir: PathBuf,
    outputs: PathBuf,
    trainings: PathBuf,
}

impl ProjectPlaces {
    /// The places of a project.
    pub fn of(project: &Project) -> Self {
        Self {
            working_dir: project.working_dir().to_owned(),
            outputs: project.outputs_dir(),
            trainings: project.store_dir().join("train"),
        }
    }

    /// Where to search.
    pub fn places(&self) -> SearchPlaces<'_> {
        SearchPlaces {
            working_dir: &self.working_dir,
            outputs: &self.outputs,
            trainings: Some(&self.trainings),
        }
    }
}

/// The run that `RUN` or `outputs/RUN` stands for.
fn run_id<'a>(name: &'a str, places: &SearchPlaces<'_>) -> Option<&'a str> {
    let path = Path::new(name);
    let run = path.file_name()?.to_str()?;
    let below = path.parent().is_some_and(|parent| {
        parent.as_os_str().is_empty() || places.working_dir.join(parent) == places.outputs
    });
    let digits = run.strip_prefix("ovod_")?;
    let is_id = digits.len() >= 15
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
    (below && is_id).then_some(run)
}

/// Checkpoint files directly in a directory.
fn checkpoints_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| Form::of_name(path).is_some() && path.is_file())
        .collect()
}

/// A checkpoint that exists in both forms counts once, in the native one.
fn once_each(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut by_stem: BTreeMap<_, PathBuf> = BTreeMap::new();
    for file in files {
        let stem = file.file_stem().map(ToOwned::to_owned);
        let native = Form::of_name(&file) == Some(Form::Native);
        let place = by_stem.entry(stem).or_insert_with(|| file.clone());
        if native {
            *place = file;
        }
    }
    by_stem.into_values().collect()
}

/// What the name of a saved checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChunkName {
    chunk: u64,
    time: String,
}

impl ChunkName {
    /// `ovod_chunkNNNN_YYYYMMDD_HHMMSS.ENDING`.
    fn of(path: &Path) -> Option<Self> {
        let stem = path.file_stem()?.to_str()?.strip_prefix("ovod_chunk")?;
        let (chunk, time) = stem.split_once('_')?;
        Some(Self {
            chunk: chunk.parse().ok()?,
            time: time.to_owned(),
        })
    }
}

fn newest_first(files: &mut [PathBuf]) {
    files.sort_by_cached_key(|path| {
        let folder = path.parent().map(|parent| parent.as_os_str().to_owned());
        let name = path.file_name().map(ToOwned::to_owned);
        Reverse((folder, ChunkName::of(path), name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    fn find(dir: &Path, names: &[&str], per_dir: usize) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let found = CheckpointNames {
            load: "",
            load_many: &names,
            per_dir,
        }
        .find(&SearchPlaces {
            working_dir: dir,
            outputs: &dir.join("outputs"),
            trainings: None,
        });
        let relative = |path: &PathBuf| path.strip_prefix(dir).unwrap().display().to_string();
        found.iter().map(relative).collect()
    }

    #[test]
    fn chunks_count_as_numbers_and_both_forms_once() {
        let dir = folder(&[
            "d/ovod_chunk9999_20260101_000000.train",
            "d/ovod_chunk10000_20260101_000000.train",
            "d/ovod_chunk10000_20260102_000000.train",
            "d/ovod_chunk10000_20260102_000000.safetensors",
            "d/other.model",
            "d/other.json",
        ]);
        assert_eq!(
            find(dir.path(), &["d"], 0),
            [
                "d/ovod_chunk10000_20260102_000000.safetensors",
                "d/ovod_chunk10000_20260101_000000.train",
                "d/ovod_chunk9999_20260101_000000.train",
                "d/other.model",
            ]
        );
        assert_eq!(find(dir.path(), &["d", "d"], 1).len(), 1);
    }

    #[test]
    fn the_decoder_in_the_program_is_no_file() {
        let dir = folder(&["embedded/ovod_chunk0001_20260101_000000.train", "a.model"]);
        let found = CheckpointNames {
            load: "embedded",
            load_many: &["a.model".to_owned(), "embedded".to_owned()],
            per_dir: 1,
        };
        let found = found.find(&SearchPlaces {
            working_dir: dir.path(),
            outputs: dir.path(),
            trainings: None,
        });
        assert_eq!(
            found,
            [dir.path().join("a.model"), PathBuf::from("embedded")]
        );
    }

    #[test]
    fn a_run_stands_for_its_checkpoints_in_the_outputs() {
        let run = "outputs/ovod_20260101_000000_2";
        let file = format!("{run}/ovod_chunk0003_20260101_000000.train");
        let dir = folder(&[&file]);
        for name in ["ovod_20260101_000000_2", run] {
            let found = find(dir.path(), &[name], 1);
            assert_eq!(found, std::slice::from_ref(&file), "{name}");
        }
        let missing = "ovod_20260101_000003";
        assert_eq!(find(dir.path(), &[missing], 1), [missing]);
    }
}
