//! Resizing with exactly the results of Pillow (`embedders.md` section 8).
//!
//! Separable and antialiased; coefficients in fixed point with 22 fractional
//! bits and an 8-bit image between the passes.

use std::ops::Range;

use image::RgbImage;

use crate::ops::resample::{PRECISION, Weights, sum_lines, sum_pixels};

/// Interpolation kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The pixel under the sample's centre.
    Nearest,
    /// Triangle kernel, support 1.
    Bilinear,
    /// Keys' cubic with a = −0.5, support 2.
    Bicubic,
    /// Windowed sine, support 3.
    Lanczos,
}

impl Interpolation {
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Nearest => 1.0,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// `sin(πx) / πx`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Taps of a range of output positions: first input index and weights.
struct Taps {
    starts: Vec<usize>,
    counts: Vec<usize>,
    /// `longest` weights per output position.
    weights: Vec<i32>,
    longest: usize,
}

impl Taps {
    /// Taps of the positions `range` of `output` positions over `input`.
    fn new(input: u32, output: u64, range: Range<u64>, interpolation: Interpolation) -> Self {
        let scale = f64::from(input) / output as f64;
        let stretch = scale.max(1.0);
        // Pillow multiplies by the reciprocal; the last bit matters.
        let shrink = 1.0 / stretch;
        let support = interpolation.support() * stretch;
        let longest = support.ceil() as usize * 2 + 1;
        let count = (range.end - range.start) as usize;
        let mut taps = Self {
            starts: Vec::with_capacity(count),
            counts: Vec::with_capacity(count),
            weights: vec![0; count * longest],
            longest,
        };
        let mut weights = Vec::with_capacity(longest);
        for (i, fixed) in range.zip(taps.weights.chunks_exact_mut(longest)) {
            let centre = (i as f64 + 0.5) * scale;
            let (start, end) = if interpolation == Interpolation::Nearest {
                let start = (centre as usize).min(input as usize - 1);
                (start, start + 1)
            } else {
                (
                    (centre - support + 0.5).max(0.0) as usize,
                    ((centre + support + 0.5) as usize).min(input as usize),
                )
            };
            weights.clear();
            weights.extend(
                (start..end).map(|j| interpolation.weight((j as f64 - centre + 0.5) * shrink)),
            );
            let sum: f64 = weights.iter().sum();
            for (fixed, weight) in fixed.iter_mut().zip(&weights) {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                let scaled = weight * f64::from(1u32 << PRECISION);
                *fixed = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
            }
            taps.starts.push(start);
            taps.counts.push(weights.len());
        }
        taps
    }

    /// Input indices that any of the positions needs.
    fn reach(&self) -> Range<usize> {
        let start = self.starts.iter().copied().min().unwrap_or(0);
        let ends = self.starts.iter().zip(&self.counts);
        start..ends.map(|(start, count)| start + count).max().unwrap_or(0)
    }

    /// The taps of a position, of inputs from `first` on.
    fn get(&self, i: usize, first: usize) -> Weights<'_> {
        Weights {
            start: self.starts[i] - first,
            weights: &self.weights[i * self.longest..][..self.counts[i]],
        }
    }
}

/// Resizes to `width` × `height`; a direction whose size does not change is
/// left alone. Sizes of 0 are raised to 1.
pub fn resize(image: &RgbImage, width: u32, height: u32, interpolation: Interpolation) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    let full = (u64::from(width), u64::from(height));
    let window = Window {
        left: 0,
        top: 0,
        width,
        height,
    };
    resize_window(image, full, window, interpolation)
}

/// Part of a resized picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub left: u64,
    pub top: u64,
    pub width: u32,
    pub height: u32,
}

