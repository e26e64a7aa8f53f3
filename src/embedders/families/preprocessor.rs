//! `preprocessor_config.json`: the image processors of the transformers
//! library (`embedders.md` section 8).

use serde_json::Value;

use crate::embedders::error::EmbedderError;
use crate::embedders::files::ModelFiles;
use crate::embedders::json_fields::{Fields, MAX_IMAGE, as_count};
use crate::images::{ImageTransform, Interpolation, ResizeMode};

pub(super) const CONFIG: &str = "preprocessor_config.json";

/// What the processor of a family does where the file says nothing.
pub(super) struct Defaults {
    /// Input of the tower in pixels.
    pub size: usize,
    /// Whether the shorter side is brought to the size, and then cropped.
    pub shortest: bool,
    /// `resample`.
    pub resample: usize,
    /// Mean and standard deviation.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Whether the picture is normalised a second time (`include_top`).
    pub include_top: bool,
    /// Whether levels are moved to begin at -1 (`rescale_offset`).
    pub offset: bool,
}

/// The transform of a model's processor; the tower takes `size` pixels.
pub(super) fn transform(
    files: &ModelFiles,
    defaults: &Defaults,
) -> Result<ImageTransform, EmbedderError> {
    let json = files.read_json(CONFIG)?;
    let path = files.path(CONFIG);
    let mut fields = Fields::new(&path, "the image processor", &json)?;
    let tower = defaults.size;
    let resized = match fields.get("size") {
        _ if !fields.flag("do_resize", true)? => {
            return Err(fields.bad("do_resize", "true (pictures of any size are taken)"));
        }
        None if defaults.shortest => ResizeMode::ShortestTo(tower as u32),
        None => ResizeMode::ExactTo(tower as u32, tower as u32),
        Some(size) => {
            mode(size, defaults.shortest).ok_or_else(|| fields.bad("size", "a size in pixels"))?
        }
    };
    let exact = match resized {
        ResizeMode::ExactTo(height, width) => Some((height as usize, width as usize)),
        _ => None,
    };
    let crops = fields.flag("do_center_crop", defaults.shortest)?;
    let cropped = match fields.get("crop_size") {
        _ if !crops => exact.ok_or_else(|| fields.bad("do_center_crop", "true"))?,
        None => (tower, tower),
        Some(size) => sides(size).ok_or_else(|| fields.bad("crop_size", "a height and a width"))?,
    };
    if cropped != (tower, tower) {
        return Err(fields.bad(
            if crops { "crop_size" } else { "size" },
            format_args!("{tower}×{tower}, which the image tower takes"),
        ));
    }
    let interpolation = match fields.number("resample", defaults.resample as f64)? {
        0.0 => Interpolation::Nearest,
        2.0 => Interpolation::Bilinear,
        3.0 => Interpolation::Bicubic,
        _ => return Err(fields.bad("resample", "0 (nearest), 2 (bilinear) or 3 (bicubic)")),
    };
    let factor = if fields.flag("do_rescale", true)? {
        fields.number("rescale_factor", 1.0 / 255.0)?
    } else {
        1.0
    };
    let offset = if fields.flag("rescale_offset", defaults.offset)? {
        -1.0
    } else {
        0.0
    };
    let mean = fields.channels("image_mean", defaults.mean)?;
    let deviation = fields.channels("image_std", defaults.std)?;
    if deviation.iter().any(|std| *std <= 0.0 || std.is_nan()) {
        return Err(fields.bad("image_std", "positive"));
    }
    let (mut used_mean, mut used_std) = ([0.0; 3], [1.0; 3]);
    if fields.flag("do_normalize", true)? {
        (used_mean, used_std) = (mean, deviation);
    }
    if fields.flag("include_top", defaults.include_top)? {
        used_std = std::array::from_fn(|channel| used_std[channel] * deviation[channel]);
    }
    Ok(ImageTransform {
        height: tower as u32,
        width: tower as u32,
        resize_mode: resized,
        interpolation,
        rescale: (factor, offset),
        mean: used_mean,
        std: used_std,
        fill: 0,
    })
}

/// `{"shortest_edge": S}`, `{"height": H, "width": W}`, or one number.
fn mode(size: &Value, shortest: bool) -> Option<ResizeMode> {
    let pixels = |value: &Value| as_count(value, MAX_IMAGE).map(|size| size as u32);
    if let Some(size) = size.get("shortest_edge") {
        return Some(ResizeMode::ShortestTo(pixels(size)?));
    }
    match size {
        Value::Number(_) if shortest => Some(ResizeMode::ShortestTo(pixels(size)?)),
        size => {
            let (height, width) = sides(size)?;
            Some(ResizeMode::ExactTo(height as u32, width as u32))
        }
    }
}

fn sides(size: &Value) -> Option<(usize, usize)> {
    match size {
        Value::Number(_) => as_count(size, MAX_IMAGE).map(|side| (side, side)),
        _ => as_count(size.get("height")?, MAX_IMAGE).zip(as_count(size.get("width")?, MAX_IMAGE)),
    }
}
