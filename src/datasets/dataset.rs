//! What every classification dataset offers, and how one is found by name.

use std::path::Path;

use image::RgbImage;

use crate::config::expanded;

use super::drawings;
use super::error::DatasetError;
use super::folder::open_folder;
use super::known::{self, known_names};
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

    /// Remarks on its files that are worth showing once.
    fn notices(&self) -> &[String] {
        &[]
    }
}

/// Which samples of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Split {
    /// Training samples.
    Train,
    /// Validation samples.
    #[default]
    Valid,
    /// Validation samples, then training samples.
    All,
}

impl Split {
    /// The split of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Train, Self::Valid, Self::All]
            .into_iter()
            .find(|split| split.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::All => "all",
        }
    }

    /// The parts it consists of, in their order.
    pub fn parts(self) -> &'static [Self] {
        match self {
            Self::Train => &[Self::Train],
            Self::Valid => &[Self::Valid],
            Self::All => &[Self::Valid, Self::Train],
        }
    }
}

/// Opens an embedded pack of drawings by its name or a dataset by its path; see
/// [`open_in`].
pub fn open(name: &str) -> Result<Box<dyn ClassificationDataset>, DatasetError> {
    open_in(name, Path::new(""), Split::Valid)
}

/// Opens a dataset: the name of an embedded pack of drawings or of one of the
/// known datasets below `root` (case-insensitive), or a path (it contains a
/// separator or starts with `.` or `~`) to a folder with one sub-folder per
/// class or to a list file. Packs and paths have one part, which every split
/// selects.
pub fn open_in(
    name: &str,
    root: &Path,
    split: Split,
) -> Result<Box<dyn ClassificationDataset>, DatasetError> {
    if name.starts_with(['.', '~']) || name.contains(std::path::is_separator) {
        let path = expanded(name);
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
    if let Some(opened) = known::open(name, root, split) {
        return opened;
    }
    let packs = packs.iter().map(|pack| pack.name);
    let known: Vec<String> = packs.chain(known_names()).map(str::to_owned).collect();
    let similarity = |known: &String| {
        strsim::normalized_damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase())
    };
    let hint = known
        .iter()
        .filter(|known| similarity(known) > 0.6)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
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
