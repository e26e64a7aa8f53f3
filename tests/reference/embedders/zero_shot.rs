//! Zero-shot runs from pictures and class names to accuracies and the modality
//! gap.

use candle_core::Tensor;
use novic::datasets::{Split, open_in};
use novic::evaluate::{
    ModalityGap, ZeroShotPrompt, ZeroShotRun, class_embeddings, dataset_prompts, modality_gap_file,
};
use novic::nouns::{ClassNameVariant, names_of_classes};
use novic::train::MeanShift;
use serde_json::{Map, Value};

use super::{AREA, list, open, path, tensors, text, texts, worst_difference};
use crate::golden;

#[test]
fn runs_from_files() {
    let runs = golden::json(AREA, "zero_shot.json");
    let outputs = tensors("zero_shot.safetensors");
    let models = golden::json(AREA, "models.json");
    assert!(!list(&runs).is_empty());
    for case in list(&runs) {
        let name = text(&case["model"]);
        let model = list(&models)
            .iter()
            .find(|model| model["model"] == case["model"])
            .expect("the model");
        let embedder = open(name, text(&model["spec"]));
        let dataset = open_in(text(&case["dataset"]), &path("datasets"), Split::Valid).unwrap();
        let classes = names_of_classes(
            dataset.name(),
            dataset.classes(),
            Some(ClassNameVariant::Clip),
            case["clean"].as_bool().unwrap(),
            None,
        )
        .unwrap();
        assert_eq!(classes, texts(&case["classes"]), "{name}");
        let prompts = dataset_prompts(dataset.name());
        let embeds = class_embeddings(&embedder, &classes, &prompts, |_| Ok(())).unwrap();
        let stored = |part: &str| &outputs[&format!("{name}/{part}")];
        let worst = worst_difference(&embeds, stored("text_embeds"));
        assert!(worst <= 2e-5, "{name}: class embeddings differ by {worst}");

        let labels: Vec<usize> = (0..dataset.len()).map(|i| dataset.label(i)).collect();
        let wanted: Vec<usize> = serde_json::from_value(case["labels"].clone()).unwrap();
        assert_eq!(labels, wanted, "{name}");
        let pictures: Vec<_> = (0..dataset.len())
            .map(|i| dataset.image(i).unwrap())
            .collect();
        let images = embedder.embed_images(&pictures).unwrap();
        for (index, _) in pictures.iter().enumerate() {
            let row = |x: &Tensor| x.narrow(0, index, 1).unwrap();
            let worst = worst_difference(&row(&images), &row(stored("image_embeds")));
            // Decoders of JPEG differ in a few levels.
            let file = dataset
                .image_path(index)
                .map(|file| file.display().to_string());
            let is_jpeg = file.is_some_and(|file| file.to_lowercase().contains(".jp"));
            let tolerance = if is_jpeg { 2e-2 } else { 2e-5 };
            assert!(
                worst <= tolerance,
                "{name}: picture {index} differs by {worst}"
            );
        }

        let run = ZeroShotRun::new(dataset.name(), "valid", classes, &embeds, true)
            .and_then(|run| run.over(&embedder, dataset.as_ref(), 4, |_| Ok(())))
            .unwrap();
        assert!(run.skipped.is_empty());
        // Top-1 from the stored pictures is checked elsewhere; decoding may
        // move one that is nearly undecided.
        let top1 = run.scores.top(1).unwrap();
        let share = 1.0 / labels.len() as f64 + 1e-9;
        assert!(
            (top1 - case["top1"].as_f64().unwrap()).abs() <= share,
            "{name}"
        );
        let gap = run.gap.expect("measured");
        let wanted = &case["modality_gap"];
        let mean = wanted["all_angle_mean"].as_f64().unwrap();
        assert!((gap.all().mean() - mean).abs() <= 0.05, "{name}");
        let spec = text(&model["spec"]).replace([':', '/'], "_");
        assert_eq!(
            modality_gap_file(&spec),
            text(&case["modality_gap_file"]),
            "{name}"
        );
    }
}

