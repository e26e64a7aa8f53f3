//! The inference transform of an image tower: resize → crop or pad →
//! normalise, channels first (`embedders.md` section 8).

use image::{Rgb, RgbImage};

use super::resample::{Interpolation, Window, resize, resize_window};

/// How a picture is brought to the tower's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// Shorter side to the size, then centre crop.
    Shortest,
    /// Both sides to the size, aspect ratio not kept.
    Squash,
    /// Longer side to the size, the rest filled.
    Longest,
    /// As the processors of the transformers library: shorter side to this
    /// size, then centre crop, rounding down.
    ShortestTo(u32),
    /// The same with both sides to this (height, width).
    ExactTo(u32, u32),
}

/// The transform of one image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageTransform {
    /// Height of the tower's input.
    pub height: u32,
    /// Width of the tower's input.
    pub width: u32,
    /// How the picture is brought to that size.
    pub resize_mode: ResizeMode,
    /// Kernel of the resize.
    pub interpolation: Interpolation,
    /// What levels of 0…255 are multiplied with, and what is added then.
    pub rescale: (f64, f64),
    /// Subtracted per channel after that.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
    /// Grey level around pictures in mode [`ResizeMode::Longest`].
    pub fill: u8,
}

impl ImageTransform {
    /// Levels 0…255 become 0…1.
    pub const TO_UNIT: (f64, f64) = (1.0 / 255.0, 0.0);
    /// Mean of the pictures that CLIP was trained on.
    pub const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
    /// Their standard deviation.
    pub const CLIP_STD: [f32; 3] = [0.268_629_55, 0.261_302_6, 0.275_777_1];

    /// Resized and cropped picture of exactly `width` × `height`.
    pub fn fit(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = (image.width(), image.height());
        match self.resize_mode {
            ResizeMode::Squash => resize(image, self.width, self.height, self.interpolation),
            ResizeMode::Shortest if self.width == self.height => {
                self.resize_and_crop(image, shortest(image, self.width), self.interpolation)
            }
            ResizeMode::ShortestTo(size) => {
                self.resize_and_crop(image, shortest(image, size), self.interpolation)
            }
            ResizeMode::ExactTo(height, width) => {
                let full = (u64::from(width), u64::from(height));
                self.resize_and_crop(image, full, self.interpolation)
            }
            ResizeMode::Shortest => {
                let ratio = self
                    .ratios(width, height)
                    .into_iter()
                    .fold(f64::INFINITY, f64::min);
                let full = (scaled(width, ratio), scaled(height, ratio));
                self.resize_and_crop(image, full, Interpolation::Bicubic)
            }
            ResizeMode::Longest => {
                let ratio = self.ratios(width, height).into_iter().fold(0.0, f64::max);
                let (width, height) = (
                    scaled(width, ratio).min(u64::from(self.width)) as u32,
                    scaled(height, ratio).min(u64::from(self.height)) as u32,
                );
                let resized = resize(image, width, height, self.interpolation);
                pad(&resized, self.width, self.height, self.fill, false)
            }
        }
    }

    /// Whether halves of pixels go the way of the transformers library.
    fn as_transformers(&self) -> bool {
        matches!(
            self.resize_mode,
            ResizeMode::ShortestTo(_) | ResizeMode::ExactTo(..)
        )
    }

    fn ratios(&self, width: u32, height: u32) -> [f64; 2] {
        [
            f64::from(height) / f64::from(self.height),
            f64::from(width) / f64::from(self.width),
        ]
    }

    /// Centre crop of the picture resized to `full` (width, height); sides that
    /// are too short are padded with black.
    fn resize_and_crop(
        &self,
        image: &RgbImage,
        full: (u64, u64),
        interpolation: Interpolation,
    ) -> RgbImage {
        let cut = |side: u64, size: u32| {
            let excess = side.saturating_sub(u64::from(size));
            let origin = if self.as_transformers() {
                excess / 2
            } else {
                half_to_even(excess)
            };
            (origin, u64::from(size).min(side) as u32)
        };
        let (left, width) = cut(full.0, self.width);
        let (top, height) = cut(full.1, self.height);
        let window = Window {
            left,
            top,
            width,
            height,
        };
        pad(
            &resize_window(image, full, window, interpolation),
            self.width,
            self.height,
            0,
            self.as_transformers(),
        )
    }

