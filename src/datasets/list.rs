//! A text file that lists pictures with their classes (`embedders.md`
//! section 11): UTF-8, per line the image path relative to the file, a tab,
//! the class name.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::error::DatasetError;
use super::labelled_files::LabelledFiles;

/// Pictures of a list file; classes in byte order, pictures in file order.
/// Reads a list; the pictures themselves are not looked at.
pub fn open_list(path: &Path) -> Result<LabelledFiles, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Read {
        path: path.to_owned(),
        source,
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let bad = |reason: &str| DatasetError::BadLine {
            path: path.to_owned(),
            line: number,
            reason: reason.to_owned(),
        };
        let (file, class) = line
            .split_once('\t')
            .ok_or_else(|| bad("expected path, tab, class name"))?;
        let class = class.trim();
        if file.is_empty() || class.is_empty() {
            return Err(bad("path or class name is empty"));
        }
        lines.push((base.join(file), class));
    }
    let classes: BTreeSet<&str> = lines.iter().map(|(_, class)| *class).collect();
    let labels: HashMap<&str, usize> = classes.iter().copied().zip(0..).collect();
    if classes.is_empty() {
        return Err(DatasetError::NoClasses {
            path: path.to_owned(),
        });
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let samples = lines.into_iter().map(|(file, class)| (file, labels[class]));
    Ok(LabelledFiles::new(
        name.into_owned(),
        classes.iter().map(|class| (*class).to_owned()).collect(),
        samples.collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::ClassificationDataset;

    #[test]
    fn labels_follow_sorted_classes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.tsv");
        std::fs::write(
            &path,
            "a.png\tred fox\nb/c.png\talarm clock\n\nd.png\tred fox\n",
        )
        .unwrap();
        let list = open_list(&path).unwrap();
        assert_eq!(list.classes(), ["alarm clock", "red fox"]);
        assert_eq!((0..3).map(|i| list.label(i)).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!(
            list.image_path(1),
            Some(folder.path().join("b/c.png").as_path())
        );
        assert!(list.image(0).unwrap_err().to_string().contains("a.png"));
    }

    #[test]
    fn bad_lines_are_named_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.tsv");
        std::fs::write(&path, "a.png\tfox\nb.png fox\n").unwrap();
        let error = open_list(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(
            open_list(&path),
            Err(DatasetError::NoClasses { .. })
        ));
    }
}
