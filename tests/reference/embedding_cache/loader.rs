//! `loader.json`: sizes of loaders and of gradient accumulation.

use novic::cache::{Accumulation, LoaderInfo, LoaderMode};
use serde_json::{Value, json};

use super::AREA;
use crate::golden;

#[test]
fn loader_sizes() {
    let data = golden::json(AREA, "loader.json");
    let cases = data["loader_info"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let info = loader_info(case, case["info"]["num_workers"].as_u64().unwrap());
        assert_eq!(describe(&info), case["info"], "{case}");
        assert_eq!(info.epoch_batches, case["items"].as_u64().unwrap());
    }
}

#[test]
fn accumulation_steps() {
    let data = golden::json(AREA, "loader.json");
    let cases = data["grad_accum"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let info = loader_info(case, 0);
        let accum_size = usize::try_from(case["accum_size"].as_u64().unwrap()).unwrap();
        let drop_last = case["drop_last"].as_bool().unwrap();
        let accumulation = Accumulation::new(&info, accum_size, drop_last).unwrap();
        let fields = json!({
            "accum_batch_size": accumulation.accum_batch_size,
            "batch_size": accumulation.batch_size,
            "complete_batches": accumulation.complete_batches,
            "complete_samples": accumulation.complete_samples,
            "complete_steps": accumulation.complete_steps,
            "incomplete_batches": accumulation.incomplete_batches,
            "incomplete_samples": accumulation.incomplete_samples,
            "incomplete_step": accumulation.incomplete_step,
            "loader_batches": accumulation.loader_batches,
            "loader_samples": accumulation.loader_samples,
            "loader_steps": accumulation.loader_steps,
        });
        assert_eq!(fields, case["fields"], "{case}");

        let steps = case["steps"].as_array().unwrap();
        for (index, expected) in steps.iter().enumerate() {
            let step = accumulation.step(index as u64).unwrap();
            assert_eq!(step.samples as u64, expected[0].as_u64().unwrap(), "{case}");
            let scale = expected[1].as_f64().unwrap();
            assert!((step.loss_scale - scale).abs() <= 1e-12, "{case}");
            assert_eq!(
                step.optimizer_step,
                expected[2].as_bool().unwrap(),
                "{case}"
            );
        }
        assert_eq!(accumulation.step(steps.len() as u64), None, "{case}");
        let trainable = Accumulation::for_training(&info, accum_size);
        if drop_last {
            assert_eq!(trainable.is_ok(), !steps.is_empty(), "{case}");
        }
    }
}

fn loader_info(case: &Value, workers: u64) -> LoaderInfo {
    LoaderInfo::new(
        case["num_embeds"].as_u64().unwrap(),
        usize::try_from(case["batch_size"].as_u64().unwrap()).unwrap(),
        mode(case),
        usize::try_from(workers).unwrap(),
    )
    .unwrap()
}

/// What a case is for.
pub fn mode(case: &Value) -> LoaderMode {
    if case["training"].as_bool().unwrap() {
        LoaderMode::Training
    } else {
        LoaderMode::Evaluation
    }
}

/// The fields the original reports. Batches lie on the host here, so nothing
/// is pinned.
pub fn describe(info: &LoaderInfo) -> Value {
    json!({
        "num_workers": info.num_workers,
        "prefetch_factor": info.prefetch_factor,
        "pin_memory": false,
        "on_device": true,
        "batch_size": info.batch_size,
        "batch_size_last": info.batch_size_last,
        "complete_batches": info.complete_batches,
        "incomplete_batch": info.incomplete_batch,
        "epoch_batches": info.epoch_batches,
        "epoch_samples": info.epoch_samples,
        "available_samples": info.available_samples,
    })
}
