//! Class annotation files: sample → category → nouns (`eval-infer.md` 8.2).

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::{EvaluateError, Result};
use super::json_text::json_text;

/// Gives every sample without entry an empty one: an empty list for every
/// category of the file. Whatever else is in the file stays. The file is
/// rewritten, sorted by sample, only if anything was added; a file that does
/// not exist is made. Returns how many samples were added.
///
/// # Errors
/// A file that cannot be read or written, or is no object of objects.
pub fn add_samples(path: &Path, samples: &[String]) -> Result<usize> {
    let wrong = |reason: String| EvaluateError::AnnotationFile {
        path: path.to_owned(),
        reason,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
        Err(source) => {
            return Err(EvaluateError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let mut annotations: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut empty = Map::new();
    for (sample, entry) in &annotations {
        let categories = entry
            .as_object()
            .ok_or_else(|| wrong(format!("the entry of {sample} is no object of categories")))?;
        for category in categories.keys() {
            empty.insert(category.clone(), json!([]));
        }
    }
    let mut added = 0;
    for sample in samples {
        if !annotations.contains_key(sample) {
            annotations.insert(sample.clone(), Value::Object(empty.clone()));
            added += 1;
        }
    }
    if added > 0 {
        annotations.sort_keys();
        let text = json_text(&Value::Object(annotations));
        crate::store::write_file(path, text.as_bytes())?;
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
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\n  \"a.png\": {},\n  \"b.png\": {}\n}");
        assert_eq!(add_samples(&path, &samples).unwrap(), 0);
        for damaged in ["[]", "{\"a\": 1}", "{"] {
            std::fs::write(&path, damaged).unwrap();
            let error = add_samples(&path, &samples).unwrap_err().to_string();
            assert!(error.contains("annotations.json"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