#[test]
fn gaps_from_stored_embeddings() {
    let runs = golden::json(AREA, "zero_shot.json");
    let outputs = tensors("zero_shot.safetensors");
    for case in list(&runs) {
        let name = text(&case["model"]);
        let rows = |part: &str| {
            let tensor = &outputs[&format!("{name}/{part}")];
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let dim = outputs[&format!("{name}/text_embeds")].dim(1).unwrap();
        let mut gap = ModalityGap::new(rows("text_embeds"), dim);
        for (image, label) in rows("image_embeds").chunks(dim).zip(list(&case["labels"])) {
            gap.add(image, label.as_u64().unwrap() as usize).unwrap();
        }
        let wanted = &case["modality_gap"];
        let settings = |key: &str| -> Map<String, Value> {
            wanted[key].as_object().cloned().expect("settings")
        };
        let file = gap.file(settings("cfg_embedder"), settings("cfg_cls"));
        let found: Value = serde_json::from_str(&file).unwrap();
        let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
        let order = [
            "cfg_embedder",
            "cfg_cls",
            "all_angle_mean",
            "all_angle_std",
            "all_angle_histc",
            "angle_mean",
            "angle_std",
            "angle_histc",
            "mean_shift",
        ];
        assert_eq!(keys, order, "{name}");
        for key in ["all_angle_mean", "all_angle_std", "angle_mean", "angle_std"] {
            let difference = found[key].as_f64().unwrap() - wanted[key].as_f64().unwrap();
            assert!(
                difference.abs() <= 1e-3,
                "{name}: {key} differs by {difference}"
            );
        }
        let numbers = |list: &Value| -> Vec<f64> {
            super::list(list)
                .iter()
                .map(|x| x.as_f64().unwrap())
                .collect()
        };
        let shifts = numbers(&found["mean_shift"]).into_iter();
        for (found, wanted) in shifts.zip(numbers(&wanted["mean_shift"])) {
            assert!((found - wanted).abs() <= 1e-5, "{name}");
        }
        for key in ["all_angle_histc", "angle_histc"] {
            assert_eq!(found[key]["bins"], wanted[key]["bins"], "{name}");
            let (found, wanted) = (
                numbers(&found[key]["counts"]),
                numbers(&wanted[key]["counts"]),
            );
            // Angles at the edge of a bin may fall into its neighbour: sums up
            // to any edge differ by few.
            let (mut a, mut b) = (0.0, 0.0);
            assert_eq!(found.len(), wanted.len(), "{name}");
            for (found, wanted) in found.iter().zip(&wanted) {
                (a, b) = (a + found, b + wanted);
                assert!((a - b).abs() <= 1.0, "{name}: {key}");
            }
            assert_eq!(a, b, "{name}");
        }
        // Trainings read the file.
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("gap.json");
        std::fs::write(&place, &file).unwrap();
        let (_, warnings) =
            MeanShift::read(&place, dim, &settings("cfg_embedder")).expect("a mean shift");
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
    }
}

#[test]
fn nouns_with_articles() {
    let runs = golden::json(AREA, "zero_shot.json");
    let outputs = tensors("zero_shot.safetensors");
    let models = golden::json(AREA, "models.json");
    let prompts = [
        ("a photo of {noun}.", true),
        ("the {noun}", false),
        ("my {noun} in a game", false),
    ]
    .map(|(template, article)| ZeroShotPrompt {
        template: template.to_owned(),
        article,
    });
    for case in list(&runs) {
        let name = text(&case["model"]);
        let model = list(&models)
            .iter()
            .find(|model| model["model"] == case["model"])
            .expect("the model");
        let nouns: Vec<String> = (texts(&case["articled_nouns"]).into_iter())
            .map(str::to_owned)
            .collect();
        let with_article = ZeroShotPrompt {
            template: "{noun}".to_owned(),
            article: true,
        };
        let articles: Vec<String> = nouns.iter().map(|noun| with_article.text(noun)).collect();
        assert_eq!(articles, texts(&case["articles"]), "{name}");
        let embedder = open(name, text(&model["spec"]));
        let embeds = class_embeddings(&embedder, &nouns, &prompts, |_| Ok(())).unwrap();
        let wanted = &outputs[&format!("{name}/articled_text_embeds")];
        let worst = worst_difference(&embeds, wanted);
        assert!(worst <= 2e-5, "{name}: differ by {worst}");
    }
}

/// The published numbers of all embedders are consistent in themselves: means
/// lie where histograms say.
#[test]
fn published_gaps() {
    let published = tensors("data/modality_gap.safetensors");
    let mut checked = 0;
    for (key, stats) in &published {
        let Some(spec) = key.strip_suffix("/stats") else {
            continue;
        };
        let stats = stats.to_dtype(candle_core::DType::F64).unwrap();
        let stats = stats.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (histogram, mean) in [("all_angle_histc", stats[0]), ("angle_histc", stats[2])] {
            let counts = published[&format!("{spec}/{histogram}")]
                .to_dtype(candle_core::DType::F64)
                .unwrap();
            let counts = counts.to_vec1::<f64>().unwrap();
            let total: f64 = counts.iter().sum();
            let centre = counts
                .iter()
                .enumerate()
                .map(|(bin, count)| (bin as f64 + 0.5) * 180.0 / counts.len() as f64 * count)
                .sum::<f64>()
                / total;
            assert!((centre - mean).abs() < 0.25, "{spec}: {centre} and {mean}");
        }
        let dim = published[&format!("{spec}/mean_shift")].elem_count();
        let mut file = Map::new();
        let shift = published[&format!("{spec}/mean_shift")]
            .to_dtype(candle_core::DType::F64)
            .unwrap();
        let shift = shift.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        file.insert("mean_shift".to_owned(), shift.into());
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("gap.json");
        std::fs::write(&place, Value::Object(file).to_string()).unwrap();
        MeanShift::read(&place, dim, &Map::new()).unwrap_or_else(|error| panic!("{spec}: {error}"));
        checked += 1;
    }
    assert!(checked > 0);
}
