//! Food-101: pictures in class folders, the split in two JSON files.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::dataset::Split;
use super::error::DatasetError;
use super::labelled_files::LabelledFiles;

/// Opens the parts of a split; classes are the sorted keys of the JSON files.
pub(super) fn open(name: &str, folder: &Path, split: Split) -> Result<LabelledFiles, DatasetError> {
    let mut classes: Vec<String> = Vec::new();
    let mut samples = Vec::new();
    for part in split.parts() {
        let file = match part {
            Split::Train => "meta/train.json",
            _ => "meta/test.json",
        };
        let path = folder.join(file);
        let wrong = |reason: String| DatasetError::Layout {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(|source| DatasetError::Read {
            path: path.clone(),
            source,
        })?;
        let lists: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut sorted: Vec<String> = lists.keys().cloned().collect();
        sorted.sort();
        if classes.is_empty() {
            classes = sorted;
        } else if classes != sorted {
            return Err(wrong("has other classes than the other part".to_owned()));
        }
        let labels: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        for (class, pictures) in &lists {
            for picture in pictures.as_array().into_iter().flatten() {
                let picture = picture
                    .as_str()
                    .filter(|name| !name.split('/').any(|part| part == ".."))
                    .ok_or_else(|| wrong(format!("class {class} lists no picture names")))?;
                let file = folder.join("images").join(format!("{picture}.jpg"));
                samples.push((file, labels[class.as_str()]));
            }
        }
    }
    let classes = classes
        .iter()
        .map(|class| class.replace('_', " "))
        .collect();
    Ok(LabelledFiles::new(name.to_owned(), classes, samples))
}
