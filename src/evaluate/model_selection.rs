//! Which checkpoints a command works on (`eval-infer.md` section 4).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::error::{EvaluateError, Result};

/// Where to look for checkpoints.
#[derive(Clone, Debug)]
pub struct ModelSelection<'a> {
    /// Files, and directories that stand for the files in them.
    pub paths: &'a [String],
    /// How many files a directory stands for, the last by name; 0 = all.
    pub per_directory: usize,
    /// Base of relative paths.
    pub working_directory: &'a Path,
    /// Directory of this run; relative paths that do not exist in the working
    /// directory are looked for beside it.
    pub run_directory: &'a Path,
}

/// Absolute paths of the selected checkpoints in descending order. Files are
/// taken as given, whether they exist or not; empty paths are skipped.
///
/// # Errors
/// A directory that cannot be read, or nothing found.
pub fn select_models(selection: &ModelSelection<'_>) -> Result<Vec<PathBuf>> {
    let mut selected = BTreeSet::new();
    for path in selection.paths.iter().filter(|path| !path.is_empty()) {
        let path = locate(selection, Path::new(path));
        if path.is_dir() {
            let mut files = checkpoints(&path)?;
            files.sort_unstable_by(|a, b| b.cmp(a));
            if selection.per_directory > 0 {
                files.truncate(selection.per_directory);
            }
            selected.extend(files);
        } else {
            selected.insert(path);
        }
    }
    if selected.is_empty() {
        return Err(EvaluateError::NoModels);
    }
    Ok(selected.into_iter().rev().collect())
}

fn locate(selection: &ModelSelection<'_>, path: &Path) -> PathBuf {
    let here = normalised(&selection.working_directory.join(path));
    if here.exists() {
        return here;
    }
    let beside = selection.run_directory.parent().map(|runs| runs.join(path));
    match beside {
        Some(beside) if beside.exists() => normalised(&selection.working_directory.join(beside)),
        _ => here,
    }
}

fn checkpoints(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| EvaluateError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_checkpoint = matches!(extension, Some("train" | "model" | "safetensors"));
        if is_checkpoint && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// The path without `.` and `..`, by its text alone: two spellings of a path
/// are one model.
fn normalised(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
