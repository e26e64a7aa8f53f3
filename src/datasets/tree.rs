//! Where the files of a dataset are: in a folder, or in the archive in which it
//! is published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::ArchivedFiles;
use super::error::DatasetError;
use super::folder::{is_picture, labelled_folder};
use super::labelled_files::LabelledFiles;

/// Names of files, each with the place of its class.
pub(super) type Samples = Vec<(String, usize)>;

/// Files by their names below the dataset's own folder.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Unpacked.
    Folder(PathBuf),
    /// In the archive as it was downloaded.
    Archive(Arc<ArchivedFiles>),
}

impl Tree {
    /// The folder or the archive.
    pub(super) fn root(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Archive(files) => files.archive(),
        }
    }

    /// What stands for a file in texts.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Whether there is a file of this name.
    pub(super) fn has_file(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            Self::Archive(files) => files.has(name),
        }
    }

    /// Whether there is a folder of this name; the empty name is the root.
    pub(super) fn has_folder(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_dir(),
            Self::Archive(files) => name.is_empty() || files.folders().contains(name),
        }
    }

    /// Content of a file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, DatasetError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                std::fs::read(&path).map_err(|source| DatasetError::Read { path, source })
            }
            Self::Archive(files) => files.read(name),
        }
    }

    /// Text of a file.
    pub(super) fn read_text(&self, name: &str) -> Result<String, DatasetError> {
        String::from_utf8(self.read(name)?).map_err(|error| DatasetError::Layout {
            path: self.path(name),
            reason: error.to_string(),
        })
    }

    /// The files with a class each, by their names.
    pub(super) fn labelled(
        &self,
        name: &str,
        classes: Vec<String>,
        samples: Samples,
    ) -> LabelledFiles {
        match self {
            Self::Folder(folder) => {
                let samples = samples.into_iter();
                let samples = samples.map(|(file, label)| (folder.join(file), label));
                LabelledFiles::new(name.to_owned(), classes, samples.collect())
            }
            Self::Archive(files) => {
                LabelledFiles::archived(name.to_owned(), classes, samples, files.clone())
            }
        }
    }

    /// The pictures of a folder with one sub-folder per class; see
    /// [`open_folder`](super::open_folder).
    pub(super) fn class_folders(
        &self,
        name: &str,
        part: &str,
    ) -> Result<LabelledFiles, DatasetError> {
        let files = match self {
            Self::Folder(folder) => return labelled_folder(name, &folder.join(part)),
            Self::Archive(files) => files,
        };
        let folders = files.folders().iter();
        let folders = folders.filter_map(|folder| below(part, folder));
        let mut names: Vec<&str> = folders.filter(|folder| !folder.contains('/')).collect();
        names.sort_unstable();
        if names.is_empty() {
            return Err(DatasetError::NoClasses {
                path: self.path(part),
            });
        }
        // Class, folder and name of each picture, in the order in which a walk
        // over folders meets them.
        let mut pictures: Vec<(usize, &str, &str)> = Vec::new();
        for file in files.files().filter(|file| is_picture(Path::new(file))) {
            let class = below(part, file).and_then(|name| name.split_once('/'));
            let class = class.and_then(|(class, _)| names.binary_search(&class).ok());
            if let (Some(class), Some((folder, name))) = (class, file.rsplit_once('/')) {
                pictures.push((class, folder, name));
            }
        }
        pictures.sort_unstable();
        if let Some(class) = (0..names.len()).find(|&class| {
            let place = pictures.partition_point(|&(other, ..)| other < class);
            pictures
                .get(place)
                .is_none_or(|&(other, ..)| other != class)
        }) {
            return Err(DatasetError::EmptyClass {
                path: self.path(part),
                class: names[class].to_owned(),
            });
        }
        let samples = pictures.into_iter();
        let samples = samples.map(|(class, folder, name)| (format!("{folder}/{name}"), class));
        let classes = names.iter().map(|name| name.replace('_', " ")).collect();
        Ok(self.labelled(name, classes, samples.collect()))
    }
}

/// The name of a file or folder below another folder; the empty name is the
/// root.
fn below<'a>(folder: &str, name: &'a str) -> Option<&'a str> {
    match folder {
        "" => Some(name),
        folder => name.strip_prefix(folder)?.strip_prefix('/'),
    }
}
