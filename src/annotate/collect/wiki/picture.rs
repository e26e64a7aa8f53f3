//! From the bytes of a file to the stored JPEG.

use std::path::Path;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use crate::images::{DecodeOptions, ImageLimits, Interpolation, decode_bytes, resize};

/// Pixels of a stored picture.
pub(super) const STORED_PIXELS: u64 = 800_000;
/// Fewest pixels of a picture that is taken.
pub(super) const FEWEST_PIXELS: u64 = 20_000;
/// Most pixels of a picture that is taken.
pub(super) const MOST_PIXELS: u64 = 89_478_485;
/// Most bytes of a file that is fetched.
pub(super) const MOST_BYTES: u64 = 128 << 20;
/// Endings of files that are no photographs.
const NO_PHOTOGRAPHS: [&str; 3] = ["svg", "pdf", "ogv"];
const QUALITY: u8 = 75;

/// Whether the ending of an address says that it is no photograph.
pub(super) fn is_no_photograph(address: &str) -> bool {
    let address = address.to_lowercase();
    NO_PHOTOGRAPHS
        .iter()
        .any(|ending| address.ends_with(ending))
}

/// Size of the stored picture of one of `width` × `height`.
pub(super) fn stored_size(width: u32, height: u32) -> (u32, u32) {
    let area = u64::from(width) * u64::from(height);
    if area <= STORED_PIXELS {
        return (width, height);
    }
    let scale = (STORED_PIXELS as f64 / area as f64).sqrt();
    let side = |side: u32| ((f64::from(side) * scale).round_ties_even() as u32).max(1);
    (side(width), side(height))
}

/// A stored picture.
pub(super) struct Stored {
    pub(super) jpeg: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Makes the stored picture. `original` is the size of the picture at the
/// service, of which `bytes` may be a smaller copy.
pub(super) fn store(bytes: &[u8], name: &str, original: (u32, u32)) -> Result<Stored, String> {
    let options = DecodeOptions {
        limits: ImageLimits {
            max_bytes: MOST_BYTES,
            max_pixels: MOST_PIXELS,
        },
        // What is stored has no EXIF data any more.
        exif_rotate: true,
        ..DecodeOptions::default()
    };
    if is_cut_jpeg(bytes) {
        return Err("the JPEG is not complete".to_owned());
    }
    let image =
        decode_bytes(bytes, Path::new(name), &options).map_err(|error| error.to_string())?;
    let (width, height) = match stored_size(original.0, original.1) {
        // The sizes that the service tells may be of another version.
        (width, height) if width > image.width() || height > image.height() => {
            stored_size(image.width(), image.height())
        }
        size if is_alike(size, image.dimensions()) => size,
        _ => stored_size(image.width(), image.height()),
    };
    let image = resize(&image, width, height, Interpolation::Lanczos);
    let jpeg = encode(&image)?;
    Ok(Stored {
        jpeg,
        width,
        height,
    })
}

/// Whether two sizes are of the same shape, within a pixel.
fn is_alike(a: (u32, u32), b: (u32, u32)) -> bool {
    let scale = f64::from(b.0) / f64::from(a.0.max(1));
    (f64::from(a.1) * scale - f64::from(b.1)).abs() <= scale.max(1.0) * 1.5
}

fn encode(image: &RgbImage) -> Result<Vec<u8>, String> {
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    image
        .write_with_encoder(encoder)
        .map_err(|error| error.to_string())?;
    Ok(jpeg)
}

/// Whether a JPEG ends within its last scan: decoders would fill the rest with
/// grey.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END: [u8; 2] = [0xff, 0xd9];
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    let scan = bytes.windows(2).rposition(|pair| pair == START_OF_SCAN);
    scan.is_none_or(|scan| !bytes[scan..].windows(2).any(|pair| pair == END))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_made_smaller_and_cut_ones_refused() {
        assert_eq!(stored_size(1200, 900), (1033, 775));
        assert_eq!(stored_size(901, 901), (894, 894));
        assert_eq!(stored_size(800, 1000), (800, 1000));
        let image = RgbImage::from_fn(1000, 900, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let jpeg = encode(&image).unwrap();
        let stored = store(&jpeg, "x", (1000, 900)).unwrap();
        assert_eq!((stored.width, stored.height), stored_size(1000, 900));
        // A smaller copy of a large picture has the size of the large one's.
        let stored = store(&jpeg, "x", (4000, 3600)).unwrap();
        assert_eq!((stored.width, stored.height), stored_size(4000, 3600));
        for cut in [2, jpeg.len() / 2, jpeg.len() - 2] {
            assert!(store(&jpeg[..cut], "x", (1000, 900)).is_err(), "{cut}");
        }
        assert!(store(b"no picture", "x", (10, 10)).is_err());
        assert!(is_no_photograph("http://h/a.SVG") && !is_no_photograph("http://h/svg.png"));
    }
}
