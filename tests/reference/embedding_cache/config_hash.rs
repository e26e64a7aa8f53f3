//! `config_hash.json`: canonical text and hash of configurations.

use novic::cache::hash::{ConfigHash, canonical_json};

use super::AREA;
use crate::golden;

#[test]
fn canonical_text_and_hash() {
    let cases = golden::json(AREA, "config_hash.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(
            canonical_json(&case["configuration"]),
            case["canonical"].as_str().unwrap()
        );
        assert_eq!(
            ConfigHash::of(&case["configuration"]).to_string(),
            case["sha256"].as_str().unwrap()
        );
    }
}
