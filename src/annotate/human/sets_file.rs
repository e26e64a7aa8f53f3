//! A TOML file that lists image sets (`[[set]]`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::HumanError;
use super::set::SetOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    set: Vec<Set>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: Option<String>,
    images: PathBuf,
    predictions: Vec<PathBuf>,
    annotations: Option<PathBuf>,
    k: Option<usize>,
    #[serde(default)]
    gen_cfg: Vec<String>,
    #[serde(default)]
    compare: Vec<PathBuf>,
}

/// The sets of a file; `k` is for sets that say none, `links` for all.
///
/// # Errors
/// It cannot be read, or has something that is not known.
pub fn read_sets(path: &Path, k: usize, links: bool) -> Result<Vec<SetOptions>, HumanError> {
    let text = std::fs::read_to_string(path).map_err(HumanError::file("read", path))?;
    let file: File = toml_edit::de::from_str(&text)
        .map_err(|error| HumanError::Sets(format!("{}: {error}", path.display())))?;
    if file.set.is_empty() {
        return Err(HumanError::Sets(format!(
            "{}: there is no [[set]]",
            path.display()
        )));
    }
    let options = |set: Set| SetOptions {
        name: set.name.unwrap_or_else(|| folder_name(&set.images)),
        images: set.images,
        predictions: set.predictions,
        annotations: set.annotations,
        k: set.k.unwrap_or(k),
        gen_cfg: set.gen_cfg,
        compare: set.compare,
        links,
    };
    Ok(file.set.into_iter().map(options).collect())
}

/// The name of a set that has none.
fn folder_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}