/// The window of the picture resized to `full` (width, height), without making
/// the rest: very long pictures cost no more than others.
pub(super) fn resize_window(
    image: &RgbImage,
    full: (u64, u64),
    window: Window,
    interpolation: Interpolation,
) -> RgbImage {
    let columns = window.left..window.left + u64::from(window.width);
    let rows = window.top..window.top + u64::from(window.height);
    let across = (u64::from(image.width()) != full.0)
        .then(|| Taps::new(image.width(), full.0, columns.clone(), interpolation));
    let down = (u64::from(image.height()) != full.1)
        .then(|| Taps::new(image.height(), full.1, rows.clone(), interpolation));
    let source = Plane {
        bytes: image.as_raw(),
        line: image.width() as usize * 3,
        first_row: 0,
        first_column: 0,
    };
    let needed_rows = match &down {
        Some(taps) => taps.reach(),
        None => rows.start as usize..rows.end as usize,
    };
    let needed_columns = match &across {
        Some(taps) => taps.reach(),
        None => columns.start as usize..columns.end as usize,
    };
    let width = window.width as usize;
    let bytes = match (&across, &down) {
        (Some(across), Some(down)) if vertical_first(image, full) => {
            let narrowed = source.resize_columns(down, needed_columns.clone());
            let narrowed = Plane {
                bytes: &narrowed,
                line: needed_columns.len() * 3,
                first_row: 0,
                first_column: needed_columns.start,
            };
            narrowed.resize_lines(across, 0..window.height as usize)
        }
        (Some(across), Some(down)) => {
            let narrowed = source.resize_lines(across, needed_rows.clone());
            let narrowed = Plane {
                bytes: &narrowed,
                line: width * 3,
                first_row: needed_rows.start,
                first_column: 0,
            };
            narrowed.resize_columns(down, 0..width)
        }
        (Some(across), None) => source.resize_lines(across, needed_rows),
        (None, Some(down)) => source.resize_columns(down, needed_columns),
        (None, None) => needed_rows
            .flat_map(|row| source.part(row, needed_columns.clone()))
            .copied()
            .collect(),
    };
    RgbImage::from_raw(window.width, window.height, bytes).unwrap_or_default()
}

/// Pillow 13 runs the vertical pass first where that removes more than twice
/// the pixels; the order shows in the last bit (found by experiment, exact on
/// all sizes tried).
fn vertical_first(image: &RgbImage, (width, height): (u64, u64)) -> bool {
    let removed_rows = i64::from(image.height()) - height as i64;
    let removed_columns = i64::from(image.width()) - width as i64;
    removed_rows > 0 && removed_rows > 2 * removed_columns
}

/// Part of a picture that starts at a row and a column of the whole.
struct Plane<'a> {
    bytes: &'a [u8],
    /// Bytes per line.
    line: usize,
    first_row: usize,
    first_column: usize,
}

impl<'a> Plane<'a> {
    /// Bytes of some columns of a row of the whole picture.
    fn part(&self, row: usize, columns: Range<usize>) -> &'a [u8] {
        let line = &self.bytes[(row - self.first_row) * self.line..][..self.line];
        &line[(columns.start - self.first_column) * 3..(columns.end - self.first_column) * 3]
    }

    /// Horizontal pass over some rows.
    fn resize_lines(&self, taps: &Taps, rows: Range<usize>) -> Vec<u8> {
        let width = taps.starts.len();
        let mut out = vec![0u8; rows.len() * width * 3];
        let reach = taps.reach();
        let lines: Vec<&[u8]> = rows.map(|row| self.part(row, reach.clone())).collect();
        sum_pixels(&lines, width, |i| taps.get(i, reach.start), &mut out);
        out
    }

    /// Vertical pass over some columns.
    fn resize_columns(&self, taps: &Taps, columns: Range<usize>) -> Vec<u8> {
        let line = columns.len() * 3;
        let mut out = vec![0u8; taps.starts.len() * line];
        for (i, to) in out.chunks_exact_mut(line).enumerate() {
            sum_lines(taps.get(i, 0), |row| self.part(row, columns.clone()), to);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 7 + y * 3) as u8, (x * y) as u8, (x ^ y) as u8])
        })
    }

    #[test]
    fn a_constant_picture_stays_constant() {
        let image = RgbImage::from_pixel(31, 17, image::Rgb([255, 0, 93]));
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            for (width, height) in [(8, 8), (64, 50), (1, 1), (31, 5)] {
                let out = resize(&image, width, height, interpolation);
                assert!(out.pixels().all(|p| p.0 == [255, 0, 93]));
            }
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let image = picture(13, 9);
        assert_eq!(resize(&image, 13, 9, Interpolation::Bicubic), image);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let image = picture(50, 31);
        for (width, height) in [(20, 90), (50, 12), (77, 31), (45, 12), (60, 20), (50, 31)] {
            let whole = resize(&image, width, height, Interpolation::Bicubic);
            let window = Window {
                left: 3,
                top: 2,
                width: 15,
                height: 9,
            };
            let full = (u64::from(width), u64::from(height));
            let part = resize_window(&image, full, window, Interpolation::Bicubic);
            let cut = image::imageops::crop_imm(&whole, 3, 2, 15, 9).to_image();
            assert_eq!(part, cut);
        }
    }

    #[test]
    fn halving_with_the_triangle_kernel_weighs_its_four_neighbours() {
        let image = RgbImage::from_fn(4, 1, |x, _| image::Rgb([x as u8 * 80; 3]));
        let out = resize(&image, 2, 1, Interpolation::Bilinear);
        // Weights 1/8·(3, 3, 1) normalised at the edge: (0·3 + 80·3 + 160)/7.
        assert_eq!(out.as_raw()[0], 57);
    }
}
