//! Zero-shot accuracy from the stored embeddings of the area `embedders`.

use candle_core::{Device, Tensor};
use novic::evaluate::{ClassEmbeddings, ZeroShot, zero_shot_line};

use crate::golden;

#[test]
fn accuracy_and_line_are_those_of_the_original() {
    let runs = golden::json("embedders", "zero_shot.json");
    let runs = runs.as_array().unwrap();
    let tensors = golden::tensors("embedders", "zero_shot.safetensors");
    assert!(!runs.is_empty());
    for run in runs {
        let model = run["model"].as_str().unwrap();
        let matrix = |name: &str| {
            let tensor = tensors.get(&format!("{model}/{name}"));
            Tensor::from_vec(tensor.f32s(), &tensor.shape[..], &Device::Cpu).unwrap()
        };
        let labels: Vec<usize> = serde_json::from_value(run["labels"].clone()).unwrap();
        let mut zero_shot = ZeroShot::new(&matrix("text_embeds")).unwrap();
        let predicted = zero_shot.add(&matrix("image_embeds"), &labels).unwrap();
        let correct = predicted
            .iter()
            .zip(&labels)
            .filter(|(a, b)| a == b)
            .count();
        assert_eq!(zero_shot.hits(1), correct as u64, "{model}");
        let top1 = zero_shot.top(1).unwrap();
        assert!(
            (top1 - run["top1"].as_f64().unwrap()).abs() < 1e-6,
            "{model}"
        );
        let dataset = run["dataset"].as_str().unwrap();
        let line = run["result_line"][0].as_str().unwrap();
        // The original always works on this split unless told otherwise.
        let found = zero_shot_line(dataset, "valid", zero_shot.samples(), top1);
        assert_eq!(found, line);
    }
}

#[test]
fn one_prompt_per_class_is_its_own_mean() {
    let runs = golden::json("embedders", "zero_shot.json");
    let tensors = golden::tensors("embedders", "zero_shot.safetensors");
    for run in runs.as_array().unwrap() {
        let embeds = tensors.get(&format!("{}/text_embeds", run["model"].as_str().unwrap()));
        let (classes, dim) = (embeds.shape[0], embeds.shape[1]);
        let mut means = ClassEmbeddings::new(classes, dim);
        for (class, embed) in embeds.f32s().chunks(dim).enumerate() {
            means.add(class, embed).unwrap();
            means.add(class, embed).unwrap();
        }
        let means = means.finish(&Device::Cpu).unwrap();
        let means = means.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (mean, value) in means.into_iter().zip(embeds.f32s()) {
            assert!((mean - value).abs() <= 1e-6);
        }
    }
}
