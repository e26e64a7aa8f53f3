//! What every classification dataset offers, and how one is found by name.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::drawings;
use super::error::DatasetError;
use super::folder::open_folder;
use super::list::open_list;

/// Labelled pictures in a fixed order.
pub trait ClassificationDataset: Send + Sync {
    /// Name for people.
    fn name(&self) -> &str;

    /// Class names in label order.
    fn classes(&self) -> &[String];

    /// Names that count as correct for a class, the class's own name first.
    ///
    /// # Panics
    /// If there is no such class.
    fn accepted_names(&self, class: usize) -> &[String];

    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there are no pictures.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class of picture `i`.
    ///
    /// # Panics
    /// If there is no such picture.
    fn label(&self, i: usize) -> usize;

    /// Picture `i`, 8-bit RGB.
    ///
    /// # Panics
    /// If there is no such picture.
    fn image(&self, i: usize) -> Result<RgbImage, DatasetError>;

    /// Name of picture `i` for people: its path or its name in the pack.
    ///
    /// # Panics
    /// If there is no such picture.
    fn image_name(&self, i: usize) -> String;

    /// File of picture `i`, if it is one.
    fn image_path(&self, i: usize) -> Option<&Path> {
        let _ = i;
        None
    }
}

/// Opens a dataset: the name of an embedded pack of drawings
/// (case-insensitive), or a path (it contains a separator or starts with `.`
/// or `~`) to a folder with one sub-folder per class or to a list file.
pub fn open(name: &str) -> Result<Box<dyn ClassificationDataset>, DatasetError> {
    if name.starts_with(['.', '~']) || name.contains(std::path::is_separator) {
        let path = match name.strip_prefix("~/") {
            Some(rest) => std::env::home_dir().unwrap_or_default().join(rest),
            None => PathBuf::from(name),
        };
        return if path.is_dir() {
            Ok(Box::new(open_folder(&path)?))
        } else if path.is_file() {
            Ok(Box::new(open_list(&path)?))
        } else {
            Err(DatasetError::Missing { path })
        };
    }
    let packs = drawings::embedded_packs();
    if let Some(pack) = packs
        .iter()
        .find(|pack| pack.name.eq_ignore_ascii_case(name))
    {
        return Ok(Box::new(pack.open()?));
    }
    let known: Vec<String> = packs.iter().map(|pack| pack.name.to_owned()).collect();
    let hint = known
        .iter()
        .find(|known| strsim::normalized_damerau_levenshtein(known, &name.to_lowercase()) > 0.6)
        .map(|known| format!(" (did you mean {known}?)"))
        .unwrap_or_default();
    Err(DatasetError::Unknown {
        name: name.to_owned(),
        known,
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_and_missing_paths_are_errors() {
        assert!(matches!(
            open("no-such-dataset"),
            Err(DatasetError::Unknown { .. })
        ));
        assert!(matches!(
            open("./no/such/folder"),
            Err(DatasetError::Missing { .. })
        ));
    }
}
