//! Which pictures a command works on: files, folders and glob patterns in any
//! mixture, in the order given (`eval-infer.md` section 10).

use std::path::{Path, PathBuf};

use super::error::ImageError;

/// Extensions of pictures in folders, compared case-insensitively.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tiff", "tif"];

/// Whether the file name ends like a picture.
pub fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

/// How inputs are expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageInputs {
    /// Descend into sub-folders of folders.
    pub recursive: bool,
    /// An input that matches nothing is no error.
    pub allow_empty: bool,
}

impl ImageInputs {
    /// Picture files of all inputs, in the order of the inputs; duplicates
    /// stay. Folders and patterns give their files sorted by code point;
    /// hidden files and everything that is no regular file are left out unless
    /// named explicitly.
    pub fn expand(&self, inputs: &[String]) -> Result<Vec<PathBuf>, ImageError> {
        let mut files = Vec::new();
        for input in inputs {
            let before = files.len();
            let path = Path::new(input);
            if path.is_dir() {
                self.folder(path, &mut files)?;
            } else if path.exists() {
                files.push(path.to_owned());
            } else if input.contains(['*', '?', '[']) {
                pattern(input, &mut files)?;
            }
            if files.len() == before && !self.allow_empty {
                return Err(ImageError::NothingFound {
                    input: input.clone(),
                });
            }
        }
        Ok(files)
    }

    fn folder(&self, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ImageError> {
        let list_error = |source| ImageError::List {
            path: folder.to_owned(),
            source,
        };
        let mut names = std::fs::read_dir(folder)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(list_error)?;
        names.sort();
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(&name);
            if path.is_file() {
                if has_image_extension(&path) {
                    files.push(path);
                }
            } else if self.recursive && path.is_dir() && !path.is_symlink() {
                self.folder(&path, files)?;
            }
        }
        Ok(())
    }
}

/// Pictures directly in a folder, hidden ones too, sorted by code point of
/// their names: those that end in one of seven extensions in any case
/// (`eval-infer.md` section 8).
///
/// # Errors
/// A folder that cannot be listed.
pub fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut files = list().map_err(|source| ImageError::List {
        path: folder.to_owned(),
        source,
    })?;
    files.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_tif = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("tif"));
        has_image_extension(path) && !is_tif && path.is_file()
    });
    files.sort();
    Ok(files)
}

/// Picture files for an image cache (`embedding-cache.md` section 7): files as
/// they are, and of folders what ends in one of seven extensions, in the order
/// of these. Hidden files are taken, sub-folders are not entered, duplicates
/// stay.
///
/// # Errors
/// A folder that cannot be listed, or no picture at all.
pub fn cache_pictures(inputs: &[&Path]) -> Result<Vec<PathBuf>, ImageError> {
    const ENDINGS: [&str; 7] = [".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tiff"];
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            files.push(input.to_path_buf());
            continue;
        }
        let list = || -> std::io::Result<Vec<PathBuf>> {
            let entries = std::fs::read_dir(input)?;
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        let mut paths = list().map_err(|source| ImageError::List {
            path: input.to_path_buf(),
            source,
        })?;
        paths.retain(|path| path.is_file());
        paths.sort();
        let ends_in = |path: &Path, ending: &str| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.to_lowercase().ends_with(ending)
        };
        for ending in ENDINGS {
            files.extend(paths.iter().filter(|path| ends_in(path, ending)).cloned());
        }
    }
    if files.is_empty() {
        let inputs: Vec<String> = inputs
            .iter()
            .map(|input| input.display().to_string())
            .collect();
        return Err(ImageError::NothingFound {
            input: inputs.join(", "),
        });
    }
    Ok(files)
}

fn pattern(pattern: &str, files: &mut Vec<PathBuf>) -> Result<(), ImageError> {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(pattern, options).map_err(|error| ImageError::BadPattern {
        pattern: pattern.to_owned(),
        reason: error.to_string(),
    })?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| ImageError::List {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if path.is_file() && has_image_extension(&path) {
            found.push(path);
        }
    }
    found.sort();
    files.append(&mut found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "b.png",
            "B.JPG",
            "a.tif",
            ".hidden.png",
            "notes.txt",
            "sub/c.webp",
            "sub/deep/d.gif",
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        std::fs::create_dir(root.path().join("folder.png")).unwrap();
        root
    }

    fn names(root: &Path, inputs: &[&str], options: ImageInputs) -> Vec<String> {
        let inputs: Vec<String> = inputs
            .iter()
            .map(|input| root.join(input).to_str().unwrap().to_owned())
            .collect();
        let files = options.expand(&inputs).unwrap();
        files
            .iter()
            .map(|path| {
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn folders_give_sorted_visible_pictures() {
        let root = tree();
        let flat = ImageInputs::default();
        assert_eq!(names(root.path(), &[""], flat), ["B.JPG", "a.tif", "b.png"]);
        let deep = ImageInputs {
            recursive: true,
            ..flat
        };
        assert_eq!(
            names(root.path(), &[""], deep),
            ["B.JPG", "a.tif", "b.png", "sub/c.webp", "sub/deep/d.gif"]
        );
    }

    #[test]
    fn order_and_duplicates_of_the_inputs_stay() {
        let root = tree();
        let found = names(
            root.path(),
            &["b.png", "**/*.gif", ".hidden.png", "b.png"],
            ImageInputs::default(),
        );
        assert_eq!(found, ["b.png", "sub/deep/d.gif", ".hidden.png", "b.png"]);
    }

    #[test]
    fn nothing_found_is_an_error_unless_allowed() {
        let root = tree();
        let input = vec![root.path().join("*.bmp").to_str().unwrap().to_owned()];
        assert!(matches!(
            ImageInputs::default().expand(&input),
            Err(ImageError::NothingFound { .. })
        ));
        let lenient = ImageInputs {
            allow_empty: true,
            ..ImageInputs::default()
        };
        assert!(lenient.expand(&input).unwrap().is_empty());
    }
}
