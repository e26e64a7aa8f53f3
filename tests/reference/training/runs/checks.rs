//! Comparisons of a replayed run with its record.

use std::collections::HashMap;

use candle_core::Tensor;
use novic::decoder::checkpoint::CheckpointHeader;
use novic::train::{LoopConfig, Optimizer};
use serde_json::Value;

use super::recorder::Recorder;
use super::setup::Run;

/// Relative tolerance of losses and running averages.
const LOSS: f64 = 2e-5;
/// Relative tolerance of gradient norms.
const NORM: f64 = 1e-4;
/// Absolute tolerance of weights.
const WEIGHT: f32 = 1e-5;
/// Relative tolerance of rates.
const RATE: f64 = 1e-9;

/// A number of the reference data.
pub fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        Some("nan") => f64::NAN,
        _ => value
            .as_f64()
            .unwrap_or_else(|| panic!("{value} is no number")),
    }
}

pub fn assert_close(own: f64, expected: f64, relative: f64, what: &str) {
    let allowed = relative * expected.abs().max(1e-3);
    assert!(
        own == expected || (own - expected).abs() <= allowed,
        "{what}: {own} instead of {expected}"
    );
}

pub fn loop_config(run: &Run, own: &LoopConfig) {
    let expected = &run.record["train_loop_config"];
    let lengths = own.lengths;
    for (key, value) in [
        ("save_every_min", own.save_every_min as f64),
        ("save_every_max", own.save_every_max as f64),
        ("save_top1_min", own.save_top1_min),
        ("save_top1_delta", own.save_top1_delta),
        ("gradient_clip", own.gradient_clip),
        ("last_dropout_chunks", own.last_dropout_chunks as f64),
        ("last_dropout_factor", own.last_dropout_factor),
        ("epoch_batches", lengths.epoch_batches as f64),
        ("chunk_batches", lengths.chunk_batches as f64),
        ("chunk_samples", lengths.chunk_samples() as f64),
        ("max_chunks", lengths.max_chunks as f64),
        ("ewa_factor", own.ewa_factor),
        ("ewa_factor_inv", 1.0 - own.ewa_factor),
    ] {
        assert_close(
            value,
            number(&expected[key]),
            1e-12,
            &format!("{}: {key}", run.name),
        );
    }
    let accumulation = &run.record["accum"];
    assert_eq!(accumulation["loader_batches"], lengths.epoch_batches);
    assert_eq!(accumulation["loader_steps"], lengths.epoch_steps());
    assert_eq!(accumulation["loader_samples"], lengths.epoch_samples());
}

pub fn groups(run: &Run, optimizer: &Optimizer) {
    let expected: Vec<(f64, Vec<String>)> = run.record["param_groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let names = serde_json::from_value(group["params"].clone()).unwrap();
            (number(&group["weight_decay"]), names)
        })
        .collect();
    let own: Vec<(f64, Vec<String>)> = optimizer
        .groups()
        .iter()
        .map(|group| {
            let names = group.parameters.iter();
            let names = names.map(|&index| optimizer.names()[index].clone());
            (group.weight_decay, names.collect())
        })
        .collect();
    assert_eq!(own, expected, "{}: parameter groups", run.name);
    let order: Vec<String> = serde_json::from_value(run.record["param_order"].clone()).unwrap();
    assert_eq!(optimizer.names(), order, "{}: parameters", run.name);
}

