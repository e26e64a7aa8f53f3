//! Decoding and image transforms.

use candle_core::{Device, Tensor};
use novic::images::{DecodeOptions, ImageTransform, Interpolation, ResizeMode, decode_file};
use serde_json::Value;

use super::{AREA, list, path, tensors, text, worst_difference};
use crate::golden;

/// The open_clip pipelines of the reference data by name.
fn pipelines() -> Vec<(String, ImageTransform)> {
    let file = golden::json(AREA, "preprocess_pipelines.json");
    let channels = |value: &Value| -> [f32; 3] {
        std::array::from_fn(|i| value[i].as_f64().expect("a number") as f32)
    };
    let pipelines: Vec<_> = file
        .as_object()
        .expect("pipelines")
        .iter()
        // Those of the transformers processors carry other keys.
        .filter(|(_, pipeline)| pipeline["resize_mode"].is_string())
        .map(|(name, pipeline)| {
            let size = &pipeline["image_size"];
            let side =
                |i: usize| size.as_u64().or_else(|| size[i].as_u64()).expect("a size") as u32;
            let transform = ImageTransform {
                height: side(0),
                width: side(1),
                resize_mode: match text(&pipeline["resize_mode"]) {
                    "shortest" => ResizeMode::Shortest,
                    "squash" => ResizeMode::Squash,
                    "longest" => ResizeMode::Longest,
                    other => panic!("unknown resize mode {other}"),
                },
                interpolation: match text(&pipeline["interpolation"]) {
                    "bicubic" => Interpolation::Bicubic,
                    "bilinear" => Interpolation::Bilinear,
                    other => panic!("unknown interpolation {other}"),
                },
                rescale: ImageTransform::TO_UNIT,
                mean: channels(&pipeline["mean"]),
                std: channels(&pipeline["std"]),
                fill: pipeline["fill_color"].as_u64().unwrap_or(0) as u8,
            };
            (name.clone(), transform)
        })
        .collect();
    assert!(!pipelines.is_empty());
    pipelines
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1::<u8>().unwrap()
}

fn differences(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each.clone().map(u64::from).sum();
    (sum as f64 / a.len().max(1) as f64, each.max().unwrap_or(0))
}

/// What the decoder may differ by: (mean, maximum).
fn decode_tolerance(file: &str) -> (f64, u8) {
    if file.contains("444") {
        (0.5, 3)
    } else if file.ends_with(".jpg") {
        (1.0, 8)
    } else {
        (0.0, 0)
    }
}

