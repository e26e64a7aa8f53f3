//! Annotation files and their makers against the reference data of
//! `annotation`.

mod files;
mod model;
mod runs;
mod service;
mod states;

use std::path::PathBuf;

use serde_json::Value;

use crate::golden;

/// Name of the area.
const AREA: &str = "annotation";

/// The folder of the data.
fn folder() -> PathBuf {
    golden::area(AREA)
}

/// The entries of a file.
fn cases(file: &str) -> Vec<Value> {
    match golden::json(AREA, file) {
        Value::Array(list) => {
            assert!(!list.is_empty(), "{file} has no cases");
            list
        }
        other => panic!("{file} is no list: {other}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn strings(value: &Value) -> Vec<String> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(|item| text(item).to_owned()).collect()
}

fn number(value: &Value) -> usize {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}")) as usize
}
