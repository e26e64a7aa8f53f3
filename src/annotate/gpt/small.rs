//! Small copies of images for models to look at (`annotation.md` 4).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, ImageReader};
use rayon::prelude::*;

use crate::annotate::error::{AnnotateError, Result};
use crate::images::{DecodeOptions, ImageError, Interpolation, decode_file, resize};
use crate::store::publish_file;

/// Shortest side that models take.
const SHORTEST: u32 = 28;

/// How small copies are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// Longest side.
    pub size: u32,
    /// Quality of the JPEG files, 1 to 100.
    pub quality: u8,
}

impl Default for Copying {
    fn default() -> Self {
        Self {
            size: 512,
            quality: 85,
        }
    }
}

/// Name of the small copy of an image.
pub(super) fn small_name(image: &str) -> String {
    let stem = image.rsplit_once('.').map_or(image, |(stem, _)| stem);
    format!("{stem}.jpg")
}

/// Makes the copies that are missing or older than their images, and checks the
/// size of all. Returns how many were made.
///
/// # Errors
/// Images that cannot be read, or that models do not take: all of them. Or a
/// directory that cannot be written.
pub fn make_small_copies(images: &[(PathBuf, PathBuf)], copying: Copying) -> Result<usize> {
    for folder in images.iter().filter_map(|(_, small)| small.parent()) {
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(AnnotateError::io("make", folder))?;
        }
    }
    let made: Vec<std::result::Result<bool, String>> = images
        .par_iter()
        .map(|(image, small)| {
            let is_outdated = is_outdated(image, small);
            if is_outdated {
                make(image, small, copying).map_err(|error| error.to_string())?;
            }
            check(small, copying.size)?;
            Ok(is_outdated)
        })
        .collect();
    let count = made.iter().filter(|made| matches!(made, Ok(true))).count();
    no_failures(made.into_iter().filter_map(std::result::Result::err))?;
    Ok(count)
}

/// Whether a small copy is missing or older than its image.
fn is_outdated(image: &Path, small: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    changed(small).is_none_or(|made| changed(image).is_some_and(|since| since > made))
}

fn no_failures(failures: impl Iterator<Item = String>) -> Result<()> {
    let failures: Vec<String> = failures.collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(AnnotateError::Images { failures }),
    }
}

fn make(image: &Path, small: &Path, copying: Copying) -> Result<()> {
    if is_ready(image, copying.size) {
        let bytes = fs::read(image).map_err(AnnotateError::io("read", image))?;
        publish_file(small, |file| file.write_all(&bytes))
            .map_err(AnnotateError::io("write", small))?;
        return Ok(());
    }
    let options = DecodeOptions {
        exif_rotate: true,
        on_white: true,
        ..DecodeOptions::default()
    };
    let picture = decode_file(image, &options)?;
    let (width, height) = picture.dimensions();
    let scale = f64::from(copying.size) / f64::from(width.max(height));
    let picture = match scale < 1.0 {
        true => {
            let side =
                |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, copying.size);
            resize(&picture, side(width), side(height), Interpolation::Lanczos)
        }
        false => picture,
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, copying.quality)
        .encode_image(&picture)
        .map_err(|error| ImageError::Corrupt {
            path: image.to_owned(),
            reason: error.to_string(),
        })?;
    publish_file(small, |file| file.write_all(&jpeg)).map_err(AnnotateError::io("write", small))
}

/// Whether an image can be shown as it is: a JPEG file that fits.
fn is_ready(image: &Path, size: u32) -> bool {
    let reader = ImageReader::open(image).and_then(ImageReader::with_guessed_format);
    let Ok(reader) = reader else { return false };
    reader.format() == Some(ImageFormat::Jpeg)
        && reader
            .into_dimensions()
            .is_ok_and(|(width, height)| width.max(height) <= size)
}

/// Checks that small copies are there and have a size that models take.
///
/// # Errors
/// All that have not.
pub(super) fn check_small_copies(copies: &[PathBuf], size: u32) -> Result<()> {
    no_failures(copies.iter().filter_map(|path| check(path, size).err()))
}

/// Checks one of them.
fn check(path: &Path, size: u32) -> std::result::Result<(), String> {
    match size_of(path) {
        Ok((width, height)) if width.min(height) < SHORTEST || width.max(height) > size => {
            Err(format!(
                "{}: {width}×{height}, both sides must be {SHORTEST} to {size}",
                path.display()
            ))
        }
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("{}: {reason}", path.display())),
    }
}

/// Width and height of a JPEG file.
pub(super) fn size_of(path: &Path) -> std::result::Result<(u32, u32), String> {
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "it is missing".to_owned(),
            _ => error.to_string(),
        })?;
    if reader.format() != Some(ImageFormat::Jpeg) {
        return Err("it is no JPEG file".to_owned());
    }
    reader.into_dimensions().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn copies_fit_and_fitting_files_are_copied_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let picture = |width, height| RgbImage::from_pixel(width, height, Rgb([9, 99, 199]));
        picture(600, 300).save(at("large.png")).unwrap();
        picture(50, 40).save(at("fits.jpg")).unwrap();
        fs::write(at("damaged.png"), "no picture").unwrap();
        let pair = |name: &str| (at(name), at("small").join(small_name(name)));
        let pairs = [pair("large.png"), pair("fits.jpg")];
        let copying = Copying::default();
        assert_eq!(make_small_copies(&pairs, copying).unwrap(), 2);
        assert_eq!(size_of(&pairs[0].1), Ok((512, 256)));
        assert_eq!(
            fs::read(&pairs[1].1).unwrap(),
            fs::read(at("fits.jpg")).unwrap()
        );
        assert_eq!(make_small_copies(&pairs, copying).unwrap(), 0);
        let error = make_small_copies(&[pair("damaged.png")], copying).unwrap_err();
        assert!(error.to_string().contains("damaged.png"), "{error}");
        // All that cannot be used are named at once, whatever is wrong with them.
        picture(300, 20).save(at("flat.png")).unwrap();
        picture(9, 9).save(at("tiny.png")).unwrap();
        let names = ["damaged.png", "large.png", "flat.png", "tiny.png"];
        let error = make_small_copies(&names.map(pair), copying).unwrap_err();
        let AnnotateError::Images { failures } = error else {
            panic!("{error}");
        };
        let words = ["damaged.png", "flat.jpg: 300×20", "tiny.jpg: 9×9"];
        assert_eq!(failures.len(), words.len(), "{failures:?}");
        for (failure, word) in failures.iter().zip(words) {
            assert!(failure.contains(word), "{failure}");
        }
        assert!(check_small_copies(&[pairs[0].1.clone()], 512).is_ok());
        assert!(check_small_copies(&[at("none.jpg")], 512).is_err());
    }
}
