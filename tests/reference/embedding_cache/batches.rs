//! `batches.json`: batches of every kind.

use novic::cache::batch::TargetLayout;
use novic::cache::{DataConfig, DataRequest, LoaderInfo, Translation};
use serde_json::Value;

use super::AREA;
use super::fixtures::{GoldenCache, floats, target_config};
use super::loader::{describe, mode};
use crate::golden;

#[test]
fn batches_have_the_shape_and_content_of_the_original() {
    let cases = golden::json(AREA, "batches.json");
    let cases = cases.as_array().unwrap();
    let tensors = golden::tensors(AREA, "batches.safetensors");
    assert!(!cases.is_empty());
    for case in cases {
        check(case, &tensors);
    }
}

fn check(case: &Value, tensors: &golden::Tensors) {
    let id = case["id"].as_str().unwrap();
    let golden_cache = GoldenCache::named(case["cache"].as_str().unwrap());
    let file = golden_cache.open(case["use_targets"].as_bool()).unwrap();
    let use_targets = file.nouns().is_some();
    let (nominal, strict) = file.nominal();
    let request: DataRequest = serde_json::from_value(case["requested"].clone()).unwrap();
    let data = DataConfig::resolve(&nominal, &strict, &request, use_targets).unwrap();
    let expected: DataConfig = serde_json::from_value(case["resolved"].clone()).unwrap();
    assert_eq!(data, expected, "{id}");

    let batch_size = usize::try_from(case["batch_size"].as_u64().unwrap()).unwrap();
    let workers = case["loader_info"]["num_workers"].as_u64().unwrap();
    let workers = usize::try_from(workers).unwrap();
    let info = LoaderInfo::new(file.samples(), batch_size, mode(case), workers).unwrap();
    assert_eq!(describe(&info), case["loader_info"], "{id}");

    let config = target_config(&case["target_config"]);
    let translation = target_config(&case["translation"])
        .map(|model| Translation::new(config.as_ref().unwrap(), &model).unwrap());
    if let Some(config) = &config {
        data.check(&nominal, use_targets, config.use_masks).unwrap();
    }
    let cache = file.enter(config.as_ref(), translation.as_ref()).unwrap();
    let embeds = floats(golden_cache.records().get("embeds")).into_f32();

    let offset = case["epoch_index_offset"].as_u64().unwrap();
    for item in case["batches"].as_array().unwrap() {
        let number = item["item"].as_u64().unwrap();
        let runs = info.rows(number, offset);
        let rows: Vec<u64> = runs.clone().into_iter().flatten().collect();
        let expected: Vec<u64> = serde_json::from_value(item["rows"].clone()).unwrap();
        assert_eq!(rows, expected, "{id}/{number}");

        let batch = cache.batch(&runs, &data).unwrap();
        let shape: Vec<usize> = serde_json::from_value(item["embed_shape"].clone()).unwrap();
        assert_eq!(vec![batch.samples, batch.dim], shape, "{id}/{number}");
        let expected: Vec<f32> = rows
            .iter()
            .flat_map(|&row| &embeds[row as usize * batch.dim..][..batch.dim])
            .copied()
            .collect();
        assert_eq!(batch.embeds, expected, "{id}/{number}");

        let Some(targets) = batch.targets else {
            assert!(item["target_shape"].is_null(), "{id}/{number}");
            continue;
        };
        let shape: Vec<usize> = serde_json::from_value(item["target_shape"].clone()).unwrap();
        let found = match targets.layout {
            TargetLayout::Single => vec![batch.samples, targets.columns],
            TargetLayout::Multi { targets: multi } => {
                vec![batch.samples, multi, targets.columns]
            }
            TargetLayout::MultiFirst { targets: multi } => {
                vec![multi, batch.samples, targets.columns]
            }
        };
        assert_eq!(found, shape, "{id}/{number}");
        let ids: Vec<i64> = targets.ids.iter().map(|&id| i64::from(id)).collect();
        let tensor = |name: &str| tensors.find(&format!("{id}/{number}/{name}"));
        assert_eq!(ids, tensor("target").unwrap().integers(), "{id}/{number}");

        assert_eq!(targets.padding.is_some(), item["has_mask"] == true, "{id}");
        let padding = targets
            .padding
            .map(|padding| padding.into_iter().map(i64::from).collect());
        assert_eq!(
            padding,
            tensor("mask").map(|mask| mask.integers()),
            "{id}/{number}"
        );

        assert_eq!(
            targets.weights.is_some(),
            item["has_weight"] == true,
            "{id}"
        );
        if let Some(weights) = targets.weights {
            let expected = floats(tensor("weight").unwrap()).into_f32();
            assert_eq!(weights.len(), expected.len(), "{id}/{number}");
            for (weight, expected) in weights.into_iter().zip(expected) {
                assert!((weight - expected).abs() <= 2e-7, "{id}/{number}");
            }
        }
    }
}
