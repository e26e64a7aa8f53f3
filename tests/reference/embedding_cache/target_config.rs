//! `target_config.json`: target configurations and tokenized nouns.

use std::collections::HashMap;

use novic::cache::{CacheError, TargetConfig};
use serde_json::Value;

use super::AREA;
use super::fixtures::{KnownTexts, constants, options, target_config};
use crate::golden;

#[test]
fn configurations_and_tokens() {
    let cases = golden::json(AREA, "target_config.json");
    let cases = cases.as_array().unwrap();
    let tensors = golden::tensors(AREA, "target_config.safetensors");
    assert!(!cases.is_empty());
    let tokenizers = tokenizers(cases, &tensors);
    for case in cases {
        check(case, &tensors, &tokenizers[&case["tokenizer"].to_string()]);
    }
}

/// The tokenizers of all cases. A case that fails comes without the tokens
/// that make it fail; another case of the same tokenizer has them.
fn tokenizers(cases: &[Value], tensors: &golden::Tensors) -> HashMap<String, KnownTexts> {
    let mut tokenizers = HashMap::new();
    for case in cases {
        let tokenizer = tokenizers
            .entry(case["tokenizer"].to_string())
            .or_insert_with(|| KnownTexts {
                constants: constants(&case["tokenizer"]),
                sequences: HashMap::new(),
            });
        for (key, prefix) in [("nouns", ""), ("foreign_nouns", "foreign_")] {
            let Some(raw) = tensors.find(&format!("{}/{prefix}raw_ids", case["id"])) else {
                continue;
            };
            for (noun, ids) in texts(&case[key])
                .iter()
                .zip(raw.integers().chunks(raw.shape[1]))
            {
                // The end token may double as padding.
                let end = ids.iter().position(|&id| id == tokenizer.constants.end_id);
                let sequence = ids[..=end.unwrap()].to_vec();
                tokenizer.sequences.insert(noun.clone(), sequence);
            }
        }
    }
    tokenizers
}

fn check(case: &Value, tensors: &golden::Tensors, tokenizer: &KnownTexts) {
    let id = &case["id"];
    let tensor = |name: &str| tensors.find(&format!("{id}/{name}"));
    let nouns = texts(&case["nouns"]);
    let foreign = texts(&case["foreign_nouns"]);
    let expected = target_config(&case["config"]).unwrap();
    let config = TargetConfig::build(tokenizer, &nouns, &options(&case["options"])).unwrap();
    assert_eq!(config, expected, "{id}");
    assert_eq!(
        serde_json::to_value(&config).unwrap(),
        case["config"],
        "{id}"
    );
    assert_eq!(
        config.hash().to_string(),
        case["hash"].as_str().unwrap(),
        "{id}"
    );

    for (nouns, prefix, outcome) in [
        (&nouns, "", &case["tokenize"]),
        (&foreign, "foreign_", &case["tokenize_foreign"]),
    ] {
        let rows = config.tokenize(tokenizer, nouns);
        let ids = tensor(&format!("{prefix}ids")).map(|ids| (ids.integers(), ids.shape[1]));
        if outcome != "ok" {
            assert!(rows.is_err(), "{id} {prefix}");
            continue;
        }
        let (ids, columns) = ids.unwrap();
        // The original passes unknown tokens on as −1; that is an error here,
        // which names the noun.
        if let Some(at) = ids.iter().position(|&token| token < 0) {
            let unknown = &nouns[at / columns];
            let error = rows.unwrap_err();
            assert!(
                matches!(&error, CacheError::UnknownToken { noun, .. } if noun == unknown),
                "{id} {prefix}: {error}"
            );
            continue;
        }
        let rows = rows.unwrap();
        assert_eq!(rows.columns, columns, "{id} {prefix}");
        assert_eq!(rows.ids, ids, "{id} {prefix}");
        match tensor(&format!("{prefix}mask")) {
            Some(mask) => {
                let padding: Vec<i64> = rows.padding.iter().map(|&pad| i64::from(pad)).collect();
                assert_eq!(padding, mask.integers(), "{id} {prefix}");
            }
            // Masks of foreign nouns are not part of the data.
            None => assert!(!config.use_masks || prefix == "foreign_", "{id}"),
        }
        for (noun, row) in nouns.iter().zip(rows.ids.chunks(columns)) {
            assert_eq!(&config.detokenize(tokenizer, row).unwrap(), noun, "{id}");
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}