/// Warnings about settings that differ from the checkpoint's.
pub fn warnings(run: &Run, own: &[String]) {
    let warned: Vec<&str> = run.record["warned_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap())
        .collect();
    let other_optimizer = own.iter().any(|text| text.contains("without its moments"));
    let expected = warned.contains(&"Hydra config optimizer");
    assert_eq!(other_optimizer, expected, "{}: {own:?}", run.name);
    let loop_keys = warned
        .iter()
        .filter_map(|key| key.strip_prefix("Train loop config "));
    // Sizes that follow from others are not named again.
    let derived = ["chunk_samples", "ewa_factor_inv"];
    for key in loop_keys.filter(|key| !derived.contains(key)) {
        // Where losses are random, the replay saves more often.
        let named = own
            .iter()
            .any(|text| text.contains(&format!(": {key} was ")));
        assert!(
            named || (run.has_dropout() && key.starts_with("save_")),
            "{}: no warning about {key}: {own:?}",
            run.name
        );
    }
}

/// Batches with losses, counts, averages, norms and rates.
pub fn batches(run: &Run, recorder: &Recorder) {
    let steps = run.record["steps"].as_array().unwrap();
    assert_eq!(recorder.batches.len(), steps.len(), "{}: batches", run.name);
    let accumulation = run.option("accum_factor").as_f64().unwrap();
    for (step, own) in steps.iter().zip(&recorder.batches) {
        let at = |what: &str| format!("{}, batch {}: {what}", run.name, own.batch);
        assert_eq!(step["batch_id"], own.batch, "{}", at("number"));
        assert_eq!(step["chunk_id"], own.chunk, "{}", at("chunk"));
        assert_eq!(step["epoch_id"], own.epoch, "{}", at("epoch"));
        assert_eq!(step["step"], own.stepped, "{}", at("step"));
        assert_close(own.lr, number(&step["lr"]), RATE, &at("rate"));
        let tokens = step["tokens"].as_u64().unwrap();
        assert_eq!(own.sums.tokens, tokens, "{}", at("tokens"));
        if run.has_dropout() {
            continue;
        }
        assert_eq!(step["correct"], own.sums.correct, "{}", at("correct"));
        let averages = &own.averages;
        for (key, value) in [
            ("loss_sum", own.sums.loss_sum),
            ("loss_basis", own.sums.loss_basis),
            ("scaled_loss", own.sums.loss() / accumulation),
            ("ewa_train_loss_sum", averages.loss_sum),
            ("ewa_train_loss_basis", averages.loss_basis),
            ("ewa_train_loss", averages.loss.unwrap()),
            ("ewa_train_correct", averages.correct),
            ("ewa_train_tokens", averages.tokens),
            ("ewa_train_top1", averages.top1),
            ("ewa_train_top1_max", averages.top1_max),
        ] {
            assert_close(value, number(&step[key]), LOSS, &at(key));
        }
        match step.get("grad_norm") {
            Some(norm) => {
                let own = own.grad_norm.unwrap_or_else(|| panic!("{}", at("no norm")));
                assert_close(own, number(norm), NORM, &at("gradient norm"));
            }
            None => assert_eq!(own.grad_norm, None, "{}", at("gradient norm")),
        }
    }
    let stepped: Vec<u64> = recorder
        .batches
        .iter()
        .filter(|batch| batch.stepped)
        .map(|batch| batch.batch)
        .collect();
    let expected: Vec<u64> = run.record["optimizer_steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["batch_id"].as_u64().unwrap())
        .collect();
    assert_eq!(stepped, expected, "{}: optimizer steps", run.name);
}

/// Records sent to tracking, times aside.
pub fn tracked(run: &Run, recorder: &Recorder) {
    let expected = run.record["tracked"].as_array().unwrap();
    assert_eq!(
        recorder.tracked.len(),
        expected.len(),
        "{}: records",
        run.name
    );
    for (number_of, (own, expected)) in recorder.tracked.iter().zip(expected).enumerate() {
        let expected = expected.as_object().unwrap();
        let names: Vec<&str> = own.iter().map(|(name, _)| *name).collect();
        let expected_names: Vec<&str> = expected.keys().map(String::as_str).collect();
        let at = |name: &str| format!("{}, record {number_of}: {name}", run.name);
        assert_eq!(names, expected_names, "{}", at("names"));
        for (name, value) in own {
            let recorded = &expected[*name];
            let exact = matches!(*name, "epoch" | "chunk" | "batch" | "sample" | "lr");
            if name.ends_with("_time") || (run.has_dropout() && !exact) {
                continue;
            }
            let tolerance = match *name {
                "lr" => RATE,
                // Differences of norms are small against the norms.
                "grad_norm_std" => 50.0 * NORM,
                norm if norm.starts_with("grad_norm") => NORM,
                _ => LOSS,
            };
            match value {
                Some(value) => assert_close(*value, number(recorded), tolerance, &at(name)),
                None => assert!(recorded.is_null(), "{}", at(name)),
            }
        }
    }
}

/// A loop state, times and leftover norms aside.
pub fn state(own: &Value, expected: &Value, random: bool, what: &str) {
    let (own, expected) = (own.as_object().unwrap(), expected.as_object().unwrap());
    let mut names: Vec<&String> = own.keys().collect();
    let mut expected_names: Vec<&String> = expected.keys().collect();
    names.sort();
    expected_names.sort();
    assert_eq!(names, expected_names, "{what}");
    for (name, recorded) in expected {
        let own = &own[name];
        let at = format!("{what}: {name}");
        match recorded {
            _ if name.ends_with("_time") || name == "grad_norms" => {}
            _ if random && (name.contains("ewa_") || name.contains("save")) => {}
            Value::Bool(_) | Value::Null => assert_eq!(own, recorded, "{at}"),
            _ => assert_close(number(own), number(recorded), LOSS, &at),
        }
    }
}

/// Checkpoints: their chunks and the states in them.
pub fn saves(run: &Run, recorder: &Recorder) {
    let expected = run.record["saves"].as_array().unwrap();
    let chunks: Vec<u64> = recorder.saved.iter().map(|(_, chunk)| *chunk).collect();
    let expected_chunks: Vec<u64> = expected.iter().map(saved_chunk).collect();
    if run.has_dropout() {
        assert_eq!(chunks.last(), expected_chunks.last(), "{}", run.name);
        return;
    }
    assert_eq!(chunks, expected_chunks, "{}: saves", run.name);
    for ((path, _), expected) in recorder.saved.iter().zip(expected) {
        let training = CheckpointHeader::load(path).unwrap().training.unwrap();
        let what = format!("{}, {}", run.name, path.display());
        let own = &training["train_loop_state"];
        state(own, &expected["state"], false, &what);
        let slots = |state: &Value| state["grad_norms"].as_array().map(Vec::len);
        let recorded = expected["state"]["grad_norms"].as_array();
        let recorded = recorded.map(|shape| shape[0].as_u64().unwrap() as usize);
        assert_eq!(slots(own), recorded, "{what}: room for norms");
    }
}

/// Finished chunks of a recorded save, by the name of its file.
pub fn saved_chunk(save: &Value) -> u64 {
    let file = save["file"].as_str().unwrap();
    let name = file.rsplit_once("ovod_chunk").unwrap().1;
    name.split_once('_').unwrap().0.parse().unwrap()
}

/// Weights after the recorded optimizer steps and at the end.
pub fn weights(run: &Run, recorder: &Recorder, reference: &HashMap<String, Tensor>) {
    let mut compared = 0;
    for (number, own) in (1..).zip(&recorder.after_step) {
        for (name, tensor) in own {
            if let Some(expected) = reference.get(&format!("after_step_{number}/{name}")) {
                let what = format!("{}: {name} after step {number}", run.name);
                same_weights(name, tensor, expected, &what);
                compared += 1;
            }
        }
    }
    for (name, tensor) in &recorder.parameters {
        let expected = &reference[&format!("final/{name}")];
        let what = format!("{}: {name} at the end", run.name);
        same_weights(name, tensor, expected, &what);
    }
    let recorded = reference.keys().any(|key| key.starts_with("after_step_"));
    assert!(
        !recorded || compared > 0,
        "{}: no weights compared",
        run.name
    );
}

/// Weights that were taken over, not computed.
pub fn equal_weights(own: &Tensor, expected: &Tensor, what: &str) {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    assert!(
        bits(own) == bits(expected),
        "{what}: not taken over exactly"
    );
}

pub fn same_weights(name: &str, own: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(own.dims(), expected.dims(), "{what}");
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (own, expected) = (values(own), values(expected));
    let third = own.len() / 3;
    // The gradient of the key part of this bias is zero up to rounding.
    let free = name.ends_with("self_attn.in_proj_bias");
    for (index, (own, expected)) in own.iter().zip(&expected).enumerate() {
        if free && (third..2 * third).contains(&index) {
            continue;
        }
        let difference = (own - expected).abs();
        assert!(
            difference <= WEIGHT,
            "{what}: element {index} off by {difference:e}"
        );
    }
}
