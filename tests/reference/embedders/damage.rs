//! Damaged files of models and pictures are errors, or other models and
//! pictures; never more than that. And weights that come in parts.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use image::RgbImage;
use novic::embedders::{Embedder, EmbedderError, EmbedderSpec, OpenOptions};
use novic::images::{DecodeOptions, ImageLimits, decode_bytes};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, json};

use super::{path, tensors, worst_difference};

/// Changes some bytes, or cuts the end off.
fn damage(content: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    if content.is_empty() {
        return;
    }
    if random.random_bool(0.2) {
        content.truncate(random.random_range(0..content.len()));
        return;
    }
    for _ in 0..random.random_range(1..=8) {
        let place = match random.random_bool(0.5) {
            // Headers are at the beginning.
            true => random.random_range(0..content.len().min(512)),
            false => random.random_range(0..content.len()),
        };
        content[place] = random.random();
    }
}

fn embed(spec: &EmbedderSpec) -> Result<(), EmbedderError> {
    let options = OpenOptions {
        timm_models: Some(path("timm_models.json")),
        openai_merges: Some(path("models/openai_bpe.txt.gz")),
        ..OpenOptions::default()
    };
    let embedder = Embedder::open_with(spec, &options)?;
    embedder.embed_texts(&["a photo of a red fox", ""])?;
    embedder.embed_images(&[RgbImage::new(9, 4)])?;
    Ok(())
}

/// The files of a model, which is one itself or a folder of them.
fn files(model: &Path) -> Vec<std::path::PathBuf> {
    match model.is_dir() {
        false => vec![model.to_owned()],
        true => {
            let mut files: Vec<_> = fs::read_dir(model)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
                .collect();
            files.sort();
            files
        }
    }
}

#[test]
fn damaged_models_never_end_the_program() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut refused = 0;
    let models = crate::golden::json(super::AREA, "models.json");
    for entry in super::list(&models) {
        let name = super::text(&entry["model"]);
        let kind = super::text(&entry["spec"])
            .split_once(':')
            .expect("TYPE:NAME")
            .0;
        let extension = if kind == "openai" { ".pt" } else { "" };
        let files = files(&path(&format!("models/{name}{extension}")));
        for round in 0..24 {
            let folder = tempfile::tempdir().expect("a folder");
            for (number, file) in files.iter().enumerate() {
                let mut content = fs::read(file).expect("a file");
                if number == round % files.len() {
                    damage(&mut content, &mut random);
                }
                let to = folder.path().join(file.file_name().expect("a name"));
                fs::write(to, content).expect("a copy");
            }
            let place = match kind {
                "openai" => folder.path().join(format!("{name}.pt")),
                _ => folder.path().to_owned(),
            };
            let spec = format!("{kind}:{}", place.display())
                .parse()
                .expect("a specification");
            refused += usize::from(embed(&spec).is_err());
        }
    }
    assert!(refused > 0);
}

#[test]
fn damaged_pictures_never_end_the_program() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (mut refused, mut decoded) = (0, 0);
    let options = DecodeOptions {
        limits: ImageLimits {
            max_pixels: 1 << 22,
            ..ImageLimits::default()
        },
        ..DecodeOptions::default()
    };
    for file in files(&path("images")) {
        let whole = fs::read(&file).expect("a picture");
        for _ in 0..40 {
            let mut content = whole.clone();
            damage(&mut content, &mut random);
            match decode_bytes(&content, &file, &options) {
                Ok(picture) => {
                    assert!(picture.width() > 0 && picture.height() > 0);
                    decoded += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0 && decoded > 0, "{refused} {decoded}");
}

#[test]
fn weights_in_parts_are_those_of_one_file() {
    for name in ["transformers_clip", "transformers_siglip"] {
        let folder = tempfile::tempdir().expect("a folder");
        let model = path(&format!("models/{name}"));
        for file in files(&model) {
            if file
                .extension()
                .is_none_or(|extension| extension != "safetensors")
            {
                let to = folder.path().join(file.file_name().expect("a name"));
                fs::copy(&file, to).expect("a copy");
            }
        }
        let whole = tensors(&format!("models/{name}/model.safetensors"));
        let mut names: Vec<&String> = whole.keys().collect();
        names.sort();
        let mut map = Map::new();
        for (number, part) in names.chunks(names.len().div_ceil(3)).enumerate() {
            let file = format!("model-{:05}-of-00003.safetensors", number + 1);
            let part: std::collections::HashMap<&str, Tensor> = (part.iter())
                .map(|&name| (name.as_str(), whole[name].clone()))
                .collect();
            map.extend(part.keys().map(|name| ((*name).to_owned(), json!(file))));
            candle_core::safetensors::save(&part, folder.path().join(file)).expect("a part");
        }
        let index = json!({"metadata": {}, "weight_map": map}).to_string();
        let index_file = folder.path().join("model.safetensors.index.json");
        fs::write(&index_file, &index).expect("an index");
        let open = |place: &Path| {
            let spec = format!("transformers:{}", place.display());
            Embedder::open(&spec.parse().expect("a specification"))
        };
        let embed = |embedder: Embedder| {
            let texts = embedder.embed_texts(&["fox"]).expect("texts");
            let images = embedder
                .embed_images(&[RgbImage::new(5, 5)])
                .expect("pictures");
            Tensor::cat(&[texts, images], 0).expect("vectors")
        };
        let wanted = embed(open(&model).expect("the model"));
        let found = embed(open(folder.path()).expect("the same in parts"));
        assert_eq!(worst_difference(&wanted, &found), 0.0, "{name}");
        assert!(found.device().same_device(&Device::Cpu));
        fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).expect("a part");
        let error = match open(folder.path()) {
            Ok(embedder) => embedder.load().expect_err("a part is missing"),
            Err(error) => error,
        };
        assert!(
            error.to_string().contains("model-00002-of-00003"),
            "{error}"
        );
    }
}
