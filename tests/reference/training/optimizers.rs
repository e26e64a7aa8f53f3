//! `optimizers.json`: parameters and moments after recorded gradients
//! (`training.md` 2.4), on the host and on a device.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use novic::ops::tape::Buffer;
use novic::train::{Gradient, GradientSums, Optimizer, OptimizerKind, OptimizerSettings};
use serde_json::Value;

use super::expression::evaluate;
use crate::{device, golden};

const TOLERANCE: f32 = 2e-6;

#[test]
fn parameters_and_moments_follow_the_recorded_gradients() {
    check_all(&Device::Cpu, |gradient| {
        Gradient::Host(Buffer::of(gradient).unwrap())
    });
}

#[test]
fn parameters_and_moments_on_a_device_follow_them() {
    let device = device::device();
    check_all(&device, |gradient| {
        Gradient::Device(gradient.to_device(&device).unwrap())
    });
}

fn check_all(device: &Device, gradient_of: impl Fn(&Tensor) -> Gradient) {
    let cases = golden::json("training", "optimizers.json");
    let path = golden::area("training").join("optimizers.safetensors");
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        check(case, &tensors, device, &gradient_of);
    }
}

fn check(
    case: &Value,
    tensors: &HashMap<String, Tensor>,
    device: &Device,
    gradient_of: impl Fn(&Tensor) -> Gradient,
) {
    let name = case["case"].as_str().unwrap();
    let steps = case["steps"].as_u64().unwrap();
    let formula = case["lr"].as_str().unwrap();
    let formula = formula.split(" for ").next().unwrap();
    let rate = |step: u64| {
        let names = HashMap::from([("t", step as f64), ("steps", steps as f64)]);
        evaluate(formula, &names)
    };
    let groups = case["groups"].as_array().unwrap();
    let last = groups[0]["lr"].as_f64().unwrap();
    assert!((rate(steps) - last).abs() < 1e-12, "{name}: rate formula");

    let prefix = format!("{name}/init/");
    let mut names: Vec<String> = groups
        .iter()
        .flat_map(|group| group["params"].as_array().unwrap())
        .map(|name| name.as_str().unwrap().to_string())
        .collect();
    let stored = tensors.keys().filter(|key| key.starts_with(&prefix));
    assert_eq!(stored.count(), names.len(), "{name}: parameters");
    // Another order than the groups': they must come out by dimension.
    names.reverse();
    let parameters: Vec<(String, Tensor)> = names
        .iter()
        .map(|parameter| {
            let init = &tensors[&format!("{prefix}{parameter}")];
            let copy = init.copy().unwrap().to_device(device).unwrap();
            (parameter.clone(), copy)
        })
        .collect();
    let mut optimizer = Optimizer::new(parameters, settings(groups)).unwrap();
    let expected_groups: Vec<(f64, Vec<&str>)> = groups
        .iter()
        .map(|group| {
            let mut names: Vec<&str> = group["params"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap())
                .collect();
            names.reverse();
            (group["weight_decay"].as_f64().unwrap(), names)
        })
        .collect();
    let own_groups: Vec<(f64, Vec<&str>)> = optimizer
        .groups()
        .iter()
        .map(|group| {
            let names = group.parameters.iter().map(|index| &*names[*index]);
            (group.weight_decay, names.collect())
        })
        .collect();
    assert_eq!(own_groups, expected_groups, "{name}: groups");

    let mut compared = 0;
    for step in 1..=steps {
        let recorded = names
            .iter()
            .map(|parameter| &tensors[&format!("{name}/grad/{step}/{parameter}")])
            .map(|gradient| Some(gradient_of(gradient)));
        let mut gradients = GradientSums::new(names.len());
        gradients.add(recorded.collect()).unwrap();
        optimizer.step(&gradients, 1.0, rate(step)).unwrap();
        for (parameter, var) in names.iter().zip(optimizer.parameters()) {
            if let Some(expected) = tensors.get(&format!("{name}/after/{step}/{parameter}")) {
                let what = format!("{name}: {parameter} after {step}");
                assert_close(var, expected, &what);
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "{name}: nothing compared");
    for (parameter, moments) in names.iter().zip(optimizer.moments()) {
        assert_eq!(moments.steps, steps);
        for (kind, own) in [
            ("exp_avg", &moments.exp_avg),
            ("exp_avg_sq", &moments.exp_avg_sq),
        ] {
            let expected = &tensors[&format!("{name}/{kind}/{parameter}")];
            assert_close(own, expected, &format!("{name}: {kind} of {parameter}"));
        }
    }
}

/// Hyper-parameters from the groups of a case.
fn settings(groups: &[Value]) -> OptimizerSettings {
    let group = &groups[groups.len() - 1];
    let adamp = group["nesterov"].as_bool();
    OptimizerSettings {
        kind: match adamp {
            Some(nesterov) => OptimizerKind::AdamP { nesterov },
            None => OptimizerKind::AdamW,
        },
        beta1: group["betas"][0].as_f64().unwrap(),
        beta2: group["betas"][1].as_f64().unwrap(),
        weight_decay: group["weight_decay"].as_f64().unwrap(),
        decay_1d: groups.len() == 1,
    }
}

fn assert_close(own: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(own.dims(), expected.dims(), "{what}");
    let own = &own.to_device(&Device::Cpu).unwrap();
    let difference = (own - expected)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    assert!(difference <= TOLERANCE, "{what}: off by {difference:e}");
}
