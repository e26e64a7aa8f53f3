//! A folder with one sub-folder of pictures per class (`embedders.md`
//! section 11).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::labelled_files::LabelledFiles;

/// Extensions of pictures, compared case-insensitively.
const EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];

/// Pictures of a class folder, one class per sub-folder.
///
/// Classes are the sub-folders in byte order; the pictures of a class are found
/// by a recursive walk, folders and files in byte order, links followed. Class
/// names are the folder names with spaces for underscores.
pub fn open_folder(root: &Path) -> Result<LabelledFiles, DatasetError> {
    let name = root.file_name().map_or_else(
        || root.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    labelled_folder(&name, root)
}

/// The same under another name.
pub(super) fn labelled_folder(name: &str, root: &Path) -> Result<LabelledFiles, DatasetError> {
    let (mut classes, mut samples) = (Vec::new(), Vec::new());
    for class in class_folders(root)?.0 {
        let files = pictures(&root.join(&class))?;
        if files.is_empty() {
            return Err(DatasetError::EmptyClass {
                path: root.to_owned(),
                class,
            });
        }
        let label = classes.len();
        samples.extend(files.into_iter().map(|file| (file, label)));
        classes.push(class.replace('_', " "));
    }
    if classes.is_empty() {
        return Err(DatasetError::NoClasses {
            path: root.to_owned(),
        });
    }
    Ok(LabelledFiles::new(name.to_owned(), classes, samples))
}

/// Names of the sub-folders in byte order, and the number of other things.
pub(super) fn class_folders(root: &Path) -> Result<(Vec<String>, usize), DatasetError> {
    let (mut folders, mut others) = (Vec::new(), 0);
    for name in names(root)? {
        let path = root.join(&name);
        if path.is_dir() {
            let name = name.into_string();
            folders.push(name.map_err(|_| DatasetError::NotUtf8 { path })?);
        } else {
            others += 1;
        }
    }
    Ok((folders, others))
}

/// Names in a folder in byte order.
fn names(folder: &Path) -> Result<Vec<OsString>, DatasetError> {
    let list = || -> std::io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    };
    let mut names = list().map_err(|source| DatasetError::Read {
        path: folder.to_owned(),
        source,
    })?;
    names.sort();
    Ok(names)
}

/// Whether a file is a picture by its name.
pub(super) fn is_picture(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        let mut known = EXTENSIONS.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Pictures below a folder: all folders in byte order of their paths, the
/// files of each sorted by name.
fn pictures(root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut folders = BTreeSet::from([root.as_os_str().to_owned()]);
    let mut pending = vec![root.to_owned()];
    // Links may lead in circles: every real folder is visited once.
    let mut visited = BTreeSet::new();
    while let Some(folder) = pending.pop() {
        let real = folder.canonicalize().map_err(|source| DatasetError::Read {
            path: folder.clone(),
            source,
        })?;
        if !visited.insert(real) {
            folders.remove(folder.as_os_str());
            continue;
        }
        for name in names(&folder)? {
            let path = folder.join(name);
            if path.is_dir() {
                folders.insert(path.as_os_str().to_owned());
                pending.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in folders {
        let folder = PathBuf::from(folder);
        for name in names(&folder)? {
            let path = folder.join(name);
            if is_picture(&path) && path.is_file() {
                files.push(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::datasets::ClassificationDataset;

    fn picture(path: &Path, grey: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(2, 2, image::Rgb([grey; 3]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn folders_are_classes_in_byte_order() {
        let root = tempfile::tempdir().unwrap();
        for (file, grey) in [
            ("oak_tree/b.png", 2),
            ("oak_tree/a/z.PNG", 1),
            ("Fox/1.bmp", 0),
        ] {
            picture(&root.path().join(file), grey);
        }
        std::fs::write(root.path().join("oak_tree/notes.txt"), "x").unwrap();
        std::fs::write(root.path().join("readme.png"), "x").unwrap();
        let folder = open_folder(root.path()).unwrap();
        assert_eq!(folder.classes(), ["Fox", "oak tree"]);
        assert_eq!(folder.accepted_names(1), ["oak tree"]);
        let seen: Vec<_> = (0..folder.len())
            .map(|i| {
                (
                    folder.label(i),
                    folder.image(i).unwrap().get_pixel(0, 0).0[0],
                )
            })
            .collect();
        assert_eq!(seen, [(0, 0), (1, 2), (1, 1)]);
        assert!(folder.image_name(0).ends_with("1.bmp"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(
            open_folder(root.path()),
            Err(DatasetError::NoClasses { .. })
        ));
        std::fs::create_dir(root.path().join("empty")).unwrap();
        assert!(matches!(
            open_folder(root.path()),
            Err(DatasetError::EmptyClass { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn links_in_circles_end() {
        let root = tempfile::tempdir().unwrap();
        picture(&root.path().join("fox/a.png"), 1);
        std::os::unix::fs::symlink(root.path().join("fox"), root.path().join("fox/again")).unwrap();
        assert_eq!(open_folder(root.path()).unwrap().len(), 1);
    }
}
