//! Files and bytes → 8-bit RGB, as Pillow's `convert("RGB")` gives it
//! (`embedders.md` section 8).
//!
//! Alpha is dropped without blending, animations give their first frame, EXIF
//! orientation is applied only when asked for. 16-bit grey is scaled to 8 bits
//! (Pillow clips it).

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage, RgbaImage};

use super::error::ImageError;

/// Limits that are checked before anything is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Largest file in bytes.
    pub max_bytes: u64,
    /// Most pixels, width × height.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    /// 256 MiB and 178,956,970 pixels (where Pillow calls an image a bomb).
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_pixels: 178_956_970,
        }
    }
}

/// How pictures are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Limits on file and picture size.
    pub limits: ImageLimits,
    /// Turn the picture as its EXIF orientation says.
    pub exif_rotate: bool,
    /// Lay transparent pictures on white, instead of dropping alpha: as people
    /// see them, not as models are fed.
    pub on_white: bool,
}

/// Decodes the picture in a file.
pub fn decode_file(path: &Path, options: &DecodeOptions) -> Result<RgbImage, ImageError> {
    let read_error = |source| ImageError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(read_error)?;
    if !metadata.is_file() {
        return Err(ImageError::NotAFile {
            path: path.to_owned(),
        });
    }
    let limit = options.limits.max_bytes;
    let too_large = |bytes| ImageError::TooManyBytes {
        path: path.to_owned(),
        bytes,
        limit,
    };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // The file may grow while it is read.
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(read_error)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    decode_bytes(&bytes, path, options)
}

/// Decodes a picture held in memory; `name` stands for the file in errors.
pub fn decode_bytes(
    bytes: &[u8],
    name: &Path,
    options: &DecodeOptions,
) -> Result<RgbImage, ImageError> {
    let limits = options.limits;
    if bytes.len() as u64 > limits.max_bytes {
        return Err(ImageError::TooManyBytes {
            path: name.to_owned(),
            bytes: bytes.len() as u64,
            limit: limits.max_bytes,
        });
    }
    let corrupt = |error: image::ImageError| ImageError::Corrupt {
        path: name.to_owned(),
        reason: error.to_string(),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|source| ImageError::Read {
            path: name.to_owned(),
            source,
        })?;
    if reader.format().is_none() {
        return Err(ImageError::UnknownFormat {
            path: name.to_owned(),
        });
    }
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(1 << 20));
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(corrupt)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > limits.max_pixels {
        return Err(ImageError::BadSize {
            path: name.to_owned(),
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    let orientation = if options.exif_rotate {
        Some(decoder.orientation().map_err(corrupt)?)
    } else {
        None
    };
    let mut picture = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    if options.on_white && picture.color().has_alpha() {
        return Ok(on_white(&picture.into_rgba8()));
    }
    Ok(to_rgb(picture))
}

/// A transparent picture on a white ground.
fn on_white(picture: &RgbaImage) -> RgbImage {
    let mix = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        Rgb([red, green, blue].map(|value| mix(value, alpha)))
    })
}

fn to_rgb(picture: DynamicImage) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    let from_samples = |samples: &[u8], channels: usize| {
        let rgb = samples
            .chunks_exact(channels)
            .flat_map(|pixel| match pixel {
                &[grey] | &[grey, _] => [grey; 3],
                &[red, green, blue, ..] => [red, green, blue],
                _ => [0; 3],
            })
            .collect();
        RgbImage::from_raw(width, height, rgb)
    };
    let narrow = |samples: &[u16]| -> Vec<u8> {
        let scale = |&value: &u16| ((u32::from(value) + 128) / 257) as u8;
        samples.iter().map(scale).collect()
    };
    let converted = match &picture {
        DynamicImage::ImageLuma8(image) => from_samples(image.as_raw(), 1),
        DynamicImage::ImageLumaA8(image) => from_samples(image.as_raw(), 2),
        DynamicImage::ImageRgba8(image) => from_samples(image.as_raw(), 4),
        DynamicImage::ImageLuma16(image) => from_samples(&narrow(image.as_raw()), 1),
        DynamicImage::ImageLumaA16(image) => from_samples(&narrow(image.as_raw()), 2),
        DynamicImage::ImageRgb16(image) => from_samples(&narrow(image.as_raw()), 3),
        DynamicImage::ImageRgba16(image) => from_samples(&narrow(image.as_raw()), 4),
        _ => None,
    };
    converted.unwrap_or_else(|| picture.into_rgb8())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::{ExtendedColorType, ImageEncoder, ImageFormat, codecs::png::PngEncoder};

    use super::*;

    fn png(width: u32, height: u32, color: ExtendedColorType, samples: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(samples, width, height, color)
            .unwrap();
        bytes
    }

    fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, ImageError> {
        decode_bytes(bytes, &PathBuf::from("picture.png"), options)
    }

    #[test]
    fn alpha_is_dropped_without_blending() {
        let bytes = png(
            2,
            1,
            ExtendedColorType::Rgba8,
            &[10, 20, 30, 0, 40, 50, 60, 128],
        );
        let image = decode(&bytes, &DecodeOptions::default()).unwrap();
        assert_eq!(image.as_raw(), &[10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn sixteen_bit_grey_is_scaled() {
        let samples: Vec<u8> = [0u16, 257 * 200, 65535]
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        let bytes = png(3, 1, ExtendedColorType::L16, &samples);
        let image = decode(&bytes, &DecodeOptions::default()).unwrap();
        assert_eq!(image.as_raw(), &[0, 0, 0, 200, 200, 200, 255, 255, 255]);
    }

    #[test]
    fn limits_are_checked_before_decoding() {
        let bytes = png(40, 30, ExtendedColorType::L8, &[7; 1200]);
        let mut options = DecodeOptions::default();
        options.limits.max_pixels = 1199;
        assert!(matches!(
            decode(&bytes, &options),
            Err(ImageError::BadSize {
                width: 40,
                height: 30,
                limit: 1199,
                ..
            })
        ));
        options.limits = ImageLimits {
            max_bytes: 10,
            ..ImageLimits::default()
        };
        assert!(matches!(
            decode(&bytes, &options),
            Err(ImageError::TooManyBytes { .. })
        ));
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_file() {
        let options = DecodeOptions::default();
        let error = decode(b"not a picture at all", &options).unwrap_err();
        assert!(matches!(error, ImageError::UnknownFormat { .. }));
        let pattern: Vec<u8> = (0..1200u32).map(|i| (i * i % 251) as u8).collect();
        let whole = RgbImage::from_raw(20, 20, pattern).unwrap();
        for format in [
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::WebP,
        ] {
            let mut bytes = Cursor::new(Vec::new());
            DynamicImage::from(whole.clone())
                .write_to(&mut bytes, format)
                .unwrap();
            let bytes = bytes.into_inner();
            assert!(decode(&bytes, &options).is_ok(), "{format:?}");
            let error = decode(&bytes[..bytes.len() / 2], &options)
                .unwrap_err()
                .to_string();
            assert!(error.contains("picture.png"), "{error}");
        }
    }

    #[test]
    fn folders_are_not_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let error = decode_file(folder.path(), &DecodeOptions::default()).unwrap_err();
        assert!(matches!(error, ImageError::NotAFile { .. }));
    }
}
