//! `dud.json`: the cheating decoder.

use novic::cache::batch::{TargetBatch, TargetLayout};
use novic::decoder::generate::GenerationConfig;
use novic::decoder::{Dimensions, DudDecoder};
use serde_json::Value;

use super::models::{list, size, text};
use super::tensors::{assert_absolute, number};
use crate::golden;

fn flatten(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flatten).collect(),
        other => vec![number(other)],
    }
}

fn shape(value: &Value) -> Vec<usize> {
    match value {
        Value::Array(values) => [vec![values.len()], shape(&values[0])].concat(),
        _ => Vec::new(),
    }
}

#[test]
fn predictions_and_accuracy() {
    let mut cases = 0;
    for case in list(&golden::json("decoder", "dud.json")) {
        if case["target"].is_null() {
            continue;
        }
        let (layout, samples, columns) =
            match (case["multi"].as_str(), shape(&case["target"]).as_slice()) {
                (Some("MBC"), &[targets, samples, columns]) => {
                    (TargetLayout::MultiFirst { targets }, samples, columns)
                }
                (_, &[samples, targets, columns]) => {
                    (TargetLayout::Multi { targets }, samples, columns)
                }
                (_, &[samples, columns]) => (TargetLayout::Single, samples, columns),
                (_, other) => panic!("targets of shape {other:?}"),
            };
        let mask =
            |name: &str| -> Vec<bool> { flatten(&case[name]).iter().map(|&v| v != 0.0).collect() };
        let batch = TargetBatch {
            layout,
            columns,
            ids: flatten(&case["target"]).iter().map(|&v| v as u32).collect(),
            padding: (!case["padding"].is_null()).then(|| mask("padding")),
            weights: (!case["weight"].is_null())
                .then(|| flatten(&case["weight"]).iter().map(|&v| v as f32).collect()),
        };
        let vocab_size = 1 + *batch.ids.iter().max().unwrap() as usize;
        let dimensions = Dimensions {
            embed_dim: 1,
            vocab_size,
            token_length: columns,
        };
        let found = DudDecoder::new(dimensions, None)
            .predict(&batch, samples, size(&case["num_end_loss"]))
            .unwrap();
        let expected: Vec<u32> = flatten(&case["prediction"])
            .iter()
            .map(|&v| v as u32)
            .collect();
        assert_eq!(found.ids, expected, "{}", case["id"]);
        assert_eq!(found.padding, mask("out_padding"), "{}", case["id"]);
        assert_eq!(found.correct, mask("correct"), "{}", case["id"]);
        cases += 1;
    }
    assert!(cases > 0);
}

#[test]
fn the_generated_noun() {
    let file = golden::json("decoder", "dud.json");
    let case = list(&file)
        .iter()
        .find(|case| text(&case["id"]) == "generate")
        .unwrap();
    let dimensions = Dimensions {
        embed_dim: 1,
        vocab_size: size(&case["vocab_size"]),
        token_length: 2,
    };
    let dud = DudDecoder::new(dimensions, None);
    // The reference ran greedy decoding at temperature 2, which its file does
    // not say.
    let config: GenerationConfig = "greedy_k1_t2".parse().unwrap();
    for score in list(&case["greedy"]["score"]) {
        assert_absolute(dud.generate(&config).score, number(score), 1e-5, "greedy");
    }
    for method in ["beam", "all"] {
        let config: GenerationConfig = format!("{method}_k3_gp").parse().unwrap();
        for sample in 0..list(&case[method]["score"]).len() {
            let scores = flatten(&case[method]["score"][sample]);
            let finite: Vec<f64> = scores
                .into_iter()
                .filter(|score| score.is_finite())
                .collect();
            assert_eq!(finite, [dud.generate(&config).score], "{method}");
            let tokens = flatten(&case[method]["target"][sample][0]);
            let padding = flatten(&case[method]["padding"][sample][0]);
            let used: Vec<u32> = tokens
                .iter()
                .zip(padding)
                .filter(|&(_, p)| p == 0.0)
                .map(|(&t, _)| t as u32)
                .collect();
            assert_eq!(dud.generate(&config).tokens, used, "{method}");
        }
    }
}
