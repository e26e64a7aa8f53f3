//! Annotation files as inference and tables take them: where they lie, what
//! they say, and entries for samples that they lack (`annotation.md` 1.2).

use std::path::{Path, PathBuf};

use super::error::Result;
use super::file::AnnotationFile;

/// Begin of a path that stands for the image directory.
const IMAGE_DIR: &str = "$IMAGEDIR";

/// Begin of a path that stands for the working directory of the program.
const SOURCE: &str = "$SOURCE";

/// Where an annotation file is; none for an empty path, which means: no
/// annotations. A path that begins with `$IMAGEDIR` without an image directory
/// stays as it is, and leads to no file.
pub fn annotation_path(path: &str, image_dir: Option<&Path>, project: &Path) -> Option<PathBuf> {
    let below = |tag: &str| match path.strip_prefix(tag)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    };
    match (below(IMAGE_DIR), image_dir) {
        _ if path.is_empty() => None,
        (Some(rest), Some(image_dir)) => Some(image_dir.join(rest)),
        _ => Some(match below(SOURCE) {
            Some(rest) => project.join(rest),
            None => project.join(path),
        }),
    }
}

/// The annotations of an optional path.
///
/// # Errors
/// There is no such file, or it is something else.
pub fn load_annotations(path: Option<&Path>) -> Result<AnnotationFile> {
    path.map_or_else(|| Ok(AnnotationFile::new()), AnnotationFile::load)
}

/// Gives every sample without entry an empty one: an empty list for every
/// category of the file, or for the five if it has none. Whatever else is in
/// the file stays. The file is rewritten, sorted by sample, only if anything
/// was added; a file that does not exist is made. Returns how many samples were
/// added.
///
/// # Errors
/// A file that cannot be read or written, or is no annotation file.
pub fn add_samples(path: &Path, samples: &[String]) -> Result<usize> {
    let mut file = AnnotationFile::load_or_new(path)?;
    let mut categories = file.categories();
    if categories.is_empty() {
        categories = super::category::Category::HUMAN_ORDER
            .map(|category| category.name().to_owned())
            .to_vec();
    }
    let enter = |sample: &&String| file.enter(sample, &categories);
    let added = samples.iter().filter(enter).count();
    if added > 0 {
        file.sort();
        file.save(path)?;
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_made_and_a_damaged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("annotations.json");
        let samples = ["b.png", "a.png"].map(str::to_owned);
        assert_eq!(add_samples(&path, &samples).unwrap(), 2);
        let file = AnnotationFile::load(&path).unwrap();
        assert_eq!(file.categories().len(), 5);
        assert_eq!(file.images()[0].image, "a.png");
        assert_eq!(add_samples(&path, &samples).unwrap(), 0);
        for damaged in ["[]", "{\"a\": 1}", "{"] {
            std::fs::write(&path, damaged).unwrap();
            let error = add_samples(&path, &samples).unwrap_err().to_string();
            assert!(error.contains("annotations.json"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn paths_may_begin_with_a_tag() {
        let (images, project) = (Path::new("/images"), Path::new("/here"));
        for (path, image_dir, expected) in [
            ("", Some(images), None),
            ("$IMAGEDIR/a.json", Some(images), Some("/images/a.json")),
            (
                "$IMAGEDIRS/a.json",
                Some(images),
                Some("/here/$IMAGEDIRS/a.json"),
            ),
            ("$IMAGEDIR/a.json", None, Some("/here/$IMAGEDIR/a.json")),
            ("$SOURCE/a.json", None, Some("/here/a.json")),
            ("b/a.json", None, Some("/here/b/a.json")),
            ("/a.json", None, Some("/a.json")),
        ] {
            let found = annotation_path(path, image_dir, project);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
