//! What people say about a run afterwards: tags and a note.
//!
//! The record of a run has one writer and ends with it; labels lie beside it in
//! `labels.json`.

use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::store::write_file;

use super::error::TrackingError;

pub const FORMAT: u32 = 1;

const FILE: &str = "labels.json";

/// Tags and a note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// Format version.
    format: u32,
    /// Tags, sorted.
    pub tags: Vec<String>,
    /// Free text.
    pub note: String,
}

impl Labels {
    /// The labels of the run in `dir`; none where there are none that can be
    /// read.
    pub fn read(dir: &Path) -> Labels {
        Labels::to_change(dir).unwrap_or_default()
    }

    /// The labels of the run in `dir`, to be changed and written again.
    ///
    /// # Errors
    /// There are some that cannot be read: writing would lose them.
    pub fn to_change(dir: &Path) -> Result<Labels, TrackingError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Labels::default()),
            text => text.map_err(TrackingError::io("read", &path))?,
        };
        let labels: Result<Labels, _> = serde_json::from_slice(&text);
        let what = match labels {
            Ok(labels) if labels.format <= FORMAT => return Ok(labels),
            Ok(labels) => format!("it has format {}, not {FORMAT}", labels.format),
            Err(error) => error.to_string(),
        };
        Err(TrackingError::Labels { path, what })
    }

    /// Adds a tag that is not there yet.
    pub fn add(&mut self, tag: &str) {
        if let Err(at) = self.tags.binary_search_by(|known| known.as_str().cmp(tag)) {
            self.tags.insert(at, tag.to_owned());
        }
    }

    /// Removes a tag; whether it was there.
    pub fn remove(&mut self, tag: &str) -> bool {
        let before = self.tags.len();
        self.tags.retain(|known| known != tag);
        self.tags.len() < before
    }

    /// Writes them beside the record in `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), TrackingError> {
        let path = dir.join(FILE);
        let labels = Labels {
            format: FORMAT,
            ..self.clone()
        };
        let text = serde_json::to_vec_pretty(&labels)
            .map_err(|error| TrackingError::io("write", &path)(error.into()))?;
        Ok(write_file(&path, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_and_damaged_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Labels::read(dir.path()), Labels::default());
        let mut labels = Labels::default();
        ["b", "a", "b"].iter().for_each(|tag| labels.add(tag));
        labels.note = "the best one".into();
        labels.write(dir.path()).unwrap();
        let read = Labels::read(dir.path());
        assert_eq!(
            (read.tags.as_slice(), read.note.as_str()),
            (&["a".to_owned(), "b".to_owned()][..], "the best one")
        );
        assert!(labels.remove("a") && !labels.remove("a"));
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(Labels::read(dir.path()), Labels::default());
        let error = Labels::to_change(dir.path()).unwrap_err();
        assert!(error.to_string().contains("labels.json"), "{error}");
    }
}
