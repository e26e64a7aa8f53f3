//! Embedders against the reference: tokenizers, towers, image transforms
//! (`tests/golden/embedders`).

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype};
use novic::embedders::{Backend, Embedder, EmbedderError, EmbedderSpec, OpenOptions};
use novic::images::{DecodeOptions, ImageTransform, Interpolation, ResizeMode, decode_file};
use serde_json::Value;

use crate::golden;

const AREA: &str = "embedders";

fn path(file: &str) -> PathBuf {
    golden::area(AREA).join(file)
}

fn tensors(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(file), &Device::Cpu)
        .unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn ids(value: &Value) -> Vec<i64> {
    list(value)
        .iter()
        .map(|id| id.as_i64().expect("an id"))
        .collect()
}

fn worst_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).unwrap().abs().unwrap();
    difference
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar()
        .unwrap()
}

/// A model of the reference data, opened as a local folder or archive.
struct Model {
    name: String,
    entry: Value,
    embedder: Result<Embedder, EmbedderError>,
}

fn models() -> Vec<Model> {
    let entries = golden::json(AREA, "models.json");
    let models: Vec<Model> = list(&entries)
        .iter()
        .map(|entry| {
            let name = text(&entry["model"]).to_owned();
            let kind = text(&entry["spec"]).split_once(':').expect("TYPE:NAME").0;
            let extension = if kind == "openai" { ".pt" } else { "" };
            let spec = format!(
                "{kind}:{}{extension}",
                path(&format!("models/{name}")).display()
            );
            let spec: EmbedderSpec = spec.parse().expect("a specification");
            let options = OpenOptions {
                timm_models: Some(path("timm_models.json")),
            };
            let embedder = Embedder::open_with(&spec, &options);
            Model {
                name,
                entry: entry.clone(),
                embedder,
            }
        })
        .collect();
    assert!(!models.is_empty());
    models
}

/// Models whose family is implemented. The others must say so; every model of
/// the open_clip layout has to open.
fn implemented() -> Vec<(String, Value, Embedder)> {
    let models: Vec<_> = models()
        .into_iter()
        .filter_map(|model| match model.embedder {
            Ok(embedder) => Some((model.name, model.entry, embedder)),
            Err(EmbedderError::Unsupported { .. }) => {
                let spec: EmbedderSpec = text(&model.entry["spec"]).parse().unwrap();
                assert_ne!(
                    spec.backend(),
                    Backend::OpenClip,
                    "{} is not supported",
                    model.name
                );
                None
            }
            Err(error) => panic!("{}: {error}", model.name),
        })
        .collect();
    assert!(!models.is_empty());
    models
}

#[test]
fn constants_come_from_the_files() {
    for (name, entry, embedder) in implemented() {
        let wanted = &entry["constants"];
        let tokenizer = embedder.tokenizer();
        let constants = tokenizer.constants();
        assert_eq!(wanted["embed_dim"], embedder.dim(), "{name}");
        assert_eq!(wanted["context_length"], constants.context_length, "{name}");
        assert_eq!(wanted["vocab_size"], constants.vocab_size, "{name}");
        assert_eq!(
            wanted["start_token_id"].as_i64(),
            constants.start_id,
            "{name}"
        );
        assert_eq!(wanted["end_token_id"], constants.end_id, "{name}");
        assert_eq!(wanted["pad_token_id"], constants.pad_id, "{name}");
        let dtype = match constants.dtype {
            TokenDtype::I32 => "torch.int32",
            TokenDtype::I64 => "torch.int64",
        };
        assert_eq!(wanted["token_dtype"], dtype, "{name}");
    }
}

fn check_padded(
    tokenizer: &dyn TextTokenizer,
    rows: &[Vec<i64>],
    wanted: &[Vec<i64>],
    label: &str,
) {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    assert_eq!(rows.len(), wanted.len(), "{label}");
    for (row, wanted) in rows.iter().zip(wanted) {
        let mut row = row.clone();
        row.resize(longest, tokenizer.constants().pad_id);
        assert_eq!(&row, wanted, "{label}");
    }
}

