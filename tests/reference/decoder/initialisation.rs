//! `init.json`: distributions of fresh weights and hidden sizes.

use novic::config::schema::{Config, MlpHidden, key_by_flat_name};
use novic::decoder::init::Distribution;
use novic::decoder::{Decoder, Dimensions, mlp_hidden_size};

use super::models::{list, model_config, size, text};
use super::tensors::{assert_relative, number};
use crate::golden;

#[test]
fn fresh_weights_have_the_expected_distribution() {
    for case in list(&golden::json("decoder", "init.json")["cases"]) {
        let id = size(&case["id"]);
        let config = model_config(case["override"].as_object().unwrap());
        let dimensions = Dimensions {
            embed_dim: size(&case["embed_dim"]),
            vocab_size: size(&case["vocab_size"]),
            token_length: size(&case["token_length"]),
        };
        let decoder = Decoder::new(&config, dimensions, 1 + id as u64).unwrap();
        let architecture = decoder.architecture();
        let hidden = architecture.mlp.map(|mlp| mlp.size as u64);
        assert_eq!(hidden, case["mlp_hidden_size"].as_u64(), "case {id}");
        let expected = case["params"].as_object().unwrap();
        let specs = &decoder.layout().parameters;
        assert_eq!(specs.len(), expected.len(), "case {id}");
        for (spec, var) in specs.iter().zip(decoder.parameters()) {
            let what = format!("case {id}: {}", spec.name);
            let entry = expected
                .get(&spec.name)
                .unwrap_or_else(|| panic!("{what} is not expected"));
            let shape: Vec<usize> = list(&entry["shape"]).iter().map(size).collect();
            assert_eq!(spec.shape, shape, "{what}");
            if !shape.is_empty() {
                assert_eq!(spec.used_rows, size(&entry["used_rows"]), "{what}");
            }
            let kind = text(&entry["expected"][0]);
            let value = number(&entry["expected"][1]);
            let (found_kind, found) = match Distribution::of(spec.role, architecture, &config.init)
            {
                Distribution::Constant(c) => ("constant", c),
                Distribution::Normal(std) => ("normal", std),
                Distribution::Uniform(bound) => ("uniform", bound),
            };
            assert_eq!(found_kind, kind, "{what}");
            assert_relative(found, value, 1e-6, &what);

            let values = var
                .as_tensor()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            let (used, unused) = values.split_at(spec.used_elements());
            assert!(unused.iter().all(|&v| v == 0.0), "{what}");
            let n = used.len() as f64;
            let rms = (used.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n).sqrt();
            let tolerance = 6.0 / (2.0 * n).sqrt();
            match kind {
                "constant" => {
                    let exact = |&v: &f32| (f64::from(v) - value).abs() <= 1e-6;
                    assert!(used.iter().all(exact), "{what}");
                }
                "normal" => assert_relative(rms, value, tolerance, &what),
                _ => {
                    let bound = value as f32;
                    assert!(used.iter().all(|v| v.abs() <= bound), "{what}");
                    assert_relative(rms, value / 3f64.sqrt(), tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn layers_start_with_different_weights() {
    for case in list(&golden::json("decoder", "init.json")["cases"]) {
        let config = model_config(case["override"].as_object().unwrap());
        let dimensions = Dimensions {
            embed_dim: 24,
            vocab_size: 30,
            token_length: 4,
        };
        let decoder = Decoder::new(&config, dimensions, 1).unwrap();
        let weights: Vec<Vec<f32>> = decoder
            .named_parameters()
            .into_iter()
            .filter(|(name, _)| name.ends_with("in_proj_weight"))
            .map(|(_, var)| var.as_tensor().flatten_all().unwrap().to_vec1().unwrap())
            .collect();
        for pair in weights.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }
}

#[test]
fn hidden_sizes() {
    for case in list(&golden::json("decoder", "init.json")["mlp_hidden_sizes"]) {
        let mut config = Config::default();
        let key = key_by_flat_name("mlp_hidden_layer").unwrap();
        config.set(key.path, &case["hidden_layer"]).unwrap();
        let mode: MlpHidden = config.model.mlp.hidden;
        let output = size(&case["mlp_seq_len"]) * size(&case["hidden_dim"]);
        let found = mlp_hidden_size(mode, size(&case["embed_dim"]), output);
        if case["hidden_size"] == "error" {
            assert!(found.is_err(), "{case}");
        } else {
            assert_eq!(
                found.unwrap().map(|h| h as u64),
                case["hidden_size"].as_u64(),
                "{case}"
            );
        }
    }
}
