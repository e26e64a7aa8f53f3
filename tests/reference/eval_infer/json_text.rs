//! `json_text.json`: text form of JSON files.

use novic::evaluate::json_text;

use super::AREA;
use crate::golden;

#[test]
fn objects_have_the_text_of_the_original() {
    let cases = golden::json(AREA, "json_text.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(json_text(&case["object"]), case["text"].as_str().unwrap());
    }
}
