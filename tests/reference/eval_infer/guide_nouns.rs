//! `guide_targets.json`: guide nouns as tokens.

use novic::decoder::generate::EncodedNouns;

use super::AREA;
use super::models::model;
use crate::golden;

#[test]
fn guide_nouns_have_the_tokens_of_the_original() {
    let cases = golden::json(AREA, "guide_targets.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let note = &case["note"];
        let (tokenizer, config) = model(case["model"].as_str().unwrap());
        let nouns: Vec<String> = serde_json::from_value(case["nouns"].clone()).unwrap();
        let warned = case["warnings"].as_u64().unwrap() > 0;
        let ids: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap_or_default();
        let encoded = match EncodedNouns::new(&config, &tokenizer, &nouns) {
            // Refused where the original fails, or makes an empty table that
            // fails later.
            Err(error) => {
                assert!(ids.is_empty(), "{note}: {error}");
                continue;
            }
            Ok(encoded) => encoded,
        };
        assert_eq!(
            encoded.tokens.len() + encoded.dropped.len(),
            nouns.len(),
            "{note}"
        );
        if !case["error"].is_null() {
            // Too long a noun fails there, known or not, and is left out here.
            assert!(!encoded.dropped.is_empty(), "{note}");
            continue;
        }
        assert_eq!(!encoded.dropped.is_empty(), warned, "{note}");
        let padded: Vec<Vec<u32>> = encoded
            .tokens
            .iter()
            .map(|tokens| {
                let mut row = tokens.clone();
                row.resize(
                    config.token_length,
                    u32::try_from(config.pad_token_id).unwrap(),
                );
                row
            })
            .collect();
        assert_eq!(padded, ids, "{note}");
        assert!(encoded.indices.is_sorted(), "{note}");
    }
}