#[test]
fn pictures_decode_and_transform_as_in_the_reference() {
    let pipelines = pipelines();
    let outputs = tensors("preprocess.safetensors");
    let cases = golden::json(AREA, "preprocess.json");
    let mut transforms_checked = 0;
    for case in list(&cases) {
        let file = text(&case["file"]);
        // Pillow clips 16-bit grey; ours scales it, on purpose.
        if text(&case["mode"]).starts_with("I;16") {
            continue;
        }
        let folder = if file.contains('/') { "" } else { "images/" };
        let image =
            decode_file(&path(&format!("{folder}{file}")), &DecodeOptions::default()).unwrap();
        let size = [&case["size"][0], &case["size"][1]].map(|side| side.as_u64().unwrap() as u32);
        assert_eq!([image.width(), image.height()], size, "{file}");
        let stride = case["stride"].as_u64().unwrap_or(1) as u32;
        if let Some(wanted) = outputs.get(&format!("{file}/rgb")) {
            let seen: Vec<u8> = (0..image.height())
                .step_by(stride as usize)
                .flat_map(|y| {
                    (0..image.width())
                        .step_by(stride as usize)
                        .map(move |x| (x, y))
                })
                .flat_map(|(x, y)| image.get_pixel(x, y).0)
                .collect();
            let wanted = bytes(wanted);
            let (mean, _) = differences(&seen, &wanted);
            // The last line of subsampled chroma is interpolated with the
            // block's padding, where libjpeg repeats the line before.
            let last_line = seen.len() - image.width().div_ceil(stride) as usize * 3;
            let (_, max) = differences(&seen[..last_line], &wanted[..last_line]);
            let (_, last_max) = differences(&seen[last_line..], &wanted[last_line..]);
            let (mean_limit, max_limit) = decode_tolerance(file);
            assert!(
                mean <= mean_limit && max <= max_limit && last_max <= 2 * max_limit,
                "{file}: mean {mean}, maximum {max}, in the last line {last_max}"
            );
        }
        // Decoders of JPEG differ, so its transforms start from the stored pixels.
        let image = match outputs.get(&format!("{file}/rgb")) {
            Some(stored) if stride == 1 => {
                image::RgbImage::from_raw(image.width(), image.height(), bytes(stored)).unwrap()
            }
            _ if decode_tolerance(file) == (0.0, 0) => image,
            _ => continue,
        };
        for (name, transform) in &pipelines {
            let Some(wanted) = outputs.get(&format!("{file}/{name}")) else {
                continue;
            };
            let fitted = transform.fit(&image);
            let (height, width) = (transform.height as usize, transform.width as usize);
            let planes: Vec<u8> = (0..3)
                .flat_map(|channel| fitted.pixels().map(move |pixel| pixel.0[channel]))
                .collect();
            assert!(planes == bytes(wanted), "{file}, {name}: pixels differ");
            transforms_checked += 1;
            if let Some(wanted) = outputs.get(&format!("{file}/{name}/normalized")) {
                let mut values = vec![0f32; transform.len()];
                transform.apply(&image, &mut values);
                let values = Tensor::from_vec(values, (3, height, width), &Device::Cpu).unwrap();
                let worst = worst_difference(&values, &wanted.reshape((3, height, width)).unwrap());
                assert!(worst <= 1e-6, "{file}, {name}: {worst}");
            }
        }
    }
    assert!(transforms_checked > 0);
}

/// The processors of the transformers library of the reference data by name.
fn processors() -> Vec<(String, ImageTransform)> {
    let file = golden::json(AREA, "preprocess_pipelines.json");
    let pipelines = file.as_object().expect("pipelines");
    let processors = pipelines
        .iter()
        .filter(|(_, pipeline)| pipeline["image_processor_type"].is_string());
    let side = |value: &Value| value.as_u64().expect("a size") as u32;
    processors
        .map(|(name, processor)| {
            let size = &processor["size"];
            let resize_mode = match size.get("shortest_edge") {
                Some(edge) => ResizeMode::ShortestTo(side(edge)),
                None => ResizeMode::ExactTo(side(&size["height"]), side(&size["width"])),
            };
            let crop = processor.get("crop_size").unwrap_or(size);
            let channels = |key: &str| -> [f32; 3] {
                std::array::from_fn(|i| processor[key][i].as_f64().expect("a number") as f32)
            };
            let transform = ImageTransform {
                height: side(&crop["height"]),
                width: side(&crop["width"]),
                resize_mode,
                interpolation: match processor["resample"].as_u64() {
                    Some(0) => Interpolation::Nearest,
                    Some(2) => Interpolation::Bilinear,
                    Some(3) => Interpolation::Bicubic,
                    other => panic!("unknown resampling {other:?}"),
                },
                rescale: (processor["rescale_factor"].as_f64().unwrap(), 0.0),
                mean: channels("image_mean"),
                std: channels("image_std"),
                fill: 0,
            };
            (name.clone(), transform)
        })
        .collect()
}

#[test]
fn processors_of_the_transformers_library() {
    let outputs = tensors("preprocess.safetensors");
    let mut checked = 0;
    for (name, transform) in processors() {
        for (key, wanted) in &outputs {
            let Some(file) = key.strip_suffix(&format!("/{name}")) else {
                continue;
            };
            let file = path(&format!("images/{file}"));
            let image = decode_file(&file, &DecodeOptions::default()).unwrap();
            let mut values = vec![0f32; transform.len()];
            transform.apply(&image, &mut values);
            let values = Tensor::from_vec(values, wanted.dims(), &Device::Cpu).unwrap();
            let worst = worst_difference(&values, wanted);
            assert!(worst <= 1e-6, "{key}: {worst}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}
