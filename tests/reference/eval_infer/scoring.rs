//! `scoring.json`: types, counters and ratios of predicted texts.

use std::collections::HashSet;

use novic::evaluate::{NounSets, TopKStatistics};
use serde_json::Value;

use super::AREA;
use crate::golden;

#[test]
fn counters_are_those_of_the_original() {
    let cases = golden::json(AREA, "scoring.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let id = &case["id"];
        let sets = NounSets {
            vocabulary: set(&case["vocab"]),
            guide: set(&case["guide"]),
            classes: case["class_lists"]
                .as_array()
                .map(|lists| lists.iter().map(set).collect())
                .unwrap_or_default(),
        };
        let topk = usize::try_from(case["topk"].as_u64().unwrap()).unwrap();
        let mut statistics = TopKStatistics::new(sets, topk);
        for step in case["steps"].as_array().unwrap() {
            let texts: Vec<Vec<String>> = serde_json::from_value(step["texts"].clone()).unwrap();
            let results: Vec<Vec<u8>> = serde_json::from_value(step["result"].clone()).unwrap();
            for (sample, (texts, expected)) in texts.iter().zip(results).enumerate() {
                let label = step["labels"][sample].as_u64();
                let label = label.map(|label| usize::try_from(label).unwrap());
                let kinds = statistics.add(texts, label).unwrap();
                let kinds: Vec<u8> = kinds.iter().map(|kind| kind.number()).collect();
                assert_eq!(kinds, expected, "{id}");
            }
            assert_eq!(statistics.samples(), step["num_samples"].as_u64().unwrap());
            let ratios = statistics.ratios();
            let check = |key: &str, found: Vec<f32>| {
                let expected: Vec<f64> = serde_json::from_value(step[key].clone()).unwrap();
                let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                assert_eq!(found, expected, "{id}: {key}");
            };
            check("topk", ratios.iter().map(|r| r.correct).collect());
            check("topk_guide", ratios.iter().map(|r| r.guide).collect());
            check("topk_vocab", ratios.iter().map(|r| r.vocabulary).collect());
            check("topk_valid", ratios.iter().map(|r| r.valid).collect());
            check("topk_invalid", ratios.iter().map(|r| r.invalid).collect());
        }
        // The counters of every step are one tensor in the reference: all
        // show the last state.
        let last = &case["steps"].as_array().unwrap()[0]["topk_counts"];
        let counts: Vec<[u64; 4]> = serde_json::from_value(last.clone()).unwrap();
        assert_eq!(statistics.counts(), counts, "{id}");
    }
}

fn set(nouns: &Value) -> HashSet<String> {
    serde_json::from_value(nouns.clone()).unwrap()
}
