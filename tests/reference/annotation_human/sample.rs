//! `sample.json`, `sample.safetensors`: listings, weights, chances.

use std::path::Path;

use novic::annotate::collect::{Pull, SampleRequest, draw, sample, sample_candidates, weights};
use serde_json::Value;

use super::AREA;
use crate::golden;

const DRAWS: u64 = 20_000;

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().map(|number| number.as_f64().unwrap()).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// A folder with the listing of a case: the reference's pictures where they
/// have the name, else a picture of that name. Returns the names that are
/// folders.
fn lay_out(folder: &Path, case: &Value) -> Vec<String> {
    let pictures = golden::area(AREA).join("images");
    let directories = case["error"] == "IsADirectoryError";
    let mut folders = Vec::new();
    for name in texts(&case["listing"]) {
        let known = pictures.join(&name);
        let is_folder = known.is_dir() || (directories && !known.exists());
        if is_folder {
            std::fs::create_dir(folder.join(&name)).unwrap();
            folders.push(name);
        } else if known.is_file() {
            std::fs::copy(known, folder.join(name)).unwrap();
        } else {
            let picture = image::RgbImage::new(2, 2);
            picture
                .save_with_format(folder.join(name), image::ImageFormat::Png)
                .unwrap();
        }
    }
    folders
}

#[test]
fn listings_weights_and_chances() {
    let cases = golden::json(AREA, "sample.json");
    let tensors = golden::tensors(AREA, "sample.safetensors");
    let (mut uniform, mut weighted, mut refused) = (0, 0, 0);
    for case in cases.as_array().unwrap() {
        let tag = case["tag"].as_str().unwrap();
        let special = texts(&case["special"]);
        let factors = numbers(&case["factor"]);
        let means = numbers(&case["mean"]);
        let count = case["count"].as_u64().unwrap() as usize;
        let folder = tempfile::tempdir().unwrap();
        let folders = lay_out(folder.path(), case);
        let pulls = if special.is_empty() {
            Ok(Vec::new())
        } else {
            Pull::list(&special, &factors, &means)
        };
        if case["error"] == "ValueError" {
            pulls.unwrap_err();
            refused += 1;
            continue;
        }
        let pulls = pulls.unwrap();
        let mut expected = texts(&case["images"]);
        expected.retain(|name| !folders.contains(name));
        let found = sample_candidates(folder.path(), false).unwrap();
        let found: Vec<&str> = found.iter().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(found, expected, "{tag}");
        if let Some(name) = case["tensors"].as_str() {
            check_weights(tag, case, &pulls, count, |what| {
                let tensor = tensors.get(&format!("{name}/{what}"));
                let columns = tensor.shape.last().copied().unwrap();
                let values = tensor.f32s();
                values.chunks(columns).map(<[f32]>::to_vec).collect()
            });
            weighted += 1;
            continue;
        }
        // What cannot be read is left out of weighted samples.
        let damaged = case["error"] == "UnidentifiedImageError";
        if damaged {
            std::fs::write(folder.path().join(&expected[0]), "no picture").unwrap();
        }
        let request = SampleRequest {
            input: folder.path().to_owned(),
            count,
            seed: 3,
            nouns: special.iter().map(|_| vec![1.0, 0.0]).collect(),
            pulls,
            recursive: false,
            per_folder: false,
            dedupe: None,
        };
        let alike = |images: Vec<image::RgbImage>| Ok(vec![vec![0.6, 0.8]; images.len()]);
        let sampled = sample(&request, alike, |_, _| Ok(())).unwrap();
        assert_eq!(sampled.unreadable.len(), usize::from(damaged), "{tag}");
        let readable = expected.len() - usize::from(damaged);
        assert_eq!(sampled.drawn.len(), count.min(readable), "{tag}");
        if let Some(drawn) = case["num_output"].as_u64() {
            assert_eq!(sampled.drawn.len() as u64, drawn, "{tag}");
        }
        uniform += 1;
    }
    assert!(uniform > 0 && weighted > 0 && refused > 0);
}

fn check_weights(
    tag: &str,
    case: &Value,
    pulls: &[Pull],
    count: usize,
    tensor: impl Fn(&str) -> Vec<Vec<f32>>,
) {
    let (images, nouns) = (tensor("image_embeddings"), tensor("text_embeddings"));
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    let similarities: Vec<Vec<f64>> = images
        .iter()
        .map(|image| nouns.iter().map(|noun| dot(image, noun)).collect())
        .collect();
    let found = weights(&similarities, pulls);
    for (found, expected) in found.iter().zip(&tensor("weights")[0]) {
        let expected = f64::from(*expected);
        assert!(
            (found - expected).abs() <= 1e-5 * expected,
            "{tag}: {found} {expected}"
        );
    }
    let inclusion = numbers(&case["inclusion"]);
    let mut times = vec![0u64; inclusion.len()];
    for seed in 0..DRAWS {
        for &place in draw(&found, seed, 0).iter().take(count) {
            times[place] += 1;
        }
    }
    for (&times, &chance) in times.iter().zip(&inclusion) {
        let share = times as f64 / DRAWS as f64;
        let error = (chance * (1.0 - chance) / DRAWS as f64).sqrt();
        assert!(
            (share - chance).abs() <= 5.0 * error,
            "{tag}: {share} {chance}"
        );
    }
}
