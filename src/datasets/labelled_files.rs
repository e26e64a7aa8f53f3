//! Picture files with a class each, however they were found.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::dataset::ClassificationDataset;
use super::error::DatasetError;
use crate::images::{DecodeOptions, decode_file};

/// Labelled picture files; a class is correct by its own name only.
#[derive(Debug)]
pub struct LabelledFiles {
    name: String,
    classes: Vec<String>,
    accepted: Vec<Vec<String>>,
    samples: Vec<(PathBuf, usize)>,
}

impl LabelledFiles {
    /// Files with the place of their class in `classes`.
    pub(super) fn new(name: String, classes: Vec<String>, samples: Vec<(PathBuf, usize)>) -> Self {
        Self {
            name,
            accepted: classes.iter().map(|class| vec![class.clone()]).collect(),
            classes,
            samples,
        }
    }

    /// Adds the pictures of another part; it must have the same classes.
    pub(super) fn append(&mut self, other: Self) -> Result<(), String> {
        if self.classes != other.classes {
            return Err(format!(
                "has {} classes, which are not the {} of the other part",
                other.classes.len(),
                self.classes.len()
            ));
        }
        self.samples.extend(other.samples);
        Ok(())
    }
}

impl ClassificationDataset for LabelledFiles {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn accepted_names(&self, class: usize) -> &[String] {
        &self.accepted[class]
    }

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn label(&self, i: usize) -> usize {
        self.samples[i].1
    }

    fn image(&self, i: usize) -> Result<RgbImage, DatasetError> {
        Ok(decode_file(&self.samples[i].0, &DecodeOptions::default())?)
    }

    fn image_name(&self, i: usize) -> String {
        self.samples[i].0.display().to_string()
    }

    fn image_path(&self, i: usize) -> Option<&Path> {
        self.samples.get(i).map(|(path, _)| path.as_path())
    }
}
