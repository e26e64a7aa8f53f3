//! Whether two files show the same image (`annotation.md` 11).

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::annotate::error::Result;
use crate::images::{DecodeOptions, Interpolation, decode_file, resize};

/// How far proportions may be apart, in pixels of the smaller image.
const PROPORTION: f64 = 1.5;

/// Radius of the blur before colours are compared.
const BLUR: f64 = 4.0;

/// Box filters that make up a blur, as in Pillow.
const PASSES: u32 = 3;

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
    let [large, small] = [&large, small].map(blurred);
    let squares = large.as_raw().iter().zip(small.as_raw()).map(|(a, b)| {
        let difference = f64::from(*a) - f64::from(*b);
        difference * difference
    });
    let mean = squares.sum::<f64>() / large.as_raw().len().max(1) as f64;
    mean.sqrt() <= DIFFERENCE
}

/// The picture after Pillow's Gaussian blur, which is one of three box filters
/// with soft ends, in 8 bits between them.
fn blurred(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let variance = BLUR * BLUR / f64::from(PASSES);
    let whole = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
    let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    let radius = whole + part;
    let mut picture = image.clone();
    for _ in 0..PASSES {
        picture = RgbImage::from_fn(width, height, |x, y| {
            box_mean(|at| *picture.get_pixel(at, y), x, width, radius)
        });
    }
    for _ in 0..PASSES {
        picture = RgbImage::from_fn(width, height, |x, y| {
            box_mean(|at| *picture.get_pixel(x, at), y, height, radius)
        });
    }
    picture
}

/// Mean of the pixels around one of a line; the outermost ones count in part.
fn box_mean(pixel: impl Fn(u32) -> Rgb<u8>, at: u32, length: u32, radius: f64) -> Rgb<u8> {
    const ONE: u32 = 1 << 24;
    let reach = radius as i64;
    let weight = (f64::from(ONE) / (2.0 * radius + 1.0)) as u32;
    let end_weight = (ONE - (2 * reach as u32 + 1) * weight) / 2;
    let last = i64::from(length) - 1;
    let value = |offset: i64| pixel((i64::from(at) + offset).clamp(0, last) as u32).0;
    let (mut sum, ends) = ([0_u32; 3], [value(-reach - 1), value(reach + 1)]);
    for offset in -reach..=reach {
        for (sum, value) in sum.iter_mut().zip(value(offset)) {
            *sum += u32::from(value);
        }
    }
    let mean = |channel: usize| {
        let ends = u32::from(ends[0][channel]) + u32::from(ends[1][channel]);
        let all =
            u64::from(sum[channel]) * u64::from(weight) + u64::from(ends) * u64::from(end_weight);
        ((all + u64::from(ONE / 2)) >> 24).min(255) as u8
    };
    Rgb([mean(0), mean(1), mean(2)])
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
