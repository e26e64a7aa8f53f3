//! Food-101: pictures in class folders, the split in two JSON files.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::dataset::Split;
use super::error::DatasetError;
use super::tree::{Samples, Tree};

/// The list of a part.
fn list(part: Split) -> &'static str {
    match part {
        Split::Train => "meta/train.json",
        _ => "meta/test.json",
    }
}

/// Whether a file is one of the lists of a split.
pub(super) fn is_list(split: Split, file: &str) -> bool {
    split.parts().iter().any(|&part| list(part) == file)
}

/// Classes and pictures of a split with the place of their class; classes are
/// the sorted keys of the lists.
pub(super) fn pictures(tree: &Tree, split: Split) -> Result<(Vec<String>, Samples), DatasetError> {
    let mut classes: Vec<String> = Vec::new();
    let mut samples = Vec::new();
    for part in split.parts() {
        let file = list(*part);
        let wrong = |reason: String| DatasetError::Layout {
            path: tree.path(file),
            reason,
        };
        let text = tree.read_text(file)?;
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
                samples.push((format!("images/{picture}.jpg"), labels[class.as_str()]));
            }
        }
    }
    let classes = classes
        .iter()
        .map(|class| class.replace('_', " "))
        .collect();
    Ok((classes, samples))
}
