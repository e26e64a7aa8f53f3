//! Whether two files show the same image (`annotation.md` 11).

use std::path::Path;

use image::RgbImage;

use crate::annotate::error::Result;
use crate::images::{DecodeOptions, Interpolation, decode_file, resize};

/// How far proportions may be apart, in pixels of the smaller image.
const PROPORTION: f64 = 1.5;

/// Radius of the blur before colours are compared.
const BLUR: f32 = 4.0;

/// How far colours may be apart: root mean square, of 255.
const DIFFERENCE: f64 = 2.0;

/// Whether two files show the same image, perhaps in different sizes.
///
/// # Errors
/// One of them cannot be read.
pub fn same_image(first: &Path, second: &Path) -> Result<bool> {
    let read = |path: &Path| decode_file(path, &DecodeOptions::default());
    Ok(same_picture(&read(first)?, &read(second)?))
}

/// Whether two pictures show the same, perhaps in different sizes.
pub fn same_picture(first: &RgbImage, second: &RgbImage) -> bool {
    let area = |image: &RgbImage| u64::from(image.width()) * u64::from(image.height());
    let (large, small) = match area(first) >= area(second) {
        true => (first, second),
        false => (second, first),
    };
    if proportion(large, small) > PROPORTION {
        return false;
    }
    let (width, height) = small.dimensions();
    let large = resize(large, width, height, Interpolation::Lanczos);
    let [large, small] = [&large, small].map(|image| image::imageops::blur(image, BLUR));
    let squares = large.as_raw().iter().zip(small.as_raw()).map(|(a, b)| {
        let difference = f64::from(*a) - f64::from(*b);
        difference * difference
    });
    let mean = squares.sum::<f64>() / large.as_raw().len().max(1) as f64;
    mean.sqrt() <= DIFFERENCE
}

/// How far the smaller picture is from the proportions of the larger one.
fn proportion(large: &RgbImage, small: &RgbImage) -> f64 {
    let [wide, high] = [large.width(), large.height()].map(f64::from);
    let [width, height] = [small.width(), small.height()].map(f64::from);
    match wide >= high {
        true => (height - width * (high / wide)).abs(),
        false => (width - height * (wide / high)).abs(),
    }
}
