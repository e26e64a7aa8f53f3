//! `models.json` and `masks.json`: names, shapes, counts, strict loading, the
//! attention mask and effective padding.

use novic::cache::batch::{TargetBatch, TargetLayout};
use novic::config::schema::Model;
use novic::decoder::{Architecture, DecoderError, Dimensions, Targets};
use serde_json::Value;

use super::models::{self, list, size, text, texts};
use super::tensors::TensorFile;
use crate::golden;

#[test]
fn names_shapes_and_counts() {
    for model in models::load() {
        let (name, decoder) = (&model.name, &model.decoder);
        let state = decoder.state_dict().unwrap();
        let expected = list(&model.entry["state_dict"]);
        assert_eq!(state.len(), expected.len(), "{name}");
        for ((found, tensor), expected) in state.iter().zip(expected) {
            assert_eq!(found, text(&expected[0]), "{name}");
            let shape: Vec<usize> = list(&expected[1]).iter().map(size).collect();
            assert_eq!(tensor.dims(), shape, "{name}: {found}");
            assert_eq!(text(&expected[2]), "torch.float32");
        }
        let parameters: Vec<String> = decoder
            .layout()
            .parameters
            .iter()
            .map(|spec| spec.name.clone())
            .collect();
        assert_eq!(parameters, texts(&model.entry["parameters"]), "{name}");

        let mut counts: Vec<_> = decoder
            .layout()
            .counts()
            .into_iter()
            .map(|(part, count)| (part.name(), count))
            .collect();
        counts.push(("Total", decoder.layout().total_count()));
        let expected = model.entry["param_counts"].as_object().unwrap();
        assert_eq!(counts.len(), expected.len());
        for (part, count) in counts {
            let found = [
                count.total,
                count.used,
                count.unused,
                count.trained,
                count.frozen,
            ];
            let fields = ["total", "used", "unused", "trained", "frozen"];
            assert_eq!(
                found,
                fields.map(|field| size(&expected[part][field])),
                "{name}: {part}"
            );
        }

        let (dims, architecture) = (&model.entry["dims"], decoder.architecture());
        let mlp = architecture.mlp.map(|mlp| mlp.size as u64);
        assert_eq!(architecture.stored_vocab, size(&dims["vocab_size_quant"]));
        assert_eq!(architecture.max_sequence(), size(&dims["max_seq_len"]));
        assert_eq!(architecture.feedforward_dim, size(&dims["feedfwd_dim"]));
        assert_eq!(mlp, dims["mlp_hidden_size"].as_u64());
    }
}

#[test]
fn state_dictionaries_round_trip_and_load_strictly() {
    for model in models::load() {
        let file = TensorFile::open(&format!("models/{}.safetensors", model.name));
        for (name, tensor) in model.decoder.state_dict().unwrap() {
            let found = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(found, file.require(&name).f32(), "{}: {name}", model.name);
        }
        let fresh = models::untrained(&model.entry);
        let complete = models::state_dict(&file);
        for name in complete.keys() {
            let mut lacking = complete.clone();
            lacking.remove(name);
            let error = fresh.load_state_dict(&lacking).unwrap_err();
            assert!(matches!(error, DecoderError::MissingWeight { name: n } if n == *name));
            let mut renamed = complete.clone();
            renamed.insert(format!("{name}.more"), complete[name].clone());
            let error = fresh.load_state_dict(&renamed).unwrap_err();
            assert!(matches!(error, DecoderError::UnexpectedWeight { .. }));
            let mut flat = complete.clone();
            let bigger = complete[name].unsqueeze(0).unwrap();
            flat.insert(name.clone(), bigger);
            let error = fresh.load_state_dict(&flat).unwrap_err();
            assert!(matches!(error, DecoderError::WeightShape { .. }), "{error}");
        }
        let architecture = model.decoder.architecture();
        if architecture.stored_vocab > architecture.dimensions.vocab_size {
            let mut dirty = complete.clone();
            let name = "logits_linear.weight";
            dirty.insert(name.into(), complete[name].ones_like().unwrap());
            let error = fresh.load_state_dict(&dirty).unwrap_err();
            assert!(matches!(error, DecoderError::UnusedRows { .. }), "{error}");
        }
    }
}

#[test]
fn attention_mask_and_effective_padding() {
    let masks = golden::json("decoder", "masks.json");
    for case in list(&masks) {
        let columns = size(&case["C"]);
        let config = Model {
            prefix_len: size(&case["P"]),
            strictly_causal: case["strictly_causal"].as_bool().unwrap(),
            ..Model::default()
        };
        let dimensions = Dimensions {
            embed_dim: 8,
            vocab_size: 8,
            token_length: columns.max(2),
        };
        let architecture = Architecture::new(&config, dimensions).unwrap();
        for (i, row) in list(&case["attend"]).iter().enumerate() {
            for (j, attends) in list(row).iter().enumerate() {
                assert_eq!(
                    u64::from(architecture.attends(i, j)),
                    attends.as_u64().unwrap(),
                    "{case}"
                );
            }
        }
        let valid: Vec<usize> = list(&case["valid"]).iter().map(size).collect();
        let batch = TargetBatch {
            layout: TargetLayout::Single,
            columns,
            ids: vec![0; valid.len() * columns],
            padding: Some(
                valid
                    .iter()
                    .flat_map(|&valid| (0..columns).map(move |t| t >= valid))
                    .collect(),
            ),
            weights: None,
        };
        let num_end_loss = size(&case["num_end_loss"]);
        let targets = Targets::new(&batch, valid.len(), dimensions, num_end_loss).unwrap();
        let expected: Vec<bool> = list(&case["out_padding"])
            .iter()
            .flat_map(|row| list(row).iter().map(|v: &Value| v.as_u64() == Some(1)))
            .collect();
        assert_eq!(targets.padding, expected, "{case}");
    }
}
