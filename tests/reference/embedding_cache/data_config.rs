//! `data_config.json`: resolving and applying data configurations.

use novic::cache::{DataConfig, DataRequest, StrictFields};
use serde_json::Value;

use super::AREA;
use crate::golden;

#[test]
fn requests_resolve() {
    let data = golden::json(AREA, "data_config.json");
    let cases = data["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let nominal = &data["nominals"][case["nominal"].as_str().unwrap()];
        let strict = strict_fields(&nominal["strict"]);
        let nominal: DataConfig = serde_json::from_value(nominal["config"].clone()).unwrap();
        let request: DataRequest = serde_json::from_value(case["requested"].clone()).unwrap();
        let use_targets = case["use_targets"].as_bool().unwrap();
        let use_masks = case["use_masks"].as_bool().unwrap();
        let resolved = DataConfig::resolve(&nominal, &strict, &request, use_targets);
        if case["resolved"] == "error" {
            assert!(resolved.is_err(), "{case}");
            continue;
        }
        let expected: DataConfig = serde_json::from_value(case["resolved"].clone()).unwrap();
        let resolved = resolved.unwrap();
        assert_eq!(resolved, expected, "{case}");
        let applied = resolved.check(&nominal, use_targets, use_masks);
        assert_eq!(applied.is_ok(), case["configure"] == "ok", "{case}");
    }
}

fn strict_fields(names: &Value) -> StrictFields {
    let mut strict = StrictFields::default();
    for name in names.as_array().unwrap() {
        match name.as_str().unwrap() {
            "use_weights" => strict.use_weights = true,
            "unit_weights" => strict.unit_weights = true,
            "multi_target" => strict.multi_target = true,
            "multi_first" => strict.multi_first = true,
            "full_targets" => strict.full_targets = true,
            "fixed_multi_length" => strict.fixed_multi_length = true,
            "multi_length" => strict.multi_length = true,
            other => panic!("unknown field {other}"),
        }
    }
    strict
}
