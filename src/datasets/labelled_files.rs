//! Picture files with a class each, however they were found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::archive::ArchivedFiles;
use super::dataset::ClassificationDataset;
use super::error::DatasetError;
use super::tree::Samples;
use crate::images::{DecodeOptions, decode_bytes, decode_file};

/// Labelled picture files; a class is correct by its own name only.
#[derive(Debug)]
pub struct LabelledFiles {
    name: String,
    classes: Vec<String>,
    accepted: Vec<Vec<String>>,
    samples: Vec<(PathBuf, usize)>,
    /// The archive that the files are in, and what there is to say of that.
    archive: Option<Arc<ArchivedFiles>>,
    notices: Vec<String>,
}

impl LabelledFiles {
    /// Files with the place of their class in `classes`.
    pub(super) fn new(name: String, classes: Vec<String>, samples: Vec<(PathBuf, usize)>) -> Self {
        Self {
            name,
            accepted: classes.iter().map(|class| vec![class.clone()]).collect(),
            classes,
            samples,
            archive: None,
            notices: Vec::new(),
        }
    }

    /// The same of files in an archive.
    pub(super) fn archived(
        name: String,
        classes: Vec<String>,
        samples: Samples,
        archive: Arc<ArchivedFiles>,
    ) -> Self {
        let samples = samples.into_iter();
        let samples = samples.map(|(file, label)| (PathBuf::from(file), label));
        Self {
            archive: Some(archive),
            ..Self::new(name, classes, samples.collect())
        }
    }

    /// The same with remarks worth showing once.
    pub(super) fn with_notices(mut self, notices: Vec<String>) -> Self {
        self.notices = notices;
        self
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
        let (file, options) = (&self.samples[i].0, DecodeOptions::default());
        let Some(archive) = &self.archive else {
            return Ok(decode_file(file, &options)?);
        };
        let name = file.to_string_lossy();
        let bytes = archive.read(&name)?;
        Ok(decode_bytes(&bytes, &archive.path(&name), &options)?)
    }

    fn image_name(&self, i: usize) -> String {
        let file = &self.samples[i].0;
        match &self.archive {
            Some(archive) => archive.archive().join(file).display().to_string(),
            None => file.display().to_string(),
        }
    }

    /// Files in an archive have no path that others could open.
    fn image_path(&self, i: usize) -> Option<&Path> {
        let sample = self.samples.get(i).filter(|_| self.archive.is_none())?;
        Some(&sample.0)
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }
}
