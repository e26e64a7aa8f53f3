//! Whether an annotation file is as it should be, by itself and beside images
//! and predictions (`annotation.md` 1).

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::error::{AnnotateError, Result};
use super::file::AnnotationFile;
use super::predictions::PredictedImage;

/// Ends of the names of image files, in lower case.
const IMAGE_TYPES: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tiff"];

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What makes scores wrong.
    pub errors: Vec<String>,
    /// What is only untidy.
    pub warnings: Vec<String>,
    /// Annotated images that the directory does not have.
    pub missing_images: Vec<String>,
    /// Images of the directory without annotations.
    pub unannotated_images: Vec<String>,
    /// Predicted pairs without annotation.
    pub open: Vec<(String, String)>,
    /// Predicted pairs.
    pub predicted: usize,
}

/// Names of the image files of a directory (top level), sorted by code points.
///
/// # Errors
/// It cannot be listed.
pub fn image_names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let list = directory
        .read_dir()
        .map_err(AnnotateError::io("list", directory))?;
    for entry in list {
        let entry = entry.map_err(AnnotateError::io("list", directory))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_image_name(&name) && entry.path().is_file() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file name is that of an image.
pub fn is_image_name(name: &str) -> bool {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_lowercase());
    ending.is_some_and(|ending| IMAGE_TYPES.contains(&ending.as_str()))
}

/// Checks a file, beside the names of the images and the predictions if there
/// are any.
pub fn check(
    file: &AnnotationFile,
    images: Option<&[String]>,
    predictions: &[PredictedImage],
) -> Findings {
    let mut findings = Findings::default();
    for flaw in file.flaws() {
        let list = match flaw.is_error() {
            true => &mut findings.errors,
            false => &mut findings.warnings,
        };
        list.push(flaw.to_string());
    }
    if let Some(images) = images {
        let there: BTreeSet<&str> = images.iter().map(String::as_str).collect();
        let annotated: BTreeSet<&str> = file
            .images()
            .iter()
            .map(|entry| entry.image.as_str())
            .collect();
        let owned = |names: Vec<&&str>| names.into_iter().map(|name| (*name).to_owned()).collect();
        findings.missing_images = owned(annotated.difference(&there).collect());
        findings.unannotated_images = owned(there.difference(&annotated).collect());
    }
    for image in predictions {
        for predicted in &image.nouns {
            findings.predicted += 1;
            if file.category_of(&image.image, &predicted.noun).is_none() {
                let pair = (image.image.clone(), predicted.noun.clone());
                findings.open.push(pair);
            }
        }
    }
    findings
}
