//! Which prediction files and annotations are meant (`reports.md` section 2).

use std::fs;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use super::error::{PredictionsError, Result};
use super::file::ModelPredictions;
use crate::reports::printed::Printed;

/// What leading words of paths stand for.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory of relative paths, and of `$SOURCE`.
    pub source: PathBuf,
    /// Directory that `$IMAGEDIR` stands for, with its own leading words.
    pub image_dir: String,
}

impl Places {
    /// An absolute path, with a leading `$SOURCE` resolved.
    pub fn path(&self, path: &str) -> PathBuf {
        let (first, rest) = split_first(path);
        let path = if first == "$SOURCE" { rest } else { path };
        normalized(&self.source.join(path))
    }

    /// The directory of the images.
    pub fn image_dir(&self) -> PathBuf {
        self.path(&self.image_dir)
    }

    /// The annotation file; none for an empty text.
    pub fn annotations(&self, path: &str) -> Option<PathBuf> {
        if path.is_empty() {
            return None;
        }
        let (first, rest) = split_first(path);
        Some(if first == "$IMAGEDIR" {
            normalized(&self.image_dir().join(rest))
        } else {
            self.path(path)
        })
    }
}

fn split_first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// The path without `.` and `..`; links are not followed.
fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// A selected file and whether it was named itself, rather than its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selected {
    /// Absolute path.
    pub path: PathBuf,
    /// Whether it was named.
    pub named: bool,
}

/// The files meant by entries: each a prediction file or a directory of them.
/// Sorted by path, which is the order of models in all tables; none twice.
///
/// # Errors
/// A file without `.json`, or a directory that cannot be read.
pub fn select_files(entries: &[String], places: &Places) -> Result<Vec<Selected>> {
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_empty()) {
        let path = places.path(entry);
        if path.is_dir() {
            let failed = |source| PredictionsError::Read {
                path: path.clone(),
                source,
            };
            for child in fs::read_dir(&path).map_err(failed)? {
                let child = child.map_err(failed)?.path();
                if is_json(&child) {
                    found.push(Selected {
                        path: child,
                        named: false,
                    });
                }
            }
        } else if is_json(&path) {
            found.push(Selected { path, named: true });
        } else {
            return Err(PredictionsError::Extension { path });
        }
    }
    // As texts, not by components.
    let text = |path: &Path| path.as_os_str().to_owned();
    found.sort_by_key(|file| (text(&file.path), !file.named));
    found.dedup_by(|next, kept| next.path == kept.path);
    Ok(found)
}

fn is_json(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().ends_with(".json")
}

/// Reads files, in their order. JSON files of other kinds in a directory are
/// left out with a note.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_files(files: &[Selected], out: &mut Printed) -> Result<Vec<ModelPredictions>> {
    let read: Vec<_> = files
        .par_iter()
        .map(|file| ModelPredictions::read(&file.path))
        .collect();
    let mut models = Vec::with_capacity(read.len());
    for (file, model) in files.iter().zip(read) {
        match model? {
            Some(model) => {
                out.info(format!("Loading predictions JSON: {}", file.path.display()));
                models.push(model);
            }
            None if file.named => {
                return Err(PredictionsError::File {
                    path: file.path.clone(),
                    reason: "it holds neither `samples` nor `predictions`".to_owned(),
                });
            }
            None => out.info(format!(
                "Left out, for it holds no predictions: {}",
                file.path.display()
            )),
        }
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_words_are_resolved() {
        let places = Places {
            source: PathBuf::from("/home/x"),
            image_dir: "$SOURCE/extras/world".to_owned(),
        };
        let annotations = |path| {
            places
                .annotations(path)
                .map(|path| path.display().to_string())
        };
        let expected = Some("/home/x/extras/world/a.json".to_owned());
        assert_eq!(annotations("$IMAGEDIR/a.json"), expected);
        assert_eq!(annotations("$SOURCE/extras/./world/b/../a.json"), expected);
        assert_eq!(annotations("extras/world/a.json"), expected);
        assert_eq!(annotations("/y/a.json"), Some("/y/a.json".to_owned()));
        assert_eq!(annotations(""), None);
    }

    #[test]
    fn directories_give_their_json_files_only() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "notes.txt"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        let places = Places {
            source: folder.path().to_owned(),
            image_dir: String::new(),
        };
        let entries = ["", ".", "b.json"].map(str::to_owned);
        let found = select_files(&entries, &places).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|file| (file.path.file_name().unwrap().to_str().unwrap(), file.named))
            .collect();
        assert_eq!(names, [("a.json", false), ("b.json", true)]);
        let error = select_files(&["notes.txt".to_owned()], &places).unwrap_err();
        assert!(error.to_string().contains("no JSON file"), "{error}");
    }
}