    /// Writes the normalised picture into `out`, `[3, height, width]`.
    ///
    /// # Panics
    /// If the picture or `out` has another size.
    pub fn normalise(&self, image: &RgbImage, out: &mut [f32]) {
        let plane = (self.width * self.height) as usize;
        assert!(image.dimensions() == (self.width, self.height) && out.len() == 3 * plane);
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let levels: [f32; 256] = std::array::from_fn(|v| (self.rescaled(v) - mean) / std);
            for (out, pixel) in out.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *out = levels[usize::from(pixel[channel])];
            }
        }
    }

    fn rescaled(&self, level: usize) -> f32 {
        let (factor, offset) = self.rescale;
        (level as f64 * factor + offset) as f32
    }

    /// The whole transform into `out`, `[3, height, width]`.
    ///
    /// # Panics
    /// If `out` has another size.
    pub fn apply(&self, image: &RgbImage, out: &mut [f32]) {
        self.normalise(&self.fit(image), out);
    }

    /// Values of one transformed picture.
    pub fn len(&self) -> usize {
        3 * (self.width * self.height) as usize
    }

    /// Whether the tower takes no pixels at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Size (width, height) at which the shorter side is `size`.
fn shortest(image: &RgbImage, size: u32) -> (u64, u64) {
    let size = u64::from(size);
    let longer = |long, short| size * u64::from(long) / u64::from(short);
    let (width, height) = (image.width(), image.height());
    if width <= height {
        (size, longer(height, width))
    } else {
        (longer(width, height), size)
    }
}

/// Side divided by the ratio, rounded half to even as Python's `round` does.
fn scaled(side: u32, ratio: f64) -> u64 {
    (f64::from(side) / ratio).round_ties_even().max(1.0) as u64
}

/// `round(difference / 2)` with halves going to the even number.
fn half_to_even(difference: u64) -> u64 {
    (difference as f64 / 2.0).round_ties_even() as u64
}

/// The picture in the middle of a larger one; the odd pixel goes to the right
/// and the bottom, or to the left and the top.
fn pad(image: &RgbImage, width: u32, height: u32, grey: u8, odd_first: bool) -> RgbImage {
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    let mut out = RgbImage::from_pixel(width, height, Rgb([grey; 3]));
    let before = |excess: u32| {
        if odd_first {
            excess.div_ceil(2)
        } else {
            excess / 2
        }
    };
    let left = before(width - image.width());
    let top = before(height - image.height());
    image::imageops::replace(&mut out, image, i64::from(left), i64::from(top));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(width: u32, height: u32, resize_mode: ResizeMode) -> ImageTransform {
        ImageTransform {
            height,
            width,
            resize_mode,
            interpolation: Interpolation::Bicubic,
            rescale: ImageTransform::TO_UNIT,
            mean: [0.5; 3],
            std: [0.5; 3],
            fill: 127,
        }
    }

    #[test]
    fn every_picture_comes_out_at_the_tower_size() {
        for mode in [
            ResizeMode::Shortest,
            ResizeMode::Squash,
            ResizeMode::Longest,
            ResizeMode::ShortestTo(36),
            ResizeMode::ShortestTo(20),
            ResizeMode::ExactTo(30, 50),
        ] {
            for (width, height) in [(1, 1), (1, 500), (500, 1), (1, 200_000), (33, 32), (3, 7)] {
                for (w, h) in [(32, 32), (24, 40)] {
                    let image = RgbImage::from_pixel(width, height, Rgb([9; 3]));
                    let out = transform(w, h, mode).fit(&image);
                    assert_eq!(out.dimensions(), (w, h), "{mode:?} {width}×{height}");
                }
            }
        }
    }

    #[test]
    fn values_are_scaled_to_the_unit_interval_first() {
        let transform = transform(1, 1, ResizeMode::Squash);
        let mut out = [0f32; 3];
        transform.apply(&RgbImage::from_pixel(1, 1, Rgb([0, 255, 51])), &mut out);
        assert_eq!(out[..2], [-1.0, 1.0]);
        assert!((out[2] + 0.6).abs() < 1e-6);
        for level in 0..256 {
            assert_eq!(transform.rescaled(level), level as f32 / 255.0);
        }
    }
}