#[test]
fn tokens_and_texts_are_exact() {
    for (name, entry, embedder) in implemented() {
        let tokenizer = embedder.tokenizer();
        let context = tokenizer.constants().context_length;
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let inputs = texts(&entry["texts"]);
        let rows = tokenizer.encode(&inputs, Some(context)).unwrap();
        let wanted = outputs["text/input_ids"]
            .to_dtype(candle_core::DType::I64)
            .unwrap();
        check_padded(&*tokenizer, &rows, &wanted.to_vec2::<i64>().unwrap(), &name);
        let mask = outputs["text/attention_mask"]
            .to_dtype(candle_core::DType::F32)
            .unwrap();
        for (row, mask) in rows.iter().zip(mask.to_vec2::<f32>().unwrap()) {
            assert_eq!(
                row.len(),
                mask.iter().filter(|&&m| m != 0.0).count(),
                "{name}"
            );
        }
        for (row, wanted) in rows.iter().zip(texts(&entry["detokenized"])) {
            assert_eq!(tokenizer.decode(row).unwrap(), wanted, "{name}");
        }
        for (input, wanted) in inputs.iter().zip(list(&entry["single_ids"])) {
            let single = tokenizer.encode(&[input], Some(context)).unwrap();
            assert_eq!(single, [ids(&wanted[0])], "{name}: {input:?}");
        }
        let truncated = entry["truncated_ids"].as_object().expect("truncated ids");
        for (max, wanted) in truncated {
            let rows = tokenizer
                .encode(&inputs, Some(max.parse().unwrap()))
                .unwrap();
            let wanted: Vec<Vec<i64>> = list(wanted).iter().map(ids).collect();
            check_padded(&*tokenizer, &rows, &wanted, &format!("{name} at {max}"));
        }
    }
}

#[test]
fn configuration_objects_are_exact() {
    for (name, entry, embedder) in implemented() {
        let mut object = embedder.config_object();
        // The reference knows the model by its repository, this test by its folder.
        object["model_id"] = entry["configuration"]["model_id"].clone();
        assert_eq!(object, entry["configuration"], "{name}");
    }
}

#[test]
fn text_embeddings_from_stored_ids() {
    for (name, entry, embedder) in implemented() {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let tokens = outputs["text/input_ids"]
            .to_dtype(candle_core::DType::I64)
            .unwrap();
        let mask = outputs["text/attention_mask"]
            .to_dtype(candle_core::DType::F32)
            .unwrap();
        let rows: Vec<Vec<i64>> = tokens
            .to_vec2::<i64>()
            .unwrap()
            .into_iter()
            .zip(mask.to_vec2::<f32>().unwrap())
            .map(|(row, mask)| {
                row.into_iter()
                    .zip(mask)
                    .filter(|(_, m)| *m != 0.0)
                    .map(|(id, _)| id)
                    .collect()
            })
            .collect();
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        let vectors = embedder.embed_tokens(&rows).unwrap();
        let worst = worst_difference(&vectors, &outputs["text/embeds"]);
        assert!(worst <= 2e-5, "{name}: texts differ by {worst}");
        let from_texts = embedder.embed_texts(&texts(&entry["texts"])).unwrap();
        assert!(worst_difference(&from_texts, &vectors) <= 1e-6, "{name}");
    }
}

#[test]
fn embeddings_do_not_depend_on_the_batch() {
    for (name, entry, embedder) in implemented() {
        let inputs = texts(&entry["texts"]);
        let together = embedder.embed_texts(&inputs).unwrap();
        for (index, input) in inputs.iter().enumerate() {
            let alone = embedder.embed_texts(&[input]).unwrap();
            let worst = worst_difference(&alone, &together.narrow(0, index, 1).unwrap());
            assert!(worst <= 1e-5, "{name}: {input:?} differs by {worst}");
        }
        let norms = together
            .sqr()
            .unwrap()
            .sum(1)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(
            norms.iter().all(|norm| (norm - 1.0).abs() <= 1e-5),
            "{name}: {norms:?}"
        );
    }
}

#[test]
fn image_embeddings_from_stored_pixels_and_from_files() {
    for (name, entry, embedder) in implemented() {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let pixels = &outputs["image/pixels"];
        let wanted = &outputs["image/embeds"];
        let first = embedder.embed_pixels(pixels).unwrap();
        let worst = worst_difference(&first, &wanted.narrow(0, 0, 1).unwrap());
        assert!(worst <= 2e-5, "{name}: pixels differ by {worst}");
        let images: Vec<_> = texts(&entry["images"])
            .into_iter()
            .map(|file| {
                decode_file(&path(&format!("images/{file}")), &DecodeOptions::default()).unwrap()
            })
            .collect();
        let mut transformed = vec![0f32; embedder.preprocess().len()];
        embedder.preprocess().apply(&images[0], &mut transformed);
        let transformed = Tensor::from_vec(transformed, pixels.dims(), &Device::Cpu).unwrap();
        let worst = worst_difference(&transformed, pixels);
        assert!(worst <= 1e-6, "{name}: the transform differs by {worst}");
        let vectors = embedder.embed_images(&images).unwrap();
        for (index, file) in texts(&entry["images"]).into_iter().enumerate() {
            let row = |x: &Tensor| x.narrow(0, index, 1).unwrap();
            let worst = worst_difference(&row(&vectors), &row(wanted));
            assert!(worst <= 2e-5, "{name}: {file} differs by {worst}");
        }
    }
}

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
