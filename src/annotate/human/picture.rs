//! Pictures of a set for the page.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, ImageReader, RgbImage};

use super::session::Session;
use crate::images::{DecodeOptions, Interpolation, decode_file, resize};

/// Formats that every browser shows.
const SHOWN: [ImageFormat; 5] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Gif,
    ImageFormat::WebP,
    ImageFormat::Bmp,
];
const QUALITY: u8 = 90;

/// Why a picture cannot be shown, if so.
pub(super) fn problem(session: &Session, set: usize, image: &str) -> Option<String> {
    let path = match session.set(set)?.path_of(image) {
        Ok(path) => path,
        Err(why) => return Some(why),
    };
    decode_file(&path, &DecodeOptions::default())
        .err()
        .map(|error| error.to_string())
}

/// Width and height of a picture, without decoding it.
pub(super) fn size_of(session: &Session, set: usize, image: &str) -> Option<(u32, u32)> {
    let path = session.set(set)?.path_of(image).ok()?;
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    reader.into_dimensions().ok()
}

/// The bytes of a picture with their type: as they are if browsers show them,
/// else as a PNG; at most `max` pixels wide and high if that is asked for.
pub(super) fn load(path: &Path, max: Option<u32>) -> Result<(&'static str, Vec<u8>), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    if max.is_none() {
        let bytes = std::fs::read(path).map_err(|error| told(&error))?;
        if let Ok(format) = image::guess_format(&bytes)
            && SHOWN.contains(&format)
        {
            return Ok((format.to_mime_type(), bytes));
        }
    }
    let options = DecodeOptions {
        exif_rotate: true,
        on_white: true,
        ..DecodeOptions::default()
    };
    let image = decode_file(path, &options).map_err(|error| told(&error))?;
    let Some(max) = max else {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|error| told(&error))?;
        return Ok(("image/png", bytes.into_inner()));
    };
    let image = at_most(image, max);
    let mut bytes = Vec::new();
    image
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))
        .map_err(|error| told(&error))?;
    Ok(("image/jpeg", bytes))
}

fn at_most(image: RgbImage, max: u32) -> RgbImage {
    let scale = f64::from(max.max(1)) / f64::from(image.width().max(image.height()));
    if scale >= 1.0 {
        return image;
    }
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    resize(
        &image,
        side(image.width()),
        side(image.height()),
        Interpolation::Lanczos,
    )
}
